#!/usr/bin/env python3
"""What compression costs an encoder's heads, on their official test sets.

    bench/compression.py build/nanogrid models/encoder-en/model.gguf [--rows ffn,third] [--steps 500] [--heads intent,topic] [--threads 2]
    bench/compression.py build/nanogrid WHOLE.gguf --rows q4 [--type Q4_0]

ffn: a fifth of the inner width goes; at most 1 point may be lost.  third: 30 % of all weights go (rare words, inner width, attention
heads); at most 2 points, at 1.25 times the speed.  Both recover by learning from the whole model.  q4: a model of weights that were never
rounded (F32 or F16) is rounded to four bits as it is, and again after steps that see their weights rounded; at most 0.5 points a head.
Pruning is tried on four heads, and recovers on 6,000 training texts each of CLINC150 and TagMyNews, all of SST-2 and TREC; rounding on all heads of
recipes/encoder-en.yaml that the model has, and recovers on a tenth of the training texts of the others.  Time is processor time on one thread, both models in turns,
so that other work on the machine tells little.  Exit code 1 where a row misses.  Needs NANOGRID_DATA."""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "support"))
from gguf_read import read_gguf  # noqa: E402

TREC = 'label: coarse, rename: ["ABBR=abbreviation", "DESC=description", "ENTY=entity", "HUM=human", "LOC=location", "NUM=number"]'
SST2 = 'rename: ["0=negative", "1=positive"]'
NEWS = 'text: title, where: ["title!="]'
DATA = {  # train, dev, test
    "intent": ("clinc150/train.tsv, limit: 6000", "clinc150/val.tsv", "clinc150/test.tsv"),
    "sentiment": ("sst2/train.tsv, " + SST2, "sst2/dev.tsv, " + SST2, "sst2/test.tsv, " + SST2),
    "question-type": ("trec/train.tsv, %s, hash: {of: 20, keep: [%s]}" % (TREC, ", ".join(map(str, range(1, 20)))),
                      "trec/train.tsv, %s, hash: {of: 20, keep: [0]}" % TREC, "trec/test.tsv, " + TREC),
    "topic": ("tagmynews/train.tsv, limit: 6000, " + NEWS, "tagmynews/dev.tsv, " + NEWS, "tagmynews/test.tsv, " + NEWS)}
PRUNE = {"ffn": ("", "inner: 0.2", 1, 0), "third": (", words: 12000", "inner: 0.45, heads: 3", 2, 1.25)}


def shipped_heads():
    """name: (recipe, tail) of recipes/encoder-en.yaml."""
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "recipes")
    with open(os.path.join(folder, "encoder-en.yaml")) as f:
        found = re.findall(r"^  - \{name: ([\w-]+), recipe: ([^,}]+)", f.read(), re.M)
    return {name: os.path.realpath(os.path.join(folder, recipe)) for name, recipe in found}


def write_recipe(o, work, name, base, middle, training):
    """A recipe for the heads that are asked for and that the model has."""
    keys = read_gguf(o.model)[0]
    shipped, heads = shipped_heads(), []
    for h in keys["nanogrid.heads"]:
        if h not in (o.heads or (DATA if name in PRUNE else shipped)) or (h not in DATA and h not in shipped):
            continue
        recipe = "%s/%s.yaml" % (work, h)
        if h in DATA:
            with open(recipe, "w") as f:
                f.write("name: %s\ntask: classify\nlicence: none\ndata:\n%s" % (h, "".join("  %s: [{file: %s}]\n" % x for x in zip(("train", "dev", "test"), DATA[h]))))
        else:
            recipe = shipped[h]
        heads.append("{name: %s, recipe: %s, pooling: %s%s}" % (h, recipe, "first" if keys["nanogrid.head.%s.pooling" % h] == 2 else "mean", "" if h in DATA else ", share: 0.1"))
    path = "%s/%s.yaml" % (work, name)
    with open(path, "w") as f:
        f.write("name: %s\ntask: encoder\nbase: {model: %s}\nheads:\n%s" % (name, base, "".join("  - %s\n" % h for h in heads)))
        f.write("%straining: {epochs: 20, steps: %d, batch: 32, rate: %g, warmup: 0.1%s}\n" % (middle, o.steps, o.rate, training))
    return path


def accuracies(o, recipe, folder):
    """Of each head what its card tells first: accuracy of labels, F1 of several labels at once and of spans, Spearman's correlation, .."""
    out = subprocess.run([o.nanogrid, "eval", recipe, "--dir", folder, "--json"], capture_output=True, text=True, check=True).stdout
    figures = {h: x for h, x in json.loads(out).items() if isinstance(x, dict)}
    of_labels = {h: "labels" in x and "toxicity_f1" not in x for h, x in figures.items()}
    return {h: next(x[k] for k in (("accuracy",) if of_labels[h] else ("f1", "spearman", "mrr", "rouge1", "accuracy")) if k in x) for h, x in figures.items()}


