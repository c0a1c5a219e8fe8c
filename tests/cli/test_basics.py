#!/usr/bin/env python3
"""What every verb owes: help, JSON on one line, exit codes, errors on stderr, man pages, completion."""
import json, os, re, subprocess, sys, tempfile

NANOGRID = os.environ["NANOGRID"]
bad = []

def run(*args, env=None, stdin=b""):
    return subprocess.run([NANOGRID, *args], input=stdin, capture_output=True, timeout=60, env=dict(os.environ, **(env or {})))

def check(what, ok, detail=""):
    if not ok:
        bad.append("%s %s" % (what, detail))

r = run()
check("no verb is wrong usage", r.returncode == 2 and not r.stdout, r)
r = run("nonsense")
check("unknown verb", r.returncode == 2 and b"nonsense" in r.stderr, r)
r = run("help")
verbs = re.findall(r"^  ([a-z-]+)  ", r.stdout.decode(), re.M)
check("help lists verbs", r.returncode == 0 and len(verbs) >= 3, verbs)
check("the list is complete", "doctor" in verbs and "version" in verbs, verbs)
for v in verbs:
    h = run(v, "--help")
    check(v + " --help", h.returncode == 0 and h.stdout.startswith(b"usage: nanogrid " + v.encode()) and not h.stderr, h)
    u = run(v, "--no-such-option")
    check(v + " refuses an unknown option", u.returncode == 2 and b"--no-such-option" in u.stderr and not u.stdout, u)
    m = run("help", "--man", v)
    check(v + " man page", m.returncode == 0 and m.stdout.startswith(b".TH NANOGRID-" + v.encode()), m)
c = run("help", "--completion")
check("completion", c.returncode == 0 and subprocess.run(["bash", "-n"], input=c.stdout).returncode == 0 and b"doctor" in c.stdout)
d = run("doctor", "--json")
check("doctor --json", d.returncode == 0 and d.stdout.count(b"\n") == 1 and json.loads(d.stdout)["cores"] >= 1, d)
for wrong, why in ((b"policy:\n  prefer: load\n  weights: {cost: 1}\n", b":3: policy: prefer and weights contradict"),
                   (b"experts:\n  - {name: intent, task: classify, model: nanogrid/intent, contract: {max_error: 0.0001}}\n", b"the contract of 'intent'")):
    with tempfile.TemporaryDirectory() as home:
        with open(os.path.join(home, "grid.yaml"), "wb") as f:
            f.write(wrong)
        d = run("doctor", env={"NANOGRID_HOME": home})
        check("doctor refuses a grid", d.returncode == 1 and b"grid       is refused: " in d.stdout and why in d.stdout, d)
d = json.loads(run("doctor", "--json", env={"NG_CPU": "ref"}).stdout)
check("doctor names what training multiplies with", d["training_kernel"] == "plain", d)
d = run("doctor", env={"NG_CPU": "ref"})
check("NG_CPU caps", d.returncode == 0 and b"kernels    ref" in d.stdout, d)
for level in ("sse9", "neon" if os.uname().machine == "x86_64" else "avx2"):
    d = run("doctor", env={"NG_CPU": level})
    check("NG_CPU=%s is refused" % level, d.returncode == 2 and b"NG_CPU" in d.stderr, d)
if os.uname().sysname == "Linux":
    with open(os.environ["NANOGRID"], "rb") as f:
        program = f.read()
    late = subprocess.run(["readelf", "-d", os.environ["NANOGRID"]], capture_output=True) if program[:4] == b"\x7fELF" else None
    check("network libraries are loaded late", late is None or late.returncode or b"libcurl" not in late.stdout and b"microhttpd" not in late.stdout, late)
check("version", json.loads(run("version", "--json").stdout)["version"].count(".") == 2)
print("\n".join(bad) or "%d verbs checked" % len(verbs))
sys.exit(1 if bad else 0)
