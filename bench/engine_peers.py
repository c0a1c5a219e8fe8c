"""engine_peers.py: the peers that live in Python, for bench/engine: ONNX Runtime and Hugging Face tokenizers.

Run by the interpreter that has them (PEERS_PYTHON): one JSON object a line in, one out, so that measurements can
alternate with ours.  An answer is {"value": number} or {"error": text}.

    {"do": "encoder", "tokens": 16, "batch": 1, "threads": 2, "runs": 20}     median ms of a pass, int8 weights
    {"do": "tokenizer", "kind": "wordpiece" | "bpe", "model": FILE, "text": FILE}     MB/s of one thread, line by line
"""
import json
import os
import statistics
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
sessions = {}
tokenizers_made = {}


def int8_model():
    """all-MiniLM-L6-v2 as ONNX with dynamically quantised weights, made once."""
    folder = os.environ.get("PEERS_DIR", ".")
    plain, int8 = os.path.join(folder, "minilm.onnx"), os.path.join(folder, "minilm-int8.onnx")
    if os.path.exists(int8):
        return int8
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from transformers import AutoModel

    class Body(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, ids, mask):
            return self.model(input_ids=ids, attention_mask=mask).last_hidden_state

    ids = torch.randint(1000, 20000, (1, 32))
    axes = {"ids": {0: "b", 1: "s"}, "mask": {0: "b", 1: "s"}}
    torch.onnx.export(Body(AutoModel.from_pretrained(os.environ["MINILM_DIR"]).eval()).eval(), (ids, torch.ones_like(ids)),
                      plain, input_names=["ids", "mask"], output_names=["h"], dynamo=False, dynamic_axes=axes, opset_version=17)
    quantize_dynamic(plain, int8, weight_type=QuantType.QInt8)
    return int8


def encoder(q):
    import numpy
    import onnxruntime
    threads = q["threads"]
    if threads not in sessions:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        sessions[threads] = onnxruntime.InferenceSession(int8_model(), options, providers=["CPUExecutionProvider"])
    ids = numpy.random.default_rng(1).integers(1000, 20000, (q["batch"], q["tokens"]))
    feed = {"ids": ids, "mask": numpy.ones_like(ids)}
    times = []
    for i in range(q["runs"] + 2):  # two warm up
        begin = time.perf_counter()
        sessions[threads].run(None, feed)
        times.append((time.perf_counter() - begin) * 1e3)
    return statistics.median(times[2:])


def make_tokenizer(kind, model):
    from tokenizers import Tokenizer, models, pre_tokenizers
    if kind == "wordpiece":
        t = Tokenizer.from_file(os.path.join(os.environ["MINILM_DIR"], "tokenizer.json"))
        t.no_truncation()
        t.no_padding()
        return t
    import gguf
    fields = gguf.GGUFReader(model).fields

    def strings(key):
        f = fields[key]
        return [bytes(f.parts[i]).decode() for i in f.data]

    vocab = {text: i for i, text in enumerate(strings("tokenizer.ggml.tokens"))}
    merges = [tuple(m.split(" ")) for m in strings("tokenizer.ggml.merges")]
    t = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    # SmolLM's: single digits, then GPT-2's pattern
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False)])
    return t


def tokenizer(q):
    key = q["kind"], q["model"]
    if key not in tokenizers_made:
        tokenizers_made[key] = make_tokenizer(*key)
    with open(q["text"], encoding="utf-8") as f:
        lines = [line for line in f.read().split("\n") if line.strip()]
    size = sum(len(line.encode()) for line in lines) / 1e6
    begin = time.perf_counter()
    for line in lines:
        tokenizers_made[key].encode(line)
    return size / (time.perf_counter() - begin)


def main():
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes to stderr
    for line in sys.stdin:
        q = json.loads(line)
        try:
            answer = {"value": {"encoder": encoder, "tokenizer": tokenizer}[q["do"]](q)}
        except Exception as e:  # the table names what is missing and goes on
            answer = {"error": "%s: %s" % (type(e).__name__, str(e)[:200])}
        print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
    main()
