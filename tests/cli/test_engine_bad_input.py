#!/usr/bin/env python3
"""What the engine makes of bad files and small machines, from the outside: a full disk under its cache, a cache file cut
anywhere or whose writer was killed, a context that no memory holds, NG_CPU naming what is not here. It refuses with the
mend, or goes on with the same bits and a line that says what it does without."""
import json
import os
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import NANOGRID, attempt, check  # noqa: E402

BUILD = os.environ.get("BUILD_DIR", "build")
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
TINY = os.path.join(ROOT, "tests", "golden", "llama-tiny-mixed.gguf")
IDS = ",".join(str(i * 7 % 48) for i in range(160))
HUGE, MOST = 100_000_000, 16_777_216  # more than any file may say, and the most that one may


def run(*args, limit=None, **env):
    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    return attempt(*args, limits=small_files if limit else None, **env)


def answer(what, model, home, says, limit=None):
    """The logits; stderr must hold `says`, or nothing."""
    r = run("logits", "-m", model, "--tokens", "1,2,3", "--json", limit=limit, NANOGRID_HOME=home)
    check("%s: exit %d, %r" % (what, r.returncode, r.stderr), r.returncode == 0 and (says in r.stderr if says else not r.stderr))
    return r.stdout


def cached(home):
    folder = os.path.join(home, "cache")
    return [os.path.join(folder, f) for f in sorted(os.listdir(folder))] if os.path.isdir(folder) else []


def full_disk(model, want, top):
    home = os.path.join(top, "limited")
    check("the same logits without a cache", answer("files of a megabyte at most", model, home, "repacked weights are not shared", 1 << 20) == want)
    check("no half file stays: %s" % cached(home), cached(home) == [])
    tmpfs = os.path.join(top, "tmpfs")
    os.mkdir(tmpfs)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", tmpfs], capture_output=True).returncode:
        print("SKIP a disk of a megabyte: tmpfs cannot be mounted here")
    else:
        try:
            check("the same logits on a full disk", answer("a disk of a megabyte", model, tmpfs, "No space left") == want)
            check("no half file on the full disk: %s" % cached(tmpfs), cached(tmpfs) == [])
        finally:
            subprocess.run(["umount", tmpfs], check=True)
    plain = run("complete", "-m", TINY, "--tokens", IDS, "-n", 8, "--temp", 0)
    r = run("complete", "-m", TINY, "--tokens", IDS, "-n", 8, "--temp", 0, "--prefix-cache", os.path.join(top, "prefix"), limit=512)
    check("a full disk under the prefix cache: %d %r" % (r.returncode, r.stderr), r.returncode == 0 and r.stdout == plain.stdout and "prefix cache: " in r.stderr)


