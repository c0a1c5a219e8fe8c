#!/usr/bin/env python3
"""GLUE's CoLA, MRPC, SST-2 and STS-B on an encoder, as a benchmark only: what is trained here does not ship.

    bench/glue.py build/nanogrid models/encoder-en/model.gguf [--tune] [--set cola|mrpc] [--epochs N --batch N --rate X]

CoLA and MRPC are trained on the encoder as it is (all its weights), each by itself, on nine tenths of their training texts; a pair of MRPC is read as one
sequence, [CLS] first [SEP] second [SEP].  The epoch that is best on the last tenth is kept; --tune prints the figures of that tenth and leaves
the test sets alone: so were the settings chosen.  SST-2 and STS-B are those of the package's card.  Prints a line of
JSON for each and the mean of CoLA's MCC, SST-2's accuracy, MRPC's F1 and STS-B's Spearman correlation, times 100.  CoLA's test set here is the
out-of-domain half of the official dev set (the data set's SOURCE.md), so its figure is not quite GLUE's.  Needs NANOGRID_DATA."""
import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time

DATA = os.environ.get("NANOGRID_DATA")
SETS = {  # training file, test file, the texts' columns, the label that is looked for, GLUE's figure, epochs, batch, rate
    "cola": ("cola.train.tsv", "cola.dev.tsv", ("sentence",), "0", "mcc", 4, 32, 1e-4),  # the fewer; MCC is the same from either side
    "mrpc": ("mrpc.train.tsv", "mrpc.test.tsv", ("sentence1", "sentence2"), "1", "f1", 3, 32, 1e-4)}


def rows(path):
    with open(os.path.join(DATA, "glue_part", path), encoding="utf-8") as f:
        names = f.readline().rstrip("\n").split("\t")
        return [dict(zip(names, line.rstrip("\n").split("\t"))) for line in f]


def sources(name, columns, yes):
    """One label, `yes`, that holds or does not: it is said where its calibrated probability is at least one half."""
    file = "file: ./%s.tsv, text: text, " % name + ("second: second, " if len(columns) > 1 else "")
    return '[{%swhere: ["label=%s"], positive: [yes]}, {%swhere: ["label!=%s"], negative: [yes]}]' % (file, yes, file, yes)


def write_data(work, name, parts):
    """A recipe of the data, its files beside it."""
    columns, yes = SETS[name][2:4]
    for part, data in parts.items():
        with open("%s/%s.%s.tsv" % (work, name, part), "w", encoding="utf-8") as f:
            f.write("label\ttext\tsecond\n" + "".join("\t".join([r["label"], *(r[c] for c in columns), ""][:3]) + "\n" for r in data))
    with open("%s/%s.yaml" % (work, name), "w") as f:
        f.write("name: %s\ntask: moderate\nlicence: none\nlabels: [yes]\ndata: {%s}\n" % (name, ", ".join("%s: %s" % (p, sources(name + "." + p, columns, yes)) for p in parts)))


def figures(x, data, yes):
    """F1 and MCC of `yes` from eval's F1 and accuracy, which fix all four counts."""
    n, positive, f1 = len(data), sum(r["label"] == yes for r in data), x["yes_f1"]
    wrong = round((1 - x["yes_accuracy"]) * n)
    tp = round(f1 * wrong / (2 * (1 - f1))) if f1 < 1 else positive
    fn = positive - tp
    fp, tn = wrong - fn, n - positive - (wrong - fn)
    under = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return {"texts": n, "accuracy": (tp + tn) / n, "f1": f1, "mcc": (tp * tn - fp * fn) / under if under else 0}


def run(o, work, name):
    train, test, _, yes, _, epochs, batch, rate = SETS[name]
    epochs, batch, rate = o.epochs or epochs, o.batch or batch, o.rate or rate
    data, start = rows(train), time.time()
    parts = {"train": [r for i, r in enumerate(data) if i % 10], "dev": data[::10]}
    parts["test"] = parts["dev"] if o.tune else rows(test)
    write_data(work, name, parts)
    recipe = "%s/run-%s.yaml" % (work, name)
    with open(recipe, "w") as f:
        f.write("name: glue\ntask: encoder\nbase: {model: %s, context: 128}\nheads: [{name: %s, recipe: %s.yaml, pooling: %s}]\n"
                "training: {epochs: %d, batch: %d, rate: %g, warmup: 0.1, patience: %d, checkpoint: 20m}\n" % (os.path.abspath(o.model), name, name, o.pooling, epochs, batch, rate, epochs))
    out = os.path.join(work, name)
    subprocess.run([o.nanogrid, "train", recipe, "--out", out, *(["-t", str(o.threads)] if o.threads else [])], check=True, stdout=subprocess.DEVNULL if not o.verbose else None)
    got = json.loads(subprocess.run([o.nanogrid, "eval", recipe, "--dir", out, "--json"], capture_output=True, text=True, check=True).stdout)[name]
    x = figures(got, parts["test"], yes)
    print(json.dumps({"set": name, "of": "tune" if o.tune else "test", **{k: round(v, 4) for k, v in x.items()}, "seconds": round(time.time() - start)}), flush=True)
    return x


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("nanogrid")
    p.add_argument("model")
    p.add_argument("--set", choices=SETS, help="one of the two alone")
    p.add_argument("--tune", action="store_true")
    p.add_argument("--epochs", type=int)
    p.add_argument("--batch", type=int)
    p.add_argument("--rate", type=float)
    p.add_argument("--pooling", default="mean", choices=("mean", "first"))
    p.add_argument("--threads", type=int)
    p.add_argument("--verbose", action="store_true", help="the training's own lines too")
    p.add_argument("--card", help="card.json with SST-2 and STS-B (the one beside the model)")
    o = p.parse_args()
    if not DATA:
        print("glue: SKIPPED: NANOGRID_DATA is not set")
        return 77
    with open(o.card or os.path.join(os.path.dirname(os.path.abspath(o.model)), "card.json")) as f:
        card = json.load(f)["figures"]
    got = {}
    with tempfile.TemporaryDirectory() as work:
        for name in [o.set] if o.set else SETS:
            got[name] = run(o, work, name)[SETS[name][4]]
    if o.set:
        return 0
    got["sst2"], got["stsb"] = card["sentiment"]["accuracy"], card["embed"]["spearman"]
    print(json.dumps({"set": "mean", **{k: round(100 * v, 2) for k, v in got.items()}, "mean": round(25 * sum(got.values()), 2)}))
    return 0


sys.exit(main())
