#!/usr/bin/env python3
"""`tokenize` and `detokenize`: bytes in, bytes back, flags, errors; with the peers' models also SmolLM2 and MiniLM."""
import json, os, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import attempt, check  # noqa: E402

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "tokenizer")


def tokenize(model, data, *args):
    r = attempt("tokenize", "-m", model, "--json", *args, stdin=data)
    check("tokenize " + repr(data), r.returncode == 0 and r.stdout.count(b"\n") == 1 and not r.stderr, r)
    return json.loads(r.stdout)["tokens"] if r.returncode == 0 else None

model = os.path.join(GOLDEN, "smollm.gguf")
for data in (b"", b"\n", b"a\n", b"a", b"The fox's 123\n\n", b"\xff\xfe\x00 \xe4", bytes(range(256)), b" " * 5000):
    ids = tokenize(model, data)
    if not ids:
        check("only nothing gives nothing", data == b"", data)
        continue
    r = attempt("detokenize", "-m", model, "--tokens", ",".join(map(str, ids)), stdin=b"")
    check("comes back: " + repr(data[:40]), r.returncode == 0 and r.stdout == data + b"\n", r)
    plain = attempt("tokenize", "-m", model, stdin=data)
    check("without --json", plain.stdout.decode() == ",".join(map(str, ids)) + "\n", plain)
check("a final newline counts", tokenize(model, b"a\n") != tokenize(model, b"a"))

text = b"<|im_start|>user"
ids, special = tokenize(model, text), tokenize(model, text, "--special")
check("--special", len(special) < len(ids) and special[0] not in ids, (ids, special))
joined = ",".join(map(str, special))
check("control tokens are not text", json.loads(attempt("detokenize", "-m", model, "--tokens", joined, "--json").stdout) == {"text": "user"})
check("--special writes them", attempt("detokenize", "-m", model, "--tokens", joined, "--special", stdin=b"").stdout == text + b"\n")
bert = os.path.join(GOLDEN, "wordpiece.gguf")
check("--bos", tokenize(bert, b"fox", "--bos") == [2] + tokenize(bert, b"fox") + [3])

for args, code, words in (
        (("tokenize",), 2, "-m"), (("tokenize", "-m", model, "text"), 2, "no words"), (("detokenize", "-m", model), 2, "--tokens"),
        (("detokenize", "-m", model, "--tokens", "1,x"), 2, "x"), (("detokenize", "-m", model, "--tokens", "99999"), 2, "99999"),
        (("detokenize", "-m", model, "--tokens", "-1"), 2, "-1"), (("tokenize", "-m", "/nonexistent/x.gguf"), 1, "/nonexistent/x.gguf"),
        (("tokenize", "-m", os.path.join(GOLDEN, "chats.json")), 1, "")):
    r = attempt(*args, stdin=b"")
    check(" ".join(args), r.returncode == code and not r.stdout and words in r.stderr.decode() and r.stderr.startswith(b"nanogrid: "), r)

peers = os.environ.get("PEERS_DIR")
if peers:
    real = os.path.join(peers, "smollm2", "Q4_1.gguf")
    check("SmolLM2", tokenize(real, b"Hello world") == [19556, 905], tokenize(real, b"Hello world"))
    real = os.path.join(peers, "minilm-f32.gguf")
    check("MiniLM", tokenize(real, b"Hello, world!", "--bos") == [101, 7592, 1010, 2088, 999, 102])
else:
    print("SKIPPED: SmolLM2 and MiniLM (set PEERS_DIR to the folder that holds them)")

sys.exit(check.done())
