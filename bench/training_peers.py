#!/usr/bin/env python3
"""Training beside PyTorch, and what adapters save.

    . $PEERS_DIR/env.sh; unset LD_LIBRARY_PATH
    $PEERS_PYTHON bench/training_peers.py speed build/nanogrid       tokens a second, in turns; needs MINILM_DIR
    python3 bench/training_peers.py memory build/nanogrid            peak resident memory of train and finetune

speed: forward, backward and AdamW of all-MiniLM-L6-v2 with a head of two labels, random words, 32 texts of 32 tokens and
16 of 128, on two cores; ours is `train --bench`.  memory: one epoch over 256 made-up texts of about 30 words, batches of
32; `train` has all weights as floats, `finetune` a base of Q8_0: rank 8 on attn_q and attn_v of all layers, and rank 1 on
attn_v of the last one, which with the head of two labels is less than a ten-thousandth of the base's weights.  Each adapter is then
switched off (merged with scale 0, and beside the base with scale 0): the vectors of 32 texts must be the base's to the bit."""
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time

BASE = os.environ.get("MINILM_DIR")


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


def main():
    if len(sys.argv) < 3 or sys.argv[1] not in ("speed", "memory"):
        sys.exit(__doc__)
    if not BASE:
        print("SKIPPED: MINILM_DIR is not set (a folder of all-MiniLM-L6-v2)")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as work:
        if sys.argv[1] == "speed":
            speed(sys.argv[2], work, int(sys.argv[3]) if len(sys.argv) > 3 else 3)
        else:
            memory(sys.argv[2], work)


main()
