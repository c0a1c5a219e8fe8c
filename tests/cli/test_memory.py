#!/usr/bin/env python3
"""doctor -m from the outside: the parts add up, the prediction is within 5 % of what a run then holds (models of random
weights, and SmolLM2 where SMOLLM2_DIR has it), what does not fit is refused with the mend before anything is loaded; and
bench/engine says what it lacks."""
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import NANOGRID, attempt, check  # noqa: E402

BUILD = os.environ.get("BUILD_DIR", "build")
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
TINY = os.path.join(ROOT, "tests", "golden", "llama-tiny-mixed.gguf")


def doctor(model, *args, **env):
    r = attempt("doctor", "-m", model, "--json", *args, **env)
    check("doctor --json stands on one line: %r %r" % (r.stdout, r.stderr), r.stdout.count("\n") == 1)
    return json.loads(r.stdout or "{}"), r.returncode


def parts():
    d, code = doctor(TINY, "-c", 100, "-t", 2)
    names = ("weights", "panels", "tables", "kv", "scratch", "process")
    check("predicted: %s" % d, code == 0 and d["fits"] is True)
    check("the parts add up: %r" % d, d["resident_bytes"] == sum(d[n + "_bytes"] for n in names))
    check("predicted: %s" % d, d["n_ctx"] == 100 and d["threads"] == 2 and d["os_bytes"] > 0 and d["file_weights_bytes"] > 0)
    text = attempt("doctor", "-m", TINY, "-c", 100).stdout
    check(text, all(w in text for w in ("weights", "panels", "KV cache", "scratch", "resident", "available", "fits")))
    for args, code, words in ((["-c", "64"], 2, "-m"), (["-m", TINY, "-c", "-1"], 2, "-c"), (["-m", "/nonexistent.gguf"], 1, "/nonexistent"),
                              (["-m", TINY, "-c", "100000"], 2, "192"), (["-m", TINY, "-t", "300"], 2, "-t")):
        r = attempt("doctor", *args)
        check("%s: %d %r" % (args, r.returncode, r.stderr), r.returncode == code and words in r.stderr and not r.stdout)


def refusals(big):
    d, code = doctor(big, NANOGRID_MEMORY="40MB")
    check("predicted: %s" % d, code == 1 and d["fits"] is False and "NANOGRID_MEMORY" in d["refusal"])
    for args in (["bench", "-n", 4], ["logits", "--tokens", "1"], ["complete", "--tokens", "1", "-n", 2]):
        r = attempt(args[0], "-m", big, *args[1:], NANOGRID_MEMORY="40MB")
        check("%s: %r" % (args, r.stderr), r.returncode == 1 and "MiB" in r.stderr and "quantize" in r.stderr and not r.stdout.strip("[]\n"))
    # the weights fit, the whole context does not: the message names one that does
    d, _ = doctor(big, "-c", 8192)
    limit = d["resident_bytes"] + (33 << 20) - d["kv_bytes"] // 2  # 33 MiB: the system's share where there is little
    r = attempt("complete", "-m", big, "--tokens", "1", "-n", 2, "-c", 8192, "-t", 1, NANOGRID_MEMORY=str(limit))
    check(r.stderr, r.returncode == 1 and "a context of " in r.stderr)
    words = r.stderr.split("a context of ")[-1].split()
    r = attempt("complete", "-m", big, "--tokens", "1", "-n", 2, "-c", words[0], "-t", 1, "--json", NANOGRID_MEMORY=str(limit))
    check("the context that the message names runs: %r" % r.stderr, r.returncode == 0)
    r = attempt("doctor", NANOGRID_MEMORY="lots")
    check(r.stderr, r.returncode == 2 and "NANOGRID_MEMORY=lots" in r.stderr)


def prediction(model, n_ctx, home):
    if os.environ.get("SANITIZED") == "1":
        print("SKIP prediction: the sanitizers hold memory of their own")
        return
    d, _ = doctor(model, "-c", n_ctx, "-t", 2)
    for how in ("written", "cache"):  # a first load must hold no more than a second one
        r = attempt("bench", "-m", model, "-p", n_ctx, "-r", 1, "-t", 2, "--json", NANOGRID_HOME=home)
        row = json.loads(r.stdout)[0]
        off = row["rss_peak_bytes"] / d["resident_bytes"] - 1
        print("%-40s %-8s predicted %7.1f MiB, measured %7.1f MiB, %+.1f %%" % (os.path.basename(model), row["weights"],
              d["resident_bytes"] / 2**20, row["rss_peak_bytes"] / 2**20, 100 * off))
        check("%s (%s) is predicted within 5 %%" % (model, how), abs(off) <= 0.05)


def engine():
    env = {k: v for k, v in os.environ.items() if k not in ("PEERS_DIR", "SMOLLM2_DIR", "MINILM_DIR", "PEERS_PYTHON")}
    engine_path = os.path.join(ROOT, "bench", "engine")
    with tempfile.TemporaryDirectory() as folder:
        store = os.path.join(folder, "t.json")
        r = subprocess.run([sys.executable, engine_path, "--rows", "wall,start", "--quick", "--store", store], capture_output=True, text=True,
                           env=dict(env, NANOGRID=NANOGRID), timeout=100)
        check("engine names what it lacks: %r %r" % (r.stdout, r.stderr), r.returncode == 1 and r.stdout.count("not available: SMOLLM2_DIR") == 2)
        r = subprocess.run([sys.executable, engine_path, "--rows", "none", "--store", store, "--markdown"], capture_output=True, text=True, timeout=100)
        check("the stored table is printed: %r" % r.stdout, r.returncode == 1 and r.stdout.count("| missing |") == 2 and "machine:" in r.stdout)
    r = subprocess.run([sys.executable, engine_path, "--rows", "nonsense"], capture_output=True, text=True, timeout=100)
    check("an unknown group is wrong usage", r.returncode == 2 and "nonsense" in r.stderr)


def main():
    parts()
    with tempfile.TemporaryDirectory() as folder:
        models = []
        for params, kind in (("20M", "Q4_0"), ("40M", "F16")):
            models.append(os.path.join(folder, "random-%s-%s.gguf" % (params, kind)))
            r = subprocess.run([os.path.join(BUILD, "random_model"), models[-1], params, kind], capture_output=True, text=True, timeout=100)
            check(r.stderr, r.returncode == 0)
        refusals(models[1])
        for m in models:
            prediction(m, 1024, os.path.join(folder, "home"))
        real = os.path.join(os.environ.get("SMOLLM2_DIR", ""), "Q4_0.gguf")
        if os.environ.get("SMOLLM2_DIR") and os.path.exists(real):
            prediction(real, 512, os.path.join(folder, "home"))
        else:
            print("SKIP SmolLM2: SMOLLM2_DIR is not set or has no Q4_0.gguf")
    engine()
    return check.done()


sys.exit(main())
