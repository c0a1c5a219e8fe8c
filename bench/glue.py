#!/usr/bin/env python3
"""GLUE as a benchmark of the shared encoder, never shipped: CoLA and MRPC, fine-tuned one by one, beside SST-2 and STS-B of the package's card.

    bench/glue.py build/nanogrid models/encoder-en/model.gguf [--set cola] [--tune]

Nine tenths of the training texts train a head of two labels and the encoder under it, a tenth scores the epochs (nothing is chosen by it).  With --tune the
figures are those of this tenth, else of the test file: settings are to be chosen with --tune.  Figures as GLUE's: Matthews' correlation, F1 of the paraphrases,
accuracy and here, of STS-B, Spearman's correlation, times 100.  CoLA's test set is the out-of-domain half of the official dev set (the data set's SOURCE.md),
so its figure is not quite GLUE's.  Needs NANOGRID_DATA."""
import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "support"))
from gguf_read import read_gguf  # noqa: E402

DATA = os.environ.get("NANOGRID_DATA")
SETS = {  # training file, test file, the texts' columns, GLUE's figure, epochs, batch, rate
    "cola": ("cola.train.tsv", "cola.dev.tsv", ("sentence",), "mcc", 5, 32, 5e-5),
    "mrpc": ("mrpc.train.tsv", "mrpc.test.tsv", ("sentence1", "sentence2"), "f1", 3, 32, 1e-4)}


def rows(path):
    with open(os.path.join(DATA, "glue_part", path), encoding="utf-8") as f:
        names = f.readline().rstrip("\n").split("\t")
        return [dict(zip(names, line.rstrip("\n").split("\t"))) for line in f]


def write_data(work, name, parts):
    """A recipe of the data, its files beside it."""
    columns = SETS[name][2]
    columns_key = "text: text" + (", second: second" if len(columns) > 1 else "")
    for part, data in parts.items():
        with open("%s/%s.%s.tsv" % (work, name, part), "w", encoding="utf-8") as f:
            f.write("label\ttext\tsecond\n" + "".join("\t".join([r["label"], *(r[c] for c in columns), ""][:3]) + "\n" for r in data))
    with open("%s/%s.yaml" % (work, name), "w") as f:
        f.write("name: %s\ntask: classify\nlicence: none\nlabels: [no, yes]\ndata:\n" % name)
        f.write("".join('  %s: [{file: ./%s.%s.tsv, %s, rename: ["0=no", "1=yes"]}]\n' % (p, name, p, columns_key) for p in parts))


def figures(gold, said):
    tp, fp = (sum(s and g == want for g, s in zip(gold, said)) for want in (1, 0))
    fn, tn = (sum(not s and g == want for g, s in zip(gold, said)) for want in (1, 0))
    under = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return {"texts": len(gold), "accuracy": (tp + tn) / len(gold), "f1": 2 * tp / max(2 * tp + fp + fn, 1), "mcc": (tp * tn - fp * fn) / under if under else 0}


def run(o, work, name):
    train, test, _, figure, *settings = SETS[name]
    epochs, batch, rate = (given or known for given, known in zip((o.epochs, o.batch, o.rate), settings))
    data, start = rows(train), time.time()
    parts = {"train": [r for i, r in enumerate(data) if i % 10], "dev": data[::10]}
    parts["test"] = parts["dev"] if o.tune else rows(test)
    write_data(work, name, parts)
    recipe, out = "%s/run-%s.yaml" % (work, name), os.path.join(work, name)
    with open(recipe, "w") as f:
        f.write("name: glue\ntask: encoder\nbase: {model: %s, context: 128}\nheads: [{name: %s, recipe: %s.yaml, pooling: %s}]\n"
                "training: {epochs: %d, batch: %d, rate: %g, warmup: 0.1, checkpoint: 20m}\n" % (os.path.abspath(o.model), name, name, o.pooling, epochs, batch, rate))
    if not os.path.exists(out + "/model.gguf"):
        subprocess.run([o.nanogrid, "train", recipe, "--out", out, *(["-t", str(o.threads)] if o.threads else [])], check=True, stdout=None if o.verbose else subprocess.DEVNULL)
    subprocess.run([o.nanogrid, "eval", recipe, "--dir", out, "--card", "--json"], stdout=subprocess.DEVNULL, check=True)
    keys = read_gguf("%s/%s.scores.gguf" % (out, name))[0]
    x = figures(keys["nanogrid.test.gold"], keys["nanogrid.test.predicted"])
    print(json.dumps({"set": name, "of": "tune" if o.tune else "test", **{k: round(v, 4) for k, v in x.items()}, "seconds": round(time.time() - start)}), flush=True)
    return x[figure]


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
    p.add_argument("--keep", help="a folder where the trained encoders stay; one that stands there is not trained again")
    p.add_argument("--card", help="card.json with SST-2 and STS-B (the one beside the model)")
    o = p.parse_args()
    if not DATA:
        print("glue: SKIPPED: NANOGRID_DATA is not set")
        return 77
    with tempfile.TemporaryDirectory() as work:
        os.makedirs(o.keep or work, exist_ok=True)
        got = {name: run(o, o.keep or work, name) for name in ([o.set] if o.set else SETS)}
    if o.set:
        return 0
    with open(o.card or os.path.join(os.path.dirname(os.path.abspath(o.model)), "card.json")) as f:
        card = json.load(f)["figures"]
    got["sst2"], got["stsb"] = card["sentiment"]["accuracy"], card["embed"]["spearman"]
    print(json.dumps({"set": "mean", **{k: round(100 * v, 2) for k, v in got.items()}, "mean": round(25 * sum(got.values()), 2)}))
    return 0


sys.exit(main())
