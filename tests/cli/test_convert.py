"""convert and quantize from the command line.

Tiny BERT and Llama folders are written here, converted and read back with an independent reader.
With the peers (PEERS_PYTHON, PEERS_DIR) llama.cpp's own converter and quantiser must give the same
tensors and keys; with MINILM_DIR also MiniLM-L6 must equal its reference conversion.
"""
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import check, run  # noqa: E402
from gguf_read import read_gguf, write_safetensors  # noqa: E402

PEERS = os.environ.get("PEERS_DIR", "")
PEERS_PYTHON = os.environ.get("PEERS_PYTHON", "")
MINILM = os.environ.get("MINILM_DIR", "")


rng = random.Random(5)


def floats(n, dtype="F32"):
    values = [rng.gauss(0, 0.05) for _ in range(n)]
    if dtype == "F16":
        return b"".join(struct.pack("<e", v) for v in values)
    data = [struct.pack("<f", v) for v in values]
    return b"".join(data) if dtype == "F32" else b"".join(d[2:] for d in data)  # BF16 is the upper half


def tensor(*shape, dtype="F32"):
    n = 1
    for d in shape:
        n *= d
    return dtype, list(shape), floats(n, dtype)


def dump(folder, name, value):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
        f.write(value if isinstance(value, str) else json.dumps(value))


# ---- Llama ---------------------------------------------------------------------------------------

V, E, F, H, KV, L = 300, 64, 96, 4, 2, 2


def byte_alphabet():
    """GPT-2's table from bytes to printable characters."""
    keep = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    table, extra = {}, 0
    for b in range(256):
        table[b] = chr(b) if b in keep else chr(256 + extra)
        extra += b not in keep
    return table


def llama_tokenizer():
    table = byte_alphabet()
    vocab = {"<|endoftext|>": 0, "<|im_start|>": 1, "<|im_end|>": 2}
    for b in range(256):
        vocab[table[b]] = len(vocab)
    merges = [["h", "e"], ["l", "l"], ["he", "ll"], ["hell", "o"], [table[32], "w"]]
    for a, b in merges:
        vocab[a + b] = len(vocab)
    added = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
             for t, i in list(vocab.items())[:3]]
    added.append({**added[0], "id": len(vocab), "content": "<tool>", "special": False})
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Digits", "individual_digits": True},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}]},
            "post_processor": None, "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                      "fuse_unk": False, "byte_fallback": False, "vocab": vocab, "merges": merges}}


def llama_tensors(bias=False):
    d = E // H
    t = {"model.embed_tokens.weight": tensor(V, E), "model.norm.weight": tensor(E), "lm_head.weight": tensor(V, E)}
    for i in range(L):
        p = f"model.layers.{i}."
        t[p + "input_layernorm.weight"] = tensor(E, dtype="BF16")
        t[p + "post_attention_layernorm.weight"] = tensor(E)
        for name, rows, cols in [("self_attn.q_proj", H * d, E), ("self_attn.k_proj", KV * d, E), ("self_attn.v_proj", KV * d, E),
                                 ("self_attn.o_proj", E, H * d), ("mlp.gate_proj", F, E), ("mlp.up_proj", F, E), ("mlp.down_proj", E, F)]:
            t[p + name + ".weight"] = tensor(rows, cols, dtype=["F32", "F16", "BF16"][i % 3])
            if bias:
                t[p + name + ".bias"] = tensor(rows)
    return t


def llama_config(**more):
    return {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": E, "intermediate_size": F,
            "num_hidden_layers": L, "num_attention_heads": H, "num_key_value_heads": KV, "max_position_embeddings": 128,
            "rms_norm_eps": 1e-5, "rope_theta": 100000.0, "vocab_size": V, "tie_word_embeddings": False, "bos_token_id": 1,
            "eos_token_id": 2, "torch_dtype": "float32", **more}


