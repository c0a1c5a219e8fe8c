"""semantic_cache.py: hits and false hits of the semantic cache, through the real server.

    NANOGRID=build/nanogrid NANOGRID_DATA=.. python3 bench/semantic_cache.py [ENCODER.gguf [show]] [--blind]

Every first text of a pair is asked, then every second one; an upstream answers each meaning with words of its own.  Pairs: STS-B's
test set at 4.5 of 5 and more, its pairs of 3 and less, presidio's templates and translation prompts with one slot changed (any hit is
false).  STS-B holds near copies across pairs: a hit on another pair's answer stands apart, for nobody has judged it; `show` prints each
with what answered it.  Guards and the least likeness were chosen on these four and on the next two (paraphrases of STS-B's training set, the
task router's templates with one slot changed).  semantic_blind.tsv was written when they stood, and asked for the first time after: requests
that differ in a verb, an adjective, a number, a name, a unit, a negation, a small word, the order, a word more, two words; statements that
differ in one or two; and requests in other words.  --blind asks these alone.  Personal data is let through on purpose: as a rule such texts
are not kept at all."""
import csv, os, random, re, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "support"))
from served import Served
from replay_upstream import Replay

DATA = os.environ["NANOGRID_DATA"]
ONLY_BLIND = "--blind" in sys.argv
ARGS = [a for a in sys.argv[1:] if a != "--blind"]
MODEL = os.path.abspath(ARGS[0]) if ARGS else None


def rows(path, encoding="utf-8", **kw):
    with open(os.path.join(DATA, path), encoding=encoding, newline="") as f:
        return list(csv.DictReader(f, **kw))


def sts(split):
    return [(float(r["score"]), r["s1"], r["s2"]) for r in rows("stsb/en.%s.tsv" % split, delimiter="\t", quoting=csv.QUOTE_NONE)]


COLUMNS = (("credit", "CCNumber"), ("phone", "TelephoneNumber"), ("email", "EmailAddress"), ("first_name", "GivenName"),
           ("last_name", "Surname"), ("street", "StreetAddress"), ("address", "StreetAddress"), ("city", "City"), ("country", "CountryFull"),
           ("state", "StateFull"), ("zip", "ZipCode"), ("postcode", "ZipCode"), ("organization", "Company"), ("date", "Birthday"),
           ("age", "Age"), ("url", "Domain"), ("job", "Occupation"), ("nation", "NameSet"), ("prefix", "Title"), ("iban", "NationalID"),
           ("ssn", "NationalID"), ("number", "CVV2"), ("ip_address", "CVV2"), ("year", "CVV2"))


def value(slot, r, people):
    who = r.choice(people)
    for part, column in COLUMNS:
        if part in slot and who[column]:
            return who[column]
    return who["GivenName"] + " " + who["Surname"]


def templates(each=2):
    r, people, pairs = random.Random(1), rows("pii_presidio/gen/FakeNameGenerator.com_3000.csv", "utf-8-sig"), []
    with open(os.path.join(DATA, "pii_presidio/gen/templates.txt"), encoding="utf-8") as f:
        for line in f:
            text, slots = line.strip().replace("\\n", "\n"), re.findall(r"\{\{(.+?)\}\}", line)
            for _ in range(each if slots else 0):
                one = [value(s, r, people) for s in slots]
                two, k = list(one), r.randrange(len(slots))
                while two[k] == one[k]:
                    two[k] = value(slots[k], r, people)
                pairs.append(tuple(re.sub(r"\{\{.+?\}\}", lambda m, it=iter(v): next(it), text) for v in (one, two)))
    return pairs


def translations(n=400):
    r = random.Random(2)
    texts = sorted({x["en"] if "en" in x else list(x.values())[0] for x in rows("tatoeba_pairs/en-fr.test.tsv", delimiter="\t", quoting=csv.QUOTE_NONE)})
    words = sorted({w for t in texts for w in re.findall(r"[a-z]{4,}", t)})
    languages = ["French", "German", "Spanish", "Italian", "Polish", "Vietnamese", "Dutch", "Greek"]
    forms = ["Translate to {l}: {s}", "Translate the following sentence into {l}: {s}", "How do you say \"{s}\" in {l}?",
             "{s}\n\nTranslate this into {l}.", "Please translate '{s}' from English to {l}", "What is {s} in {l}?"]
    pairs = []
    while len(pairs) < n:
        form, l, s = r.choice(forms), r.choice(languages), r.choice(texts)
        kind = len(pairs) % 3
        l2 = r.choice(languages) if kind == 0 else l
        s2 = r.choice(texts) if kind == 1 else s
        if kind == 2:
            w = s.split()
            w[r.randrange(len(w))] = r.choice(words)
            s2 = " ".join(w)
        if (l, s) != (l2, s2):
            pairs.append((form.format(l=l, s=s), form.format(l=l2, s=s2)))
    return pairs


