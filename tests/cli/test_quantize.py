#!/usr/bin/env python3
"""quantize and imatrix from the outside: every type over the tiny golden models, what is printed, what is refused and that a
refused file leaves OUT as it was.  Real models: bench/formats."""
import json
import os
import struct
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
from checks import attempt, check  # noqa: E402
import gguf_read  # noqa: E402

GOLDEN = os.path.join(HERE, "..", "golden")
BERT, LLAMA = os.path.join(GOLDEN, "bert-tiny-f32.gguf"), os.path.join(GOLDEN, "llama-tiny-f32.gguf")
TYPES = "F32 F16 BF16 Q8_0 Q6_K Q5_K_M Q5_K Q5_1 Q5_0 Q4_K_M Q4_K Q4_1 Q4_0 NG4_M NG4 NG3".split()


def quantize(src, out, kind, *args):
    r = attempt("quantize", src, out, kind, "--json", *args)
    return r.returncode, json.loads(r.stdout) if r.stdout else {}, r.stderr


def every_type(folder):
    """Each type is written, runs, gives the same bits at every level, and never loses less than one of more bits should."""
    out = os.path.join(folder, "out.gguf")
    for src in (BERT, LLAMA):
        sizes = {}
        for kind in TYPES:
            code, d, err = quantize(src, out, kind)
            check("%s %s: %d %s" % (src, kind, code, err), code == 0 and d.get("type") == kind and not err.strip())
            sizes[kind] = d["bytes_after"]
            check("%s: sizes" % kind, os.path.getsize(out) == d["bytes_after"] and d["bytes_before"] == os.path.getsize(src))
            loss = 1 - d["cosine_mean"] if src == BERT else d["kld_mean"]
            limit = {"F": 1e-4, "B": 1e-3, "8": 5e-3}.get(kind[0] if kind[0] in "FB" else kind[1], 0.3)
            check("%s loses %g" % (kind, loss), -1e-6 <= loss <= limit)
            check("speed is printed: %r" % d, d["pp_before"] > 0 and d["pp_after"] > 0)
            verb, more = ("embed", ["abc"]) if src == BERT else ("logits", ["--tokens", "1,2,3"])
            answers = {attempt(verb, "-m", out, *more, NG_CPU=level).stdout for level in ("ref", "avx2", "avx512")}
            check("%s: the levels differ" % kind, len(answers) == 1 and answers != {""})
        check("sizes: %r" % sizes, sizes["NG3"] < sizes["NG4"] < sizes["NG4_M"] and sizes["NG4"] <= sizes["Q4_K"] < sizes["Q8_0"] < sizes["F16"])
    text = attempt("quantize", LLAMA, out, "NG4").stdout
    check("the table for people: %r" % text[-400:], "KL divergence" in text and "reading" in text and "rows do not fit" in text)
    rows = [l.split() for l in attempt("inspect", out).stdout.splitlines()]
    check("inspect names the type", any("NG4" in r for r in rows))