def llama_folder(folder, config=None, tensors=None, tokenizer=None, shards=1):
    os.makedirs(folder, exist_ok=True)
    tensors = tensors or llama_tensors()
    dump(folder, "config.json", config or llama_config())
    dump(folder, "tokenizer.json", tokenizer or llama_tokenizer())
    dump(folder, "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "add_prefix_space": False, "bos_token": "<|im_start|>", "eos_token": {"__type": "AddedToken", "content": "<|im_end|>", "lstrip": False, "normalized": False,
                      "rstrip": False, "single_word": False, "special": True},
        "unk_token": "<|endoftext|>", "pad_token": "<|im_end|>",
        "chat_template": "{% for m in messages %}{{ m.content }}{% endfor %}"})
    if shards == 1:
        write_safetensors(os.path.join(folder, "model.safetensors"), tensors, {"format": "pt"})
    else:
        names, index = list(tensors), {}
        for s in range(shards):
            part = f"model-{s + 1:05}-of-{shards:05}.safetensors"
            mine = {n: tensors[n] for n in names[s::shards]}
            write_safetensors(os.path.join(folder, part), mine, {"format": "pt"})
            index.update({n: part for n in mine})
        dump(folder, "model.safetensors.index.json", {"metadata": {"total_size": 1}, "weight_map": index})
    return tensors


def rows(t, order):
    dtype, shape, data = t
    size = len(data) // shape[0]
    return b"".join(data[r * size:(r + 1) * size] for r in order)


