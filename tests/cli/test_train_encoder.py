#!/usr/bin/env python3
"""train, predict and --bench of encoder recipes, on a BERT of 20,000 weights and made-up texts: a run killed with SIGKILL
goes on to the bytes of one that was not, threads change nothing, bad input is told and leaves no model."""
import json
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import NANOGRID, attempt, check, read, run, write  # noqa: E402
from gguf_read import read_gguf  # noqa: E402
from made_up import texts  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
BASE = os.path.join(HERE, "..", "golden", "bert-tiny-f32.gguf")


def tsv(path, rows):
    write(path, "text\tlabel\n" + "".join("%s\t%s\n" % r for r in rows))


def sentences(n, seed):
    """Words and their tags: what begins with x is a thing, what follows it with y belongs to it."""
    rng = random.Random(seed)
    out = []
    for _ in range(n):
        line, before = [], "O"
        for _ in range(rng.randint(2, 8)):
            word = rng.choice("xyab") + rng.choice("cdefg")
            tag = "B-THING" if word[0] == "x" else "I-THING" if word[0] == "y" and before != "O" else "O"
            line.append((word, tag))
            before = tag
        out.append(line)
    return out


def conll(path, lines):
    write(path, "\n".join("".join("%s\t%s\n" % w for w in s) for s in lines))


def pairs(path, n, seed):
    """CSV; two texts are alike as far as their first letters are."""
    rng = random.Random(seed)
    rows = []
    for _ in range(n):
        a, b = rng.choice("abc"), rng.choice("abc")
        word = lambda c: c * 2 + rng.choice("de") + " " + c
        rows.append('"%s","%s, ""%s""",%d\n' % (word(a), word(b), b, 5 if a == b else 0))
    write(path, "\ufeffs1,s2,score\n" + "".join(rows))


def joined(path, n, seed):
    """Pairs whose label is the letter of the second text."""
    rng = random.Random(seed)
    rows = [(rng.choice("abc"), rng.choice("abc")) for _ in range(n)]
    write(path, "s1\ts2\tlabel\n" + "".join("%s%s %s\t%s%s\t%s\n" % (a, rng.choice("de"), a, b, rng.choice("de"), b) for a, b in rows))


def recipe(**more):
    t = {"epochs": 3, "batch": 16, "rate": 0.003, "dropout": 0.1, "checkpoint": 0, "patience": 3} | more
    training = ", ".join("%s: %s" % kv for kv in t.items())
    return """name: tiny
task: encoder
base: {model: %s, words: 40, context: 64}
heads:
  - {name: first, recipe: first.yaml, pooling: first}
  - {name: marks, recipe: marks.yaml, weight: 0.5}
  - {name: names, recipe: names.yaml, repeat: 4}
  - {name: alike, recipe: alike.yaml}
training: {%s}
""" % (os.path.abspath(BASE), training)


def frozen(path):
    """The weights that `freeze: 1` keeps: tables and the first layer."""
    tensors = read_gguf(path)[1]
    return {name: t[2] for name, t in tensors.items() if name.startswith("blk.0.") or name.startswith("token_embd_norm")}


def picture(path):
    """Width, height and the grey values of a PNG of 8-bit grey without filters; every checksum is checked."""
    data, at, chunks = read(path), 8, {}
    check("PNG: signature", data[:8] == b"\x89PNG\r\n\x1a\n")
    while at < len(data):
        n, kind = struct.unpack(">I4s", data[at:at + 8])
        body, crc = data[at + 8:at + 8 + n], struct.unpack(">I", data[at + 8 + n:at + 12 + n])[0]
        check("PNG: checksum of %s" % kind, zlib.crc32(kind + body) == crc)
        chunks[kind], at = body, at + 12 + n
    width, height = struct.unpack(">II", chunks[b"IHDR"][:8])
    rows = zlib.decompress(chunks[b"IDAT"])
    check("PNG: as many rows as it says", len(rows) == height * (width + 1) and not any(rows[::width + 1]))
    return width, height, rows


def interrupted(path, out, steps):
    """Kills the run after so many reported steps' worth of output; checkpoints are written at every step."""
    p = subprocess.Popen([NANOGRID, "train", path, "--out", out, "--json"], stdout=subprocess.PIPE, text=True)
    for _ in range(steps):
        p.stdout.readline()
    p.send_signal(signal.SIGKILL)
    p.wait()
    p.stdout.close()
    return os.path.exists(os.path.join(out, "model.gguf.checkpoint")) and not os.path.exists(os.path.join(out, "model.gguf"))