def requests(n=400):
    """The task router's templates, filled twice with one slot's difference."""
    r, lines = random.Random(3), []
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "recipes", "task-router", "templates.tsv"), encoding="utf-8") as f:
        lines = [l.rstrip("\n").split("\t") for l in f][1:]
    tsv = lambda path, column: [x[column] for x in rows(path, delimiter="\t", quoting=csv.QUOTE_NONE) if x[column]]
    with open(os.path.join(DATA, "flores/dev/en.txt"), encoding="utf-8") as f:
        sentences = f.read().split("\n")[:-1]
    fill = {"t": [l[3] for l in lines if l[0] == "@t"], "n": [l[3] for l in lines if l[0] == "@n"], "lang": [l[3] for l in lines if l[0] == "@lang"],
            "u": tsv("clinc150/test.tsv", "text"), "h": tsv("tagmynews/test.tsv", "title"), "r": tsv("sst2/test.tsv", "text"), "s": sentences,
            "q": tsv("trec/test.tsv", "text"), "w": ["water", "house", "friend", "to learn", "bridge", "quiet", "spoon", "winter"]}
    usable = sorted({l[3].lstrip("~") for l in lines if l[0][0] != "@" and re.sub(r"\{\w+\}|\W", "", l[3])
                     and (slots := re.findall(r"\{(\w+)\}", l[3])) and all(k in fill for k in slots)})
    r.shuffle(usable)
    pairs = []
    for form in usable[:n]:
        slots = re.findall(r"\{(\w+)\}", form)
        one = [r.choice(fill[k]) for k in slots]
        two, k = list(one), r.randrange(len(slots))
        if len(two[k].split()) > 3 and r.random() < 0.5: # one word of it
            w = two[k].split()
            w[r.randrange(len(w))] = r.choice(r.choice(fill["u"]).split())
            two[k] = " ".join(w)
        while two[k] == one[k]:
            two[k] = r.choice(fill[slots[k]])
        pairs.append(tuple(re.sub(r"\{\w+\}", lambda m, it=iter(v): next(it), form) for v in (one, two)))
    return pairs


def blind():
    """(kind, first, second) of semantic_blind.tsv: "{a|b}" gives one text with a and one with b, pairs that mean the same stand in two columns."""
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "semantic_blind.tsv"), encoding="utf-8") as f:
        for line in f.read().split("\n")[1:-1]:
            kind, *texts = line.split("\t")
            yield (kind, *(texts if len(texts) == 2 else [re.sub(r"\{(.*?)\|(.*?)\}", r"\%d" % i, texts[0]) for i in (1, 2)]))


def main():
    same = [(a, b) for s, a, b in sts("test") if s >= 4.5]
    sets = [("STS-B test, 4.5 and more", same, True), ("STS-B test, 3 and less", [(a, b) for s, a, b in sts("test") if s <= 3][:300], False),
            ("presidio templates, one slot changed", templates(), None), ("translation prompts, one slot changed", translations(), None),
            ("STS-B training set, 4.5 and more", [(a, b) for s, a, b in sts("train") if s >= 4.5][:300], True),
            ("the task router's templates, one slot changed", requests(), None)]
    sets, kinds = [] if ONLY_BLIND else sets, {}
    for kind, a, b in blind():
        kinds.setdefault(kind, []).append((a, b))
    sets.append(("blind: requests in other words", kinds.pop("same"), True))
    sets.append(("blind: another meaning, all kinds", [p for v in kinds.values() for p in v], None))
    sets += [("- " + kind, pairs, None) for kind, pairs in kinds.items()]
    meaning = {}
    up = Replay(lambda request: "This is what is to be said about case %s." % meaning[request["messages"][-1]["content"]])
    with up:
        measure(sets, meaning, up)


def measure(sets, meaning, up):
    model = "model: e, " if MODEL else ""
    grid = ("embedded: false\npolicy: {privacy: {pii: any}}\n" + ("models: {e: {path: %s}}\n" % MODEL if MODEL else "") +
            "cache: {exact: 0, semantic: {%smax_false_hit: 0.01}}\n"
            "upstreams:\n  - {name: cloud, base_url: \"%s\", model: m}\n" % (model, up.url))
    print("| pairs | n | hits on the pair's answer | on another's | hits that were checked |\n|---|--:|--:|--:|--:|")
    for name, pairs, right in sets:
        seen, pairs = set(), [p for p in pairs if p[0] != p[1]]
        pairs = [p for p in pairs if not seen & set(p) and not seen.update(p)]
        for i, (a, b) in enumerate(pairs):
            meaning.update({a: "%s-%d" % (name, i), b: "%s-%d%s" % (name, i, "" if right is not None else "b")})
        with Served(grid) as s:
            def ask(text):
                r = s.request("POST", "/v1/chat/completions", {"model": "auto", "temperature": 0, "messages": [{"role": "user", "content": text}]}, {"x-nanogrid-debug": "true"}, timeout=600)
                assert "nanogrid" in (r.json or {}), r
                steps = {x["step"]: x["outcome"] for x in r.json["nanogrid"]["route"]}
                return r.json["choices"][0]["message"]["content"], steps.get("semantic", "")
            firsts = [ask(a) for a, b in pairs]
            seconds = [ask(b) for a, b in pairs]
        hits = [i for i, (said, step) in enumerate(seconds) if step.startswith("hit")]
        checked = sum(step.startswith("checked") for said, step in seconds)
        own = lambda t: "case %s." % meaning[t]
        if len(ARGS) > 1:
            for i in hits:
                if right is not True or own(pairs[i][1]) not in seconds[i][0]:
                    first = next((a for a, b in pairs if own(a) in seconds[i][0]), "?")
                    print("%s: %r was answered as %r" % (seconds[i][1], pairs[i][1], first), file=sys.stderr)
        other = sum(own(pairs[i][1]) not in seconds[i][0] for i in hits)
        print("| %s | %d | %.1f %% | %.1f %% | %d |" % (name, len(pairs), 100 * (len(hits) - other) / len(pairs), 100 * other / len(pairs), checked),
              flush=True)


main()
