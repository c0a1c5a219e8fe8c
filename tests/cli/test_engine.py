#!/usr/bin/env python3
"""logits and bench from the outside: the tiny golden models at every kernel level (where NG_CPU is set: at that one and ref), wrong usage, and, where
NANOGRID_FIXTURES holds the conformance fixtures (public/NAME/expected.json), their llama models."""
import json
import math
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import attempt, check  # noqa: E402

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden")
LIMITS = {"f32": 4e-3, "f16": 2e-2}  # largest difference over the RMS of the logits
QUANT_KL, QUANT_REL = 1e-2, 0.25


def logits(model, ids, **env):
    r = attempt("logits", "-m", model, "--tokens", ",".join(map(str, ids)), "--json", **env)
    if r.returncode:
        return check("%s: exit %d: %s" % (model, r.returncode, r.stderr.strip()), False) or []
    check("logits --json stands on one line", r.stdout.count("\n") == 1)
    return json.loads(r.stdout)["logits"]


def relative(want, got):
    if len(want) != len(got):
        return math.inf
    return max(abs(a - b) for a, b in zip(want, got)) / math.sqrt(sum(v * v for v in want) / len(want))


def kl(want, got):
    def log_softmax(x):
        m = max(x)
        z = m + math.log(sum(math.exp(v - m) for v in x))
        return [v - z for v in x]
    return sum(math.exp(a) * (a - b) for a, b in zip(log_softmax(want), log_softmax(got)))


def levels():
    found = ["ref"]
    one = os.environ.get("NG_CPU")
    for level in ("avx2", "avx512", "neon", "dotprod", "i8mm") if not one else () if one == "ref" else (one,):
        r = attempt("logits", "-m", os.path.join(GOLDEN, "llama-tiny-f32.gguf"), "--tokens", "1", NG_CPU=level)
        if r.returncode == 0:
            found.append(level)
        else:
            check("an unavailable level is exit 2: " + r.stderr, r.returncode == 2 and level in r.stderr)
            print("SKIP level %s: this machine lacks it" % level)
    return found


def golden():
    for line in open(os.path.join(GOLDEN, "llama-tiny.txt")):
        file, limit, ids, want = line.split()
        path, want = os.path.join(GOLDEN, file), [float(v) for v in want.split(",")]
        answers = [logits(path, ids.split(","), NG_CPU=level) for level in levels_here]
        check("%s: relative %.1e" % (file, relative(want, answers[0])), relative(want, answers[0]) <= float(limit))
        check("%s: the levels differ" % file, all(a == answers[0] for a in answers))


def usage():
    tiny = os.path.join(GOLDEN, "llama-tiny-f32.gguf")
    for args, code, words in (
            (["logits"], 2, "-m FILE"), (["logits", "-m", tiny, "--tokens", "1,x"], 2, "'x'"),
            (["logits", "-m", tiny, "--tokens", "48"], 2, "ids 0 to 47"),
            (["logits", "-m", tiny, "--tokens", ",".join(["1"] * 193)], 1, "192"),
            (["logits", "-m", "/nonexistent.gguf", "--tokens", "1"], 1, "/nonexistent.gguf"),
            (["logits", "-m", tiny, "--tokens", "1", "-t", "-1"], 2, "-t"),
            (["bench"], 2, "-m FILE"), (["bench", "-m", tiny, "-p", "8,"], 2, "8,"),
            (["bench", "-m", tiny, "-p", "500"], 1, "192"), (["bench", "-m", tiny, "-n", "4", "-d", "190"], 1, "192"),
            (["bench", "-m", tiny, "-d", "-1"], 2, "-d"), (["bench", "-m", tiny, "-e", "4"], 2, "decoder"),
            (["bench", "-m", tiny, "-r", "0"], 2, "-r")):
        r = attempt(*args)
        check("%s: exit %d, %r" % (args, r.returncode, r.stderr),
              r.returncode == code and words in r.stderr and not r.stdout)
    r = attempt("logits", "-m", tiny, "--tokens", "1", NG_CPU="sse9")
    check("NG_CPU=sse9 is exit 2", r.returncode == 2 and "sse9" in r.stderr)


def bench():
    tiny = os.path.join(GOLDEN, "llama-tiny-mixed.gguf")
    r = attempt("bench", "-m", tiny, "-p", "16,0", "-n", "8", "-t", "2", "-r", "2", "--json")
    rows = json.loads(r.stdout) if r.returncode == 0 and r.stdout.count("\n") == 1 else []
    check("bench rows: %r %r" % (r.stdout, r.stderr), [x["test"] for x in rows] == ["pp16", "tg8"])
    for x in rows:
        check("bench: %s" % x, x["avg_ts"] > 0 and x["p50_ms"] > 0 and x["stddev_ts"] >= 0 and x["threads"] == 2 and x["cpu"] and x["kernel"])
        check("bench: %s" % x, x["joules_per_token"] > 0 and x["edp_js"] > 0 and x["energy_source"] in ("rapl", "model"))
    r = attempt("bench", "-m", tiny, "-n", "4", "-r", "1", "--json")
    check("only the tests asked for", r.returncode == 0 and [x["test"] for x in json.loads(r.stdout)] == ["tg4"])
    r = attempt("bench", "-m", tiny, "-n", "4", "-d", "100", "-r", "1", "--json")
    check("a depth: %r" % r.stderr, r.returncode == 0 and [x["test"] for x in json.loads(r.stdout)] == ["tg4@d100"])


def fixtures():
    root = os.path.join(os.environ.get("NANOGRID_FIXTURES", ""), "public")
    if not os.environ.get("NANOGRID_FIXTURES") or not os.path.isdir(root):
        return print("SKIP the conformance fixtures: NANOGRID_FIXTURES is not set")
    for name in sorted(os.listdir(root)):
        if not name.startswith(("llama-", "llama3")):
            continue
        x = json.load(open(os.path.join(root, name, "expected.json")))
        for kind, file in x["files"].items():
            path = os.path.join(root, name, file)
            for p in x["prompts"] if kind in LIMITS else x["quantised"][kind]["prompts"]:
                got, what = logits(path, p["tokens"]), "%s/%s, %d ids" % (name, kind, len(p["tokens"]))
                r = relative(p["logits"], got)
                if kind in LIMITS:
                    check("%s: relative %.1e" % (what, r), r <= LIMITS[kind])
                else:
                    check("%s: relative %.1e" % (what, r), r <= QUANT_REL and kl(p["logits"], got) <= QUANT_KL)


levels_here = levels()
golden()
usage()
bench()
fixtures()
sys.exit(check.done())
