#!/usr/bin/env python3
"""Prompts with known answers, from the data sets: what recipes/confidence.yaml calibrates a generator's confidence on.

    NANOGRID_DATA=.. scripts/confidence_prompts.py OUT_DIR [TRAIN_EACH TEST_EACH]

writes OUT_DIR/train.jsonl and OUT_DIR/test.jsonl, one object a line: {"task", "prompt", "max_tokens", "match", "answers"}, and
OUT_DIR/short-train.jsonl and short-test.jsonl: facts (made-up texts of three sentences, what is asked for stands in one of them),
digits (sums of two digits), and for the test more sums and reading, so that more than 50 answers are right.
Train prompts come of training splits, test prompts of test splits, other templates, other numbers; GSM8K may only be measured on, so it stands in test alone.
match: label (the first of `labels` that the answer names must be the gold one), number (the last number), contains (an answer
stands in the text as whole words).  The same bytes every time."""
import csv, hashlib, json, os, random, re, sys

data = os.environ["NANOGRID_DATA"]
out = sys.argv[1]
n_train, n_test = (int(sys.argv[2]), int(sys.argv[3])) if len(sys.argv) > 3 else (900, 400)

def tsv(path):
    with open(os.path.join(data, path), encoding="utf-8", newline="") as f:
        return list(csv.DictReader(f, delimiter="\t", quoting=csv.QUOTE_NONE))

def jsonl(path):
    with open(os.path.join(data, path), encoding="utf-8") as f:
        return [json.loads(l) for l in f]

def pick(rows, n, key):
    return sorted(rows, key=lambda r: hashlib.sha256(key(r).encode()).digest())[:n]

def labelled(task, rows, n, text, gold, labels, instruction):
    return [{"task": task, "prompt": "%s\n\nText: %s\nAnswer:" % (instruction, r[text]), "max_tokens": 12, "match": "label",
             "labels": sorted(set(labels.values())), "answers": [labels[r[gold]]]}
            for r in pick([r for r in rows if r[gold] in labels], n, lambda r: r[text])]

def sentiment(split, n):
    return labelled("sentiment", tsv("sst2/%s.tsv" % split), n, "text", "label", {"0": "negative", "1": "positive"},
                    "Is this film review positive or negative? Answer with one word: positive or negative.")

def topic(split, n):
    names = {"business": "business", "sport": "sport", "health": "health", "sci_tech": "technology",
             "entertainment": "entertainment"}
    rows = [r for r in tsv("tagmynews/%s.tsv" % split) if r["label"] in names]
    return labelled("topic", rows, n, "title", "label", names,
                    "Which section of a newspaper does this headline belong to? Answer with one word: business, sport, health, "
                    "technology or entertainment.")

def question(split, n):
    rows = [r for r in tsv("trec/%s.tsv" % split) if r["coarse"] in ("HUM", "LOC", "NUM")]
    return labelled("question", rows, n, "text", "coarse", {"HUM": "person", "LOC": "place", "NUM": "number"},
                    "What does this question ask for? Answer with one word: person, place or number.")

def sentences(path):
    words, tags = [], []
    with open(os.path.join(data, path), encoding="utf-8") as f:
        for line in f:
            parts = line.rstrip("\n").split("\t")
            if len(parts) < 2:
                if words: yield words, tags
                words, tags = [], []
            else:
                words.append(parts[0]); tags.append(parts[-1])
    if words: yield words, tags

def names(path, n):
    found = []
    for words, tags in sentences(path):
        people, i = [], 0
        while i < len(tags):
            if tags[i] == "B-PER":
                k = i + 1
                while k < len(tags) and tags[k] == "I-PER": k += 1
                people.append(" ".join(words[i:k])); i = k
            else: i += 1
        if len(people) == 1 and len(words) >= 5 and re.match(r"^[A-Za-z .'-]{3,}$", people[0]):
            found.append((" ".join(words), people[0]))
    return [{"task": "name", "prompt": "Which person is named in this text? Answer with the name only.\n\nText: %s\nAnswer:" % t,
             "max_tokens": 16, "match": "contains", "answers": [p]} for t, p in pick(sorted(set(found)), n, lambda r: r[0])]

