#!/usr/bin/env python3
"""`tokenize` gives the ids of Hugging Face tokenizers on every line of the data sets: WordPiece as all-MiniLM-L6-v2 has it
and byte-level BPE as SmolLM2 has it.  Needs PEERS_PYTHON (an interpreter with tokenizers and gguf), PEERS_DIR (minilm-f32.gguf,
smollm2/Q4_1.gguf), MINILM_DIR (tokenizer.json) and NANOGRID_DATA."""
import json, os, subprocess, sys

HERE = os.path.dirname(os.path.abspath(__file__))
NEEDS = ("PEERS_PYTHON", "PEERS_DIR", "MINILM_DIR", "NANOGRID_DATA")
SUFFIXES = (".txt", ".tsv", ".csv", ".jsonl", ".json")
BYTES_A_SET = 1 << 19

missing = [n for n in NEEDS if not os.environ.get(n)]
if missing:
    print("SKIPPED: tokenize against Hugging Face tokenizers: %s not set" % ", ".join(missing))
    sys.exit(77)
try:
    import tokenizers, gguf  # noqa: F401
except ImportError: # once more, as the interpreter that has them
    if os.environ.get("TOKENIZE_PEER_AGAIN"):
        print("SKIPPED: PEERS_PYTHON has no tokenizers or no gguf")
        sys.exit(77)
    python = os.environ["PEERS_PYTHON"]
    os.execve(python, [python, os.path.abspath(__file__)], dict(os.environ, TOKENIZE_PEER_AGAIN="1"))

sys.path.insert(0, os.path.join(HERE, "..", "..", "bench"))
from engine_peers import make_tokenizer # noqa: E402

NANOGRID, PEERS, DATA = os.environ["NANOGRID"], os.environ["PEERS_DIR"], os.environ["NANOGRID_DATA"]
MODELS = {"wordpiece": os.path.join(PEERS, "minilm-f32.gguf"), "bpe": os.path.join(PEERS, "smollm2", "Q4_1.gguf")}


def beginning(folder):
    """At most half a mebibyte of a data set's text, whole characters."""
    out = []
    for name in sorted(os.listdir(folder)):
        if name.endswith(SUFFIXES) and os.path.isfile(os.path.join(folder, name)):
            with open(os.path.join(folder, name), "rb") as f:
                out.append(f.read(BYTES_A_SET // 8))
    return b"".join(out)[:BYTES_A_SET].decode("utf-8", "ignore")


def ours(model, text, *args):
    r = subprocess.run([NANOGRID, "tokenize", "-m", model, "--json", *args], input=text.encode(), capture_output=True, timeout=100, check=True)
    return json.loads(r.stdout)["tokens"]


bad = 0
for kind, model in MODELS.items():
    peer, n_ids, n_bytes = make_tokenizer(kind, model), 0, 0
    for name in sorted(os.listdir(DATA)):
        folder = os.path.join(DATA, name)
        text = beginning(folder) if os.path.isdir(folder) else ""
        special = ["--special"] if kind == "wordpiece" else [] # a "[CLS]" in the text: the peer made for BPE knows no such tokens
        want, got = peer.encode(text, add_special_tokens=False).ids, ours(model, text, *special)
        n_ids, n_bytes = n_ids + len(want), n_bytes + len(text.encode())
        if want != got:
            bad += 1
            at = next((i for i, (a, b) in enumerate(zip(want, got)) if a != b), min(len(want), len(got)))
            print("FAIL %s, %s: id %d of %d is not %s but %s (%r)" % (kind, name, at, len(want), want[at:at + 3], got[at:at + 3], peer.decode(want[max(0, at - 5):at + 5])))
    print("%s: %d ids of %d bytes compared" % (kind, n_ids, n_bytes))
sys.exit(1 if bad else 0)
