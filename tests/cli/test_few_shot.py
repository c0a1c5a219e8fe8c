#!/usr/bin/env python3
"""train --few-shot and labels that a request brings, on a BERT of 20,000 weights: a head that predicts, an honest
accuracy, the same bytes twice, bad input told."""
import json
import os
import random
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import NANOGRID, check, read, run, write  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
BASE = os.path.abspath(os.path.join(HERE, "..", "golden", "bert-tiny-f32.gguf"))


def main():
    work = tempfile.mkdtemp()
    at = lambda name: os.path.join(work, name)
    rng = random.Random(3)
    words = {"x": "abc", "y": "def", "z": "ghi"}
    text = lambda letters: " ".join("".join(rng.choice(letters) for _ in range(2)) for _ in range(4))
    examples = {label: [text(letters) for _ in range(8)] for label, letters in words.items()}
    spec = {"name": "toy", "labels": {k: {"examples": v} for k, v in examples.items()}}
    spec["labels"]["x"]["description"] = "aa bb cc"
    write(at("toy.yaml"), json.dumps(spec))

    r = json.loads(run("train", "--few-shot", at("toy.yaml"), "-m", BASE, "--json").stdout)
    check("the result: %s" % r, r["labels"] == 3 and r["examples"] == 25 and 0.6 < r["accuracy"] <= 1)
    check("the file stands beside the labels: %s" % r, r["model"] == at("toy.gguf") and "oos_threshold" not in r)
    n = 60
    write(at("texts"), "".join(text(words["xyz"[i % 3]]) + "\n" for i in range(n)))
    said = predict_lines(at("toy.gguf"), at("texts"))
    right = sum(a["label"] == "xyz"[i % 3] for i, a in enumerate(said))
    check("new texts: %d of %d, promised %s" % (right, n, r["accuracy"]), len(said) == n and abs(right / n - r["accuracy"]) < 0.25 and right / n > 0.6)
    check("confidence is calibrated", all(0 < a["confidence"] <= 1 for a in said))
    run("train", "--few-shot", at("toy.yaml"), "-m", BASE, "--out", at("again"), "-t", "1")
    check("the same bytes twice", read(at("again/toy.gguf")) == read(at("toy.gguf")))

    write(at("second.yaml"), json.dumps({**spec, "name": "second", "encoder": "toy.gguf", "out_of_scope": ["mm nn oo", "qq rr ss"]}))
    r = json.loads(run("train", "--few-shot", at("second.yaml"), "--json").stdout)
    check("out-of-scope texts set a threshold: %s" % r, 0 < r["oos_threshold"] <= 1)
    first = json.loads(run("predict", "-m", at("second.gguf"), "--head", "toy", "--json", "ab ba").stdout)
    check("the encoder keeps its other heads", first["label"] == json.loads(run("predict", "-m", at("toy.gguf"), "--json", "ab ba").stdout)["label"])

    for change, what, code in (({"labels": {"x": {"examples": ["a"]}}}, "1 labels", 2), ({"labels": {"x": {"examples": ["a b"]}, "y": {"examples": ["A  b!"]}}}, "also stands under", 2),
                               ({"labels": {"x": {"examples": ["a"]}, "y": {}}}, "'y' has neither", 2), ({"name": "no/name"}, "name 'no/name'", 2),
                               ({"labels": {"x": {"exampels": ["a"]}}}, "exampels", 2), ({"encoder": "nowhere.gguf"}, "nowhere.gguf", 1)):
        write(at("bad.yaml"), json.dumps({**spec, "name": "bad", **change}))
        args = ("train", "--few-shot", at("bad.yaml")) + (() if "encoder" in change else ("-m", BASE))
        check("bad input names '%s'" % what, what in run(*args, want=code).stderr)
        check("no model of bad input", not os.path.exists(at("bad.gguf")))
    check("an encoder is needed", "no encoder is named" in run("train", "--few-shot", at("toy.yaml"), want=2).stderr)
    check("a name that is taken", "already carries" in run("train", "--few-shot", at("toy.yaml"), "-m", at("toy.gguf"), "--out", at("x"), want=2).stderr)
    run("train", at("toy.yaml"), "-m", BASE, want=2)

    write(at("grid.yaml"), "embedded: false\nmodels: {bert: {path: %s}, tuned: {path: toy.gguf}}\nexperts:\n" % BASE
          + "  - {name: tuned, task: classify, model: tuned, head: toy}\n  - {name: open, task: classify, model: bert}\n")
    env = {"NANOGRID_HOME": at("home")}
    r = json.loads(run("run", "--grid", at("grid.yaml"), "--task", "classify", "--labels", "ab ba,hh_ig", "--json", "bb ab", **env).stdout)
    check("labels of the request: %s" % r, r["expert"] == "open" and r["label"] in ("ab ba", "hh_ig") and r["confidence"] is None)
    check("their scores: %s" % r, abs(sum(r["scores"].values()) - 1) < 1e-4 and set(r["scores"]) == {"ab ba", "hh_ig"})
    check("an encoder without labels asks for some", "name some" in run("run", "--grid", at("grid.yaml"), "--expert", "open", "x", want=2, **env).stderr)
    return check.done()


def predict_lines(model, path):
    with open(path) as f:
        r = subprocess.run([NANOGRID, "predict", "-m", model, "--lines", "--json"], stdin=f, capture_output=True, text=True)
    check("predict --lines: %s" % r.stderr, r.returncode == 0)
    return [json.loads(l) for l in r.stdout.splitlines()]


sys.exit(main())