def half_written(model, want, top):
    home = os.path.join(top, "cut")
    check("the first load", answer("the first load", model, home, "") == want)
    path, = cached(home)
    size = os.path.getsize(path)
    for keep in (0, 71, 4095, 4096, size // 2, size - 1):
        os.truncate(path, keep)
        check("the same logits from a cut file", answer("a file cut to %d bytes" % keep, model, home, "is repacked anew") == want)
        check("it is whole again", os.path.getsize(path) == size)
    check("the last load", answer("the last load", model, home, "") == want)


def killed_writer(model, want, top):
    home, seen = os.path.join(top, "killed"), 0
    for _ in range(5):
        p = subprocess.Popen([NANOGRID, "logits", "-m", model, "--tokens", "1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                             env=dict(os.environ, NANOGRID_HOME=home))
        while p.poll() is None and not cached(home):
            time.sleep(0.0005)
        p.send_signal(signal.SIGKILL)
        p.wait()
        seen += any(".tmp." in f for f in cached(home))
        check("the same logits after a killed writer", answer("after a killed writer", model, home, "") == want)
        for f in cached(home):
            os.remove(f)
    print("killed while it wrote: %d of 5 times" % seen)


def context(says, top):
    """The tiny model, whose file says that it holds so many tokens."""
    with open(TINY, "rb") as f:
        data = bytearray(f.read())
    at = data.index(b"llama.context_length") + len(b"llama.context_length")
    check("the context is where it should be", struct.unpack_from("<II", data, at) == (4, 192))
    struct.pack_into("<I", data, at + 4, says)
    path = os.path.join(top, "context-%d.gguf" % says)
    with open(path, "wb") as f:
        f.write(data)
    return path


def too_long(top):
    for verb, args, words in (("complete", ("--tokens", "1", "-n", 2, "-c", HUGE), "192"), ("logits", ("--tokens", ",".join(["1"] * 193)), "192"),
                              ("bench", ("-n", 2, "-d", HUGE), "-d %d" % HUGE), ("doctor", ("-c", HUGE), "192")):
        r = run(verb, "-m", TINY, *args)
        check("%s: %d %r" % (verb, r.returncode, r.stderr), r.returncode in (1, 2) and words in r.stderr and not r.stdout)
    for verb in ("complete", "doctor"):
        r = run(verb, "-m", context(HUGE, top), *(("--tokens", "1", "-n", 2) if verb == "complete" else ()))
        check("a file of a hundred million tokens: %d %r" % (r.returncode, r.stderr), r.returncode == 1 and str(HUGE) in r.stderr)
    if os.environ.get("SANITIZED") == "1":
        print("SKIP contexts in little memory: the sanitizers hold memory of their own")
        return
    long, little = context(MOST, top), {"NANOGRID_MEMORY": "200MB"}
    r = run("complete", "-m", long, "--tokens", "1", "-n", 2, "-c", MOST, **little)
    check("a context that the memory does not hold: %d %r" % (r.returncode, r.stderr), r.returncode == 1 and "a context of " in r.stderr and "fits" in r.stderr)
    fits = r.stderr.split("a context of ")[-1].split()[0]
    r = run("complete", "-m", long, "--tokens", "1", "-n", 2, "-c", fits, **little)
    check("the context that the message names (%s) runs: %r" % (fits, r.stderr), r.returncode == 0)
    r = run("doctor", "-m", long, "-c", MOST, "--json", **little)
    d = json.loads(r.stdout or "{}")
    check("doctor: %d %r %r" % (r.returncode, d, r.stderr), r.returncode == 1 and d.get("fits") is False and "a context of " in d["refusal"])
    r = run("complete", "-m", long, "--tokens", "1", "-n", 2, **little)
    check("without -c: %d %r" % (r.returncode, r.stderr), r.returncode == 0 or (r.returncode == 1 and "a context of " in r.stderr))


def absent_kernels():
    here = json.loads(run("doctor", "--json").stdout)["kernel"]
    absent = "avx512" if here in ("neon", "dotprod", "i8mm") else "i8mm"
    encoder = os.path.join(ROOT, "tests", "golden", "bert-tiny-f32.gguf")
    for args in (("doctor",), ("logits", "-m", TINY, "--tokens", "1"), ("bench", "-m", TINY, "-n", 2), ("complete", "-m", TINY, "--tokens", "1", "-n", 1),
                 ("embed", "-m", encoder, "a"), ("serve", "--listen", "127.0.0.1:0")):
        r = run(*args, NG_CPU=absent)
        check("%s with NG_CPU=%s: %d %r" % (args[0], absent, r.returncode, r.stderr), r.returncode == 2 and absent in r.stderr and not r.stdout)


def main():
    with tempfile.TemporaryDirectory() as top:
        model = os.path.join(top, "random.gguf")
        r = subprocess.run([os.path.join(BUILD, "random_model"), model, "40M", "Q8_0"], capture_output=True, text=True, timeout=600)
        check(r.stderr, r.returncode == 0)
        want = answer("a load", model, os.path.join(top, "home"), "")
        full_disk(model, want, top)
        half_written(model, want, top)
        killed_writer(model, want, top)
        too_long(top)
    absent_kernels()
    return check.done()


sys.exit(main())
