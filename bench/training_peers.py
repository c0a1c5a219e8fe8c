#!/usr/bin/env python3
"""Training beside PyTorch, and what adapters save.

    . $PEERS_DIR/env.sh; unset LD_LIBRARY_PATH
    $PEERS_PYTHON bench/training_peers.py speed build/nanogrid       tokens a second, in turns; needs MINILM_DIR
    python3 bench/training_peers.py memory build/nanogrid            peak resident memory of train and finetune
    $PEERS_PYTHON bench/training_peers.py curve build/nanogrid       the same loss curve?  needs MINILM_DIR and NANOGRID_DATA

speed: forward, backward and AdamW of all-MiniLM-L6-v2 with a head of two labels, random words, 32 texts of 32 tokens and
16 of 128, on two cores; ours is `train --bench`.  memory: one epoch over 256 made-up texts of about 30 words, batches of
32; `train` has all weights as floats, `finetune` a base of Q8_0: rank 8 on attn_q and attn_v of all layers, and rank 1 on
attn_v of the last one, which with the head of two labels is less than a ten-thousandth of the base's weights.  Each adapter is then
switched off (merged with scale 0, and beside the base with scale 0): the vectors of 32 texts must be the base's to the bit.
curve: the first texts of SST-2 in their order, 80 steps of 16, no dropout, a constant rate, both from the same file of weights with
the same head; the losses are compared in means of 20 steps, and the command fails where F32 or BF16 is 0.01 off PyTorch's F32."""
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "support"))
from gguf_read import read_gguf  # noqa: E402

BASE, DATA = os.environ.get("MINILM_DIR"), os.environ.get("NANOGRID_DATA")


def recipe(base, more):
    return """name: bench
task: encoder
base: {model: %s}
heads: [{name: h, recipe: data.yaml}]
training: {epochs: 1, batch: 32, rate: 1e-4}
%s""" % (base, more)


def torch_rate(bf16, batch, length, steps=4):
    import torch
    from transformers import AutoModel

    torch.set_num_threads(2)
    state = torch_rate.__dict__
    if "model" not in state:
        state["model"], state["head"] = AutoModel.from_pretrained(BASE).train(), torch.nn.Linear(384, 2)
        state["opt"] = torch.optim.AdamW(list(state["model"].parameters()) + list(state["head"].parameters()), lr=1e-5)
    ids, labels = torch.randint(1000, 20000, (batch, length)), torch.randint(0, 2, (batch,))

    def step():
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            hidden = state["model"](ids, torch.ones_like(ids)).last_hidden_state.mean(1)
            loss = torch.nn.functional.cross_entropy(state["head"](hidden).float(), labels)
        loss.backward()
        state["opt"].step()
        state["opt"].zero_grad()

    step()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return batch * length * steps / (time.perf_counter() - start)


def speed(nanogrid, work, rounds):
    with open(work + "/recipe.yaml", "w") as f:
        f.write(recipe(BASE, ""))
    theirs, ours = {}, {}
    for _ in range(rounds):
        for dtype in "f32", "bf16":
            for cell in (32, 32), (16, 128):
                theirs.setdefault((dtype, *cell), []).append(torch_rate(dtype == "bf16", *cell))
        out = subprocess.run([nanogrid, "train", work + "/recipe.yaml", "--bench", "--json", "-t", "2"], capture_output=True, text=True, check=True).stdout
        for x in map(json.loads, out.splitlines()):
            ours.setdefault((x["dtype"], x["batch"], x["length"]), []).append(x["tokens_per_s"])
    print("%6s %6s %12s %12s %7s %22s" % ("batch", "length", "PyTorch", "nanogrid", "ratio", "(tokens/s)"))
    for key, values in theirs.items():
        for dtype in "f32", "bf16":
            mine = ours.get((dtype, *key[1:]))
            if mine and (dtype == key[0] or key[0] == "f32"):
                a, b = statistics.median(values), statistics.median(mine)
                print("%6d %6d %7.0f %-4s %7.0f %-4s %7.2f" % (*key[1:], a, key[0], b, dtype, b / a))


def peak(command):
    """Most resident bytes of a process, and what it printed last."""
    p = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    out = p.stdout.read()
    _, status, usage = os.wait4(p.pid, 0)
    if status:
        sys.exit("%s failed" % command)
    return usage.ru_maxrss * 1024, json.loads(out.splitlines()[-1])


