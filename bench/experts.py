"""experts.py: choice among experts that bring their own routing weights, on the real grid.

    NANOGRID=build/nanogrid NANOGRID_DATA=.. python3 bench/experts.py [WORK_DIR]

10 experts: CLINC150's domains.  20: with the grid's tasks (the requests of recipes/task-router.yaml, but for `classify`, which are CLINC's
own utterances).  50: with SGD's services, those with the most texts; another row takes services of one kind (Hotels_1, _3, ..) as one.
Of SGD the utterance that opens a service in a dialogue: "Sounds great, book it" follows the conversation and names no service.
Each expert is a package with route.gguf, trained on its texts against texts of none and against examples of the others, which stay as
they are when one more comes, and with route.vector.gguf, a second claim over the encoder's vectors of the same texts, asked where the
first leave it open.  "by n-grams" is without that (router.unsure: lead 0), all other columns are with it.  Split by wording: no test text whose letters and digits stand in training, and none that is near one
(words shared, 0.8).

Then: an expert is added from 20 of its texts, and the other decisions counted that change; one request in ten is sent to a wrong
expert by name, which notices (out of scope) or not, and is then asked without a name.  How long a decision takes stands beside the
table; it is only true on an idle machine."""
import collections, concurrent.futures, gzip, hashlib, json, os, random, re, subprocess, sys, tempfile

DATA, NANOGRID = os.environ["NANOGRID_DATA"], os.path.abspath(os.environ["NANOGRID"])
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TRAIN, TEST, SERVICES, AGAINST, AGAINST_BYTES = 1500, 100, 31, 500, 60000
BACKGROUND = """{file: banking77/train.tsv, limit: 1500, value: elsewhere}, {file: snips/train.tsv, text: tokens, limit: 1500, value: elsewhere},
    {file: tagmynews/train.tsv, text: title, where: ["title!="], limit: 1500, value: elsewhere}, {file: sst2/train.tsv, limit: 1500, value: elsewhere},
    {file: trec/train.tsv, limit: 1500, value: elsewhere}, {file: product_reviews/all.tsv, limit: 1500, value: elsewhere}, {file: clinc150/oos_train.tsv, value: elsewhere}"""
BACKGROUND_DEV = """{file: banking77/test.tsv, limit: 500, value: elsewhere}, {file: snips/valid.tsv, text: tokens, value: elsewhere},
    {file: tagmynews/dev.tsv, text: title, where: ["title!="], limit: 500, value: elsewhere}, {file: trec/test.tsv, value: elsewhere}, {file: clinc150/oos_val.tsv, value: elsewhere}"""


def words(text):
    return re.findall(r"[a-z0-9]+", text.lower())


def by_wording(train, test, most):
    """The first test texts that are no copy of a training text, nor share four in five of the words of both with one."""
    seen, index = {" ".join(words(t)) for t in train}, collections.defaultdict(list)
    sets = [set(words(t)) for t in train]
    for i, s in enumerate(sets):
        for w in s:
            index[w].append(i)
    out = []
    for t in test:
        s = set(words(t))
        if not s or " ".join(words(t)) in seen:
            continue
        shared = collections.Counter(i for w in s for i in index[w])
        if not any(n >= 0.8 * (len(s) + len(sets[i]) - n) for i, n in shared.most_common(20)):
            out.append(t)
        if len(out) == most:
            break
    return out


def clinc():
    domains = json.load(open(os.path.join(DATA, "clinc150", "domains.json")))
    of = {intent: d for d, intents in domains.items() for intent in intents}
    out = collections.defaultdict(lambda: ([], []))
    for k, split in enumerate(("train", "test")):
        for line in open(os.path.join(DATA, "clinc150", split + ".tsv"), encoding="utf-8").read().split("\n")[1:-1]:
            label, text = line.split("\t")
            out["clinc-" + of[label].replace("_", "-")][k].append(text)
    return out


def kind(name):
    """Of a service: Hotels_1 is one of the hotels, but Services_1 to _4 are salons, dentists, doctors and therapists."""
    return name if name.startswith("sgd-services") else name.rsplit("-", 1)[0] if name.startswith("sgd-") else name


