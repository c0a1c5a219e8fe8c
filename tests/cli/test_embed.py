#!/usr/bin/env python3
"""embed from the outside: the tiny golden encoders at every kernel level, limits and wrong usage; and the real
all-MiniLM-L6-v2 (tests/support/models.py), converted and quantised by nanogrid, against the vectors of transformers
in NANOGRID_FIXTURES (public/minilm.json), within cosine 0.9999 (F32) and 0.98 (8 bit; 0.997 in the mean), and against itself on the
pairs of STS-B in NANOGRID_DATA (stsb/en.test.tsv): 8 bit lose at most 0.3 points of Spearman's correlation."""
import json
import math
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
import models  # noqa: E402

NG = os.environ.get("NANOGRID", "build/nanogrid")
GOLDEN = os.path.join(HERE, "..", "golden")
TINY = os.path.join(GOLDEN, "bert-tiny-f32.gguf")
failed = 0


def check(ok, what):
    global failed
    if not ok:
        failed += 1
        print("FAIL", what)


def run(*args, stdin=b"", **env):
    return subprocess.run([NG, *args], input=stdin, capture_output=True, env=dict(os.environ, **env), timeout=1200)


def embed(model, texts, *args, **env):
    r = run("embed", "-m", model, "--json", *args, stdin="".join(t + "\n" for t in texts).encode(), **env)
    if r.returncode:
        check(False, "embed %s: exit %d: %s" % (model, r.returncode, r.stderr.decode().strip()))
        return [[0.0]] * len(texts)
    check(r.stdout.count(b"\n") == 1, "one line of JSON")
    return json.loads(r.stdout)["embeddings"]


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b)) if any(a) else 0


def tiny():
    letters = "abcdefghijklmnopqrstuvwxyz"
    for line in open(os.path.join(GOLDEN, "bert-tiny.txt")):
        file, limit, ids, want = line.split()
        ids, want = [int(i) for i in ids.split(",")], [float(v) for v in want.split(",")]
        if any(i >= 5 + 26 for i in ids[1:2]):
            continue  # a text cannot begin inside a word
        text = "".join(" " + letters[i - 5] if i < 31 else letters[i - 31] for i in ids[1:-1])
        answers = {level: embed(os.path.join(GOLDEN, file), [text], NG_CPU=level)[0] for level in levels}
        got = answers["ref"]
        check(max(abs(a - b) for a, b in zip(got, want)) <= float(limit), "%s: %d ids" % (file, len(ids)))
        check(all(a == got for a in answers.values()), "%s: the levels differ" % file)
    many = embed(TINY, ["abc", "", "x y", "abc"])
    check(len(many) == 4 and many[0] == many[3] and len(many[1]) == 32, "four lines, one of them empty")
    check(embed(TINY, []) == [], "no input, no vectors")
    r = run("predict", "-m", TINY, "--json", "-t", "2", "abc")
    p = json.loads(r.stdout or b"{}")
    check(r.returncode == 0 and p.get("task") == "embed" and p["embedding"] == many[0], "predict takes an encoder for what it is: %s" % r.stderr)
    r = run("predict", "-m", TINY, "abc", NANOGRID_THREADS="many")
    check(r.returncode == 2 and b"$NANOGRID_THREADS: 'many'" in r.stderr, "a variable of a wrong value is named: %s" % r.stderr)
    r = run("bench", "-e", "8", "-r", "1", "--json", NANOGRID_MODEL=TINY, NANOGRID_THREADS="2")
    check(r.returncode == 0 and json.loads(r.stdout)[0]["threads"] == 2, "model and threads from the environment: %s" % r.stderr)
    r = run("embed", "-m", TINY, "abc")
    check(all(abs(float(a) - b) < 1e-8 for a, b in zip(r.stdout.split(), many[0], strict=True)), "TEXT and plain output give the same vector")
    check(run("embed", "-m", TINY, stdin=b"abc\nx y").stdout.count(b"\n") == 2, "plain output has one line a text")