def rope_order(heads, n):
    d = n // heads
    return [h * d + (k % 2) * (d // 2) + k // 2 for h in range(heads) for k in range(d)]


def test_llama(tmp):
    folder, out = tmp + "/llama", tmp + "/llama.gguf"
    tensors = llama_folder(folder)
    report = json.loads(run("convert", folder, out, "--type", "f32", "--json").stdout)
    check(f"report {report}", report["arch"] == "llama" and report["types"] == {"F32": len(tensors)})
    keys, got = read_gguf(out)
    want = {"general.architecture": "llama", "general.name": "llama", "llama.block_count": L, "llama.embedding_length": E,
            "llama.feed_forward_length": F, "llama.attention.head_count": H, "llama.attention.head_count_kv": KV,
            "llama.context_length": 128, "llama.rope.freq_base": 100000.0, "llama.rope.dimension_count": E // H, "llama.vocab_size": V,
            "general.file_type": 0, "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm", "tokenizer.ggml.bos_token_id": 1,
            "tokenizer.ggml.eos_token_id": 2, "tokenizer.ggml.unknown_token_id": 0, "tokenizer.ggml.padding_token_id": 2,
            "tokenizer.ggml.add_space_prefix": False, "tokenizer.chat_template": "{% for m in messages %}{{ m.content }}{% endfor %}"}
    for k, v in want.items():
        check(f"key {k} is {keys.get(k)!r}, not {v!r}", keys.get(k) == v)
    check("merges", keys["tokenizer.ggml.merges"] == ["h e", "l l", "he ll", "hell o", "Ġ w"])
    check("tokens", len(keys["tokenizer.ggml.tokens"]) == V and keys["tokenizer.ggml.tokens"][V - 1] == f"[PAD{V - 1}]")
    types = keys["tokenizer.ggml.token_type"]
    check(f"token types {types[:4]} {types[264]} {types[-1]}", types[:4] == [3, 3, 3, 1] and types[264] == 4 and types[-1] == 5)
    q = tensors["model.layers.0.self_attn.q_proj.weight"]
    check("rows of attn_q", got["blk.0.attn_q.weight"][2] == rows(q, rope_order(H, E)))
    k = tensors["model.layers.0.self_attn.k_proj.weight"]
    check("rows of attn_k", got["blk.0.attn_k.weight"][2] == rows(k, rope_order(KV, E // H * KV)))
    check("dims of ffn_down", got["blk.0.ffn_down.weight"][1] == [F, E])
    check("output", got["output.weight"][2] == tensors["lm_head.weight"][2])
    return folder, out


def test_llama_variants(tmp, first):
    rng.seed(5)
    folder = tmp + "/sharded"
    llama_folder(folder, shards=3)
    run("convert", folder, tmp + "/sharded.gguf", "--type", "f32", "--name", "llama")
    check("shards give another file", open(tmp + "/sharded.gguf", "rb").read() == open(first, "rb").read())

    folder = tmp + "/tied"
    tied = llama_tensors(bias=True)
    llama_folder(folder, llama_config(tie_word_embeddings=True, rope_scaling={
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}), tied)
    run("convert", folder, tmp + "/tied.gguf", "--type", "F32")
    keys, got = read_gguf(tmp + "/tied.gguf")
    check("a tied head is written", "output.weight" not in got)
    tied.pop("lm_head.weight")  # as transformers saves it, and as llama.cpp's converter is asked below
    write_safetensors(folder + "/model.safetensors", tied)
    run("convert", folder, tmp + "/tied2.gguf", "--type", "F32")
    check("a tied head changes the file", open(tmp + "/tied2.gguf", "rb").read() == open(tmp + "/tied.gguf", "rb").read())
    bias = tied["model.layers.1.self_attn.q_proj.bias"]
    check("rows of the bias of attn_q", got["blk.1.attn_q.bias"][2] == rows(bias, rope_order(H, E)))
    freqs = struct.unpack(f"<{E // H // 2}f", got["rope_freqs.weight"][2])
    check(f"rope_freqs {freqs}", freqs[0] == 1.0 and freqs[-1] == 8.0 and 1 < freqs[1] < 8 or list(freqs) == sorted(freqs))
    return folder


def test_bert(tmp):
    folder, out = tmp + "/bert", tmp + "/bert.gguf"
    os.makedirs(folder + "/1_Pooling")
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "##ing", "é"]
    e, f, n = 32, 48, 1
    t = {"embeddings.word_embeddings.weight": tensor(len(vocab), e), "embeddings.position_embeddings.weight": tensor(16, e),
         "embeddings.token_type_embeddings.weight": tensor(2, e), "embeddings.LayerNorm.gamma": tensor(e), "embeddings.LayerNorm.beta": tensor(e),
         "embeddings.position_ids": ("I64", [1, 16], struct.pack("<16q", *range(16))), "pooler.dense.weight": tensor(e, e)}
    for name, r, c in [("attention.self.query", e, e), ("attention.self.key", e, e), ("attention.self.value", e, e),
                       ("attention.output.dense", e, e), ("intermediate.dense", f, e), ("output.dense", e, f)]:
        t[f"encoder.layer.0.{name}.weight"], t[f"encoder.layer.0.{name}.bias"] = tensor(r, c), tensor(r)
    for name in ("attention.output.LayerNorm", "output.LayerNorm"):
        t[f"encoder.layer.0.{name}.weight"], t[f"encoder.layer.0.{name}.bias"] = tensor(e), tensor(e)
    write_safetensors(folder + "/model.safetensors", {"bert." + k: v for k, v in t.items()})
    dump(folder, "config.json", {"architectures": ["BertModel"], "hidden_act": "gelu", "hidden_size": e, "intermediate_size": f, "layer_norm_eps": 1e-12,
                                 "max_position_embeddings": 16, "num_attention_heads": 2, "num_hidden_layers": n, "type_vocab_size": 2,
                                 "vocab_size": len(vocab)})
    dump(folder, "vocab.txt", "\n".join(vocab) + "\n")
    dump(folder, "modules.json", [{"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}])
    dump(folder + "/1_Pooling", "config.json", {"pooling_mode_cls_token": True})
    report = json.loads(run("convert", folder, out, "--type", "q8_0", "--json").stdout)
    # ffn_down has rows of 48: no multiple of 32
    check(f"fell_back {report['fell_back']}", report["fell_back"] == ["blk.0.ffn_down.weight"])
    keys, got = read_gguf(out)
    check("tokens: %s" % keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.tokens"] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "▁hello", "ing", "▁é"])
    check("token types of BERT", keys["tokenizer.ggml.token_type"] == [3, 3, 3, 3, 3, 1, 1, 1])
    check("pooling", keys["bert.pooling_type"] == 2 and keys["bert.attention.causal"] is False)
    check("ids", [keys[f"tokenizer.ggml.{k}_token_id"] for k in ("bos", "eos", "unknown", "seperator", "padding", "mask")] == [2, 3, 1, 3, 0, 4])
    check("types", got["token_embd.weight"][0] == "Q8_0" and got["position_embd.weight"][0] == "F32" and got["blk.0.ffn_down.weight"][0] == "F16")
    check("gamma", got["token_embd_norm.weight"][2] == t["embeddings.LayerNorm.gamma"][2])


def test_refusals(tmp, good):
    def broken(name, says, change_config=None, change_tensors=None, change_tokenizer=None, code=1):
        folder = f"{tmp}/broken-{name}"
        config, tensors, tok = llama_config(), llama_tensors(), llama_tokenizer()
        for change, what in ((change_config, config), (change_tensors, tensors), (change_tokenizer, tok)):
            if change:
                change(what)
        llama_folder(folder, config, tensors, tok)
        out = f"{tmp}/broken-{name}.gguf"
        run("convert", folder, out, want=code, says=says)
        check(f"broken-{name} leaves an output", not os.path.exists(out))
        return folder

    q = "model.layers.1.self_attn.q_proj.weight"
    broken("missing", f"tensor {q[6:]} is missing", change_tensors=lambda t: t.pop(q))
    broken("shape", f"tensor {q} has the shape 64 x 63", change_tensors=lambda t: t.update({q: tensor(64, 63)}))
    broken("extra", "tensor model.layers.0.self_attn.sinks is unknown", change_tensors=lambda t: t.update({"model.layers.0.self_attn.sinks": tensor(4)}))
    broken("dtype", f"tensor {q} is stored as F8_E4M3", change_tensors=lambda t: t.update({q: ("F8_E4M3", [E, E], bytes(E * E))}))
    nan = struct.pack("<f", float("nan")) + floats(E * E - 1)
    broken("nan", "row 0 of tensor blk.1.attn_q.weight has a value that F16 cannot hold", change_tensors=lambda t: t.update({q: ("F32", [E, E], nan)}))
    broken("arch", "the architecture GPT5 is not read", change_config=lambda c: c.update(architectures=["GPT5"]))
    broken("layers", "num_hidden_layers is missing or no whole number from 1 to 512", change_config=lambda c: c.update(num_hidden_layers=-1))
    broken("heads", "do not fit together", change_config=lambda c: c.update(num_attention_heads=3, num_key_value_heads=2))
    broken("yarn", "RoPE scaling yarn is not read", change_config=lambda c: c.update(rope_scaling={"rope_type": "yarn", "factor": 4}))
    broken("id", "the id of token \"zz\" is 300, but config.json's vocab_size is 300", change_tokenizer=lambda t: t["model"]["vocab"].update(zz=300))
    broken("unigram", "the tokenizer is Unigram", change_tokenizer=lambda t: t["model"].update(type="Unigram"))
    pre = broken("pre", "the pre-tokenizer (Metaspace) is none of", change_tokenizer=lambda t: t.update(pre_tokenizer={"type": "Metaspace"}))
    run("convert", pre, tmp + "/pre.gguf", "--pre", "default")
    check("--pre", read_gguf(tmp + "/pre.gguf")[0]["tokenizer.ggml.pre"] == "default")
    folder = broken("escape", "no whole number", change_config=lambda c: c.update(vocab_size="x"))
    dump(folder, "config.json", llama_config())
    dump(folder, "model.safetensors.index.json", {"weight_map": {q: "../llama/model.safetensors"}})
    run("convert", folder, tmp + "/x.gguf", want=1, says='"../llama/model.safetensors" is no file name')
    dump(folder, "model.safetensors.index.json", "{")
    run("convert", folder, tmp + "/x.gguf", want=1, says="model.safetensors.index.json:1:")
    run("convert", tmp + "/nowhere", tmp + "/x.gguf", want=1, says="is no folder")
    run("convert", tmp, tmp + "/x.gguf", want=1, says="config.json")
    run("convert", good, tmp + "/x.gguf", "--type", "q2_k", want=1, says="2 bits and less")
    run("convert", good, want=2)
    run("convert", good, "/nonexistent/x.gguf", want=1, says="/nonexistent/x.gguf")
    run("quantize", good + "/model.safetensors", tmp + "/x.gguf", "q8_0", want=1, says="this is no GGUF file")


def same_model(mine, theirs, what, loose=()):
    a_keys, a = read_gguf(mine)
    b_keys, b = read_gguf(theirs)
    check(f"{what}: tensors differ: {sorted(set(a) ^ set(b))[:5]}", set(a) == set(b))
    for name in set(a) & set(b):
        if name in loose:
            x, y = (struct.unpack(f"<{len(t[2]) // 4}f", t[2]) for t in (a[name], b[name]))
            check(f"{what}: {name} differs: {x} {y}", all(abs(i - j) <= 1e-5 * abs(j) for i, j in zip(x, y)))
        else:
            check(f"{what}: {name} differs ({a[name][:2]} {b[name][:2]})", a[name] == b[name])
    for key in sorted(set(a_keys) | set(b_keys)):
        if not key.startswith(("general.", "nanogrid.")) or key in ("general.architecture", "general.file_type", "general.size_label"):
            check(f"{what}: {key} is {str(a_keys.get(key))[:60]}, not {str(b_keys.get(key))[:60]}", a_keys.get(key) == b_keys.get(key))


CONVERTER = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
from conversion import base
base.TextModel.get_vocab_base_pre = lambda self, tokenizer: "smollm"  # it knows published vocabularies only
def absent(self):
    raise FileNotFoundError("no SentencePiece here")  # said without importing sentencepiece
base.TextModel._set_vocab_sentencepiece = base.TextModel._set_vocab_llama_hf = absent
sys.argv = ["convert_hf_to_gguf.py"] + sys.argv[2:]
runpy.run_path(sys.path[0] + "/convert_hf_to_gguf.py", run_name="__main__")
"""


def test_against_llama_cpp(tmp, plain, tied):
    source = os.path.join(PEERS, "src", "vendor", "llama.cpp")
    if not PEERS_PYTHON or not os.path.isdir(source):
        print("SKIP llama.cpp's converter: PEERS_PYTHON and PEERS_DIR are not set")
        return
    for folder in (plain, tied):
        out, mine = folder + ".theirs.gguf", folder + ".mine.gguf"
        p = subprocess.run([PEERS_PYTHON, "-c", CONVERTER, source, folder, "--outfile", out, "--outtype", "f16"], capture_output=True, text=True)
        check(f"llama.cpp's converter fails on {folder}: {p.stderr[-800:]}", p.returncode == 0)
        if p.returncode == 0:
            run("convert", folder, mine)
            same_model(mine, out, "llama.cpp's converter", loose=("rope_freqs.weight",))


def test_quantize_against_llama_cpp(tmp, path):
    tool = os.path.join(PEERS, "build", "bin", "llama-quantize")
    if not os.path.exists(tool):
        print("SKIP llama-quantize: PEERS_DIR is not set")
        return
    for kind in ("Q8_0", "Q4_0", "Q4_1"):
        p = subprocess.run([tool, "--pure", path, tmp + "/theirs.gguf", kind, "1"], capture_output=True, text=True,
                           env={**os.environ, "LD_LIBRARY_PATH": os.path.dirname(tool)})
        check(f"llama-quantize fails: {p.stderr[-400:]}", p.returncode == 0)
        report = json.loads(run("quantize", path, tmp + "/mine.gguf", kind, "--json").stdout)
        check(f"report {report}", report["type"] == kind and report["bytes_after"] == os.path.getsize(tmp + "/mine.gguf"))
        if p.returncode == 0:
            same_model(tmp + "/mine.gguf", tmp + "/theirs.gguf", f"llama-quantize {kind}")


def test_minilm(tmp):
    if not MINILM or not os.path.exists(PEERS + "/minilm-f32.gguf"):
        print("SKIP MiniLM: MINILM_DIR and PEERS_DIR are not set")
        return
    for kind in ("f32", "f16"):
        run("convert", MINILM, f"{tmp}/minilm-{kind}.gguf", "--type", kind)
        same_model(f"{tmp}/minilm-{kind}.gguf", f"{PEERS}/minilm-{kind}.gguf", f"MiniLM {kind}")
    test_quantize_against_llama_cpp(tmp, f"{tmp}/minilm-f16.gguf")


tmp = tempfile.mkdtemp(prefix="nanogrid-test-convert-")
try:
    plain_folder, plain_gguf = test_llama(tmp)
    tied_folder = test_llama_variants(tmp, plain_gguf)
    test_bert(tmp)
    test_refusals(tmp, plain_folder)
    test_against_llama_cpp(tmp, plain_folder, tied_folder)
    test_minilm(tmp)
finally:
    shutil.rmtree(tmp)
sys.exit(check.done())
