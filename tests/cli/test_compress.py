#!/usr/bin/env python3
"""distill, prune and finetune on a BERT of 20,000 weights and made-up texts: students learn from models and from recorded answers, the
pruned file is smaller and answers, the table is printed, a drop beyond the limit keeps the old file, a run killed with SIGKILL
goes on to the same bytes, bad input is told."""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import NANOGRID, attempt, check, read, run, write  # noqa: E402
from gguf_read import read_gguf  # noqa: E402
from made_up import texts  # noqa: E402
from served import Served  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
BASE = os.path.abspath(os.path.join(HERE, "..", "golden", "bert-tiny-f32.gguf"))


def last(r):
    return json.loads(r.stdout.splitlines()[-1])


def recipe(base, more, heads=", pooling: first", **training):
    t = {"epochs": 2, "batch": 16, "rate": 0.003, "dropout": 0, "checkpoint": 0} | training
    return """name: tiny
task: encoder
base: {model: %s, context: 64}
heads:
  - {name: first, recipe: first.yaml%s}
training: {%s}
%s""" % (base, heads, ", ".join("%s: %s" % kv for kv in t.items()), more)


def adapted_experts(at, teacher, asked):
    """Two experts of a grid on one encoder, the second with an adapter: in this process, and in workers behind HTTP."""
    grid = """embedded: false
models: {base: {path: base.gguf}}
experts:
  - {name: plain, task: classify, model: base, head: first}
  - {name: adapted, task: classify, model: base, adapter: %s}
cache: {exact: 0}
"""
    os.environ["NANOGRID_HOME"] = at("home")
    write(at("grid.yaml"), grid % "lora/adapter.gguf")
    ask = lambda who: json.loads(run("run", "--grid", at("grid.yaml"), "--expert", who, "--task", "classify", "--json", "abc def").stdout)
    check("the adapter's head answers in a grid: %s" % ask("adapted"), ask("adapted")["label"] == asked["label"] and ask("adapted")["scores"] == asked["scores"])
    check("the base's head beside it: %s" % ask("plain"), ask("plain")["label"] in ("x", "y", "z"))
    listed = {e["name"]: e for e in json.loads(run("list", "--grid", at("grid.yaml"), "--json").stdout)["experts"]}
    check("list shows the adapter, of the expert that has one: %s" % listed, listed["adapted"]["adapter"] == at("lora/adapter.gguf") and "adapter" not in listed["plain"])
    check("in the table too", "with the adapter " + at("lora/adapter.gguf") in run("list", "--grid", at("grid.yaml")).stdout)
    for who, said in (("adapted", "adapter.gguf"), ("plain", None)):
        told = json.loads(run("explain", "--grid", at("grid.yaml"), "--json", ask(who)["decision_id"]).stdout)
        check("explain tells it: %s" % told, told.get("adapter") == said)
    check("in words too", "with the adapter adapter.gguf" in run("explain", "--grid", at("grid.yaml"), ask("adapted")["decision_id"]).stdout)
    shutil.copytree(at("lora"), at("home/packages/mine"))
    write(at("grid.yaml"), grid % "nanogrid/mine")
    check("an adapter of a package", ask("adapted")["scores"] == asked["scores"])
    with Served((grid % at("lora/adapter.gguf")).replace("path: base.gguf", "path: " + at("base.gguf"))) as s:
        models = {m["id"]: m for m in s.get("/v1/models").json["data"]}
        check("GET /v1/models shows the adapter: %s" % models, models["adapted"]["adapter"] == at("lora/adapter.gguf") and "adapter" not in models["plain"])
        for who, labels in (("adapted", {"long", "short"}), ("plain", {"x", "y", "z"})):
            r = s.post("/v1/classify", {"input": "abc def", "model": who})
            check("%s over HTTP: %r" % (who, r), r.status == 200 and r.json["results"][0]["label"] in labels)
    for model, adapter, says in (("base.gguf", "nowhere.gguf", "there is no file"), ("base.gguf", "nanogrid/nowhere", "not installed"), ("base.gguf", "base.gguf", "not an adapter"), (teacher, "lora/adapter.gguf", "another base"),
                                 (os.path.join(os.path.dirname(BASE), "llama-tiny-f32.gguf"), "lora/adapter.gguf", "beside encoders")):
        write(at("grid.yaml"), (grid % adapter).replace("path: base.gguf", "path: " + model))
        r = attempt("run", "--grid", at("grid.yaml"), "--expert", "adapted", "abc def")
        check("refused with its line: %s" % r.stderr, r.returncode in (1, 2) and "grid.yaml:5: the adapter of 'adapted'" in r.stderr and says in r.stderr)


