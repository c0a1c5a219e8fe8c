"""near_miss.py: does a model know a bank's question that is none of its fifty from those that are?  BANKING77-OOS (Zhang et al. 2021).

    NANOGRID=build/nanogrid NANOGRID_DATA=.. python3 bench/near_miss.py

Two linear models: one that has never seen a text about the 27 other intents (confidence: its greatest probability), and one that was trained on
some of them as a label of their own (confidence: the greatest probability of another label than that).  AUROC against the 27 intents' test texts
(near misses) and against CLINC150's out-of-scope texts."""
import json, os, subprocess, tempfile

NANOGRID, DATA = os.environ["NANOGRID"], os.environ["NANOGRID_DATA"]
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def confidences(model, name):
    with open(os.path.join(DATA, "banking77", "oos", name), encoding="utf-8") as f:
        texts = [line.rstrip("\n").split("\t")[1] for line in f][1:]
    p = subprocess.run([NANOGRID, "predict", "-m", model, "--lines", "--json"], input="\n".join(texts) + "\n", capture_output=True, text=True, check=True)
    return [max([v for k, v in json.loads(line)["scores"].items() if k != "oos"] + [0]) for line in p.stdout.splitlines()]


def auroc(high, low):
    both = sorted([(x, True) for x in high] + [(x, False) for x in low])
    ranks, i = 0.0, 0
    while i < len(both):
        end = i
        while end < len(both) and both[end][0] == both[i][0]:
            end += 1
        ranks += sum(is_high for _, is_high in both[i:end]) * (i + end + 1) / 2
        i = end
    return (ranks - len(high) * (len(high) + 1) / 2) / len(high) / len(low)


print("| model | near misses | CLINC150's out of scope |\n|---|--:|--:|")
for name, what in (("banking77-oos", "never saw the 27"), ("banking77-oos-seen", "2,054 texts about the 27 seen")):
    with tempfile.TemporaryDirectory() as out:
        subprocess.run([NANOGRID, "train", os.path.join(ROOT, "recipes", name + ".yaml"), "--out", out], check=True, capture_output=True)
        inside, near, far = (confidences(os.path.join(out, "model.gguf"), f) for f in ("test.tsv", "idoos_test.tsv", "oodoos_test.tsv"))
    print("| %s | %.3f | %.3f |" % (what, auroc(inside, near), auroc(inside, far)), flush=True)
