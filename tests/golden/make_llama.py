#!/usr/bin/env python3
"""Makes llama-tiny-{f32,mixed}.gguf and llama-tiny.txt: random llama models of 20,000 weights, and the logits that
they must give.

    python3 tests/golden/make_llama.py [--check]          needs numpy and gguf; --check also torch and transformers

The expected logits come from the forward pass below, in float64 on the weights as stored (dequantised).  --check
compares it with transformers' LlamaForCausalLM in float64.  llama-tiny.txt has one line a case:
file, largest difference allowed over the RMS of the logits, ids, logits."""
import os
import sys

import gguf
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
VOCAB, EMBD, LAYERS, HEADS, KV, FF, CTX, EPS, BASE = 48, 32, 2, 4, 2, 64, 192, 1e-5, 10000.0
HEAD = EMBD // HEADS
FACTORS = np.array([1, 1.5, 3, 4], dtype=np.float32)  # rope_freqs.weight, as llama-3 has
T = gguf.GGMLQuantizationType
MIXED = {"token_embd": T.Q8_0, "attn_q": T.Q4_0, "attn_k": T.Q5_0, "attn_v": T.Q5_1, "attn_output": T.Q4_1,
         "ffn_gate": T.F16, "ffn_up": T.BF16, "ffn_down": T.Q8_0}


def weights(rng):
    """name -> array; q and k rows in the order of transformers (halves), see permuted()."""
    def mat(*shape):
        return (rng.standard_normal(shape) * 1.5 / np.sqrt(shape[-1])).astype(np.float32)
    w = {"token_embd.weight": mat(VOCAB, EMBD), "output_norm.weight": 1 + 0.2 * mat(1, EMBD)[0]}
    for i in range(LAYERS):
        b = "blk.%d." % i
        w |= {b + "attn_q.weight": mat(EMBD, EMBD), b + "attn_k.weight": mat(KV * HEAD, EMBD),
              b + "attn_v.weight": mat(KV * HEAD, EMBD), b + "attn_output.weight": mat(EMBD, EMBD),
              b + "ffn_gate.weight": mat(FF, EMBD), b + "ffn_up.weight": mat(FF, EMBD), b + "ffn_down.weight": mat(EMBD, FF),
              b + "attn_norm.weight": 1 + 0.2 * mat(1, EMBD)[0], b + "ffn_norm.weight": 1 + 0.2 * mat(1, EMBD)[0],
              b + "attn_q.bias": mat(1, EMBD)[0], b + "attn_k.bias": mat(1, KV * HEAD)[0],
              b + "attn_v.bias": mat(1, KV * HEAD)[0]}
    return w


