#!/usr/bin/env python3
"""What an encoder's head calls out of scope, by the means of its labels; and `calibrate` of an encoder: fitted anew, the same bytes from the same
recipe, another threshold from another, bad input told and the file left alone.  A BERT of 20,000 weights and made-up texts."""
import json
import os
import random
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import check, read, run, write  # noqa: E402
from gguf_read import read_gguf  # noqa: E402
from made_up import texts  # noqa: E402

BASE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "bert-tiny-f32.gguf")


def strange(n, seed):
    """Texts of letters that no label's texts have."""
    rng = random.Random(seed)
    return "".join(" ".join(rng.choice("qrst") + rng.choice("uvwz") for _ in range(rng.randint(2, 6))) + "\n" for _ in range(n))


def tsv(path, rows):
    write(path, "text\tlabel\n" + "".join("%s\t%s\n" % r for r in rows))


def said(model, text):
    return json.loads(run("predict", "-m", model, "--json", text).stdout)


def main():
    work = tempfile.mkdtemp()
    os.environ["NANOGRID_DATA"] = work
    at = lambda name: os.path.join(work, name)
    for name, n, seed in (("train", 400, 1), ("dev", 200, 2), ("test", 100, 3)):
        tsv(at(name + ".tsv"), texts(n, seed))
        write(at("odd-%s.txt" % name), strange(n // 2, seed + 10))
    first = ("name: first\ntask: classify\nlicence: none\ndata:\n  train: [{file: train.tsv}]\n  dev: [{file: dev.tsv}]\n  test: [{file: test.tsv}]\n"
             "  oos_dev: [{file: odd-dev.txt}]\n  oos_test: [{file: odd-test.txt}]\noos: {in_scope: 0.95}\n")
    write(at("first.yaml"), first)
    recipe = ("name: tiny\ntask: encoder\nbase: {model: %s, words: 60, context: 64}\nheads:\n  - {name: first, recipe: first.yaml}\n"
              "weights: F32\ntraining: {epochs: 4, batch: 16, rate: 0.003}\n" % os.path.abspath(BASE))
    write(at("recipe.yaml"), recipe)
    run("train", at("recipe.yaml"), "--out", at("out"))
    model = at("out/model.gguf")
    keys, tensors = read_gguf(model)[:2]
    check("a mean for each label", tensors["head.first.means"][1] == tensors["head.first.weight"][1])
    check("three numbers make the scope score", len(keys["nanogrid.head.first.scope"]) == 3)
    figures = json.loads(run("eval", at("recipe.yaml"), "--dir", at("out"), "--json").stdout)["first"]
    check("strange texts are told: %s" % figures, figures["oos_auroc"] > 0.9 and figures["oos_recall"] > 0.5)
    known = [said(model, t)["in_scope"] for t, _ in texts(40, 77)]
    odd = [said(model, t)["in_scope"] for t in strange(40, 78).splitlines()]
    check("known texts in scope %d, strange ones %d of 40" % (sum(known), sum(odd)), sum(known) >= 34 and sum(odd) <= 20)

    before = read(model)
    r = json.loads(run("calibrate", at("recipe.yaml"), model, "--json").stdout)
    check("calibrate tells the heads: %s" % r, r["heads"]["first"]["dev_accuracy"] > 0.5 and r["model"] == model)
    check("the same recipe gives the same bytes", read(model) == before)
    write(at("odd-dev.txt"), "".join(t + "\n" for t, _ in texts(100, 9)))  # what is strange looks like what is known
    shutil.copy(model, at("other.gguf"))
    run("calibrate", at("recipe.yaml"), at("other.gguf"))
    other, fitted = read_gguf(at("other.gguf")), ("scope", "oos_threshold")
    rest = lambda k: {name: v for name, v in k.items() if not name.endswith(fitted)}
    check("other texts of no label, another score", all(other[0]["nanogrid.head.first." + f] != keys["nanogrid.head.first." + f] for f in fitted))
    check("and nothing else", other[1] == tensors and rest(other[0]) == rest(keys))
    run("quantize", model, at("small.gguf"), "Q8_0", "--accept-loss")
    run("calibrate", at("recipe.yaml"), at("small.gguf"))
    check("a quantised file is calibrated as it is", read_gguf(at("small.gguf"))[0]["nanogrid.head.first.temperature"] > 0)

    tsv(at("train.tsv"), [(t, "other-" + l) for t, l in texts(400, 1)])
    tsv(at("dev.tsv"), [(t, "other-" + l) for t, l in texts(200, 2)])
    tsv(at("test.tsv"), [(t, "other-" + l) for t, l in texts(100, 3)])
    err = run("calibrate", at("recipe.yaml"), model, want=2).stderr
    check("labels of another recipe are refused: %s" % err, "heads are not those of" in err)
    check("and the file is left alone", read(model) == before)
    check("two models are refused", "one MODEL" in run("calibrate", at("recipe.yaml"), model, model, want=2).stderr)
    err = run("calibrate", at("recipe.yaml"), at("nowhere.gguf"), want=1).stderr
    check("a missing model is named: %s" % err, "nowhere.gguf" in err)
    shutil.rmtree(work)
    sys.exit(check.done())


main()
