#!/usr/bin/env python3
"""GLUE's CoLA, MRPC, SST-2 and STS-B on an encoder, as a benchmark only: what is trained here does not ship.

    bench/glue.py build/nanogrid models/encoder-en/model.gguf [--epochs 4] [--rate 2e-4] [--card models/encoder-en/card.json]

CoLA and MRPC are trained on the encoder as it is (all its weights), each by itself; a pair of MRPC is one text, its halves
one behind the other.  SST-2 and STS-B are those of the package's card.  Prints a line of
JSON for each and the mean of CoLA's MCC, SST-2's accuracy, MRPC's F1 and STS-B's Spearman correlation, times 100.  CoLA's test set here is the
out-of-domain half of the official dev set (the data set's SOURCE.md), so its figure is not quite GLUE's.  Needs NANOGRID_DATA."""
import argparse
import json
import math
import os
import subprocess
import sys
import tempfile

DATA = os.environ.get("NANOGRID_DATA")


def rows(path):
    with open(os.path.join(DATA, "glue_part", path), encoding="utf-8") as f:
        names = f.readline().rstrip("\n").split("\t")
        return [dict(zip(names, line.rstrip("\n").split("\t"))) for line in f]


def text_of(row):
    return row["sentence"] if "sentence" in row else row["sentence1"] + " . " + row["sentence2"]


def write(path, data):
    with open(path, "w", encoding="utf-8") as f:
        f.write("text\tlabel\n" + "".join("%s\t%s\n" % (text_of(r), {"0": "no", "1": "yes"}[r["label"]]) for r in data))


def train(o, work, name, data):
    """Trains on nine tenths, stops where the last tenth is best."""
    part = [r for i, r in enumerate(data) if i % 10]
    write(os.path.join(work, name + ".train.tsv"), part)
    write(os.path.join(work, name + ".dev.tsv"), data[::10])
    with open(os.path.join(work, name + ".yaml"), "w") as f:
        f.write("name: %s\ntask: classify\ndata: {train: [{file: ./%s.train.tsv}], dev: [{file: ./%s.dev.tsv}]}\n" % (name, name, name))
    recipe = os.path.join(work, "run-%s.yaml" % name)
    with open(recipe, "w") as f:
        f.write("name: glue\ntask: encoder\nbase: {model: %s, context: 128}\nheads: [{name: %s, recipe: %s.yaml, pooling: first}]\n"
                "training: {epochs: %d, batch: 16, rate: %g, warmup: 0.1, patience: %d}\n" % (os.path.abspath(o.model), name, name, o.epochs, o.rate, o.epochs))
    subprocess.run([o.nanogrid, "train", recipe, "--out", os.path.join(work, name)], check=True, stdout=subprocess.DEVNULL)
    return os.path.join(work, name, "model.gguf")


def answers(o, model, name, data):
    text = "\n".join(text_of(r) for r in data) + "\n"
    out = subprocess.run([o.nanogrid, "predict", "-m", model, "--head", name, "--lines", "--json"], input=text, capture_output=True, text=True, check=True).stdout
    return [json.loads(line)["label"] == "yes" for line in out.splitlines()]


def figures(said, data):
    want = [r["label"] == "1" for r in data]
    tp, tn = sum(a and b for a, b in zip(said, want)), sum(not a and not b for a, b in zip(said, want))
    fp, fn = sum(a and not b for a, b in zip(said, want)), sum(not a and b for a, b in zip(said, want))
    under = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return {"texts": len(data), "accuracy": (tp + tn) / len(data), "f1": 2 * tp / max(1, 2 * tp + fp + fn), "mcc": (tp * tn - fp * fn) / under if under else 0}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("nanogrid")
    p.add_argument("model")
    p.add_argument("--epochs", type=int, default=4)
    p.add_argument("--rate", type=float, default=2e-4)
    p.add_argument("--card", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "models", "encoder-en", "card.json"))
    o = p.parse_args()
    if not DATA:
        print("glue: SKIPPED: NANOGRID_DATA is not set")
        return 77
    with open(o.card) as f:
        card = json.load(f)["figures"]
    got = {}
    with tempfile.TemporaryDirectory() as work:
        for name, test, what in (("cola", "cola.dev.tsv", "mcc"), ("mrpc", "mrpc.test.tsv", "f1")):
            data = rows(test)
            x = figures(answers(o, train(o, work, name, rows(name + ".train.tsv")), name, data), data)
            got[name] = x[what]
            print(json.dumps({"set": name, **{k: round(v, 4) for k, v in x.items()}}), flush=True)
    got["sst2"], got["stsb"] = card["sentiment"]["accuracy"], card["embed"]["spearman"]
    print(json.dumps({"set": "mean", **{k: round(100 * v, 2) for k, v in got.items()}, "mean": round(25 * sum(got.values()), 2)}))
    return 0


sys.exit(main())