def permuted(x, heads):
    """Rotated pairs become neighbours, as converters store llama's q and k."""
    return x.reshape(heads, 2, x.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(x.shape)


def save(path, w, types):
    """Writes the file; returns the weights that it really holds, in the order of transformers."""
    out, held = gguf.GGUFWriter(path, "llama"), {}
    out.add_name("llama-tiny")
    out.add_block_count(LAYERS), out.add_context_length(CTX), out.add_embedding_length(EMBD)
    out.add_feed_forward_length(FF), out.add_head_count(HEADS), out.add_head_count_kv(KV)
    out.add_layer_norm_rms_eps(EPS), out.add_rope_freq_base(BASE), out.add_rope_dimension_count(HEAD)
    out.add_tensor("rope_freqs.weight", FACTORS)
    for name, x in w.items():
        kind, heads = name.split(".")[-2], {"attn_q": HEADS, "attn_k": KV}.get(name.split(".")[-2])
        stored = permuted(x, heads) if heads else x
        t = types.get(kind, T.F32) if name.endswith("weight") else T.F32
        if t == T.F32:
            out.add_tensor(name, stored)
            held[name] = x
            continue
        q = gguf.quants.quantize(stored, t)
        out.add_tensor(name, q, raw_dtype=t)
        back = gguf.quants.dequantize(q, t)
        if heads:  # the permutation taken back
            back = back.reshape(heads, HEAD // 2, 2, -1).swapaxes(1, 2).reshape(x.shape)
        held[name] = back
    out.write_header_to_file(), out.write_kv_data_to_file(), out.write_tensors_to_file()
    out.close()
    return held


def norm(x, w):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + EPS) * w


def rotate(x, inv_freq):  # [n, heads, HEAD], halves
    a = np.arange(len(x))[:, None, None] * np.concatenate([inv_freq, inv_freq])
    h = HEAD // 2
    return x * np.cos(a) + np.concatenate([-x[..., h:], x[..., :h]], -1) * np.sin(a)


def forward(w, ids):
    w = {k: v.astype(np.float64) for k, v in w.items()}
    inv_freq = BASE ** (-np.arange(0, HEAD, 2) / HEAD) / FACTORS.astype(np.float64)
    x, n = w["token_embd.weight"][ids], len(ids)
    mask = np.triu(np.full((n, n), -np.inf), 1)
    for i in range(LAYERS):
        def part(name, h):
            b = "blk.%d.%s." % (i, name)
            return h @ w[b + "weight"].T + w.get(b + "bias", 0)
        h = norm(x, w["blk.%d.attn_norm.weight" % i])
        q = rotate(part("attn_q", h).reshape(n, HEADS, HEAD), inv_freq)
        k = rotate(part("attn_k", h).reshape(n, KV, HEAD), inv_freq).repeat(HEADS // KV, 1)
        v = part("attn_v", h).reshape(n, KV, HEAD).repeat(HEADS // KV, 1)
        s = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(HEAD) + mask
        p = np.exp(s - s.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        x = x + part("attn_output", np.einsum("hqk,khd->qhd", p, v).reshape(n, EMBD))
        h = norm(x, w["blk.%d.ffn_norm.weight" % i])
        g = part("ffn_gate", h)
        x = x + part("ffn_down", g / (1 + np.exp(-g)) * part("ffn_up", h))
    return norm(x, w["output_norm.weight"])[-1] @ w["token_embd.weight"].T


def check(w, ids):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    m = LlamaForCausalLM(LlamaConfig(vocab_size=VOCAB, hidden_size=EMBD, intermediate_size=FF, num_hidden_layers=LAYERS,
                                     num_attention_heads=HEADS, num_key_value_heads=KV, rms_norm_eps=EPS, attention_bias=True,
                                     max_position_embeddings=CTX, tie_word_embeddings=True)).double()
    names = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
             "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
             "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
    state = {k: torch.zeros_like(v) for k, v in m.state_dict().items()}
    for name, x in w.items():
        p = name.split(".")
        key = {"token_embd": "model.embed_tokens.weight", "output_norm": "model.norm.weight"}.get(p[0])
        state[key or "model.layers.%s.%s.%s" % (p[1], names[p[2]], p[3])] = torch.tensor(x).double()
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    m.load_state_dict(state)
    m.model.rotary_emb.inv_freq = m.model.rotary_emb.inv_freq.double() / torch.tensor(FACTORS).double()
    with torch.no_grad():
        return m(torch.tensor([ids])).logits[0, -1].numpy()


def main():
    rng = np.random.default_rng(7)
    w = weights(rng)
    prompts = [[5], list(rng.integers(0, VOCAB, 9)), list(rng.integers(0, VOCAB, 70)), list(rng.integers(0, VOCAB, 150))]
    with open(os.path.join(HERE, "llama-tiny.txt"), "w") as f:
        for kind, types, limit in (("f32", {}, 2e-5), ("mixed", MIXED, 0.1)):
            held = save(os.path.join(HERE, "llama-tiny-%s.gguf" % kind), w, types)
            for ids in prompts:
                y = forward(held, ids)
                if "--check" in sys.argv:
                    d = np.abs(check(held, ids) - y).max() / np.sqrt((y * y).mean())
                    print("%s, %d ids: transformers differs by %.1e" % (kind, len(ids), d))
                    assert d < 1e-5, "float32 cos and sin inside transformers allow 1e-6 or so"
                f.write("llama-tiny-%s.gguf %g %s %s\n" % (kind, limit, ",".join(map(str, ids)), ",".join("%.7g" % v for v in y)))


main()