def limits():
    long = " ".join(["d"] * 95)  # 97 tokens with [CLS] and [SEP]; the model holds 96
    r = run("embed", "-m", TINY, "--json", stdin=("abc\n" + long + "\n").encode())
    check(r.returncode == 1 and b"line 2" in r.stderr and b"97" in r.stderr and b"96" in r.stderr and not r.stdout,
          "a text that is too long is refused with both counts: %r" % r.stderr)
    r = run("embed", "-m", TINY, "--json", "--truncate", stdin=long.encode())
    check(r.returncode == 0 and b"97 tokens" in r.stderr, "--truncate cuts and says so: %r" % r.stderr)
    check(json.loads(r.stdout)["embeddings"] == embed(TINY, [" ".join(["d"] * 94)]), "the cut text's vector")
    for args, stdin, code, words in (
            (["embed"], b"", 2, b"-m FILE"), (["embed", "-m", TINY, "a", "b"], b"", 2, b"one TEXT"),
            (["embed", "-m", TINY], b"ok\n\xff\n", 1, b"line 2 is not valid UTF-8"),
            (["embed", "-m", TINY, "-t", "999"], b"a", 2, b"-t"),
            (["embed", "-m", "/nonexistent.gguf"], b"a", 1, b"/nonexistent.gguf"),
            (["embed", "-m", os.path.join(GOLDEN, "llama-tiny-f32.gguf")], b"a", 1, b"decoder")):
        r = run(*args, stdin=stdin)
        check(r.returncode == code and words in r.stderr and not r.stdout, "%s: exit %d, %r" % (args, r.returncode, r.stderr))


def ranks(v):
    order, out, i = sorted(range(len(v)), key=v.__getitem__), [0.0] * len(v), 0
    while i < len(v):
        j = i
        while j < len(v) and v[order[j]] == v[order[i]]:
            j += 1
        for k in range(i, j):
            out[order[k]] = (i + j - 1) / 2 # equal values share their mean rank
        i = j
    return out


def spearman(a, b):
    a, b = ranks(a), ranks(b)
    mean = (len(a) - 1) / 2
    return cosine([x - mean for x in a], [x - mean for x in b])


def stsb(files):
    path = os.path.join(os.environ.get("NANOGRID_DATA", ""), "stsb", "en.test.tsv")
    if not os.path.exists(path):
        return print("SKIP STS-B: NANOGRID_DATA, with stsb/en.test.tsv, is not set")
    with open(path, encoding="utf-8") as f:
        rows = [line.rstrip("\n").split("\t") for line in f][1:]
    points = {}
    for name, file in files.items():
        v = embed(file, [r[1] for r in rows] + [r[2] for r in rows])
        points[name] = 100 * spearman([cosine(v[i], v[i + len(rows)]) for i in range(len(rows))], [float(r[0]) for r in rows])
    print("STS-B, %d pairs: F32 %.2f, Q8_0 %.2f" % (len(rows), points["f32"], points["q8_0"]))
    check(points["f32"] > 80 and points["f32"] - points["q8_0"] <= 0.3, "STS-B: %s" % points)


def minilm():
    reference = os.path.join(os.environ.get("NANOGRID_FIXTURES", ""), "public", "minilm.json")
    if not os.path.exists(reference):
        return print("SKIP MiniLM: NANOGRID_FIXTURES, with public/minilm.json, is not set")
    folder = models.minilm()
    if not folder:
        return print("SKIP MiniLM: " + models.reason)
    pairs = [p for p in json.load(open(reference))["pairs"] if p["a"].strip() and p["b"].strip()]
    texts = [t for p in pairs for t in (p["a"], p["b"])]
    want = [v for p in pairs for v in (p["embedding_a"], p["embedding_b"])]
    with tempfile.TemporaryDirectory() as tmp:
        files = {"f32": tmp + "/minilm-f32.gguf", "q8_0": tmp + "/minilm-q8_0.gguf"}
        for args in (["convert", folder, files["f32"], "--type", "F32"], ["quantize", files["f32"], files["q8_0"], "q8_0"]):
            r = run(*args)
            if r.returncode:
                return check(False, "%s: %s" % (args[0], r.stderr.decode().strip()))
        for name, least, least_mean in (("f32", 0.9999, 0.9999), ("q8_0", 0.98, 0.997)):
            got = embed(files[name], texts)
            all_of = [cosine(g, w) for g, w in zip(got, want)]
            worst, mean = min(all_of), sum(all_of) / len(all_of)
            print("MiniLM %s: %d texts, cosine to transformers at least %.7f, in the mean %.7f" % (name, len(texts), worst, mean))
            check(worst >= least and mean >= least_mean, "MiniLM %s: cosine %.6f, mean %.6f" % (name, worst, mean))
            if name == "q8_0":
                check(all(embed(files[name], texts[:6], NG_CPU=level) == got[:6] for level in levels), "MiniLM: the levels differ")
                check(all(embed(files[name], texts[:40], "-t", n) == got[:40] for n in ("1", "2", "7")), "MiniLM: threads differ")
        stsb(files)


one = os.environ.get("NG_CPU")
levels = ["ref"] + [x for x in ((one,) if one and one != "ref" else () if one else ("avx2", "avx512", "amx", "neon", "dotprod", "i8mm"))
                    if run("embed", "-m", TINY, "a", NG_CPU=x).returncode == 0]
tiny()
limits()
minilm()
sys.exit(1 if failed else 0)
