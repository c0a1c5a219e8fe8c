#!/usr/bin/env python3
"""Experts that bring route.gguf, end to end: trained from made-up texts, asked together, the same to the bit as one by one (replay
asks them so, from recorded features); one that reads other features, and one that is damaged, among them.  Second claims over the
encoder's vectors: learnt beside the first, asked where these leave it open, told by explain, taken from the record by replay, set
aside where they were learnt on another encoder."""
import json
import os
import random
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import NANOGRID, attempt, check, read, run, write  # noqa: E402

ENCODER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "models", "encoder-en", "model.gguf")

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


def few(home, grid, experts):
    """An expert of twelve texts, which are its dev texts too: its vectors alone speak, and find texts that its n-grams do not claim."""
    folder = os.path.join(home, "packages", "few")
    os.makedirs(folder)
    own = ["the %s in my garden" % w for w in "roses tulips lilies daisies orchids violets poppies asters irises peonies dahlias lupins".split()]
    other = ["%s my %s" % (verb, thing) for verb in ("cancel", "renew", "check", "pay") for thing in "flight hotel card loan lease ticket invoice phone visa train bus parcel rent salary".split()]
    for part, rest in (("train", other[::2]), ("dev", other[1::2])):
        write(os.path.join(folder, part + ".tsv"), "label\ttext\n" + "".join("here\t%s\n" % t for t in own) + "".join("elsewhere\t%s\n" % t for t in rest))
    write(os.path.join(folder, "recipe.yaml"), "name: few\noutput: route.gguf\ntask: classify\nlabels: [elsewhere, here]\ndata:\n  train: [{file: ./train.tsv}]\n  dev: [{file: ./dev.tsv}]\n"
          "features: {bits: 14, words: 1, char_min: 2, char_max: 2, rows: 4096}\ntraining: {epochs: 4, balance: 1}\nvectors: {encoder: %s, texts: 100}\n" % ENCODER)
    run("train", os.path.join(folder, "recipe.yaml"), "--out", folder)
    os.link(os.path.join(folder, "route.gguf"), os.path.join(folder, "model.gguf"))
    told = run("inspect", os.path.join(folder, "route.vector.gguf")).stdout
    line = [l for l in told.splitlines() if "nanogrid.claim.linear" in l]
    check("what n-grams say of texts they were trained on counts for nothing: %s" % line, len(line) == 1 and line[0].split()[-1] in ("0", "0.0", "0.000000"))
    write(grid, "embedded: false\ncache: {exact: 0}\n" + experts + "  - {name: few, task: classify, model: few}\n")
    a = json.loads(run("route", "--task", "classify", "--json", "some carnations and sunflowers", NANOGRID_HOME=home).stdout)
    check("it finds a text that shares no word with its own: %s" % a["reason"], a["expert"] == "few" and "encoder asked" in a["reason"])


def ask_all(home):
    with open(os.path.join(home, "texts")) as f:
        p = subprocess.run([NANOGRID, "run", "--task", "classify", "--lines", "--json"], stdin=f, capture_output=True, text=True, env={**os.environ, "NANOGRID_HOME": home})
    return [json.loads(line) for line in p.stdout.splitlines()]


