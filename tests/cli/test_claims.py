#!/usr/bin/env python3
"""Experts that bring route.gguf, end to end: trained from made-up texts, asked together, the same to the bit as one by one (replay
asks them so, from recorded features); one that reads other features, and one that is damaged, among them."""
import json
import os
import random
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import NANOGRID, check, run, write  # noqa: E402

LETTERS = {"x": "abc", "y": "def", "z": "ghi", "w": "jkl"}


def texts(name, n, seed):
    rng = random.Random(seed + name)
    return [" ".join("".join(rng.choice(LETTERS[name]) for _ in range(4)) for _ in range(5)) for _ in range(n)]


def train(home, name):
    folder = os.path.join(home, "packages", name)
    os.makedirs(folder)
    for part, n in (("train", 60), ("dev", 30)):
        rows = [("here", t) for t in texts(name, n, part)] + [("elsewhere", t) for o in LETTERS if o != name for t in texts(o, n // 2, part)]
        write(os.path.join(folder, part + ".tsv"), "label\ttext\n" + "".join("%s\t%s\n" % r for r in rows))
    features = "{bits: 14, words: 1, char_min: 2, char_max: %d, rows: 4096}" % (3 if name == "z" else 2)
    write(os.path.join(folder, "recipe.yaml"), "name: %s\noutput: route.gguf\ntask: classify\nlabels: [elsewhere, here]\ndata:\n  train: [{file: ./train.tsv}]\n  dev: [{file: ./dev.tsv}]\n"
          "features: %s\ntraining: {epochs: 4}\n" % (name, features))
    run("train", os.path.join(folder, "recipe.yaml"), "--out", folder)
    os.link(os.path.join(folder, "route.gguf"), os.path.join(folder, "model.gguf"))


def main():
    home = tempfile.mkdtemp()
    grid = os.path.join(home, "grid.yaml")
    write(grid, "embedded: false\ncache: {exact: 0}\nexperts:\n" + "".join("  - {name: %s, task: classify, model: %s}\n" % (n, n) for n in LETTERS))
    for name in LETTERS:
        train(home, name)
    asked = [(n, t) for n in LETTERS for t in texts(n, 25, "test")]
    write(os.path.join(home, "texts"), "".join(t + "\n" for _, t in asked))
    with open(os.path.join(home, "texts")) as f:
        p = subprocess.run([NANOGRID, "run", "--task", "classify", "--lines", "--json"], stdin=f, capture_output=True, text=True, env={**os.environ, "NANOGRID_HOME": home})
    said = [json.loads(line) for line in p.stdout.splitlines()]
    right = sum(a["expert"] == n for a, (n, _) in zip(said, asked))
    check("%d of 100 find their expert: %s" % (right, p.stderr[-200:]), len(said) == 100 and right >= 90)
    again = json.loads(run("replay", "--json", "--flips", "5", NANOGRID_HOME=home).stdout)
    check("one by one they say the same: %s" % json.dumps(again)[:600], again["replayed"] == 100 and not again["changed"] if "replayed" in again and "changed" in again else False)

    route = os.path.join(home, "packages", "y", "route.gguf")
    with open(route, "rb") as f:
        data = f.read()
    os.unlink(route)
    with open(route, "wb") as f:
        f.write(data[:len(data) // 2])
    a = json.loads(run("route", "--task", "classify", "--json", asked[0][1], NANOGRID_HOME=home).stdout)
    check("a damaged one has no word, the others go on: %s" % a, a["expert"] == "x" and "y" not in a["scores"])
    sys.exit(check.done())


main()
