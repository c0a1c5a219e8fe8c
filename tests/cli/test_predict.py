"""`nanogrid predict`, `train` and `eval` from outside: outputs, exit codes, one line a text."""
import json
import os
import subprocess
import sys
import tempfile

NANOGRID = os.environ["NANOGRID"]
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
failed = []


def model(name):
    return os.path.join(ROOT, "models", name, "model.gguf")


def check(ok, what):
    if not ok:
        failed.append(what)
        print("FAILED:", what)


def run(*args, text=b"", code=0):
    p = subprocess.run([NANOGRID, *args], input=text, capture_output=True)
    check(p.returncode == code, f"{args}: exit {p.returncode}, not {code}: {p.stderr.decode(errors='replace').strip()}")
    check(code == 0 or p.stderr, f"{args}: failed without a word")
    return p.stdout


def predict(name, text, *more):
    lines = run("predict", "-m", model(name), "--json", *more, text).decode().splitlines()
    check(len(lines) == 1, f"{name}: {len(lines)} lines")
    return json.loads(lines[0])


def answers():
    for name, text, want in (("intent", "please freeze my bank account", "freeze_account"),
                             ("intent", "what is the exchange rate from dollars to euros", "exchange_rate"),
                             ("sentiment", "a wonderful, moving and funny film", "positive"),
                             ("sentiment", "dull, lifeless and far too long", "negative"),
                             ("question-type", "How many people live in Paris ?", "number"),
                             ("question-type", "Who wrote Hamlet ?", "human"),
                             ("topic", "lakers beat celtics in game seven of nba finals", "sport"),
                             ("language-id", "Wo ist der nächste Bahnhof, bitte?", "de"),
                             ("language-id", "Гэта беларуская мова", "be"),
                             ("language-id", "これは日本語の文です", "ja")):
        a = predict(name, text)
        check(a["label"] == want, f"{name}: '{text}' is {a['label']}, not {want}")
        check(a["in_scope"] is True and 0 < a["confidence"] <= 1, f"{name}: {a}")
        scores = list(a["scores"].values())
        check(scores == sorted(scores, reverse=True) and len(scores) <= 5, f"{name}: scores {a['scores']}")
        check(next(iter(a["scores"])) == want, f"{name}: the label is not the best score")
    a = predict("intent", "zxcv qwpo mnbv lkjh")
    check(a["label"] is None and a["in_scope"] is False and a["scores"], f"nonsense is in scope: {a}")
    check(len(predict("intent", "hello", "--top-k", "2")["scores"]) == 2, "--top-k 2")
    check(len(predict("intent", "hello", "--top-k", "4000")["scores"]) == 150, "--top-k above the labels")
    for _ in range(3):
        check(predict("intent", "hello") == predict("intent", "hello"), "not repeatable")
    check(predict("intent", "")["scores"], "an empty text has scores too")


def lines():
    text = b"freeze my account\n\xff\xfe\n\nwhat is the weather in rome"
    out = run("predict", "-m", model("intent"), "--json", "--lines", text=text, code=1).decode().splitlines()
    check(len(out) == 4, f"--lines: {len(out)} lines for 4 texts")
    got = [json.loads(line) for line in out]
    check(got[0]["label"] == "freeze_account" and got[3]["label"] == "weather", f"--lines: {out}")
    check("UTF-8" in got[1]["error"]["message"], f"--lines: {out[1]}")
    plain = run("predict", "-m", model("topic"), text=b"stocks fall as oil prices rise\n").decode()
    check(plain.startswith("business"), f"plain text: {plain}")


def usage():
    run("predict", code=2)
    run("predict", "-m", model("intent"), "a", "b", code=2)
    run("predict", "-m", model("intent"), "--task", "dance", "a", code=2)
    run("predict", "-m", model("intent"), "--task", "moderate", "a", code=2)
    run("predict", "-m", model("intent"), "--head", "x", "a", code=2)
    run("predict", "-m", "/nowhere.gguf", "a", code=1)
    run("predict", "-m", model("intent"), text=b"\xff", code=1)
    run("train", code=2)
    run("eval", code=2)
    run("train", "/nowhere.yaml", code=1)
    run("eval", "/nowhere.yaml", code=1)
    with tempfile.NamedTemporaryFile(suffix=".gguf") as f:
        f.write(open(model("intent"), "rb").read()[:5000])
        f.flush()
        run("predict", "-m", f.name, "a", code=1)


def train_and_eval():
    with tempfile.TemporaryDirectory() as tmp:
        with open(os.path.join(tmp, "d.tsv"), "w") as f:
            f.write("label\ttext\n")
            for i in range(60):
                f.write(f"{'cat' if i % 2 else 'dog'}\t{'meow purr' if i % 2 else 'bark woof'} {i}\n")
        recipe = os.path.join(tmp, "r.yaml")
        with open(recipe, "w") as f:
            f.write("name: pets\ntask: classify\ndata:\n  train: [{file: ./d.tsv, hash: {of: 2, keep: [0]}}]\n"
                    "  dev: [{file: ./d.tsv, hash: {of: 2, keep: [1]}}]\n  test: [{file: ./d.tsv}]\n"
                    "features: {bits: 10, rows: 500}\ntraining: {epochs: 3}\n")
        out = [json.loads(x) for x in run("train", recipe, "--out", tmp, "--json").decode().splitlines()]
        check([s["step"] for s in out[:-1]] == list(range(1, len(out))), f"steps {out}")
        check(all("loss" in s for s in out) and out[-1]["labels"] == 2, f"train: {out[-1]}")
        first = open(os.path.join(tmp, "model.gguf"), "rb").read()
        check(out[-1]["model_mb"] == round(len(first) / 1e6, 6), "model_mb is not the file's size")
        run("train", recipe, "--out", tmp)
        check(open(os.path.join(tmp, "model.gguf"), "rb").read() == first, "the same recipe gives other bytes")
        run("train", recipe, "--out", tmp, "--seed", "9")
        check(open(os.path.join(tmp, "model.gguf"), "rb").read() != first, "--seed does nothing")
        got = json.loads(run("eval", recipe, "--dir", tmp, "--json", "--card"))
        for key in ("accuracy", "f1", "ece", "aurc", "latency_ms", "rss_mb", "model_mb", "unseen"):
            check(key in got, f"eval lacks {key}")
        check(got["accuracy"] == 1 and got["latency_ms"]["p50"] <= got["latency_ms"]["p99"], f"eval: {got}")
        card = json.load(open(os.path.join(tmp, "card.json")))
        check(card["figures"]["accuracy"] == got["accuracy"] and card["measured"]["cpu"], f"card: {card}")
        check(open(os.path.join(tmp, "scores.gguf"), "rb").read(4) == b"GGUF", "no scores.gguf")


answers()
lines()
usage()
train_and_eval()
sys.exit(1 if failed else 0)
