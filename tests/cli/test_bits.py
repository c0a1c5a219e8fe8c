#!/usr/bin/env python3
"""The same bytes everywhere: logits, vectors and generations of small models, and the files that quantize writes, have the
digests of tests/golden/bits.json on every machine and at every NG_CPU level (all that run here; where NG_CPU is set, that
one). The models are the golden ones, and the conformance fixtures where NANOGRID_FIXTURES has them; NANOGRID_BITS_REAL=1 adds
SmolLM2-135M. `test_bits.py --write` makes the file anew: only when what the engine computes was changed on purpose."""
import glob
import hashlib
import json
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
import models  # noqa: E402
from checks import attempt, read  # noqa: E402

GOLDEN = os.path.join(HERE, "..", "golden")
KEPT = os.path.join(GOLDEN, "bits.json")
LEVELS = ("ref", "avx2", "avx512", "amx", "neon", "dotprod", "i8mm")
LONG = ",".join(str(i * 7 % 48) for i in range(70))


def digest(args, level, stdin=b""):
    r = attempt(*args, stdin=stdin, NG_CPU=level)
    if r.returncode:
        return "exit %d: %s" % (r.returncode, r.stderr.decode().strip())
    out = json.loads(r.stdout)
    out.pop("timings", None)
    return hashlib.sha256(json.dumps(out).encode()).hexdigest()[:32]


def cases():
    """(name, arguments, standard input): what is asked of each model."""
    for name in ("llama-tiny-f32", "llama-tiny-mixed"):
        model = os.path.join(GOLDEN, name + ".gguf")
        yield name + " logits", ["logits", "-m", model, "--tokens", LONG], b""
        for kv in ("f16", "q8"):
            yield name + " complete " + kv, ["complete", "-m", model, "--tokens", LONG, "-n", "24", "--logprobs", "3", "--temp", "0", "--kv", kv], b""
    for name in ("bert-tiny-f32", "bert-tiny-mixed"):
        yield name, ["embed", "-m", os.path.join(GOLDEN, name + ".gguf")], b"abc\nx y z\nabcdefgh ijklmnop qrstuvwxyz a b c d e f g h\n"
    root = os.path.join(os.environ.get("NANOGRID_FIXTURES") or "/nonexistent", "public")
    for path in sorted(glob.glob(os.path.join(root, "llama*", "*.gguf"))):
        name = os.path.relpath(path, root)
        yield name, ["logits", "-m", path, "--tokens", LONG], b""
    if os.environ.get("NANOGRID_BITS_REAL") == "1":
        real = models.smollm2()
        if real:
            yield "SmolLM2-135M Q4_1", ["logits", "-m", real, "--tokens", "504,3575,282,4649,314"], b""
        else:
            print("SKIP SmolLM2-135M: " + models.reason)
    else:
        print("SKIP SmolLM2-135M: NANOGRID_BITS_REAL is not set to 1")


def quantised(level):
    """{name: digest} of files that quantize writes, and of what they answer."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "NG4_M", "NG4", "NG3"):
            name, out = "llama-tiny-f32 to " + kind, os.path.join(folder, kind + ".gguf")
            r = attempt("quantize", os.path.join(GOLDEN, "llama-tiny-f32.gguf"), out, kind, "--accept-loss", NG_CPU=level)
            if r.returncode:
                found[name] = "exit %d: %s" % (r.returncode, r.stderr.strip())
                continue
            found[name] = hashlib.sha256(read(out)).hexdigest()[:32]
            found[name + " logits"] = digest(["logits", "-m", out, "--tokens", LONG, "--json"], level)
    return found


def main():
    wanted = [os.environ["NG_CPU"]] if os.environ.get("NG_CPU") else LEVELS
    levels = [x for x in wanted if attempt("doctor", "--json", NG_CPU=x).returncode == 0]
    if not os.environ.get("NANOGRID_FIXTURES"):
        print("SKIP the conformance fixtures: NANOGRID_FIXTURES is not set")
    todo, failed = list(cases()), 0
    with open(KEPT, encoding="utf-8") as f:
        kept = json.load(f)
    for level in levels:
        got = quantised(level)
        got.update((name, digest([*args, "--json"], level, stdin)) for name, args, stdin in todo)
        if "--write" in sys.argv[1:]:
            kept.update(got)
            with open(KEPT, "w", encoding="utf-8") as f:
                json.dump(kept, f, indent=1, sort_keys=True)
                f.write("\n")
        for name, value in got.items():
            if kept.get(name) != value:
                failed += 1
                print("FAIL %s at %s: %s, not %s" % (name, level, value, kept.get(name)))
        print("%s: %d results" % (level, len(got)))
    print("failed: %d" % failed if failed else "bits: the same at %s" % ", ".join(levels))
    return 1 if failed or not levels else 0


sys.exit(main())