def services(merge):
    texts = collections.defaultdict(set)
    for split in ("train", "dev", "test"):
        for line in gzip.open(os.path.join(DATA, "sgd", split + ".jsonl.gz"), "rt", encoding="utf-8"):
            seen = set()
            for turn in json.loads(line)["turns"]:
                names = ["sgd-" + f["service"].replace("_", "-").lower() for f in turn["f"]]
                opens = len(names) == 1 and names[0] not in seen and any(a[0] == "INFORM_INTENT" for a in turn["f"][0].get("acts", []))
                if turn["s"] == "U" and opens:
                    texts[kind(names[0]) if merge else names[0]].add(turn["t"])
                seen.update(names)
    out, held = {}, lambda t: hashlib.sha256(t.encode()).digest()[0] % 5 == 0 # the same texts for services and for kinds
    for name in sorted(texts, key=lambda n: -len(texts[n]))[:SERVICES]:
        out[name] = ([t for t in texts[name] if not held(t)], [t for t in texts[name] if held(t)])
    return out


def tasks():
    """The task router's requests, as the trainer makes them."""
    p = subprocess.run([os.path.join(os.path.dirname(NANOGRID), "route"), "texts", os.path.join(ROOT, "recipes", "task-router.yaml")], capture_output=True, text=True, check=True)
    out = collections.defaultdict(lambda: ([], []))
    for line in p.stdout.split("\n")[:-1]:
        split, label, text = line.split("\t")
        if label != "classify" and len(out["task-" + label][split == "test"]) < 2 * TRAIN:
            out["task-" + label][split == "test"].append(text)
    return out


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def examples(experts, name):
    """What the others bring along of theirs; a text that is this one's too is left out."""
    own, out = set(experts[name][0]), []
    for other in sorted(experts):
        room = AGAINST_BYTES
        for t in experts[other][0][:AGAINST] if other != name else []:
            room -= len(t)
            if t not in own and room >= 0:
                out.append(t)
    return out