def another_kernel(at, best):
    """A checkpoint of the best kernel, gone on from by another one of this machine, and one that does not name its kernel."""
    doctors = ((level, attempt("doctor", "--json", NG_CPU=level)) for level in ("avx512", "avx2", "ref"))
    others = [(level, json.loads(r.stdout)["training_kernel"]) for level, r in doctors if not r.returncode]
    level, name = next((x for x in others if x[1] != best), (None, None))
    if not level:
        return check.skip("going on at another kernel: NG_CPU allows one alone")
    check("a killed run leaves a checkpoint", interrupted(at("recipe.yaml"), at("moved"), 2))
    kept = read(at("moved/model.gguf.checkpoint"))
    r = run("train", at("recipe.yaml"), "--out", at("moved"), "--json", says="computed by %s, the next ones are by %s: the model's bytes will differ" % (best, name), NG_CPU=level)
    check("it went on", json.loads(r.stdout.splitlines()[-1])["resumed"])
    key = b"nanogrid.checkpoint.kernel"
    check("the kernel stands in the checkpoint", key in kept)
    with open(at("moved/model.gguf.checkpoint"), "wb") as f:
        f.write(kept.replace(key, key[:-1] + b"X"))
    run("train", at("recipe.yaml"), "--out", at("moved"), says="computed by an unknown kernel, the next ones are by %s: the model's bytes may differ" % best)


