"""near_miss.py: does a model know a bank's question that is none of its fifty from those that are?  BANKING77-OOS (Zhang et al. 2021).

    NANOGRID=build/nanogrid NANOGRID_DATA=.. python3 bench/near_miss.py

Two linear models: one that has never seen a text about the 27 other intents (confidence: its greatest probability), and one that was trained on
some of them as a label of their own (confidence: the greatest probability of another label than that).  AUROC against the 27 intents' test texts
(near misses) and against CLINC150's out-of-scope texts.  With MINILM_DIR set a third model: that encoder tuned on the fifty intents for four epochs
(minutes), which tells scope by its labels' means, weighed on CLINC150's texts of no label; it has never seen a text about the 27 either."""
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

HEAD = """name: banking
task: classify
licence: CC BY 4.0
data:
  train: [{file: banking77/oos/train.tsv}]
  dev: [{file: banking77/oos/valid.tsv}]
  test: [{file: banking77/oos/test.tsv}]
  oos_dev: [{file: clinc150/oos_val.tsv}, {file: clinc150/oos_train.tsv}]
  oos_test: [{file: banking77/oos/%s}]
"""
ENCODER = """name: near
task: encoder
base: {model: $MINILM_DIR, context: 128}
heads: [{name: banking, recipe: %s.yaml}]
training: {epochs: 4, batch: 32, rate: 1.5e-4, warmup: 0.1, dropout: 0.1}
"""
if os.environ.get("MINILM_DIR"):
    with tempfile.TemporaryDirectory() as work:
        found = []
        for name, texts in (("near", "idoos_test.tsv"), ("far", "oodoos_test.tsv")):
            with open(os.path.join(work, name + ".yaml"), "w") as f:
                f.write(HEAD % texts)
            recipe = os.path.join(work, name + "-encoder.yaml")
            with open(recipe, "w") as f:
                f.write(ENCODER % name)
            if not found:
                subprocess.run([NANOGRID, "train", recipe, "--out", os.path.join(work, "out")], check=True, capture_output=True)
            p = subprocess.run([NANOGRID, "eval", recipe, "--dir", os.path.join(work, "out"), "--json"], capture_output=True, text=True, check=True)
            found.append(json.loads(p.stdout)["banking"]["oos_auroc"])
    print("| an encoder tuned on the fifty | %.3f | %.3f |" % tuple(found))
else:
    print("near_miss: no encoder was tuned: MINILM_DIR is not set")
