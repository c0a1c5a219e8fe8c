#!/usr/bin/env python3
"""embed from the outside: the tiny golden encoders at every kernel level, limits and wrong usage; and the real
all-MiniLM-L6-v2 (tests/support/models.py), converted and quantised by nanogrid, against the vectors of transformers
in NANOGRID_FIXTURES (public/minilm.json), within cosine 0.9999 (F32) and 0.98 (8 bit; 0.997 in the mean), and against itself on the
pairs of STS-B in NANOGRID_DATA (stsb/en.test.tsv): 8 bit lose at most 0.3 points of Spearman's correlation."""
import json
import math
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
from checks import attempt, check  # noqa: E402
import models  # noqa: E402

GOLDEN = os.path.join(HERE, "..", "golden")
TINY = os.path.join(GOLDEN, "bert-tiny-f32.gguf")


def embed(model, texts, *args, **env):
    r = attempt("embed", "-m", model, "--json", *args, stdin="".join(t + "\n" for t in texts), **env)
    if r.returncode:
        check("embed %s: exit %d: %s" % (model, r.returncode, r.stderr.strip()), False)
        return [[0.0]] * len(texts)
    check("one line of JSON", r.stdout.count("\n") == 1)
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
        check("%s: %d ids" % (file, len(ids)), max(abs(a - b) for a, b in zip(got, want)) <= float(limit))
        check("%s: the levels differ" % file, all(a == got for a in answers.values()))
    many = embed(TINY, ["abc", "", "x y", "abc"])
    check("four lines, one of them empty", len(many) == 4 and many[0] == many[3] and len(many[1]) == 32)
    check("no input, no vectors", embed(TINY, []) == [])
    r = attempt("predict", "-m", TINY, "--json", "-t", "2", "abc")
    p = json.loads(r.stdout or "{}")
    check("predict takes an encoder for what it is: %s" % r.stderr, r.returncode == 0 and p.get("task") == "embed" and p["embedding"] == many[0])
    r = attempt("predict", "-m", TINY, "abc", NANOGRID_THREADS="many")
    check("a variable of a wrong value is named: %s" % r.stderr, r.returncode == 2 and "$NANOGRID_THREADS: 'many'" in r.stderr)
    r = attempt("bench", "-e", "8", "-r", "1", "--json", NANOGRID_MODEL=TINY, NANOGRID_THREADS="2")
    check("model and threads from the environment: %s" % r.stderr, r.returncode == 0 and json.loads(r.stdout)[0]["threads"] == 2)
    r = attempt("embed", "-m", TINY, "abc")
    check("TEXT and plain output give the same vector", all(abs(float(a) - b) < 1e-8 for a, b in zip(r.stdout.split(), many[0], strict=True)))
    check("plain output has one line a text", attempt("embed", "-m", TINY, stdin="abc\nx y").stdout.count("\n") == 2)


def limits():
    long = " ".join(["d"] * 95)  # 97 tokens with [CLS] and [SEP]; the model holds 96
    r = attempt("embed", "-m", TINY, "--json", stdin=("abc\n" + long + "\n"))
    check("a text that is too long is refused with both counts: %r" % r.stderr,
          r.returncode == 1 and "line 2" in r.stderr and "97" in r.stderr and "96" in r.stderr and not r.stdout)
    r = attempt("embed", "-m", TINY, "--json", "--truncate", stdin=long)
    check("--truncate cuts and says so: %r" % r.stderr, r.returncode == 0 and "97 tokens" in r.stderr)
    check("the cut text's vector", json.loads(r.stdout)["embeddings"] == embed(TINY, [" ".join(["d"] * 94)]))
    for args, stdin, code, words in (
            (["embed"], "", 2, "-m FILE"), (["embed", "-m", TINY, "a", "b"], "", 2, "one TEXT"),
            (["embed", "-m", TINY], b"ok\n\xff\n", 1, b"line 2 is not valid UTF-8"),
            (["embed", "-m", TINY, "-t", "999"], "a", 2, "-t"),
            (["embed", "-m", "/nonexistent.gguf"], "a", 1, "/nonexistent.gguf"),
            (["embed", "-m", os.path.join(GOLDEN, "llama-tiny-f32.gguf")], "a", 1, "decoder")):
        r = attempt(*args, stdin=stdin)
        check("%s: exit %d, %r" % (args, r.returncode, r.stderr), r.returncode == code and words in r.stderr and not r.stdout)


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
    check("STS-B: %s" % points, points["f32"] > 80 and points["f32"] - points["q8_0"] <= 0.3)


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
            r = attempt(*args)
            if r.returncode:
                return check("%s: %s" % (args[0], r.stderr.strip()), False)
        for name, least, least_mean in (("f32", 0.9999, 0.9999), ("q8_0", 0.98, 0.997)):
            got = embed(files[name], texts)
            all_of = [cosine(g, w) for g, w in zip(got, want)]
            worst, mean = min(all_of), sum(all_of) / len(all_of)
            print("MiniLM %s: %d texts, cosine to transformers at least %.7f, in the mean %.7f" % (name, len(texts), worst, mean))
            check("MiniLM %s: cosine %.6f, mean %.6f" % (name, worst, mean), worst >= least and mean >= least_mean)
            if name == "q8_0":
                check("MiniLM: the levels differ", all(embed(files[name], texts[:6], NG_CPU=level) == got[:6] for level in levels))
                check("MiniLM: threads differ", all(embed(files[name], texts[:40], "-t", n) == got[:40] for n in ("1", "2", "7")))
        stsb(files)


one = os.environ.get("NG_CPU")
levels = ["ref"] + [x for x in ((one,) if one and one != "ref" else () if one else ("avx2", "avx512", "amx", "neon", "dotprod", "i8mm"))
                    if attempt("embed", "-m", TINY, "a", NG_CPU=x).returncode == 0]
tiny()
limits()
minilm()
sys.exit(check.done())