def memory(nanogrid, work):
    rng = random.Random(1)
    for name, n in ("train", 256), ("dev", 32):
        with open("%s/%s.tsv" % (work, name), "w") as f:
            f.write("text\tlabel\n")
            for _ in range(n):
                words = " ".join(rng.choice("time year people way day man thing woman life child world school state family".split()) for _ in range(30))
                f.write("%s\t%s\n" % (words, rng.choice("ab")))
    with open(work + "/data.yaml", "w") as f:
        f.write("name: h\ntask: classify\nlicence: none\ndata: {train: [{file: ./train.tsv}], dev: [{file: ./dev.tsv}]}\n")
    subprocess.run([nanogrid, "convert", BASE, work + "/f32.gguf", "--type", "F32"], check=True, capture_output=True)
    subprocess.run([nanogrid, "quantize", work + "/f32.gguf", work + "/q8.gguf", "Q8_0"], check=True, capture_output=True)
    adapters = ("lora", "rank 8, attn_q and attn_v", "{rank: 8, alpha: 16}"), ("thin", "rank 1, attn_v of the last layer", "{rank: 1, alpha: 2, targets: [attn_v], layers: [5]}")
    for name, text in ("full", recipe(work + "/f32.gguf", "")), *((name, recipe(work + "/q8.gguf", "lora: %s\n" % how)) for name, _, how in adapters):
        with open("%s/%s.yaml" % (work, name), "w") as f:
            f.write(text)
    full, _ = peak([nanogrid, "train", work + "/full.yaml", "--out", work + "/full", "--json"])
    print("%-34s %6.0f MB" % ("train", full / 1e6))
    for name, title, _ in adapters:
        lora, r = peak([nanogrid, "finetune", "%s/%s.yaml" % (work, name), "--out", "%s/%s" % (work, name), "--json"])
        print("%-34s %6.0f MB, %.3f of train; %d weights of %d, %.0f times fewer (%d, %.0f times, with the head); switched off: %s" % (
            "finetune " + title, lora / 1e6, lora / full, r["adapter_weights"], r["base_weights"], r["base_weights"] / r["adapter_weights"],
            r["trained_weights"], r["base_weights"] / r["trained_weights"], "the same bits" if off_is_base(nanogrid, work, name) else "OTHER BITS"))


def off_is_base(nanogrid, work, name):
    """Whether base, merged with scale 0 and beside with scale 0 give the same vectors, and the adapter switched on others."""
    with open(work + "/train.tsv") as f:
        texts = "\n".join(line.split("\t")[0] for line in f.readlines()[1:33])
    adapter, base = "%s/%s/adapter.gguf" % (work, name), work + "/q8.gguf"
    subprocess.run([nanogrid, "finetune", "--merge", adapter, "-m", base, "--out", work + "/off.gguf", "--scale", "0"], check=True, capture_output=True)

    def vectors(*how):
        return subprocess.run([nanogrid, "embed", "--json", *how], input=texts, check=True, capture_output=True, text=True).stdout

    want = vectors("-m", base)
    beside = "-m", base, "--adapter", adapter
    return vectors("-m", work + "/off.gguf") == want == vectors(*beside, "--scale", "0") != vectors(*beside)


STEPS, BATCH, RATE, MEANS = 80, 16, 5e-5, 20


def curve_recipe(nanogrid, work, name, base, steps, rate, precision):
    """Trains `name` in `work` and returns the losses that it reports, each the mean of MEANS steps."""
    with open("%s/%s.yaml" % (work, name), "w") as f:
        f.write("name: %s\ntask: encoder\nbase: {model: %s}\nheads: [{name: h, recipe: data.yaml}]\ntraining: {epochs: 1, steps: %d, batch: %d, rate: %g, "
                "warmup: 0, schedule: constant, dropout: 0, shuffle: false, precision: %s}\n" % (name, base, steps, BATCH, rate, precision))
    out = subprocess.run([nanogrid, "train", "%s/%s.yaml" % (work, name), "--out", "%s/%s" % (work, name), "--json"], capture_output=True, text=True, check=True)
    return [x["loss"] for x in map(json.loads, out.stdout.splitlines()) if x.get("phase") == "train"]


def torch_names(layers):
    """Name in GGUF: name in transformers' BertModel."""
    names = {"token_embd": "embeddings.word_embeddings", "position_embd": "embeddings.position_embeddings", "token_types": "embeddings.token_type_embeddings",
             "token_embd_norm": "embeddings.LayerNorm"}
    for i in range(layers):
        for ours, theirs in (("attn_q", "attention.self.query"), ("attn_k", "attention.self.key"), ("attn_v", "attention.self.value"),
                             ("attn_output", "attention.output.dense"), ("attn_output_norm", "attention.output.LayerNorm"), ("ffn_up", "intermediate.dense"),
                             ("ffn_down", "output.dense"), ("layer_output_norm", "output.LayerNorm")):
            names["blk.%d.%s" % (i, ours)] = "encoder.layer.%d.%s" % (i, theirs)
    return names