def details(part, n):
    """A street, a number, an organisation out of generated texts: split by template."""
    kinds = {"PHONE_NUMBER": "phone number", "ORGANIZATION": "organization", "STREET_ADDRESS": "address", "EMAIL_ADDRESS": "email address",
             "CREDIT_CARD": "card number", "DATE_TIME": "date", "GPE": "place", "AGE": "age"}
    rows = []
    for r in jsonl("pii_presidio/synth_v2.jsonl"):
        if (r["template"] % 3 == 0) != (part == "test") or len(r["text"]) > 400: continue
        for kind, asked in kinds.items():
            spans = [s for s in r["spans"] if s[2] == kind]
            if len(spans) == 1: rows.append((r["text"], asked, r["text"][spans[0][0]:spans[0][1]]))
    return [{"task": "detail", "prompt": "Copy the %s from this text. Answer with it only.\n\nText: %s\nAnswer:" % (k, t), "max_tokens": 40,
             "match": "contains", "answers": [a]} for t, k, a in pick(rows, n, lambda r: r[0] + r[1])]

def reading(split, n, words=(1, 150)):
    stories = {s["story"]: s["sections"] for s in jsonl("fairytaleqa/stories.%s.jsonl" % split)}
    rows = []
    for r in jsonl("fairytaleqa/qa.%s.jsonl" % split):
        if r["explicit"] != "explicit" or "," in r["sections"]: continue
        section = stories[r["story"]][int(r["sections"]) - 1]
        answers = [a.strip(" .") for a in r["answers"] if a and len(a.split()) <= 4]
        if answers and words[0] <= len(section.split()) <= words[1] and any(a.lower() in section.lower() for a in answers): rows.append((section, r["q"], answers))
    return [{"task": "reading", "prompt": "Read the text and answer the question in a few words.\n\nText: %s\n\nQuestion: %s\nAnswer:" % (t, q),
             "max_tokens": 24, "match": "contains", "answers": a} for t, q, a in pick(rows, n, lambda r: r[0] + r[1])]

def story(rng):
    """A word problem of one or two steps, as in a second grade's book."""
    who, thing = rng.choice(people), rng.choice(things)
    a, b, c = rng.randint(2, 20), rng.randint(2, 12), rng.randint(2, 9)
    forms = [("%s has %d %s and buys %d more. How many %s does %s have now?" % (who, a, thing, b, thing, who), a + b),
             ("%s had %d %s and gave away %d of them. How many %s are left?" % (who, a + b, thing, b, thing), a),
             ("%s has %d boxes with %d %s in each box. How many %s are there in all?" % (who, c, b, thing, thing), c * b),
             ("%s shares %d %s equally among %d friends. How many does each friend get?" % (who, c * b, thing, c), b),
             ("%s has %d %s, finds %d more and then loses %d. How many %s does %s have?" % (who, a, thing, b, c, thing, who), a + b - c),
             ("One of the %s costs %d dollars. How many dollars do %d of them cost?" % (thing, b, c), b * c),
             ("%s is %d years old. How old will %s be in %d years?" % (who, a, who, b), a + b)]
    return rng.choice(forms)

people = ["Tom", "Anna", "Ben", "Maria", "Sam", "Lucy", "Omar", "Emma", "Jack", "Nina"]
things = ["apples", "pencils", "stickers", "marbles", "books", "cookies", "stamps", "shells", "coins", "toys"]

def sums(part, n):
    rng, seen, rows = random.Random("sums"), set(), []
    while len(rows) < n:
        text, answer = story(rng)
        side = hashlib.sha256(text.encode()).digest()[0] % 3 == 0
        if text in seen or side != (part == "test"): continue
        seen.add(text)
        rows.append({"task": "sums", "prompt": "Solve the problem. Answer with a number only.\n\nProblem: %s\nAnswer:" % text, "max_tokens": 32,
                     "match": "number", "answers": [str(answer)]})
    return rows

def fact(rng, part):
    """Two people, three facts, one question about one of the people."""
    (a, b), kind = rng.sample(people, 2), rng.choice(list(worlds))
    x, y = rng.sample(worlds[kind][0], 2)
    other = rng.choice(["It was a sunny day.", "They have been friends for %d years." % rng.randint(2, 30), "They met at school.", "%s is %d years old." % (b, rng.randint(20, 70))])
    said, asked = worlds[kind][1 if part == "train" else 2]
    lines = [said % (a, x), said % (b, y), other]
    rng.shuffle(lines)
    who, answer = rng.choice([(a, x), (b, y)])
    return " ".join(lines), asked % who, answer