def main():
    work = tempfile.mkdtemp()
    os.environ["NANOGRID_DATA"] = work
    at = lambda name: os.path.join(work, name)
    for name, n, seed in (("train", 400, 1), ("dev", 240, 2), ("test", 60, 3)):
        write(at(name + ".tsv"), "text\tlabel\n" + "".join("%s\t%s\n" % r for r in texts(n, seed)))
    write(at("first.yaml"), "name: first\ntask: classify\nlicence: none\ndata: {train: [{file: train.tsv}], dev: [{file: dev.tsv}], test: [{file: test.tsv}]}\n")
    write(at("teacher.yaml"), recipe(BASE, "", epochs=4))
    run("train", at("teacher.yaml"), "--out", at("teacher"))
    teacher = at("teacher/model.gguf")
    model = read_gguf(teacher)
    ff, layers = model[0]["bert.feed_forward_length"], model[0]["bert.block_count"]

    # one layer of the same base learns from two teachers: the model, and what somebody recorded of it
    with open(at("recorded.jsonl"), "w") as f:
        for text, label in texts(400, 1)[:300]:
            f.write(json.dumps({"text": text, "scores": {label: 0.9, {"x": "y", "y": "z", "z": "x"}[label]: 0.1}}) + "\n")
    taught = ", pooling: first, teachers: [./teacher/model.gguf, ./recorded.jsonl]"
    section = "distill: {temperature: 2, soft: 0.8, hidden: 0.5, attention: 0.5}\nlimit: {against: ./teacher/model.gguf, drop: 20}\n"
    write(at("distill.yaml"), recipe(BASE, section, taught, epochs=4).replace("context", "layers: [0], words: 40, context"))
    d = last(run("distill", at("distill.yaml"), "--out", at("student"), "--json"))
    c = d["comparison"]
    check("the student's table: %s" % c, set(c) == {"heads", "before_ms", "after_ms", "speed", "before_mb", "after_mb"} and c["heads"]["first"]["after"] > 0.8)
    student = read_gguf(at("student/model.gguf"))[0]
    check("the student is smaller", student["bert.block_count"] == 1 and len(student["tokenizer.ggml.tokens"]) <= len(model[0]["tokenizer.ggml.tokens"]))
    check("the student answers", last(run("predict", "-m", at("student/model.gguf"), "--head", "first", "--json", "bed egg"))["label"] == "y")

    # a student of fewer inner values that keeps the base's vectors of its texts, and one that does not
    cosines = {}
    vector = lambda path: json.loads(run("embed", "-m", path, "--json", "bed egg").stdout)["embeddings"][0]
    for weight in 20, 0.0001:
        section = "distill: {soft: 0, vectors: %g}\n" % weight
        write(at("vectors.yaml"), recipe(BASE, section, rate=0.01, scores=2).replace("context", "inner: 0.5, context"))
        r = run("distill", at("vectors.yaml"), "--out", at("vectors"), "--json")
        cosines[weight] = sum(a * b for a, b in zip(vector(BASE), vector(at("vectors/model.gguf"))))
        scores = [json.loads(x)["head"] for x in r.stdout.splitlines() if '"score"' in x]
        check("two scores of the head an epoch: %s" % scores, scores == ["first"] * 4)
    check("distill.vectors: %s" % cosines, cosines[20] > 0.9 and cosines[20] > cosines[0.0001] + 0.05)
    check("base.inner", read_gguf(at("vectors/model.gguf"))[0]["bert.feed_forward_length"] == max(32, ff // 2 // 32 * 32))

    # pruning
    write(at("prune.yaml"), recipe("./teacher/model.gguf", "prune: {inner: 0.5, layers: %d}\nlimit: {drop: 15}\n" % (layers - 1)))
    p = last(run("prune", at("prune.yaml"), "--out", at("pruned"), "--json"))
    pruned = read_gguf(at("pruned/model.gguf"))[0]
    check("what stays: %s" % pruned["bert.feed_forward_length"], pruned["bert.block_count"] == 1 and pruned["bert.feed_forward_length"] == max(32, ff // 2 // 32 * 32))
    check("the pruned file: %s" % p, p["comparison"]["after_mb"] < p["comparison"]["before_mb"] and p["comparison"]["heads"]["first"]["after"] > 0.8)
    check("it answers", last(run("predict", "-m", at("pruned/model.gguf"), "--head", "first", "--json", "bed egg"))["label"] == "y")
    whole = read(at("pruned/model.gguf"))
    for steps in 1, 2:
        q = subprocess.Popen([NANOGRID, "prune", at("prune.yaml"), "--out", at("cut"), "--json"], stdout=subprocess.PIPE, text=True)
        for _ in range(steps):
            q.stdout.readline()
        q.send_signal(signal.SIGKILL)
        q.wait()
        q.stdout.close()
        check("a killed run leaves a checkpoint and no model", os.path.exists(at("cut/model.gguf.checkpoint")) and not os.path.exists(at("cut/model.gguf")))
        check("the run went on", last(run("prune", at("prune.yaml"), "--out", at("cut"), "--json"))["resumed"])
        check("to the bytes of the uninterrupted one", read(at("cut/model.gguf")) == whole)
        os.remove(at("cut/model.gguf"))

    # heads of attention
    n_head, width = model[0]["bert.attention.head_count"], model[0]["bert.embedding_length"]
    write(at("heads.yaml"), recipe("./teacher/model.gguf", "prune: {heads: %d, inner: 0.25}\nlimit: {drop: 15}\n" % (n_head // 2)))
    p = last(run("prune", at("heads.yaml"), "--out", at("heads"), "--json"))
    keys, tensors = read_gguf(at("heads/model.gguf"))[:2]
    check("heads that stay: %s" % keys["bert.attention.head_count"], keys["bert.attention.head_count"] == n_head - n_head // 2 and keys["bert.attention.key_length"] == width // n_head)
    check("attention's matrices are smaller", len(tensors["blk.0.attn_output.weight"][2]) < len(model[1]["blk.0.attn_output.weight"][2]))
    check("without half of the heads: %s" % p, p["comparison"]["heads"]["first"]["after"] > 0.8)
    check("it answers", last(run("predict", "-m", at("heads/model.gguf"), "--head", "first", "--json", "bed egg"))["label"] == "y")
    run("quantize", at("heads/model.gguf"), at("heads/q.gguf"), "Q8_0")
    a, b = (json.loads(run("embed", "-m", at(f), "--json", "bed egg and more").stdout)["embeddings"][0] for f in ("heads/model.gguf", "heads/q.gguf"))
    check("rounded to 8 bits it gives nearly the same vectors", sum(x * y for x, y in zip(a, b)) > 0.99)
    write(at("again.yaml"), recipe("./heads/model.gguf", "prune: {inner: 0.5}\nlimit: {drop: 15}\n"))
    again = last(run("prune", at("again.yaml"), "--out", at("again"), "--json"))
    check("a pruned one is pruned again", again["comparison"]["heads"]["first"]["after"] > 0.8 and read_gguf(at("again/model.gguf"))[0]["bert.attention.key_length"] == width // n_head)

    # 4 bits: after a recovery that saw the rounding; a limit that nothing reaches keeps the old file
    four = recipe("./teacher/model.gguf", "distill: {soft: 0.5}\nlimit: {against: ./teacher/model.gguf, drop: 3}\n", ", pooling: first, teachers: [./teacher/model.gguf]",
                  rounded="true", rate=0.0005).replace("name: tiny", "name: tiny\nweights: Q4_0\nhead_weights: F32")
    write(at("four.yaml"), four)
    out = run("distill", at("four.yaml"), "--out", at("four"))
    check("the table for people: %s" % out.stdout[-600:], "held-out dev texts" in out.stdout and "ms a text" in out.stdout)
    check("four bits", read_gguf(at("four/model.gguf"))[1]["blk.0.attn_q.weight"][0] == "Q4_0")
    old = read(at("four/model.gguf"))
    write(at("four.yaml"), four.replace("drop: 3", "drop: -50"))
    out = run("distill", at("four.yaml"), "--out", at("four"), "--json", want=1)
    check("a drop beyond the limit is refused, with the table: %s" % out.stderr, "limit.drop" in out.stderr and "comparison" in last(out))
    check("the old file stays", read(at("four/model.gguf")) == old and not os.path.exists(at("four/model.gguf.made")))

    # adapters on a quantised base
    run("quantize", teacher, at("base.gguf"), "Q8_0")
    base = read(at("base.gguf"))
    write(at("other.tsv"), "text\tlabel\n" + "".join("%s\t%s\n" % (t, "long" if len(t) > 12 else "short") for t, _ in texts(400, 7)))
    write(at("other.yaml"), "name: other\ntask: classify\nlicence: none\ndata: {train: [{file: other.tsv, hash: {of: 4, keep: [0, 1, 2]}}], dev: [{file: other.tsv, hash: {of: 4, keep: [3]}}]}\n")
    lora = recipe("./base.gguf", "lora: {rank: 4, alpha: 8, targets: [attn_q, attn_k, attn_v, attn_output, ffn_up, ffn_down]}\n", "", epochs=6, rate=0.01)
    lora = lora.replace("{name: first, recipe: first.yaml}", "{name: other, recipe: other.yaml}")
    write(at("lora.yaml"), lora)
    f = last(run("finetune", at("lora.yaml"), "--out", at("lora"), "--json"))
    check("adapters learn: %s" % f, f["heads"]["other"]["dev_accuracy"] > 0.85 and f["adapter_weights"] < f["base_weights"] / 2 and f["trained_weights"] > f["adapter_weights"])
    check("the base is as it was", read(at("base.gguf")) == base)
    keys, tensors = read_gguf(at("lora/adapter.gguf"))[:2]
    check("the adapter's keys", keys["general.type"] == "adapter" and keys["adapter.type"] == "lora" and keys["adapter.lora.alpha"] == 8)
    check("the adapter's tensors: %s" % sorted(tensors),
          "blk.0.ffn_down.weight.lora_a" in tensors and "blk.0.attn_q.weight.lora_b" in tensors and "head.other.weight" in tensors and "blk.0.ffn_down.weight" not in tensors)
    run("finetune", "--merge", at("lora/adapter.gguf"), "-m", at("base.gguf"), "--out", at("merged.gguf"))
    ask = lambda path: last(run("predict", "-m", path, "--head", "other", "--json", "abc def"))["scores"]
    check("merging again gives the same model", read_gguf(at("merged.gguf"))[1] == read_gguf(at("lora/model.gguf"))[1] and ask(at("merged.gguf")) == ask(at("lora/model.gguf")))
    run("finetune", "--merge", at("lora/adapter.gguf"), "-m", at("base.gguf"), "--out", at("off.gguf"), "--scale", "0")
    embed = lambda path: run("embed", "-m", path, "--json", "bed egg").stdout
    check("with the adapter off: the base's outputs, to the bit", embed(at("off.gguf")) == embed(at("base.gguf")) != embed(at("merged.gguf")))

    write(at("thin.yaml"), lora.replace("rank: 4", "rank: 1, layers: [%d]" % (layers - 1)))
    thin = last(run("finetune", at("thin.yaml"), "--out", at("thin"), "--json"))
    tensors = read_gguf(at("thin/adapter.gguf"))[1]
    check("adapters of one layer alone: %s" % sorted(tensors),
          thin["adapter_weights"] * 4 * layers == f["adapter_weights"] and {n.split(".")[1] for n in tensors if n.startswith("blk.")} == {str(layers - 1)})
    run("finetune", "--merge", at("thin/adapter.gguf"), "-m", at("base.gguf"), "--out", at("off.gguf"), "--scale", "0")
    check("of one layer and off: the base's outputs, to the bit", embed(at("off.gguf")) == embed(at("base.gguf")) != embed(at("thin/model.gguf")))

    # the adapter alone, its matrices in half the bytes
    write(at("alone.yaml"), lora.replace("name: tiny", "name: tiny\nweights: F16\noutput: other.gguf").replace("rank: 4", "rank: 4, merged: false"))
    alone = last(run("finetune", at("alone.yaml"), "--out", at("alone"), "--json"))
    check("only the adapter is left: %s" % os.listdir(at("alone")), os.listdir(at("alone")) == ["other.gguf"] and abs(alone["model_mb"] * 1e6 - os.path.getsize(at("alone/other.gguf"))) < 2)
    check("in F16", read_gguf(at("alone/other.gguf"))[1]["blk.0.attn_q.weight.lora_b"][0] == "F16")
    told = [last(run("predict", "-m", at("base.gguf"), "--adapter", at(p), "--json", "abc def"))["scores"]["long"] for p in ("lora/adapter.gguf", "alone/other.gguf")]
    check("it says what the same one in floats says: %s" % told, abs(told[0] - told[1]) < 0.01)
    write(at("tested.yaml"), read(at("other.yaml")).decode().replace("dev:", "test:"))
    write(at("alone.yaml"), read(at("alone.yaml")).decode().replace("recipe: other.yaml", "recipe: tested.yaml"))
    figures = json.loads(run("eval", at("alone.yaml"), "--dir", at("alone"), "--json").stdout)["other"]
    check("eval puts it beside its base: %s" % figures, figures["accuracy"] > 0.85)

    write(at("same.yaml"), lora.replace("{name: other,", "{name: first,").replace("epochs: 6", "epochs: 1"))
    run("finetune", at("same.yaml"), "--out", at("same"))
    asked = last(run("predict", "-m", at("same/model.gguf"), "--head", "first", "--json", "abc def"))
    check("a head that the base has by that name gives way to the new one: %s" % asked, set(asked["scores"]) == {"long", "short"})

    # the adapter beside its base, not merged
    beside = lambda *more: run("embed", "-m", at("base.gguf"), "--adapter", at("lora/adapter.gguf"), "--json", *more, "bed egg").stdout
    check("scale 0: the base's outputs, to the bit", beside("--scale", "0") == embed(at("base.gguf")))
    check("the same bits with other threads", beside("-t", "1") == beside("-t", "2") != embed(at("base.gguf")))
    a, b = (json.loads(x)["embeddings"][0] for x in (beside(), embed(at("merged.gguf"))))
    check("beside and merged agree but for the merged one's rounding", sum(x * y for x, y in zip(a, b)) > 0.999)
    asked = last(run("predict", "-m", at("base.gguf"), "--adapter", at("lora/adapter.gguf"), "--json", "abc def"))
    check("the adapter's heads answer: %s" % asked,
          asked["label"] == last(run("predict", "-m", at("merged.gguf"), "--json", "abc def"))["label"] and set(asked["scores"]) == {"long", "short"})
    check("off: the base's heads", "first" in run("predict", "-m", at("base.gguf"), "--adapter", at("lora/adapter.gguf"), "--scale", "0", "--head", "other", "a", want=1).stderr)
    check("another base is refused", "another base" in run("embed", "-m", teacher, "--adapter", at("lora/adapter.gguf"), "a", want=2).stderr)
    check("a model is no adapter", "adapter" in run("embed", "-m", at("base.gguf"), "--adapter", at("base.gguf"), "a", want=1).stderr)
    run("embed", "-m", at("base.gguf"), "--scale", "2", "a", want=2)
    with open(at("short.gguf"), "wb") as f:
        f.write(read(at("lora/adapter.gguf"))[:-200])
    run("embed", "-m", at("base.gguf"), "--adapter", at("short.gguf"), "a", want=1)
    spoiled = bytearray(read(at("lora/adapter.gguf")))
    spoiled[-64:-60] = b"\x00\x00\xc0\x7f"  # a number that is none, in a head or an adapter
    with open(at("short.gguf"), "wb") as f:
        f.write(spoiled)
    check("a NaN in the adapter's file is refused", "no number" in run("predict", "-m", at("base.gguf"), "--adapter", at("short.gguf"), "a", want=1).stderr)

    adapted_experts(at, teacher, asked)

    lora_whole = read(at("lora/model.gguf")), read(at("lora/adapter.gguf"))
    q = subprocess.Popen([NANOGRID, "finetune", at("lora.yaml"), "--out", at("cut"), "--json"], stdout=subprocess.PIPE, text=True)
    q.stdout.readline()
    q.send_signal(signal.SIGKILL)
    q.wait()
    q.stdout.close()
    check("a killed run leaves a checkpoint", os.path.exists(at("cut/model.gguf.checkpoint")))
    run("finetune", at("lora.yaml"), "--out", at("cut"), "-t", "1")
    check("it goes on to the same bytes, at another number of threads", (read(at("cut/model.gguf")), read(at("cut/adapter.gguf"))) == lora_whole)
    os.remove(at("cut/model.gguf"))
    err = run("finetune", "--merge", at("lora/adapter.gguf"), "-m", teacher, "--out", at("no.gguf"), want=2).stderr
    check("another base is refused: %s" % err, "another base" in err and not os.path.exists(at("no.gguf")))
    run("finetune", "--merge", at("base.gguf"), "-m", at("base.gguf"), "--out", at("no.gguf"), want=1)
    run("finetune", "--scale", "2", at("lora.yaml"), want=2)

    # bad input
    def refused(verb, text, word, want):
        write(at("bad.yaml"), text)
        err = run(verb, at("bad.yaml"), "--out", at("bad"), want=want).stderr
        check("%s, not '%s'" % (err, word), word in err)
        check("no model of it", not os.path.exists(at("bad/model.gguf")))
    refused("prune", recipe("./teacher/model.gguf", "prune: {heads: %d}\n" % n_head), "one must stay", 2)
    refused("prune", recipe("./teacher/model.gguf", "prune: {heads: 1}\ndistill: {attention: 1}\n"), "distill.attention", 2)
    refused("train", recipe(BASE, "").replace("context", "inner: 0.5, layers: [0], context"), "base.inner", 2)
    distill = read(at("distill.yaml")).decode()
    refused("train", distill, "nanogrid distill", 2)
    refused("prune", distill, "nanogrid distill", 2)
    refused("finetune", distill, "nanogrid distill", 2)
    refused("finetune", lora.replace("ffn_up", "ffn"), "lora.targets", 2)
    refused("finetune", lora.replace("rank: 4", "rank: 4, layers: [%d]" % layers), "lora.layers", 2)
    refused("finetune", lora.replace("rank: 4", "rank: 4, layers: [0.5]"), "lora.layers", 2)
    refused("finetune", lora.replace("task:", "head_weights: Q8_0\ntask:"), "stays as it is", 2)
    refused("finetune", lora.replace("task:", "weights: Q8_0\ntask:"), "Q8_0 cannot hold an adapter of rank 4", 2)
    refused("distill", recipe(BASE, "distill: {soft: 0.5}\n"), "nothing to distil from", 2)
    refused("prune", recipe(BASE, "prune: {inner: 0.5}\n"), "bert-tiny", 1)
    refused("prune", recipe("./teacher/model.gguf", "prune: {layers: %d}\n" % layers), "one must stay", 2)
    refused("prune", recipe("./teacher/model.gguf", "prune: {iner: 0.5}\n"), "iner", 2)
    refused("distill", distill.replace("temperature: 2", "temperature: 0"), "temperature", 2)
    refused("distill", distill.replace("./teacher/model.gguf,", "./nowhere.gguf,"), "nowhere", 1)
    write(at("recorded.jsonl"), '{"text": "a", "scores": {"x": 1}}\n{"text": "b", "scores": {"nope": 1}}\n')
    refused("distill", distill, "recorded.jsonl:2", 1)
    write(at("recorded.jsonl"), '{"text": "a", "scores": \n')
    refused("distill", distill, "recorded.jsonl:1", 1)
    subprocess.run(["rm", "-rf", work], check=True)
    sys.exit(check.done())


main()
