#!/usr/bin/env python3
"""Makes bert-tiny-{f32,mixed,cls}.gguf and bert-tiny.txt: random BERT encoders of 20,000 weights with a WordPiece
vocabulary of single letters, and the vectors that they must give.

    python3 tests/golden/make_bert.py [--check]          needs numpy and gguf; --check also torch and transformers

The expected vectors come from the forward pass below, in float64 on the weights as stored (dequantised): mean over
all tokens (or the first token), divided by the length.  --check compares it with transformers' BertModel in float64.
bert-tiny.txt has one line a case: file, largest difference allowed, ids, vector."""
import math
import os
import sys

import gguf
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
EMBD, LAYERS, HEADS, FF, CTX, EPS = 32, 2, 4, 64, 96, 1e-12
HEAD = EMBD // HEADS
LETTERS = "abcdefghijklmnopqrstuvwxyz"
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + ["\u2581" + c for c in LETTERS] + list(LETTERS)
T = gguf.GGMLQuantizationType
MIXED = {"token_embd": T.Q8_0, "attn_q": T.Q8_0, "attn_k": T.Q5_0, "attn_v": T.Q4_1, "attn_output": T.Q8_0,
         "ffn_up": T.F16, "ffn_down": T.Q8_0}


def weights(rng):
    def mat(*shape):
        return (rng.standard_normal(shape) * 1.5 / np.sqrt(shape[-1])).astype(np.float32)

    def pair(name, *shape):
        return {name + ".weight": mat(*shape), name + ".bias": mat(1, shape[0])[0]}

    def norm(name):
        return {name + ".weight": 1 + 0.3 * mat(1, EMBD)[0], name + ".bias": 0.3 * mat(1, EMBD)[0]}
    w = {"token_embd.weight": mat(len(TOKENS), EMBD), "position_embd.weight": mat(CTX, EMBD),
         "token_types.weight": mat(2, EMBD)} | norm("token_embd_norm")
    for i in range(LAYERS):
        b = "blk.%d." % i
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            w |= pair(b + name, EMBD, EMBD)
        w |= pair(b + "ffn_up", FF, EMBD) | pair(b + "ffn_down", EMBD, FF)
        w |= norm(b + "attn_output_norm") | norm(b + "layer_output_norm")
    return w


def save(path, w, types, pooling):
    """Writes the file; returns the weights that it really holds."""
    out, held = gguf.GGUFWriter(path, "bert"), {}
    out.add_name("bert-tiny")
    out.add_block_count(LAYERS), out.add_context_length(CTX), out.add_embedding_length(EMBD)
    out.add_feed_forward_length(FF), out.add_head_count(HEADS), out.add_layer_norm_eps(EPS)
    out.add_causal_attention(False), out.add_uint32("bert.pooling_type", pooling)
    out.add_tokenizer_model("bert"), out.add_tokenizer_pre("jina-v2-en")
    out.add_token_list(TOKENS), out.add_token_types([3] * 5 + [1] * 52), out.add_token_type_count(2)
    out.add_bos_token_id(2), out.add_eos_token_id(3), out.add_unk_token_id(1), out.add_sep_token_id(3)
    out.add_pad_token_id(0), out.add_mask_token_id(4)
    for name, x in w.items():
        t = types.get(name.split(".")[-2], T.F32) if name.endswith("weight") else T.F32
        q = x if t == T.F32 else gguf.quants.quantize(x, t)
        out.add_tensor(name, q, raw_dtype=None if t == T.F32 else t)
        held[name] = x if t == T.F32 else gguf.quants.dequantize(q, t)
    out.write_header_to_file(), out.write_kv_data_to_file(), out.write_tensors_to_file()
    out.close()
    return held


def forward(w, ids, pooling):
    w = {k: v.astype(np.float64) for k, v in w.items()}
    n = len(ids)

    def norm(x, name):
        d = x - x.mean(-1, keepdims=True)
        return d / np.sqrt((d * d).mean(-1, keepdims=True) + EPS) * w[name + ".weight"] + w[name + ".bias"]

    def part(x, name):
        return x @ w[name + ".weight"].T + w[name + ".bias"]
    x = norm(w["token_embd.weight"][ids] + w["token_types.weight"][0] + w["position_embd.weight"][:n], "token_embd_norm")
    for i in range(LAYERS):
        b = "blk.%d." % i
        q, k, v = (part(x, b + "attn_" + c).reshape(n, HEADS, HEAD) for c in "qkv")
        s = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(HEAD)
        p = np.exp(s - s.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        x = norm(x + part(np.einsum("hqk,khd->qhd", p, v).reshape(n, EMBD), b + "attn_output"), b + "attn_output_norm")
        h = part(x, b + "ffn_up")
        h = h / 2 * (1 + np.vectorize(math.erf)(h / np.sqrt(2)))
        x = norm(x + part(h, b + "ffn_down"), b + "layer_output_norm")
    y = x.mean(0) if pooling == 1 else x[0]
    return y / np.sqrt((y * y).sum())


def check(w, ids, pooling):
    import torch
    from transformers import BertConfig, BertModel
    m = BertModel(BertConfig(vocab_size=len(TOKENS), hidden_size=EMBD, intermediate_size=FF, num_hidden_layers=LAYERS,
                             num_attention_heads=HEADS, max_position_embeddings=CTX, hidden_act="gelu", layer_norm_eps=EPS),
                  add_pooling_layer=False).double().eval()
    names = {"attn_q": "attention.self.query", "attn_k": "attention.self.key", "attn_v": "attention.self.value",
             "attn_output": "attention.output.dense", "attn_output_norm": "attention.output.LayerNorm",
             "ffn_up": "intermediate.dense", "ffn_down": "output.dense", "layer_output_norm": "output.LayerNorm"}
    top = {"token_embd": "word_embeddings", "position_embd": "position_embeddings", "token_types": "token_type_embeddings",
           "token_embd_norm": "LayerNorm"}
    state = dict(m.state_dict())
    for name, x in w.items():
        p = name.split(".")
        key = "embeddings.%s.%s" % (top[p[0]], p[1]) if p[0] in top else "encoder.layer.%s.%s.%s" % (p[1], names[p[2]], p[3])
        assert state[key].shape == x.shape, key
        state[key] = torch.tensor(x).double()
    m.load_state_dict(state)
    with torch.no_grad():
        h = m(torch.tensor([ids])).last_hidden_state[0]
    y = (h.mean(0) if pooling == 1 else h[0]).numpy()
    return y / np.sqrt((y * y).sum())


def main():
    rng = np.random.default_rng(11)
    w = weights(rng)
    cases = [[2, 3]] + [[2, *map(int, rng.integers(5, len(TOKENS), n)), 3] for n in (1, 15, 31, 62, CTX - 2)]
    with open(os.path.join(HERE, "bert-tiny.txt"), "w") as f:
        for kind, types, pooling, limit in (("f32", {}, 1, 2e-6), ("cls", {}, 2, 2e-6), ("mixed", MIXED, 1, 0.02)):
            held = save(os.path.join(HERE, "bert-tiny-%s.gguf" % kind), w, types, pooling)
            for ids in cases:
                y = forward(held, ids, pooling)
                if "--check" in sys.argv:
                    d = np.abs(check(held, ids, pooling) - y).max()
                    print("%s, %d ids: transformers differs by %.1e" % (kind, len(ids), d))
                    assert d < 1e-9
                f.write("bert-tiny-%s.gguf %g %s %s\n" % (kind, limit, ",".join(map(str, ids)), ",".join("%.8g" % v for v in y)))


main()