def train(home, name, texts, others):
    """One expert, against examples of others: its package in home."""
    at = os.path.join(home, "packages", name)
    cut = max(1, len(texts) // 10) if len(texts) > 100 else 0
    put = lambda file, rows: write(at + "/" + file, "text\n" + "\n".join(rows) + "\n")
    put("train.tsv", texts[cut:])
    put("dev.tsv", texts[:cut] if cut else texts)
    put("against.tsv", [t for i, t in enumerate(others) if i % 10])
    put("against-dev.tsv", others[::10])
    write(at + "/recipe.yaml", "name: %s\noutput: route.gguf\ntask: classify\nlabels: [elsewhere, here]\ndata:\n"
          "  train: [{file: ./train.tsv, value: here}, {file: ./against.tsv, value: elsewhere}, %s]\n"
          "  dev: [{file: ./dev.tsv, value: here}, {file: ./against-dev.tsv, value: elsewhere}, %s]\n"
          "features: {bits: 18, words: 2, char_min: 2, char_max: 4, rows: 65536}\ntraining: {epochs: 8, rate: 0.5, balance: 1}\n"
          "vectors: {encoder: nanogrid/encoder-en, texts: 4000}\n"
          % (name, BACKGROUND, BACKGROUND_DEV))
    again = ["--vectors"] if os.path.exists(at + "/route.gguf") else []
    p = subprocess.run([NANOGRID, "train", at + "/recipe.yaml", "--out", at, "-t", "1", *again], capture_output=True, text=True, env=dict(os.environ, NANOGRID_HOME=home))
    if p.returncode:
        sys.exit(p.stderr)
    if not os.path.exists(at + "/model.gguf"):
        os.link(at + "/route.gguf", at + "/model.gguf") # what it answers does not matter here


def ask(home, names, texts, *args, lead=0.5):
    write(home + "/grid.yaml", "embedded: false\ncache: {exact: 0}\nrouter: {unsure: {lead: %g}}\nexperts:\n" % lead + "".join("  - {name: %s, task: classify, model: %s}\n" % (n, n) for n in names))
    p = subprocess.run([NANOGRID, *args, "--task", "classify", "--lines", "--json"], input="\n".join(texts) + "\n", capture_output=True, text=True,
                       env=dict(os.environ, NANOGRID_HOME=home))
    out = [json.loads(l) for l in p.stdout.splitlines()]
    assert len(out) == len(texts), p.stderr[-300:]
    return out


def choose(home, names, texts, lead=0.5):
    return [a.get("expert") for a in ask(home, names, texts, "route", lead=lead)]


def speed(home, names, lead):
    """Microseconds of a decision, p50 and p99, when every expert has been read from the disk; of those that asked the encoder; their share."""
    with open(os.path.join(DATA, "clinc150", "test.tsv"), encoding="utf-8") as f:
        texts = [line.rstrip("\n").split("\t")[1] for line in f][1:2001]
    said = ask(home, names, texts * 2, "route", lead=lead)[len(texts):]
    us = sorted(a["latency_us"] for a in said)
    doubts = sorted(a["latency_us"] for a in said if "the encoder asked" in a["reason"]) or [0]
    return us[len(us) // 2], us[len(us) * 99 // 100], doubts[len(doubts) // 2], doubts[len(doubts) * 99 // 100], 100 * len(doubts) / len(us)


def measure(home, title, experts, few):
    names = sorted(experts)
    test = [(n, t) for n in names for t in experts[n][1]]
    texts = [t for _, t in test]
    decided = ask(home, names, texts, "route")
    chosen = [a.get("expert") for a in decided]
    asked = sum("the encoder asked" in a["reason"] for a in decided) / len(test)
    linear = sum(c == n for c, (n, _) in zip(choose(home, names, texts, 0), test)) / len(test)
    right = sum(c == n for c, (n, _) in zip(chosen, test)) / len(test)
    of_kind = sum(kind(c or "") == kind(n) for c, (n, _) in zip(chosen, test)) / len(test)
    changed = others = found = own = 0
    for n in few:
        rest = [m for m in names if m != n]
        before = choose(home, rest, texts)
        os.rename(home + "/packages/" + n, home + "/packages/.whole")
        train(home, n, experts[n][0][:20], examples(experts, n))
        after = choose(home, names, texts)
        subprocess.run(["rm", "-r", home + "/packages/" + n], check=True)
        os.rename(home + "/packages/.whole", home + "/packages/" + n)
        for (owner, _), b, a in zip(test, before, after):
            if owner == n:
                own += 1
                found += a == n
            else:
                others += 1
                changed += a != b
    rng = random.Random(3)
    wrong = {i: rng.choice([m for m in names if m != n]) for i, (n, _) in enumerate(test) if rng.random() < 0.1}
    noticed = 0
    end = [c == n for c, (n, _) in zip(chosen, test)]
    for m in names:
        ids = [i for i in wrong if wrong[i] == m]
        for i, a in zip(ids, ask(home, names, [texts[i] for i in ids], "run", "--expert", m) if ids else []):
            noticed += not a["in_scope"]
            end[i] = end[i] and not a["in_scope"]
    print("| %s | %d | %d | %.1f %% | %.1f %% | %.0f %% | %.1f %% | %.2f %% | %.0f %% | %.1f %% | %.1f |" % (title, len(names), len(test), 100 * linear, 100 * right, 100 * asked, 100 * of_kind, 100 * changed / max(1, others), 100 * found / max(1, own),
                                                                           100 * noticed / len(wrong), 100 * (right - sum(end) / len(end))), flush=True)
    print("    a decision by n-grams: p50 %.0f us, p99 %.0f us" % speed(home, names, 0)[:2], file=sys.stderr)
    print("    with the encoder: p50 %.0f us, p99 %.0f us; where it was asked p50 %.0f us, p99 %.0f us, %.0f %% of the requests" % speed(home, names, 0.5), file=sys.stderr)
    worst = collections.Counter((n, c) for c, (n, _) in zip(chosen, test) if c != n).most_common(4)
    print("    most confused: " + ", ".join("%s for %s %d" % (c, n, k) for (n, c), k in worst), file=sys.stderr)


def main():
    work = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()
    domains, requests, served, kinds = clinc(), tasks(), services(False), services(True)
    for experts in (domains, requests, served, kinds):
        for n in experts:
            train_texts, test_texts = (sorted(set(x)) for x in experts[n])
            random.Random(4).shuffle(train_texts)
            random.Random(5).shuffle(test_texts)
            train_texts = train_texts[:TRAIN]
            experts[n] = (train_texts, by_wording(train_texts, test_texts, TEST))
    everybody, merged = {**domains, **requests, **served}, {**domains, **requests, **kinds}
    # Each is trained once; who of them is there decides the row.
    rows = [("CLINC150's domains", domains, everybody), ("the grid's tasks", requests, everybody), ("both", {**domains, **requests}, everybody),
            ("and SGD's kinds of services", merged, merged), ("and SGD's services", everybody, everybody)]
    print("| experts | n | test texts | by n-grams | right expert | encoder asked | right kind | other decisions changed by one from 20 texts | its own found | wrong expert notices | points lost |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|", flush=True)
    for title, experts, others in rows:
        new = [n for n in sorted(experts) if not os.path.exists("%s/packages/%s/route.vector.gguf" % (work, n))]
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for done in pool.map(lambda n: train(work, n, experts[n][0], examples(others, n)), new):
                pass
        measure(work, title, experts, [n for n in sorted(experts)][1::max(1, len(experts) // 2)][:2])


main()