worlds = {"city": (["Paris", "Rome", "Madrid", "Berlin", "Oslo", "Cairo", "Lima", "Tokyo", "Dublin", "Vienna"],
                   ("%s lives in %s.", "Where does %s live?"), ("The home of %s is in %s.", "In which city is the home of %s?")),
          "pet": (["a dog", "a cat", "a parrot", "a rabbit", "a horse", "a hamster", "a turtle", "a goat"],
                  ("%s has %s at home.", "What animal does %s have?"), ("For a birthday, %s got %s.", "What did %s get for a birthday?")),
          "job": (["teacher", "doctor", "farmer", "pilot", "baker", "lawyer", "nurse", "painter"],
                  ("%s works as a %s.", "What is the job of %s?"), ("After school, %s became a %s.", "What did %s become?")),
          "colour": (["red", "blue", "green", "yellow", "white", "black", "purple", "orange"],
                     ("The car of %s is %s.", "What colour is the car of %s?"), ("%s wears a %s coat.", "What colour is the coat of %s?"))}

def facts(part, n):
    rng, seen, rows = random.Random("facts " + part), set(), []
    while len(rows) < n:
        text, asked, answer = fact(rng, part)
        if text in seen: continue
        seen.add(text)
        rows.append({"task": "facts", "prompt": "Read the text and answer the question in a few words.\n\nText: %s\n\nQuestion: %s\nAnswer:" % (text, asked),
                     "max_tokens": 16, "match": "contains", "answers": [answer.split()[-1]]})
    return rows

def digits(part, n):
    """Which two digits are in the test no wording of the training has."""
    rows = []
    for a in range(1, 10):
        for b in range(1, 10):
            for sign, word, result in (("+", "plus", a + b), ("-", "minus", a - b), ("x", "times", a * b)):
                if result < 0 or (hashlib.sha256(("%d%s%d" % (a, word, b)).encode()).digest()[0] % 3 == 0) != (part == "test"): continue
                for form in ("What is %d %s %d?" % (a, sign, b), "What is %d %s %d?" % (a, word, b), "%d %s %d =" % (a, sign, b)):
                    rows.append({"task": "digits", "prompt": "%s Answer with a number only." % form, "max_tokens": 12, "match": "number", "answers": [str(result)]})
    return pick(rows, n, lambda r: r["prompt"])

def gsm8k(n):
    return [{"task": "gsm8k", "prompt": "Solve the problem step by step. End with: The answer is NUMBER.\n\nProblem: %s" % r["question"],
             "max_tokens": 200, "match": "number", "answers": [r["answer"].split("####")[1].strip().replace(",", "")]}
            for r in pick(jsonl("gsm8k/test.jsonl"), n, lambda r: r["question"])]

def write(name, lists):
    os.makedirs(out, exist_ok=True)
    rows = [r for l in lists for r in l]
    with open(os.path.join(out, name), "w", encoding="utf-8") as f:
        for r in rows: f.write(json.dumps(r, ensure_ascii=False) + "\n")
    print("%s: %d prompts" % (name, len(rows)))

write("train.jsonl", [sentiment("train", n_train), topic("train", n_train), question("train", n_train),
                      names("ner_btc/f.conll", n_train) + names("ner_btc/b.conll", n_train // 2), details("train", n_train), reading("train", n_train),
                      sums("train", n_train)])
told = {r["prompt"] for r in sums("test", n_test)}
write("test.jsonl", [sentiment("test", n_test), topic("test", n_test), question("test", n_test), names("ner_btc/h.conll", n_test),
                     details("test", n_test), reading("test", n_test), sums("test", n_test), gsm8k(min(n_test, 100))])
write("short-train.jsonl", [facts("train", n_train * 2 // 3), digits("train", n_train)])
write("short-test.jsonl", [facts("test", n_test), digits("test", n_test), [r for r in sums("test", n_test * 3 // 2) if r["prompt"] not in told],
                           reading("test", n_test // 2, (151, 260))])
