"""The packages in models/ are what their recipes make and their cards say.

Re-runs `nanogrid eval` for every card and compares every figure exactly (speed and memory excepted), and
retrains one package and the list of words and compares the bytes of the file."""
import glob
import json
import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import check, run  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RETRAIN = {"trec.yaml", "spelling-en.yaml"}
MAX_BYTES = 25 * 1000 * 1000


def flat(figures, prefix=""):
    for key, value in figures.items():
        if isinstance(value, dict):
            yield from flat(value, prefix + key + ".")
        else:
            yield prefix + key, value


def check_card(path):
    card = json.load(open(path))
    if card["task"] == "encoder" and os.environ.get("SANITIZED") == "1":
        print(f"SKIP {card['name']}: the sanitizers take an hour for its test texts")
        return
    recipe = os.path.join(ROOT, "recipes", card["recipe"])
    out = run("eval", recipe, "--json").stdout
    if not out:
        return
    now = dict(flat(json.loads(out)))
    then = dict(flat(card["figures"]))
    check(f"{path}: the card has only {len(then)} figures", len(then) >= 4)
    for key, value in then.items():
        check(f"{path}: {key} is {now.get(key)}, the card says {value}", now.get(key) == value)
    measured = dict(flat(card["measured"]))
    for key in now:
        check(f"{path}: the card lacks {key}", key in then or key in measured)
    print(f"{card['name']}: {len(then)} figures as on the card")


def retrain(path):
    card = json.load(open(path))
    if card["recipe"] not in RETRAIN:
        return
    RETRAIN.discard(card["recipe"])
    with tempfile.TemporaryDirectory() as tmp:
        run("train", os.path.join(ROOT, "recipes", card["recipe"]), "--out", tmp, "--json")
        name = "spelling.gguf" if card["task"] == "spelling" else "model.gguf"
        new = open(os.path.join(tmp, name), "rb").read()
        old = open(os.path.join(os.path.dirname(path), name), "rb").read()
        check(f"{card['name']}: retrained, the file differs", new == old)
        print(f"{card['name']}: retrained to the same {len(old)} bytes")


def main():
    cards = sorted(glob.glob(os.path.join(ROOT, "models", "*", "*card.json")))
    check(f"only {len(cards)} cards in models/", len(cards) >= 5)
    size = sum(os.path.getsize(p) for p in glob.glob(os.path.join(ROOT, "models", "*", "*")))
    check(f"models/ holds {size} bytes, more than {MAX_BYTES}", size <= MAX_BYTES)
    for path in cards:
        card = json.load(open(path))
        for key in ("name", "task", "recipe", "figures", "measured"):
            check(f"{path}: no {key}", card.get(key))
        for key in ("licence", "attribution"):
            check(f"{path}: the card names no {key} of its data", card["data"].get(key))
    if check.failed:
        return check.done()
    if not os.environ.get("NANOGRID_DATA"):
        print("SKIPPED: NANOGRID_DATA is not set; the figures on the cards were NOT checked")
        return 77
    for path in cards:
        check_card(path)
        retrain(path)
    check(f"no package of {sorted(RETRAIN)} was retrained", not RETRAIN)
    return check.done()


sys.exit(main())
