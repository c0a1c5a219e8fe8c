#!/usr/bin/env python3
"""What every verb owes: help, JSON on one line, exit codes, errors on stderr, man pages, completion."""
import json, os, re, subprocess, sys, tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import NANOGRID, attempt, check  # noqa: E402

r = attempt()
check("no verb is wrong usage", r.returncode == 2 and not r.stdout, r)
r = attempt("nonsense")
check("unknown verb", r.returncode == 2 and "nonsense" in r.stderr, r)
r = attempt("help")
verbs = re.findall(r"^  ([a-z-]+)  ", r.stdout, re.M)
check("help lists verbs", r.returncode == 0 and len(verbs) >= 3, verbs)
check("the list is complete", "doctor" in verbs and "version" in verbs, verbs)
for v in verbs:
    h = attempt(v, "--help")
    check(v + " --help", h.returncode == 0 and h.stdout.startswith("usage: nanogrid " + v) and not h.stderr, h)
    u = attempt(v, "--no-such-option")
    check(v + " refuses an unknown option", u.returncode == 2 and "--no-such-option" in u.stderr and not u.stdout, u)
    m = attempt("help", "--man", v)
    check(v + " man page", m.returncode == 0 and m.stdout.startswith(".TH NANOGRID-" + v), m)
c = attempt("help", "--completion")
check("completion", c.returncode == 0 and subprocess.run(["bash", "-n"], input=c.stdout, text=True).returncode == 0 and "doctor" in c.stdout)
d = attempt("doctor", "--json")
check("doctor --json", d.returncode == 0 and d.stdout.count("\n") == 1 and json.loads(d.stdout)["cores"] >= 1, d)
for wrong, why in (("policy:\n  prefer: load\n  weights: {cost: 1}\n", ":3: policy: prefer and weights contradict"),
                   ("experts:\n  - {name: intent, task: classify, model: nanogrid/intent, contract: {max_error: 0.0001}}\n", "the contract of 'intent'")):
    with tempfile.TemporaryDirectory() as home:
        with open(os.path.join(home, "grid.yaml"), "w") as f:
            f.write(wrong)
        d = attempt("doctor", NANOGRID_HOME=home)
        check("doctor refuses a grid", d.returncode == 1 and "grid       is refused: " in d.stdout and why in d.stdout, d)
d = json.loads(attempt("doctor", "--json", NG_CPU="ref").stdout)
check("doctor names what training multiplies with", d["training_kernel"] == "plain", d)
d = attempt("doctor", NG_CPU="ref")
check("NG_CPU caps", d.returncode == 0 and "kernels    ref" in d.stdout, d)
for level in ("sse9", "neon" if os.uname().machine == "x86_64" else "avx2"):
    d = attempt("doctor", NG_CPU=level)
    check("NG_CPU=%s is refused" % level, d.returncode == 2 and "NG_CPU" in d.stderr, d)
if os.uname().sysname == "Linux":
    with open(NANOGRID, "rb") as f:
        program = f.read()
    late = subprocess.run(["readelf", "-d", NANOGRID], capture_output=True, text=True) if program[:4] == b"\x7fELF" else None
    check("network libraries are loaded late", late is None or late.returncode or "libcurl" not in late.stdout and "microhttpd" not in late.stdout, late)
check("version", json.loads(attempt("version", "--json").stdout)["version"].count(".") == 2)
sys.exit(check.done())