def patched(folder, src, tensor, change):
    """A copy of src with the floats of one tensor changed."""
    path = os.path.join(folder, "patched.gguf")
    old = gguf_read.read_gguf(src)[1][tensor][2]
    values = change(list(struct.unpack("<%df" % (len(old) // 4), old)))
    data = open(src, "rb").read()
    check("the tensor's bytes are found", data.count(old) == 1)
    open(path, "wb").write(data.replace(old, struct.pack("<%df" % len(values), *values)))
    return path


def refusals(folder):
    out = os.path.join(folder, "kept.gguf")
    open(out, "w").write("as it was")
    sharp = patched(folder, LLAMA, "output_norm.weight", lambda v: [20 * x for x in v])  # logits twenty times as far apart
    code, d, err = quantize(sharp, out, "NG3")
    check("a great loss is refused: %d %r %r" % (code, d, err), code == 1 and "--accept-loss" in err and "not kept" in err and d["kld_mean"] > 1.5)
    check("OUT is as it was, nothing is left beside it", open(out).read() == "as it was" and not os.path.exists(out + ".unchecked"))
    code, d, err = quantize(sharp, out, "NG3", "--accept-loss")
    check("--accept-loss keeps it: %r" % err, code == 0 and not err and os.path.getsize(out) == d["bytes_after"])
    for bad in (float("nan"), float("inf"), -float("inf")):
        for tensor in ("token_embd.weight", "output_norm.weight"):
            code, d, err = quantize(patched(folder, LLAMA, tensor, lambda v: v[:7] + [bad] + v[8:]), out, "NG4", "--accept-loss")
            check("%g in %s: %d %r" % (bad, tensor, code, err), code == 1 and tensor in err and "row 0" in err)
    for bad in (float("nan"), float("inf")):
        for verb, model, tensor, *args in (("logits", LLAMA, "blk.1.ffn_down.weight", "--tokens", "1,2,3"), ("logits", LLAMA, "output_norm.weight", "--tokens", "1"),
                                           ("complete", LLAMA, "blk.0.attn_v.weight", "--tokens", "1,2", "-n", "2"), ("embed", BERT, "blk.0.ffn_up.weight"),
                                           ("embed", BERT, "token_embd_norm.weight")):
            r = attempt(verb, "-m", patched(folder, model, tensor, lambda v: v[:5] + [bad] + v[6:]), *args, stdin="a b c\n")
            check("%s with %g in %s: %r" % (verb, bad, tensor, r), r.returncode == 1 and "damaged" in r.stderr and not r.stdout)
    for args, code, words in ((["Q2_K"], 1, "2 bits"), (["IQ1_S"], 1, "2 bits"), (["Q2_K", "--accept-loss"], 1, "the smallest is NG3"), (["Q9_0"], 2, "choose among"), (["NG4", "--imatrix", "/nonexistent"], 1, "/nonexistent"),
                              (["NG4", "--imatrix", BERT], 1, "no importance matrix"), ([], 2, "TYPE"), (["NG4", "-f", "/nonexistent"], 1, "/nonexistent")):
        r = attempt("quantize", LLAMA, out, *args)
        check("%s: %d %r" % (args, r.returncode, r.stderr), r.returncode == code and words in r.stderr and not r.stdout)


def importance(folder):
    text, im, out = (os.path.join(folder, n) for n in ("text.txt", "im.gguf", "out.gguf"))
    open(text, "w").write("a b c d\nhello\n\nx y z\n")
    r = attempt("imatrix", "-m", BERT, "-f", text, "-o", im, "--json")
    d = json.loads(r.stdout or "{}")
    check("imatrix: %r %r" % (d, r.stderr), r.returncode == 0 and d["windows"] == 3 and d["matrices"] >= 12 and d["tokens"] > 6)
    keys, tensors = gguf_read.read_gguf(im)
    check("its keys: %r" % keys, keys["general.type"] == "imatrix" and keys["imatrix.chunk_count"] == 3 and keys["imatrix.datasets"] == ["text.txt"])
    sums, counts = tensors["blk.0.ffn_down.weight.in_sum2"], tensors["blk.0.ffn_down.weight.counts"]
    check("sums and counts", sums[0] == "F32" and len(sums[2]) == 4 * sums[1][0] and struct.unpack("<f", counts[2])[0] == d["tokens"])
    plain, weighted = (quantize(BERT, out, "NG4", *more) for more in ([], ["--imatrix", im]))
    check("%r %r" % (plain, weighted), plain[0] == weighted[0] == 0 and plain[1]["weighted"] == 0 and weighted[1]["weighted"] == d["matrices"])
    r = attempt("imatrix", "-m", BERT, "-f", text, "-o", im, "--full")
    tensors = gguf_read.read_gguf(im)[1]
    n = tensors["blk.0.ffn_down.weight.in_sum2"][1][0]
    sums, products = (struct.unpack("<%df" % (len(t[2]) // 4), t[2]) for t in
                      (tensors["blk.0.ffn_down.weight.in_sum2"], tensors["blk.0.ffn_down.weight.in_products"]))
    check("--full adds the products, whose diagonal are the sums",
          len(products) == n * (n + 1) // 2 and all(abs(products[i * (i + 1) // 2 + i] - sums[i]) <= 1e-4 * sums[i] for i in range(n)))
    check("q and k see the same", tensors["blk.0.attn_q.weight.in_products"] == tensors["blk.0.attn_k.weight.in_products"])
    full = quantize(BERT, out, "NG3", "--imatrix", im)
    check("%r" % (full,), full[0] == 0 and full[1]["weighted"] == d["matrices"])
    r = attempt("imatrix", "-m", LLAMA, "-f", text, "-o", im)
    check("a model without a tokenizer cannot read a text: %r" % r.stderr, r.returncode == 1 and "tokenizer" in r.stderr)
    for args, words in ((["-o", im], "-f FILE"), (["-f", text], "-o FILE"), (["-f", text, "-o", im, "more"], "no words")):
        r = attempt("imatrix", "-m", BERT, *args)
        check("%s: %r" % (args, r.stderr), r.returncode == 2 and words in r.stderr)


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("NANOGRID_HOME", os.path.join(folder, "home"))
        every_type(folder)
        refusals(folder)
        importance(folder)
    return check.done()


sys.exit(main())