def main():
    work = tempfile.mkdtemp()
    os.environ["NANOGRID_DATA"] = work
    at = lambda name: os.path.join(work, name)
    for name, n, seed in (("train", 400, 1), ("dev", 120, 2), ("test", 60, 3)):
        rows = texts(n, seed)
        tsv(at(name + ".tsv"), rows)
        tsv(at(name + "-marks.tsv"), [(t, "|".join(m for m in "de" if m in t) or "none") for t, _ in rows])
    data = "data: {train: [{file: train%s.tsv%s}], dev: [{file: dev%s.tsv%s}], test: [{file: test%s.tsv%s}]}\n"
    write(at("first.yaml"), "name: first\ntask: classify\nlicence: none\n" + data % (("", "") * 3))
    drop = ', rename: ["none="]'
    write(at("marks.yaml"), "name: marks\ntask: moderate\nlabels: [d, e]\n" + data % (("-marks", drop) * 3))
    write(at("recipe.yaml"), recipe())
    for name, n, seed in (("train", 300, 4), ("dev", 100, 5), ("test", 60, 6)):
        conll(at(name + ".conll"), sentences(n, seed))
        pairs(at(name + ".csv"), n, seed)
    three = "data: {train: [{file: train.%s}], dev: [{file: dev.%s}], test: [{file: test.%s}]}\n"
    names = ', rename: ["THING=thing"]'
    write(at("names.yaml"), "name: names\ntask: extract\nlicence: none\n" + three % (("conll" + names,) * 3))
    write(at("alike.yaml"), "name: alike\ntask: embed\nlicence: none\nduplicates: keep\n" + three % (("csv, text: s1, second: s2, label: score, scale: 5",) * 3))

    out = run("train", at("recipe.yaml"), "--out", at("whole"), "--json", "--plot", at("loss.svg"))
    lines = [json.loads(x) for x in out.stdout.splitlines()]
    last = lines[-1]
    check("heads are learned: %s" % last, set(last["heads"]) == {"first", "marks", "names", "alike"} and last["heads"]["first"]["dev_accuracy"] > 0.9)
    check("what multiplied is told: %s" % last, last["kernel"] == json.loads(run("doctor", "--json").stdout)["training_kernel"])
    check("a step's fields: %s" % lines[0], {"step", "steps", "loss", "rate", "tokens_per_s"} <= set(lines[0]))
    check("the loss falls", lines[-2]["phase"] == "epoch" and lines[-2]["loss"] < lines[0]["loss"])
    check("--plot writes an SVG", read(at("loss.svg")).startswith(b"<svg"))
    check("--plot says what it draws before it trains", "FILE.svg or FILE.png" in run("train", at("recipe.yaml"), "--out", at("cut"), "--plot", at("loss.gif"), want=2).stderr)
    check("a finished run leaves no checkpoint", not os.path.exists(at("whole/model.gguf.checkpoint")))
    whole = read(at("whole/model.gguf"))

    for k, steps in enumerate((1, 2, 4)):  # in the first epoch, at its end, in the third
        check("a killed run leaves a checkpoint and no model", interrupted(at("recipe.yaml"), at("cut"), steps))
        r = run("train", at("recipe.yaml"), "--out", at("cut"), "--json")
        check("the run went on", json.loads(r.stdout.splitlines()[-1])["resumed"])
        check("killed %d: the bytes of the uninterrupted run" % k, read(at("cut/model.gguf")) == whole)
        os.remove(at("cut/model.gguf"))
        check("and nothing is said of kernels", "computed by" not in r.stderr, r.stderr)
    for threads in "1", "3":
        run("train", at("recipe.yaml"), "--out", at("threads"), "-t", threads)
        check("%s threads give the same bytes" % threads, read(at("threads/model.gguf")) == whole)
    another_kernel(at, last["kernel"])
    run("train", at("recipe.yaml"), "--out", at("seed"), "--seed", "9", "--plot", at("loss.png"))
    check("another seed gives other bytes", read(at("seed/model.gguf")) != whole)

    model = at("whole/model.gguf")
    r = json.loads(run("predict", "-m", model, "--head", "first", "--json", "bed egg").stdout)
    check("predict --head first: %s" % r, r["label"] == "y" and r["task"] == "classify" and 0.5 < r["confidence"] <= 1)
    r = json.loads(run("predict", "-m", model, "--head", "marks", "--json", "add egg").stdout)
    check("predict --head marks: %s" % r, r["task"] == "moderate" and set(r["categories"]) == {"d", "e"})
    check("tags and pairs are learned: %s" % last["heads"], last["heads"]["names"]["dev_accuracy"] > 0.8 and last["heads"]["alike"]["dev_accuracy"] > 0.6)
    text = "ad xc yd be xf " + "ab " * 100 + "xe mail a@b.org"  # the last ones beyond one window
    r = json.loads(run("predict", "-m", model, "--head", "names", "--json", text).stdout)
    found = [(e["label"], e["text"]) for e in r["entities"]]
    check("predict --head names: %s" % found, r["task"] == "extract" and {("thing", "xc yd"), ("thing", "xf"), ("thing", "xe"), ("email", "a@b.org")} <= set(found))
    check("offsets are of bytes", all(text.encode()[e["start"]:e["end"]].decode() == e["text"] for e in r["entities"]))
    check("an unknown head names those that exist", "first, marks" in run("predict", "-m", model, "--head", "no", "x", want=1).stderr)
    check("the same file embeds", len(json.loads(run("embed", "-m", model, "--json", "a b").stdout)["embeddings"][0]) == 32)
    figures = json.loads(run("eval", at("recipe.yaml"), "--dir", at("whole"), "--card", "--json").stdout)
    check("eval of tags and pairs: %s" % figures, figures["names"]["f1"] > 0.8 and figures["names"]["thing_f1"] == figures["names"]["f1"] and figures["alike"]["spearman"] > 0.6)
    check("eval of the heads: %s" % figures, figures["first"]["accuracy"] > 0.9 and "f1" in figures["marks"] and figures["model_mb"] > 0)
    check("the card", json.loads(read(at("whole/card.json")))["figures"]["first"]["accuracy"] == figures["first"]["accuracy"])
    check("scores of each head", os.path.exists(at("whole/marks.scores.gguf")))
    width, height, rows = picture(at("loss.png"))
    check("--plot draws a PNG", (width, height) == (1600, 800) and 2000 < sum(v < 100 for v in rows) < width * height / 4)
    accumulated = recipe(batch=8, accumulate=2, schedule="cosine", warmup=0.2, precision="f32")
    write(at("accumulate.yaml"), accumulated)
    r = json.loads(run("train", at("accumulate.yaml"), "--out", at("accumulate"), "--json").stdout.splitlines()[-1])
    check("two batches of 8 a step: %s" % r, r["steps"] == last["steps"] and r["heads"]["first"]["dev_accuracy"] > 0.85)

    short = recipe(patience=0, steps=100, settle=60)
    write(at("short.yaml"), short)
    lines = [json.loads(x) for x in run("train", at("short.yaml"), "--out", at("short"), "--json").stdout.splitlines()]
    rates = {x["step"]: x["rate"] for x in lines if x.get("phase") == "train"}
    check("a run ends after `steps`: %s" % lines[-1], lines[-1]["steps"] == 100 and lines[-1]["loss"] > 0 and max(rates) == 100)
    check("and settles to their schedule: %s" % rates, rates[40] > 0.002 and rates[60] < 0.0016 and rates[100] < 0.0001)
    write(at("bad.yaml"), recipe(steps=100))
    check("steps with patience are refused", "training.steps" in run("train", at("bad.yaml"), "--out", at("bad"), want=2).stderr)

    goes_on = recipe(epochs=1, freeze=1, patience=0).replace("words: 40", "words: 60, start: %s" % model).replace("name: tiny", "name: more")
    goes_on = goes_on.replace("{name: names", "{name: names, share: 0.5")
    write(at("more.yaml"), goes_on)
    r = json.loads(run("train", at("more.yaml"), "--out", at("more"), "--json").stdout.splitlines()[-1])
    check("a run from an encoder trained before keeps what it knows: %s" % r, r["heads"]["first"]["dev_accuracy"] > 0.9 and r["steps"] < last["steps"] / 3)
    check("frozen layers stay as they were", len(frozen(model)) > 10 and frozen(at("more/model.gguf")) == frozen(model))
    conll(at("train.conll"), [[(w.capitalize() if i % 3 else w, "B-THING" if i % 3 else "O") for i, w in enumerate("ab cd ae xf bb".split(), k)] for k in range(99)])
    write(at("case.yaml"), goes_on.replace("name: more", "name: case\nweights: Q8_0\nhead_weights: F32"))
    r = json.loads(run("train", at("case.yaml"), "--out", at("case"), "--json").stdout.splitlines()[-1])
    types = {name: t[0] for name, t in read_gguf(at("case/model.gguf"))[1].items()}
    check("head_weights: %s" % types, types["head.names.weight"] == "F32" and types["blk.0.attn_q.weight"] == "Q8_0" and types["head.names.shapes"] == "F32")
    found = json.loads(run("predict", "-m", at("case/model.gguf"), "--head", "names", "--json", "ab Cd ae Xf").stdout)["entities"]
    check("case is learned, though the ids do not tell it: %s" % found, [e["text"] for e in found] == ["Cd", "Xf"])
    write(at("bad.yaml"), goes_on.replace("start: ", "start: ./nowhere-"))
    check("a missing start is named", "nowhere" in run("train", at("bad.yaml"), "--out", at("bad"), want=1).stderr)

    for name, n, seed in (("train", 300, 7), ("dev", 100, 8), ("test", 60, 9)):
        joined(at(name + "-both.tsv"), n, seed)
    two = ", text: s1, second: s2"
    write(at("both-data.yaml"), "name: both\nduplicates: keep\ntask: classify\nlicence: none\n" + three.replace(".%s", "-both.tsv%s") % (two, two, two))
    write(at("both.yaml"), recipe(patience=0).split("heads:")[0] + "heads:\n  - {name: both, recipe: both-data.yaml}\ntraining: {epochs: 20, batch: 16, rate: 0.003}\n")
    run("train", at("both.yaml"), "--out", at("both"))
    figures = json.loads(run("eval", at("both.yaml"), "--dir", at("both"), "--json").stdout)["both"]
    check("two texts read as one, the second told from the first: %s" % figures, figures["accuracy"] > 0.9)
    check("a single text is refused", "pairs of texts" in run("predict", "-m", at("both/model.gguf"), "--head", "both", "ad a", want=1).stderr)
    r = run("train", at("both-data.yaml"), "--out", at("bad"), want=1)
    check("a linear model reads no pairs: %s" % r.stderr, "pairs" in r.stderr)

    bench = [json.loads(x) for x in run("train", at("recipe.yaml"), "--bench", "--json", "-t", "1").stdout.splitlines()]
    check("--bench: %s" % bench, bench and all(set(b) == {"batch", "length", "dtype", "kernel", "tokens_per_s"} and b["tokens_per_s"] > 0 for b in bench))

    check("a killed run leaves a checkpoint", interrupted(at("recipe.yaml"), at("other"), 1))
    err = run("train", at("recipe.yaml"), "--out", at("other"), "--seed", "2", want=2).stderr
    check("a checkpoint of another seed is refused: %s" % err, "another run" in err and "remove" in err)
    tsv(at("train.tsv"), texts(400, 1))
    with open(at("train.tsv"), "a") as f:
        f.write("only one column\n")
    err = run("train", at("recipe.yaml"), "--out", at("bad"), want=1).stderr
    check("a malformed line is named: %s" % err, "train.tsv:402" in err)
    check("no model of bad data", not os.path.exists(at("bad/model.gguf")))
    tsv(at("train.tsv"), texts(400, 1))
    write(at("bad.yaml"), recipe().replace("first.yaml", "nowhere.yaml"))
    check("a head's missing recipe is named", "nowhere.yaml" in run("train", at("bad.yaml"), "--out", at("bad"), want=1).stderr)
    write(at("bad.yaml"), recipe(rates=1))
    check("an unknown key is named", "rates" in run("train", at("bad.yaml"), "--out", at("bad"), want=2).stderr)

    spoiled = bytearray(read(BASE))  # a weight that is no number, in the last tensor
    spoiled[-64:-60] = b"\x00\x00\xc0\x7f"
    with open(at("spoiled.gguf"), "wb") as f:
        f.write(spoiled)
    write(at("bad.yaml"), recipe().replace(os.path.abspath(BASE), at("spoiled.gguf")))
    err = run("train", at("bad.yaml"), "--out", at("bad"), want=1).stderr
    check("a loss that is no number stops the run: %s" % err, "not a number" in err)
    check("and writes no model", not os.path.exists(at("bad/model.gguf")))
    subprocess.run(["rm", "-rf", work], check=True)
    sys.exit(check.done())


main()