def second_claims(home, grid, experts, asked):
    of = lambda name, file: os.path.join(home, "packages", name, file)
    os.unlink(os.path.join(home, "nanogrid.db"))
    for name in "xy":
        before = read(of(name, "route.gguf"))
        p = attempt("train", of(name, "recipe.yaml"), "--out", of(name, ""), "--vectors")
        check("a recipe without `vectors` has no second claim: %s" % p.stderr, p.returncode == 2 and "no `vectors`" in p.stderr)
        write(of(name, "recipe.yaml"), read(of(name, "recipe.yaml")).decode() + "vectors: {encoder: %s, texts: 100}\n" % ENCODER)
        out = json.loads(run("train", of(name, "recipe.yaml"), "--out", of(name, ""), "--vectors", "--json").stdout.splitlines()[-1])
        check("the first claim stays as it is, the second is at least as good: %s" % out,
              read(of(name, "route.gguf")) == before and out["vectors"].endswith("route.vector.gguf") and out["vectors_accuracy"] >= out["linear_accuracy"])
    first = read(of("x", "route.vector.gguf"))
    run("train", of("x", "recipe.yaml"), "--out", of("x", ""))
    check("learnt with the first claim it has the same bytes", read(of("x", "route.vector.gguf")) == first)
    os.unlink(of("x", "model.gguf"))
    os.link(of("x", "route.gguf"), of("x", "model.gguf"))

    write(grid, "embedded: false\ncache: {exact: 0}\nrouter: {unsure: {lead: 1}}\n" + experts) # all but the surest are doubts
    said = ask_all(home)
    right = sum(a["expert"] == n for a, (n, _) in zip(said, asked))
    check("with the encoder %d of 100 find their expert" % right, len(said) == 100 and right >= 90)
    both = " ".join(a + " " + b for a, b in zip(texts("x", 1, "both")[0].split(), texts("y", 1, "both")[0].split())) # half of either
    a = json.loads(run("run", "--task", "classify", "--json", both, NANOGRID_HOME=home).stdout)
    told = json.loads(run("explain", a["decision_id"], "--json", NANOGRID_HOME=home).stdout)
    check("explain tells the stage: %s" % json.dumps(told)[:500],
          told["signals"].get("claims") == "vectors" and any(s["step"] == "claims" and "encoder asked" in s["outcome"] for s in told["route"]))
    check("also to people", "these are second claims" in run("explain", a["decision_id"], NANOGRID_HOME=home).stdout)
    again = json.loads(run("replay", "--json", NANOGRID_HOME=home).stdout)
    check("replay takes them from the record: %s" % json.dumps(again)[:400], again["replayed"] == 101 and not again["changed"])
    write(grid, "embedded: false\ncache: {exact: 0}\nrouter: {unsure: {lead: 0}}\n" + experts)
    linear = json.loads(run("route", "--task", "classify", "--json", both, NANOGRID_HOME=home).stdout)
    check("lead 0 never asks: %s" % linear["reason"], "encoder asked" not in linear["reason"])

    write(grid, "embedded: false\ncache: {exact: 0}\nrouter: {unsure: {lead: 1}}\n" + experts)
    spoilt = first.replace(b"vector-claim", b"vector-clown")
    digest = first.index(b"nanogrid.requires") + 17 + 4 + 4 + 8 + 8
    for what, bytes_, why in (("another encoder", first[:digest] + b"0" * 8 + first[digest + 8:], "digest 00000000"), ("another kind of file", spoilt, "nanogrid-vector-claim")):
        write_bytes(of("x", "route.vector.gguf"), bytes_)
        a = json.loads(run("run", "--task", "classify", "--json", both, NANOGRID_HOME=home).stdout)
        check("%s is set aside, and said so: %s" % (what, a["warnings"]), any("set aside" in w and "x: " in w and why in w for w in a["warnings"]))
    write_bytes(of("x", "route.vector.gguf"), first)
    write(grid, "embedded: false\ncache: {exact: 0}\nrouter: {unsure: {model: nanogrid/none}}\n" + experts)
    p = attempt("run", "--task", "classify", asked[0][1], NANOGRID_HOME=home)
    check("an encoder that is named and not there is an error with its line: %s" % p.stderr, p.returncode == 1 and "grid.yaml:3: router.unsure" in p.stderr)
    recipe = os.path.join(home, "odd.yaml")
    write(recipe, read(of("x", "recipe.yaml")).decode().replace("labels: [elsewhere, here]", "labels: [elsewhere, here, there]"))
    p = attempt("train", recipe, "--out", home)
    check("claims have two labels: %s" % p.stderr, p.returncode != 0)
    few(home, grid, experts)
    for name in "xy":
        os.unlink(of(name, "route.vector.gguf"))


def write_bytes(path, data):
    with open(path, "wb") as f:
        f.write(data)


def main():
    home = tempfile.mkdtemp()
    grid = os.path.join(home, "grid.yaml")
    experts = "experts:\n" + "".join("  - {name: %s, task: classify, model: %s}\n" % (n, n) for n in LETTERS)
    write(grid, "embedded: false\ncache: {exact: 0}\n" + experts)
    for name in LETTERS:
        train(home, name)
    asked = [(n, t) for n in LETTERS for t in texts(n, 25, "test")]
    write(os.path.join(home, "texts"), "".join(t + "\n" for _, t in asked))
    said = ask_all(home)
    right = sum(a["expert"] == n for a, (n, _) in zip(said, asked))
    check("%d of 100 find their expert" % right, len(said) == 100 and right >= 90)
    again = json.loads(run("replay", "--json", "--flips", "5", NANOGRID_HOME=home).stdout)
    check("one by one they say the same: %s" % json.dumps(again)[:600], again["replayed"] == 100 and not again["changed"] if "replayed" in again and "changed" in again else False)

    if os.path.exists(ENCODER):
        second_claims(home, grid, experts, asked)
    else:
        print("SKIPPED: second claims, models/encoder-en is not there")
    write(grid, "embedded: false\ncache: {exact: 0}\n" + experts)

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
