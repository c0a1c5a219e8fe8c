"""What `make run ONCE=1` runs: the server on a port of its own, one real request of every task, the answers.  Where the kernel
lets us, in a network namespace of its own, in which there is nobody to talk to."""
import os, re, subprocess, sys, tempfile

top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
alone = ["unshare", "--map-root-user", "--net"]
raise_loopback = "import fcntl, socket, struct; fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh14x', b'lo', 0x49)); socket.create_server(('127.0.0.1', 0))"
if subprocess.run(alone + [sys.executable, "-c", raise_loopback], capture_output=True).returncode:
    alone = print("not offline: no network namespace with a loopback of its own is allowed here") or []
with tempfile.TemporaryDirectory() as home:
    done = subprocess.run(alone + [os.path.join(top, "scripts", "run.sh"), os.environ["BUILD_DIR"], "1"], capture_output=True, text=True, timeout=250,
                          env=dict(os.environ, NANOGRID_HOME=home, NANOGRID_LISTEN="127.0.0.1:0"))
print(done.stdout)
print(done.stderr, file=sys.stderr)
assert done.returncode == 0, done.returncode
for wanted in (r"intent +intent +nano .* freeze_account", r"sentiment .* positive", r"topic +topic ", r"question type .* number",
               r"moderate .* flagged", r"extract .* anna@example\.org", r"detect-language .* de$", r"summarize +summarize ",
               r"answer +answer .* twenty minutes", r"rerank +rerank .* document 2 first", r"translate +not served", r"embed +embed .* 384 numbers",
               r"\d+ of 13 tasks answered on this device"):
    assert re.search("^" + wanted if not wanted.startswith(r"\d") else wanted, done.stdout, re.M), wanted