def folder_of(work, name, model):
    os.mkdir(os.path.join(work, name))
    os.symlink(os.path.abspath(model), os.path.join(work, name, "model.gguf"))
    return os.path.join(work, name)


def n_weights(model):
    total = 0
    for name, (_, dims, _) in read_gguf(model)[1].items():
        n = 1
        for d in dims:
            n *= d
        total += 0 if name.startswith("head.") else n
    return total


def cpu_seconds(o, model, head, texts):
    p = subprocess.Popen([o.nanogrid, "predict", "-m", model, "--head", head, "--lines", "--json", "-t", "1"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    p.stdin.write(texts)
    p.stdin.close()
    return os.wait4(p.pid, 0)[2].ru_utime


def times_as_fast(o, a, b, head):
    """Of 1,000 texts, what it takes to open the file taken off; the best of three turns each."""
    with open(os.path.join(os.environ["NANOGRID_DATA"], "sst2", "train.tsv"), encoding="utf-8") as f:
        texts = "".join(line.split("\t")[1] for line in f.readlines()[1:1001])
    best = {}
    for _ in range(3):
        for model in a, b:
            for kind, text in (("open", "a\n"), ("all", texts)):
                best[model, kind] = min(best.get((model, kind), 1e9), cpu_seconds(o, model, head, text))
    return (best[a, "all"] - best[a, "open"]) / (best[b, "all"] - best[b, "open"])


def lost(before, after, most):
    """Prints both and says whether no head lost more than `most` points."""
    for h, x in before.items():
        print("  %-16s %7.2f %7.2f %+7.2f" % (h, 100 * x, 100 * after[h], 100 * (after[h] - x)))
    return all(100 * (x - after[h]) <= most for h, x in before.items())


def pruned(o, work, row, before):
    base, how, most, speed = PRUNE[row]
    recipe = write_recipe(o, work, row, os.path.abspath(o.model) + base, "weights: Q8_0\nprune: {%s}\nlimit: {drop: 100}\n" % how, "")
    subprocess.run([o.nanogrid, "prune", recipe, "--out", os.path.join(work, row), *o.t], capture_output=True, check=True)
    made = os.path.join(work, row, "model.gguf")
    a, b, fast = n_weights(o.model), n_weights(made), times_as_fast(o, o.model, made, next(iter(before)))
    print("%s: %s; %d weights of %d, %.1f %% less; %.2f times as fast" % (row, how + base, b, a, 100 - 100 * b / a, fast))
    ok = lost(before, accuracies(o, recipe, os.path.join(work, row)), most) and fast >= speed
    print("  at most %g points%s: %s" % (most, " at %g times the speed" % speed if speed else "", "yes" if ok else "NO"), flush=True)
    return ok


def recovered(o, work, before):
    plain = os.path.join(work, "plain.gguf")
    subprocess.run([o.nanogrid, "quantize", o.model, plain, o.type], check=True, capture_output=True)
    recipe = write_recipe(o, work, "q4", os.path.abspath(o.model), "weights: %s\nhead_weights: Q8_0\n" % o.type, ", rounded: true")
    rounded = accuracies(o, recipe, folder_of(work, "plain", plain))
    subprocess.run([o.nanogrid, "train", recipe, "--out", os.path.join(work, "q4"), *o.t], capture_output=True, check=True)
    print("q4: %s as it is" % o.type)
    lost(before, rounded, 0.5)
    print("q4: %s with recovery" % o.type)
    ok = lost(before, accuracies(o, recipe, os.path.join(work, "q4")), 0.5)
    print("  at most 0.5 points a head: %s" % ("yes" if ok else "NO"), flush=True)
    return ok


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("nanogrid")
    p.add_argument("model")
    p.add_argument("--rows", default="ffn,third")
    p.add_argument("--type", default="Q4_0")
    p.add_argument("--steps", type=int, default=500)
    p.add_argument("--rate", type=float, default=1e-4)
    p.add_argument("--heads", type=lambda x: x.split(","), help="these alone")
    p.add_argument("--threads", type=int)
    o = p.parse_args()
    o.t = ["-t", str(o.threads)] if o.threads else []
    if not os.environ.get("NANOGRID_DATA"):
        print("compression: SKIPPED: NANOGRID_DATA is not set")
        return 77
    with tempfile.TemporaryDirectory() as work:
        folder, ok, before = folder_of(work, "before", o.model), [], {}
        for row in o.rows.split(","):
            if (row in PRUNE) not in before:
                before[row in PRUNE] = accuracies(o, write_recipe(o, work, row, os.path.abspath(o.model), "", ""), folder)
            ok.append(pruned(o, work, row, before[True]) if row in PRUNE else recovered(o, work, before[False]))
    return 0 if all(ok) else 1


sys.exit(main())
