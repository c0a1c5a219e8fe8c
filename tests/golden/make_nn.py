#!/usr/bin/env python3
"""Makes nn-bert.gguf: a BERT encoder of 5,400 random weights with a classification head, and what PyTorch makes of it.

    python3 tests/golden/make_nn.py          needs torch, transformers, gguf, numpy

Per weight NAME: "w.NAME" before, "g.NAME" the gradient of the first batch's loss, "a.NAME" after STEPS steps of AdamW
over two batches in turn (rate RATE, decay DECAY on the layers' matrices only, gradients clipped to length CLIP).  "x" is
the encoder's output for the first batch, "losses" the loss of every step; keys nn.* hold the batches and settings.
"losses.small" are those of the same steps from matrices SMALL times as large, which is the size that trained models have."""
import os

import gguf
import numpy as np
import torch
from transformers import BertConfig, BertModel

HERE = os.path.dirname(os.path.abspath(__file__))
WIDTH, LAYERS, HEADS, FF, VOCAB, CTX, LABELS, EPS = 16, 2, 2, 32, 40, 16, 3, 1e-12
STEPS, RATE, DECAY, CLIP, SMALL = 20, 5e-3, 0.1, 0.5, 0.25
BATCHES = [([[2, 17, 8, 30, 3], [2, 9, 9, 11, 25, 39, 6, 14, 3], [2, 33, 3]], [0, 2, 1]),
           ([[2, 5, 6, 7, 8, 9, 10, 11, 12, 13, 3], [2, 22, 21, 3]], [1, 0])]
NAMES = {"embeddings.word_embeddings.weight": "token_embd.weight",
         "embeddings.position_embeddings.weight": "position_embd.weight",
         "embeddings.token_type_embeddings.weight": "token_types.weight",
         "embeddings.LayerNorm": "token_embd_norm"}
for i in range(LAYERS):
    a, b = "encoder.layer.%d." % i, "blk.%d." % i
    NAMES |= {a + "attention.self.query": b + "attn_q", a + "attention.self.key": b + "attn_k",
              a + "attention.self.value": b + "attn_v", a + "attention.output.dense": b + "attn_output",
              a + "attention.output.LayerNorm": b + "attn_output_norm", a + "intermediate.dense": b + "ffn_up",
              a + "output.dense": b + "ffn_down", a + "output.LayerNorm": b + "layer_output_norm"}


def name_of(torch_name):
    if torch_name in NAMES:
        return NAMES[torch_name]
    stem, kind = torch_name.rsplit(".", 1)
    return NAMES[stem] + "." + kind


def hidden(model, rows):
    longest = max(map(len, rows))
    ids = torch.tensor([r + [0] * (longest - len(r)) for r in rows])
    mask = torch.tensor([[1] * len(r) + [0] * (longest - len(r)) for r in rows])
    return model(ids, mask).last_hidden_state, mask


def loss_of(model, head, batch):
    x, mask = hidden(model, batch[0])
    m = mask[:, :, None].float()
    return torch.nn.functional.cross_entropy(head((x * m).sum(1) / m.sum(1)), torch.tensor(batch[1]))


def train(model, head, params):
    decays = [p for n, p in params.items() if n.startswith("blk") and p.dim() > 1]
    rest = [p for n, p in params.items() if not (n.startswith("blk") and p.dim() > 1)]
    opt = torch.optim.AdamW([{"params": decays, "weight_decay": DECAY}, {"params": rest, "weight_decay": 0.0}], lr=RATE)
    losses = []
    for step in range(STEPS):
        opt.zero_grad()
        loss = loss_of(model, head, BATCHES[step % 2])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(params.values()), CLIP)
        opt.step()
        losses.append(loss.item())
    return np.array(losses, np.float32)


def main():
    torch.manual_seed(7)
    cfg = BertConfig(vocab_size=VOCAB, hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
                     intermediate_size=FF, max_position_embeddings=CTX, type_vocab_size=1, layer_norm_eps=EPS,
                     hidden_dropout_prob=0, attention_probs_dropout_prob=0, pad_token_id=None)
    model, head = BertModel(cfg, add_pooling_layer=False), torch.nn.Linear(WIDTH, LABELS)
    with torch.no_grad():
        for p in list(model.parameters()) + list(head.parameters()):
            p.copy_(torch.randn_like(p) * (0.5 if p.dim() > 1 else 0.2) + (1 if p.dim() == 1 and p.mean() > 0.5 else 0))
    params = {name_of(n): p for n, p in model.named_parameters()} | {"head.weight": head.weight, "head.bias": head.bias}
    out = gguf.GGUFWriter(os.path.join(HERE, "nn-bert.gguf"), "nanogrid-nn-golden")
    for key, v in dict(width=WIDTH, layers=LAYERS, heads=HEADS, ff=FF, vocab=VOCAB, ctx=CTX, labels=LABELS, steps=STEPS).items():
        out.add_uint32("nn." + key, v)
    for key, v in dict(rate=RATE, decay=DECAY, clip=CLIP, eps=EPS).items():
        out.add_float32("nn." + key, v)
    for i, (rows, labels) in enumerate(BATCHES):
        out.add_array("nn.ids.%d" % i, [int(t) for r in rows for t in r])
        out.add_array("nn.lengths.%d" % i, list(map(len, rows)))
        out.add_array("nn.labels.%d" % i, labels)

    def put(prefix, tensors):
        for n, t in tensors.items():
            out.add_tensor(prefix + n, t.detach().numpy().astype(np.float32).copy())
    put("w.", params)
    x, mask = hidden(model, BATCHES[0][0])
    out.add_tensor("x", torch.cat([x[i, :int(mask[i].sum())] for i in range(len(x))]).detach().numpy().copy())
    loss_of(model, head, BATCHES[0]).backward()
    put("g.", {n: p.grad for n, p in params.items()})
    first = {n: p.detach().clone() for n, p in params.items()}
    losses = train(model, head, params)
    put("a.", params)
    out.add_tensor("losses", losses)
    with torch.no_grad():
        for n, p in params.items():
            p.copy_(first[n] * (SMALL if p.dim() > 1 else 1))
    out.add_float32("nn.small", SMALL)
    out.add_tensor("losses.small", train(model, head, params))
    out.write_header_to_file(), out.write_kv_data_to_file(), out.write_tensors_to_file(), out.close()
    print(list(losses))


main()
