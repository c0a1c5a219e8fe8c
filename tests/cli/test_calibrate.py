#!/usr/bin/env python3
"""calibrate on a random decoder of 48 tokens in two precisions: a fit to both, a file beside each that the grid uses and audit
judges, the same bytes from kept trials, bad input told."""
import json
import os
import random
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import check, read, run, write  # noqa: E402
from tiny_decoder import speaking  # noqa: E402

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden")
RECIPE = "name: toy\ntask: confidence\ntrain: [./train.jsonl]\ntest: [./test.jsonl]\ntraining: {hidden: 8, epochs: %d, rate: 3e-3, dropout: 0.1, seed: 1}\n"


def prompts(n, seed, **more):
    """Which letters count as right: about half of what the model says."""
    rng = random.Random(seed)
    row = lambda task: {"task": task, "prompt": "".join(rng.choice("abcdefghijklm ") for _ in range(rng.randint(3, 12))), "max_tokens": 1,
                        "match": "contains", "answers": list("abcdefgh"), **more}
    return "".join(json.dumps(row("letters" if i % 8 else "rare")) + "\n" for i in range(n))


def main():
    work = tempfile.mkdtemp()
    at = lambda name: os.path.join(work, name)
    fine, coarse = at("fine.gguf"), at("coarse.gguf")
    speaking(os.path.join(GOLDEN, "llama-tiny-f32.gguf"), fine)
    speaking(os.path.join(GOLDEN, "llama-tiny-mixed.gguf"), coarse)
    write(at("recipe.yaml"), RECIPE % 40)
    write(at("train.jsonl"), prompts(600, 1))
    write(at("test.jsonl"), prompts(400, 2))
    os.mkdir(at("trials"))

    told = json.loads(run("calibrate", at("recipe.yaml"), fine, coarse, "--trials", at("trials"), "--json").stdout)
    check("both precisions' prompts are fitted to, one's are held out: %s" % told, told["train"] > 650 and 100 < told["calibration"] < 200)
    check("a file beside each: %s" % told, [m["file"] for m in told["models"]] == [at("fine.confidence.gguf"), at("coarse.confidence.gguf")])
    for m in told["models"]:
        rare, letters = m["tasks"]
        check("the letters are judged: %s" % letters, letters["task"] == "letters" and letters["n"] == 350 and 50 <= letters["right"] <= 300)
        check("what is right is told from what is wrong: %s" % m, letters["auroc"] > 0.7 and m["auroc"] == letters["auroc"] and 0 <= m["ece"] < 0.3)
        check("fewer than 50 right or wrong are void: %s" % rare, rare["n"] == 50 and rare["auroc"] is None)
        check("few prompts of a kind that was trained are strange: %s" % letters, 0 <= letters["strange"] <= letters["unseen"] <= 1 and letters["strange"] < 0.15)
    kept = sorted(os.listdir(at("trials")))
    check("the trials are kept, 512 to a file: %s" % kept, len(kept) == 6)
    before = read(at("fine.confidence.gguf")), read(at("coarse.confidence.gguf"))
    check("each has its own calibration", before[0] != before[1])
    again = run("calibrate", at("recipe.yaml"), fine, coarse, "--trials", at("trials"))
    check("the table: %s" % again.stdout, "void: fewer than 50" in again.stdout and "AUROC" in again.stdout)
    check("the same bytes from kept trials", before == (read(at("fine.confidence.gguf")), read(at("coarse.confidence.gguf"))))
    for name in kept[::2]:
        os.remove(os.path.join(at("trials"), name))
    run("calibrate", at("recipe.yaml"), fine, coarse, "--trials", at("trials"))
    check("a stopped run goes on to the same bytes", before == (read(at("fine.confidence.gguf")), read(at("coarse.confidence.gguf"))))
    check("what was missing is kept again", sorted(os.listdir(at("trials"))) == kept)
    files = sorted((os.path.join(at("trials"), name) for name in kept), key=os.path.getsize)
    os.replace(files[0], files[-1])
    r = run("calibrate", at("recipe.yaml"), fine, coarse, "--trials", at("trials"), want=1)
    check("a part of another length is refused: %s" % r.stderr, files[-1] in r.stderr and "remove it" in r.stderr)
    run("calibrate", at("recipe.yaml"), fine)
    check("alone it has a fit of its own", read(at("fine.confidence.gguf")) != before[0])

    write(at("grid.yaml"), "embedded: false\nmodels: {m: {path: fine.gguf}}\nexperts: [{name: chat, task: generate, model: m}]\n")
    home = {"NANOGRID_HOME": at("home")}
    said = json.loads(run("run", "--grid", at("grid.yaml"), "--json", "abc", **home).stdout)
    check("the grid uses it: %s" % said, said["expert"] == "chat" and 0 <= said["confidence"] <= 1)
    os.replace(coarse, fine)
    r = run("run", "--grid", at("grid.yaml"), "--json", "abc", want=2, **home)
    check("what was fitted on another file is refused: %s" % r.stderr, "digest" in r.stderr)

    speaking(os.path.join(GOLDEN, "llama-tiny-f32.gguf"), fine)
    for name, body, recipe, message, code in (("few", prompts(150, 1), None, "too few", 2), ("match", prompts(300, 1, match="taste"), None, ": needs match", 1),
                                              ("tokens", prompts(300, 1, max_tokens=0), None, "max_tokens of 1 to", 1), ("words", "no object\n", None, "train.jsonl:1", 1),
                                              ("task", prompts(300, 1), "name: x\ntask: classify\ntrain: [./train.jsonl]\ntest: [./test.jsonl]\n", "task confidence", 1),
                                              ("key", prompts(300, 1), RECIPE % 4 + "colour: red\n", "colour", 2),
                                              ("taps", prompts(300, 1), RECIPE % 4 + "taps: [7]\n", "taps must be layers", 2)):
        write(at("train.jsonl"), body)
        write(at("recipe.yaml"), recipe or RECIPE % 4)
        r = run("calibrate", at("recipe.yaml"), fine, want=code)
        check("%s: %r does not say %r" % (name, r.stderr, message), message in r.stderr)
    run("calibrate", at("recipe.yaml"), want=2)
    run("calibrate", at("recipe.yaml"), at("none.gguf"), want=1)
    sys.exit(check.done())


main()
