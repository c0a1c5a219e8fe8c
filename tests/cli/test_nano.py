#!/usr/bin/env python3
"""examples/nano.c, the model in one file, against the engine: the same logits and the same greedy tokens, on the golden
model of the repository and, where NANOGRID_FIXTURES is set, on the conformance fixtures' references too."""
import glob, json, math, os, subprocess, sys

NANOGRID, NANO = os.environ["NANOGRID"], os.path.join(os.environ["BUILD_DIR"], "nano")
TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
bad, checked = [], 0


def out(*cmd):
    # nano.c leaves its memory to the end of the process, which a leak checker would mind
    r = subprocess.run(cmd, capture_output=True, timeout=120, env=dict(os.environ, ASAN_OPTIONS="detect_leaks=0"))
    if r.returncode:
        raise SystemExit("%s: exit %d: %s" % (" ".join(cmd), r.returncode, r.stderr.decode("utf-8", "replace")[-300:]))
    return r.stdout


def nano(model, ids, n):
    lines = out(NANO, model, "--tokens", ",".join(map(str, ids)), "--logits", "-n", str(n)).split(b"\n")
    return [float(v) for v in lines[0].split()], [int(v) for v in lines[1].split(b",")]


def engine(model, ids, n):
    t = ",".join(map(str, ids))
    return (json.loads(out(NANOGRID, "logits", "-m", model, "--tokens", t, "--json"))["logits"],
            json.loads(out(NANOGRID, "complete", "-m", model, "--tokens", t, "-n", str(n), "--temp", "0", "--json"))["tokens"])


def relative(a, b):
    rms = math.sqrt(sum(v * v for v in a) / len(a))
    return max(abs(x - y) for x, y in zip(a, b)) / rms


def compare(model, ids, limit, reference=None):
    global checked
    want, tokens = nano(model, ids, 8)
    got, greedy = engine(model, ids, 8)
    checked += 1
    if len(want) != len(got) or not relative(want, got) <= limit:
        bad.append("%s, %d ids: the engine differs from nano.c by %.1e" % (model, len(ids), relative(want, got)))
    if reference and not relative(reference, want) <= 1e-4:
        bad.append("%s, %d ids: nano.c differs from the reference by %.1e" % (model, len(ids), relative(reference, want)))
    if limit < 1e-2 and tokens != greedy:
        bad.append("%s: greedy %s, nano.c %s" % (model, greedy, tokens))


for model in sorted(glob.glob(os.path.join(TOP, "tests", "golden", "*llama*.gguf"))):
    for ids in ([1], [3, 1, 4, 1, 5, 9, 2, 6], list(range(2, 47, 3))):
        compare(model, ids, 4e-3 if "f32" in model or "f16" in model else 0.25)
root = os.path.join(os.environ.get("NANOGRID_FIXTURES", "/nonexistent"), "public")
for name in ("llama-tied", "llama-gqa-untied", "llama-bias", "llama3-rope", "llama-k256") if os.path.isdir(root) else ():
    x = json.load(open(os.path.join(root, name, "expected.json")))
    for kind, file in x["files"].items():
        quantised = kind not in ("f32", "f16")
        for p in (x["quantised"][kind]["prompts"] if quantised else x["prompts"]):
            compare(os.path.join(root, name, file), p["tokens"], 0.25 if quantised else 4e-3, p["logits"])
if not os.path.isdir(root):
    print("SKIPPED the conformance fixtures: NANOGRID_FIXTURES is not set")
print("\n".join(bad) or "%d prompts agree" % checked)
sys.exit(1 if bad else 0 if checked else 77)