def torch_curve(path, texts, labels):
    """The same steps by transformers and PyTorch's AdamW, in F32."""
    import numpy
    import torch
    from transformers import AutoModel, AutoTokenizer

    torch.set_num_threads(2)
    tensors = read_gguf(path)[1]
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    model = AutoModel.from_pretrained(BASE, add_pooling_layer=False, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0).train()
    head = torch.nn.Linear(model.config.hidden_size, 2)
    params, decays = dict(model.named_parameters()), []
    names = torch_names(model.config.num_hidden_layers)
    with torch.no_grad():
        for name, (kind, dims, data) in tensors.items():
            value = torch.from_numpy(numpy.frombuffer(data, numpy.float32).copy())
            stem, what = name.rsplit(".", 1)
            to = {"head.h.weight": head.weight, "head.h.bias": head.bias}.get(name)
            to = params[names[stem] + "." + what] if to is None else to
            assert kind == "F32", name
            value = value.reshape(-1, *to.shape[1:])  # ours has the first positions and the first of two types of token alone
            to[: len(value)] = value[: len(to)]
            if name.startswith("blk.") and to.dim() > 1:
                decays.append(to)
    rest = [p for p in [*params.values(), *head.parameters()] if not any(p is d for d in decays)]
    opt = torch.optim.AdamW([{"params": decays, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}], lr=RATE)
    losses = []
    for i in range(0, STEPS * BATCH, BATCH):
        x = tokenizer(texts[i : i + BATCH], padding=True, truncation=True, max_length=128, return_tensors="pt")
        hidden, mask = model(x["input_ids"], x["attention_mask"]).last_hidden_state, x["attention_mask"][:, :, None].float()
        loss = torch.nn.functional.cross_entropy(head((hidden * mask).sum(1) / mask.sum(1)), torch.tensor(labels[i : i + BATCH]))
        opt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([*params.values(), *head.parameters()], 1)
        opt.step()
        losses.append(loss.item())
    return [statistics.fmean(losses[i : i + MEANS]) for i in range(0, STEPS, MEANS)]


def curve(nanogrid, work):
    if not DATA:
        print("SKIPPED: NANOGRID_DATA is not set")
        return 77
    with open(os.path.join(DATA, "sst2", "train.tsv"), encoding="utf-8") as f:
        head = f.readline().rstrip("\n").split("\t")
        rows = [dict(zip(head, line.rstrip("\n").split("\t"))) for line in f]
    texts, labels = [], []
    for r in rows:
        if r["text"] not in texts and len(texts) < STEPS * BATCH:
            texts.append(r["text"])
            labels.append(int(r["label"]))
    with open(work + "/train.tsv", "w", encoding="utf-8") as f:
        f.write("text\tlabel\n" + "".join("%s\t%s\n" % (t, "ab"[k]) for t, k in zip(texts, labels)))
    with open(work + "/data.yaml", "w") as f:
        f.write("name: h\ntask: classify\nlicence: none\nlabels: [a, b]\ndata: {train: [{file: ./train.tsv}]}\n")
    curve_recipe(nanogrid, work, "first", BASE, 1, 1e-9, "f32")
    first = work + "/first/model.gguf"
    theirs = torch_curve(first, texts, labels)
    print("steps            " + "".join("%10d" % (i + MEANS) for i in range(0, STEPS, MEANS)) + "   most")
    print("PyTorch F32      " + "".join("%10.5f" % x for x in theirs))
    worst = 0
    for precision in "f32", "bf16":
        ours = curve_recipe(nanogrid, work, precision, first, STEPS, RATE, precision)
        most = max(abs(a - b) for a, b in zip(ours, theirs))
        print("nanogrid %-8s" % precision.upper() + "".join("%10.5f" % x for x in ours) + "%9.5f off" % most)
        worst = max(worst, most if len(ours) == len(theirs) else math.inf)
    print("at most 0.01 off: %s" % ("yes" if worst <= 0.01 else "NO"))
    return worst > 0.01


def main():
    if len(sys.argv) < 3 or sys.argv[1] not in ("speed", "memory", "curve"):
        sys.exit(__doc__)
    if not BASE:
        print("SKIPPED: MINILM_DIR is not set (a folder of all-MiniLM-L6-v2)")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as work:
        if sys.argv[1] == "speed":
            speed(sys.argv[2], work, int(sys.argv[3]) if len(sys.argv) > 3 else 3)
        elif sys.argv[1] == "curve":
            sys.exit(curve(sys.argv[2], work))
        else:
            memory(sys.argv[2], work)


main()
