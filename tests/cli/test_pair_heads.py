#!/usr/bin/env python3
"""Heads on pairs of texts, on a BERT of 20,000 weights and made-up stories: rerank and summarize are trained from questions and
documents, measured, and served; a file that lacks such a head, or has the wrong one, is told."""
import json
import os
import random
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import attempt, check, run, write  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
BASE = os.path.join(HERE, "..", "golden", "bert-tiny-f32.gguf")


def sentence(rng, first):
    return "%s %s." % (first, " ".join("".join(rng.choice("cdefgh") for _ in range(3)) for _ in range(3)))


def story(rng, mark):
    """Five sentences; one of them begins with the mark."""
    at = rng.randrange(5)
    lines = [sentence(rng, "Aa" if i != at else mark) for i in range(5)]
    return lines, lines[at]


def questions(work, name, n, seed):
    """What the question asks for is what the sentence with "Xx" says."""
    rng = random.Random(seed)
    qa, stories = [], []
    for i in range(n):
        lines, answer = story(rng, "Xx")
        stories.append({"story": "%s%d" % (name, i), "sections": [" ".join(lines)]})
        qa.append({"story": "%s%d" % (name, i), "sections": "1", "q": "bb %s?" % rng.choice("cde"), "answers": [answer[3:-1]]})
    for kind, rows in (("qa", qa), ("stories", stories)):
        write(os.path.join(work, "%s.%s.jsonl" % (kind, name)), "".join(json.dumps(r) + "\n" for r in rows))


def documents(work, name, n, seed):
    """The summary is the sentence with "Yy"."""
    rng = random.Random(seed)
    rows = []
    for _ in range(n):
        lines, best = story(rng, "Yy")
        rows.append({"text": lines, "short": best})
    write(os.path.join(work, "docs.%s.jsonl" % name), "".join(json.dumps(r) + "\n" for r in rows))


def recipes(work):
    data = "data:\n" + "".join("  %s: [%%s]\n" % s for s in ("train", "dev", "test"))
    ask = "{file: qa.%s.jsonl, format: questions, text: q, label: answers, stories: stories.%s.jsonl%s}"
    doc = "{file: docs.%s.jsonl, format: documents, label: short%s}"
    three = ("train", ", others: 2"), ("dev", ", others: 2"), ("test", "")
    write(os.path.join(work, "rerank.yaml"), "name: rerank\ntask: rerank\nlabels: [other, relevant]\n" + data % tuple(ask % (n, n, o) for n, o in three))
    write(os.path.join(work, "summary.yaml"), "name: summary\ntask: summarize\nlabels: [other, summary]\n" + data % tuple(doc % t for t in three))
    write(os.path.join(work, "first.yaml"), "name: first\ntask: classify\n" + data % (("{file: first.tsv}",) * 2 + ("{file: first-test.tsv}",)))
    write(os.path.join(work, "both.yaml"), """name: both
task: encoder
base: {model: %s, words: 60, context: 64}
heads:
  - {name: ranks, recipe: rerank.yaml, repeat: 2}
  - {name: picks, recipe: summary.yaml, pooling: first, repeat: 2}
  - {name: first, recipe: first.yaml}
training: {epochs: 6, batch: 16, rate: 0.003}
""" % os.path.abspath(BASE))


def main():
    work = tempfile.mkdtemp()
    os.environ["NANOGRID_DATA"] = work
    os.environ["NANOGRID_HOME"] = work
    at = lambda name: os.path.join(work, name)
    for i, (name, n) in enumerate((("train", 150), ("dev", 60), ("test", 40))):
        questions(work, name, n, i)
        documents(work, name, n, 10 + i)
    write(at("first.tsv"), "text\tlabel\n" + "".join("%s%d\t%s\n" % (c, i, c) for i in range(30) for c in "ab"))
    write(at("first-test.tsv"), "text\tlabel\na x\ta\nb y\tb\n")
    recipes(work)
    run("train", at("both.yaml"), "--out", at("both"), "-t", "1")
    model = at("both/model.gguf")

    figures = json.loads(run("eval", at("both.yaml"), "--dir", at("both"), "--card", "--json").stdout)
    ranks, picks = figures["ranks"], figures["picks"]
    check("rerank is learned", ranks["mrr"] > 0.9 and ranks["top1"] > 0.85 and ranks["queries"] > 20 and (ranks["cosine_mrr"] < ranks["mrr"] or ranks["mrr"] == 1), ranks)
    check("summaries are learned", picks["docs_rouge1"] > 0.9 > picks["docs_first1"], picks)
    check("the card", json.loads(open(at("both/card.json")).read())["figures"]["ranks"]["mrr"] == ranks["mrr"])

    rng = random.Random(99)
    lines, best = story(rng, "Yy")
    text = " ".join(lines)
    got = json.loads(run("predict", "-m", model, "--head", "picks", "--json", text).stdout)
    check("predict picks the sentence", got["answer"].startswith("Yy") or best in got["answer"], got)
    write(at("grid.yaml"), """embedded: false
models: {m: {path: %s}}
experts:
  - {name: ranks, task: rerank, model: m, head: ranks}
  - {name: picks, task: summarize, model: m}
""" % model)
    write(at("docs.txt"), "%s\n%s\n%s\n" % (" ".join(sentence(rng, "Aa") for _ in range(7)),
                                          " ".join([sentence(rng, "Aa") for _ in range(6)] + [sentence(rng, "Xx")]), sentence(rng, "Aa")))
    got = json.loads(run("run", "--grid", at("grid.yaml"), "--json", "--task", "rerank", "--documents", "@" + at("docs.txt"), "bb c?").stdout)
    scores = {r["index"]: r["score"] for r in got["results"]}
    check("the best window of a long document counts", got["results"][0]["index"] == 1 and scores[1] > 0.7 > max(scores[0], scores[2]), got["results"])
    got = json.loads(run("run", "--grid", at("grid.yaml"), "--json", "--task", "summarize", "--max-sentences", "1", text).stdout)
    check("summarize by the head", got["answer"] == best, got)
    long = " ".join(sentence(rng, "Aa") for _ in range(90))
    check("a text of 90 sentences", len(json.loads(run("run", "--grid", at("grid.yaml"), "--json", "--task", "summarize", long).stdout)["answer"]) > 20)

    for task, head, told in (("rerank", "first", "was trained for the task classify"), ("summarize", "first", "no head of the task summarize"), ("classify", "ranks", "rerank")):
        write(at("bad.yaml"), "embedded: false\nmodels: {m: {path: %s}}\nexperts:\n  - {name: x, task: %s, model: m, head: %s}\n" % (model, task, head))
        documents_of = ["--documents", "@" + at("docs.txt")] if task == "rerank" else []
        r = attempt("run", "--grid", at("bad.yaml"), "--task", task, *documents_of, "x")
        check("a head of another task is refused", r.returncode != 0 and told in r.stderr, (head, task, r.stderr))
    with open(at("docs.train.jsonl"), "a") as f:
        f.write('{"text": 3}\n')
    check("a malformed document names its file", "docs.train.jsonl" in run("train", at("both.yaml"), "--out", at("bad"), want=1).stderr)
    check("and leaves no model", not os.path.exists(at("bad/model.gguf")))
    subprocess.run(["rm", "-rf", work], check=True)
    sys.exit(check.done())


main()
