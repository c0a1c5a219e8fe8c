"""near_test.py: how much of a shipped head's accuracy is owed to training texts that nearly are test texts.

    NANOGRID_DATA=.. python3 bench/near_test.py

Counts the test texts whose likeness to a training text is 0.9 or more (Jaccard over runs of four letters, as `near:` in a recipe has it,
written here a second time and apart from it), and tells the accuracy of models/encoder-en/HEAD.scores.gguf with and without them."""
import collections, csv, math, os, sys, unicodedata

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tests", "support"))
from gguf_read import read_gguf  # noqa: E402

DATA, LEAST, RUN = os.environ["NANOGRID_DATA"], 0.9, 4
HEADS = {  # training files, test file, column
    "intent": (["clinc150/train.tsv"], "clinc150/test.tsv", "text"),
    "banking": (["banking77/train.tsv"], "banking77/test.tsv", "text"),
    "question-type": (["trec/train.tsv"], "trec/test.tsv", "text"),
    "topic": (["tagmynews/train.tsv"], "tagmynews/test.tsv", "title"),
    "sentiment": (["sst2/train.tsv", "mr/no_sst_devtest.tsv"], "sst2/test.tsv", "text")}


def texts(path, column):
    with open(os.path.join(DATA, path), encoding="utf-8", newline="") as f:
        return [r[column] for r in csv.DictReader(f, delimiter="\t", quoting=csv.QUOTE_NONE) if r.get(column)]


def runs(text):
    """The distinct runs of four letters or digits, small, one space where anything else stood."""
    words, gap = "", False
    for letter in text:
        if unicodedata.category(letter)[0] not in "LNM":
            gap = bool(words)
            continue
        words, gap = words + " " * gap + letter.lower(), False
    return frozenset(words[i:i + RUN] for i in range(len(words) - RUN + 1)) or frozenset([words])


def rarest(runs_of, often):
    """So many of the rarest runs that two texts as like as LEAST share one of them."""
    ordered = sorted(runs_of, key=lambda r: (often[r], r))
    return ordered[:len(ordered) - math.ceil(LEAST * len(ordered)) + 1]


def near(train, test):
    train, test = [runs(t) for t in train], [runs(t) for t in test]
    often = collections.Counter(r for t in train + test for r in t)
    holds = collections.defaultdict(list)
    for t in train:
        for r in rarest(t, often):
            holds[r].append(t)
    return {i for i, t in enumerate(test) if any(len(t & o) >= LEAST * len(t | o) for r in rarest(t, often) for o in holds.get(r, ()))}


print("%-14s %6s %6s %9s %9s" % ("head", "texts", "near", "all", "without"))
for head, (train, test, column) in HEADS.items():
    right = read_gguf(os.path.join(HERE, "..", "models", "encoder-en", head + ".scores.gguf"))[0]["nanogrid.test.correct"]
    seen = near([t for path in train for t in texts(path, column)], texts(test, column))
    rest = [r for i, r in enumerate(right) if i not in seen]
    print("%-14s %6d %6d %8.2f%% %8.2f%%" % (head, len(right), len(seen), 100 * sum(right) / len(right), 100 * sum(rest) / len(rest)))
