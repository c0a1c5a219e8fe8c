"""attack.py: how much of their accuracy shipped heads keep when somebody substitutes words until the answer changes.

    NANOGRID=build/nanogrid NANOGRID_DATA=.. MINILM_DIR=.. PEERS_PYTHON bench/attack.py [TEXTS_A_HEAD]       100; numpy and safetensors

Greedy, as TextFooler (Jin et al. 2020): the words of a text that is answered right are ranked by how much the probability of the right label
falls without them; then, most important first, each is replaced by whichever candidate hurts most, until the label changes or a fifth of
the words (one at least) is replaced.  Candidates of a word: its nearest whole words in the word table of MiniLM (cosine 0.5 and more), two neighbouring
letters swapped, one left out, one typed beside, a look-alike digit.  The attacker sees probabilities, as he does over HTTP.  The heads are asked as the grid serves them."""
import json, os, random, subprocess, sys, tempfile

import numpy as np
from safetensors.numpy import load_file

N = int((sys.argv + ["100"])[1])
DATA = os.environ["NANOGRID_DATA"]
SHARE, NEAR, NEAR_MIN = 0.2, 8, 0.5
HEADS = (("intent", "clinc150/test.tsv", "text", "label"), ("sentiment", "sst2/test.tsv", "text", "label"), ("topic", "tagmynews/test.tsv", "title", "label"),
         ("question-type", "trec/test.tsv", "text", "coarse"))
NAMES = {"0": "negative", "1": "positive", "ABBR": "abbreviation", "DESC": "description", "ENTY": "entity", "HUM": "human", "LOC": "location", "NUM": "number"}
KEYS = {k: v for k, v in zip("qwertyuiopasdfghjklzxcvbnm", "wa qe wr et ry tu yi uo ip ol qs ad sf dg fh gj hk jl ko xa zc xv cb vn bm nk".split())}
DIGITS = dict(zip("oielsat", "0113547"))


class Near:
    """Nearest whole words by the embedding of WordPiece tokens."""

    def __init__(self, folder):
        words = [w.rstrip("\n") for w in open(os.path.join(folder, "vocab.txt"), encoding="utf-8")]
        table = load_file(os.path.join(folder, "model.safetensors"))
        table = next(v for k, v in table.items() if k.endswith("word_embeddings.weight")).astype(np.float32)
        keep = [i for i, w in enumerate(words) if w.isascii() and w.isalpha() and len(w) > 1]
        self.words = [words[i] for i in keep]
        self.index = {w: i for i, w in enumerate(self.words)}
        self.table = table[keep] / np.linalg.norm(table[keep], axis=1, keepdims=True)
        self.known = {}

    def of(self, word):
        if word not in self.index:
            return []
        if word not in self.known:
            likeness = self.table @ self.table[self.index[word]]
            best = [i for i in np.argsort(-likeness)[:NEAR + 8] if likeness[i] >= NEAR_MIN and self.words[i] != word]
            self.known[word] = [self.words[i] for i in best][:NEAR]
        return self.known[word]


def slips(word):
    r = random.Random(word)
    if len(word) < 3:
        return []
    i = r.randrange(1, len(word) - 1)
    out = [word[:i] + word[i + 1] + word[i] + word[i + 2:], word[:i] + word[i + 1:], word[:i] + r.choice(KEYS.get(word[i].lower(), word[i])) + word[i + 1:]]
    digit = next((k for k, c in enumerate(word) if c in DIGITS), None)
    return out + ([word[:digit] + DIGITS[word[digit]] + word[digit + 1:]] if digit is not None else [])


def ask(home, expert, texts):
    if not texts:
        return []
    p = subprocess.run([os.environ["NANOGRID"], "run", "--task", "classify", "--expert", expert, "--lines", "--json"], input="\n".join(texts) + "\n", capture_output=True, text=True,
                       env=dict(os.environ, NANOGRID_HOME=home))
    out = [json.loads(line) for line in p.stdout.splitlines()]
    assert len(out) == len(texts), p.stderr[-300:]
    return out


def right(answer, label):
    return answer.get("label") == label


def attack(home, expert, texts, labels, near):
    words = [t.split(" ") for t in texts]
    first = ask(home, expert, texts)
    alive = [i for i in range(len(texts)) if right(first[i], labels[i])]
    n_right, n_asked = len(alive), len(texts)
    p_right = {i: first[i]["scores"].get(labels[i], 0) for i in alive}
    without = [(i, k) for i in alive for k in range(len(words[i])) if words[i][k].isalpha()]
    said = ask(home, expert, [" ".join(words[i][:k] + words[i][k + 1:]) or "." for i, k in without])
    n_asked += len(without)
    order = {i: [] for i in alive}
    for (i, k), a in zip(without, said):
        order[i].append((a.get("scores", {}).get(labels[i], 0), k))
    for step in range(max([max(1, int(SHARE * len(words[i]))) for i in alive] or [0])):
        tried = []
        for i in alive:
            ranked = sorted(order[i])
            if step < max(1, int(SHARE * len(words[i]))) and step < len(ranked):
                k = ranked[step][1]
                w = words[i][k]
                tried += [(i, k, c) for c in near.of(w.lower()) + slips(w)]
        said = ask(home, expert, [" ".join(words[i][:k] + [c] + words[i][k + 1:]) for i, k, c in tried])
        n_asked += len(tried)
        worst = {}
        for (i, k, c), a in zip(tried, said):
            p = -1 if not right(a, labels[i]) else a["scores"].get(labels[i], 0)
            if p < worst.get(i, (p_right[i],))[0]:
                worst[i] = (p, k, c)
        for i, (p, k, c) in worst.items():
            words[i][k], p_right[i] = c, p
        alive = [i for i in alive if p_right[i] >= 0]
    return n_right, len(alive), n_asked


def main():
    near = Near(os.environ["MINILM_DIR"])
    print("| head | model | right | right under attack | kept | questions a text |\n|---|---|--:|--:|--:|--:|", flush=True)
    for name, path, column, label in HEADS:
        lines = [l.rstrip("\n").split("\t") for l in open(os.path.join(DATA, path), encoding="utf-8")]
        rows = [dict(zip(lines[0], l)) for l in lines[1:]]
        random.Random(1).shuffle(rows)
        texts, labels = [r[column] for r in rows[:N]], [NAMES.get(r[label], r[label]) for r in rows[:N]]
        for kind in ("linear", "as shipped"):
            with tempfile.TemporaryDirectory() as home:
                if kind == "linear":
                    with open(os.path.join(home, "grid.yaml"), "w") as f:
                        f.write("experts: [{name: %s, task: classify, model: nanogrid/%s, languages: [en]}]\n" % (name, name))
                before, after, asked = attack(home, name, texts, labels, near)
            print("| %s | %s | %d | %d | %.2f | %d |" % (name, kind, before, after, after / max(before, 1), asked / len(texts)), flush=True)


main()
