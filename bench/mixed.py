"""mixed.py: a mixed workload through the whole grid, against always asking a larger tier and against one general small model.

    NANOGRID=build/nanogrid NANOGRID_DATA=.. python3 bench/mixed.py CHAT.gguf [EACH [FROM [generate]]]

CHAT.gguf is a small general model that `nanogrid calibrate` has given a confidence.  EACH texts a task, from the FROM-th on: intents, sentiment, topics, kinds
of question and languages, which nano heads label, and prompts with known answers (scripts/confidence_prompts.py), of which the grid's
router says who answers; with `generate` they say that they are for CHAT.  The contracts are chosen on the packages' calibration sets:
of PROMISES the tightest that leaves LEFT of the set here, else 20 %; which LEFT was chosen with the texts 0 to 199 in sight, so measure from 200 on.
The larger tier answers from the gold labels, wrong in a declared 5 % of the cases, at a declared price and latency.  Printed: the cascade
row with its baselines, and the grid beside CHAT alone on the same CPU, behind a link of 80 ms too.  A cell with fewer than 50 right or
50 wrong answers is void."""
import csv, hashlib, json, os, re, statistics, subprocess, sys, tempfile, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "support"))
from served import Served
from replay_upstream import Replay

DATA, CHAT = os.environ["NANOGRID_DATA"], os.path.abspath(sys.argv[1])
EACH = int(sys.argv[2]) if len(sys.argv) > 2 else 150
FROM = int(sys.argv[3]) if len(sys.argv) > 3 else 0
HINT = {"x-nanogrid-task": "generate"} if sys.argv[4:] == ["generate"] else {}
ERROR, SECONDS, PROMPT_USD, COMPLETION_USD = 0.05, 0.1, 0.15e-6, 0.6e-6
NAMES = ["intent", "sentiment", "topic", "question-type", "answer", "chat"]
PROMISES, LEFT, NONE_LEAVES_IT = [0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2], 0.7, 0.2
NO_CONTRACTS = [0] * len(NAMES)
LANGUAGES = {"en": "English", "de": "German", "fr": "French", "es": "Spanish", "it": "Italian", "pl": "Polish", "nl": "Dutch", "pt": "Portuguese"}
KINDS = {"ABBR": "abbreviation", "DESC": "description", "ENTY": "entity", "HUM": "human", "LOC": "location", "NUM": "number"}
EXPERTS = """experts:
  - {name: intent, task: classify, model: nanogrid/encoder-en, head: intent%s}
  - {name: sentiment, task: classify, model: nanogrid/encoder-en, head: sentiment%s}
  - {name: topic, task: classify, model: nanogrid/encoder-en, head: topic%s}
  - {name: question-type, task: classify, model: nanogrid/encoder-en, head: question-type%s}
  - {name: answer, task: answer, model: nanogrid/answer%s}
  - {name: chat, task: generate, model: chat%s}
"""


def grid(contracts, upstream=""):
    return "models: {chat: {path: %s}}\ncache: {exact: 0}\n" % CHAT + EXPERTS % tuple(
        ", contract: {max_error: %g}" % c if c else "" for c in contracts) + upstream


def coverage(expert, promise):
    """The share of its calibration set that the expert answers under this contract; 0: no confidence keeps it."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
        f.write(grid([promise * (name == expert) for name in NAMES]))
        f.flush()
        said = subprocess.run([os.environ["NANOGRID"], "audit", "--json", "--grid", f.name], capture_output=True, text=True).stdout
    rows = [r for r in json.loads(said)["routes"] if r["route"] == expert and r["source"] == "calibration"] if said else []
    return rows[0]["coverage"] if rows else 0


def choose_contracts():
    chosen = [next((p for p in PROMISES if coverage(name, p) >= LEFT), NONE_LEAVES_IT) for name in NAMES]
    print("contracts: %s\n" % ", ".join("%s %g %%" % (n, 100 * c) for n, c in zip(NAMES, chosen)), flush=True)
    return chosen


def tsv(path):
    with open(os.path.join(DATA, path), encoding="utf-8", newline="") as f:
        return list(csv.DictReader(f, delimiter="\t", quoting=csv.QUOTE_NONE))


def chance(text):
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32


def pick(rows, key):
    return sorted(rows, key=lambda r: chance(r[key]))[FROM:FROM + EACH]


def workload():
    """(task, endpoint, text, gold, labels)"""
    items = []
    with open(os.path.join(os.path.dirname(os.environ["NANOGRID"]), "..", "models", "intent", "card.json")) as f:
        intents = json.load(f)["labels"]
    for r in pick(tsv("clinc150/test.tsv"), "text"):
        items.append(("intent", "classify", r["text"], r["label" if "label" in r else "intent"], intents))
    for r in pick(tsv("sst2/test.tsv"), "text"):
        items.append(("sentiment", "classify", r["text"], ["negative", "positive"][int(r["label"])], ["negative", "positive"]))
    rows = tsv("tagmynews/test.tsv")
    topics = sorted({r["label"] for r in rows})
    for r in pick(rows, "title"):
        items.append(("topic", "classify", r["title"], r["label"], topics))
    with open(os.path.join(os.path.dirname(os.environ["NANOGRID"]), "..", "models", "question-type", "card.json")) as f:
        kinds = json.load(f)["labels"]
    for r in pick(tsv("trec/test.tsv"), "text"):
        items.append(("question-type", "classify", r["text"], KINDS[r["coarse"]], kinds))
    for code in LANGUAGES:
        with open(os.path.join(DATA, "flores/dev/%s.txt" % code), encoding="utf-8") as f:
            for line in f.read().split("\n")[FROM // len(LANGUAGES):][:-(-EACH // len(LANGUAGES))]:
                items.append(("language", "detect-language", line.strip(), code, list(LANGUAGES)))
    with open(os.path.join(DATA, "confidence/test.jsonl"), encoding="utf-8") as f:
        prompts = [json.loads(line) for line in f]
    for r in pick([p for p in prompts if p["task"] in ("name", "detail", "question", "sentiment")], "prompt"):
        items.append(("prompt", "chat", r["prompt"], r, None))
    return items


def right(item, said):
    task, endpoint, text, gold, labels = item
    if said is None:
        return False
    if endpoint != "chat":
        return said == gold
    if gold["match"] == "label":
        at = [(m.start(), l) for l in gold["labels"] for m in [re.search(r"\b%s\b" % re.escape(l), said, re.I)] if m]
        return bool(at) and min(at)[1] == gold["answers"][0]
    return any(re.search(r"(?<!\w)%s(?!\w)" % re.escape(a), said, re.I) for a in gold["answers"])


def large(items):
    """What the larger tier says to each text."""
    table = {}
    for task, endpoint, text, gold, labels in items:
        wrong = chance("large" + text) < ERROR
        if endpoint == "chat":
            table[text] = "I do not know" if wrong else gold["answers"][0]
        else:
            table[text] = labels[(labels.index(gold) + 1) % len(labels)] if wrong else gold
    return table


def ask(s, item, **more):
    task, endpoint, text, gold, labels = item
    t0 = time.perf_counter()
    if endpoint == "chat":
        body = {"model": "auto", "temperature": 0, "max_tokens": gold["max_tokens"], "messages": [{"role": "user", "content": text}], **more}
        r = s.request("POST", "/v1/chat/completions", body, {"x-nanogrid-debug": "true", **HINT}, timeout=120)
        a = (r.json or {}).get("nanogrid", {})
        said = r.json["choices"][0]["message"]["content"] if r.status == 200 else None
    else:
        r = s.request("POST", "/v1/" + endpoint, {"input": text, **more}, {}, timeout=120)
        a = (r.json or {}).get("results", [{}])[0]
        said = a.get("label")
    return {"said": said, "ms": (time.perf_counter() - t0) * 1e3, "confidence": a.get("confidence"), "right": right(item, said),
            "tier": a.get("tier"), "escalated": bool(a.get("escalated")), "tokens": sum((a.get("tokens") or {}).values()), "status": r.status}


def cpu_seconds(pid):
    total, ticks = 0, os.sysconf("SC_CLK_TCK")
    todo = [pid]
    while todo:
        p = todo.pop()
        try:
            fields = open("/proc/%d/stat" % p).read().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
            todo += [int(c) for t in os.listdir("/proc/%d/task" % p) for c in open("/proc/%d/task/%s/children" % (p, t)).read().split()]
        except OSError:
            pass
    return total / ticks


def run(text, items, **more):
    with Served(text) as s:
        for item in {i[1]: i for i in items}.values():
            ask(s, item, **more)
        c0, t0 = cpu_seconds(s.process.pid), time.perf_counter()
        out = [ask(s, i, **(more(i) if callable(more) else more)) for i in items]
        return out, cpu_seconds(s.process.pid) - c0


def as_prompt(item):
    """The same question to a general model."""
    task, endpoint, text, gold, labels = item
    if endpoint == "chat":
        return item
    names = [LANGUAGES[l] for l in labels] if task == "language" else [l.replace("_", " ") for l in labels]
    ask_for = {"intent": "What does the user want", "sentiment": "What is the sentiment of this film review", "topic": "What is the topic of this headline",
               "question-type": "What does this question ask for", "language": "Which language is this"}[task]
    answer = LANGUAGES[gold] if task == "language" else gold.replace("_", " ")
    prompt = "%s? Answer with one of: %s.\n\nText: %s\nAnswer:" % (ask_for, ", ".join(names), text)
    return (task, "chat", prompt, {"match": "label", "labels": names, "answers": [answer], "max_tokens": 12, "task": task}, None)


def share(rows):
    return sum(r["right"] for r in rows) / len(rows)


def void(rows):
    n = sum(r["right"] for r in rows)
    return " (void)" if n < 50 or len(rows) - n < 50 else ""


def apgr(local, big):
    """Mean share of the gap that is won over all shares of calls, the least sure first."""
    order = sorted(range(len(local)), key=lambda i: local[i]["confidence"] if local[i]["confidence"] is not None else 0)
    weak, strong, now, curve = share(local), share(big), sum(r["right"] for r in local), []
    for i in order:
        now += big[i]["right"] - local[i]["right"]
        curve.append((now / len(local) - weak) / (strong - weak))
    return sum(curve) / len(curve)


def cascade(items, contracts):
    said = large(items)
    def answer(request):
        text = request["messages"][-1]["content"]
        return said.get(text) or next((v for k, v in said.items() if k in text), "I do not know")
    with Replay(answer, SECONDS) as up:
        tier = ("upstreams:\n  - {name: cloud, tier: medium, base_url: \"%s\", model: replay, timeout: 30s, pricing: {prompt_per_1m: %g, completion_per_1m: %g}}\n"
                "policy: {privacy: {pii: any}}\n") % (up.url, PROMPT_USD * 1e6, COMPLETION_USD * 1e6)
        usd = lambda: up.prompt_tokens * PROMPT_USD + up.completion_tokens * COMPLETION_USD
        local, cpu = run(grid(NO_CONTRACTS, "policy: {privacy: {pii: any}}\n"), items)
        c0 = usd()
        grid_rows, _ = run(grid(contracts, tier), items)
        c1 = usd()
        with Served(grid(contracts, tier)) as s:
            big = [ask(s, i, model="cloud", **({"labels": i[4]} if i[1] == "classify" else {})) if i[1] != "detect-language" else
                   {"right": chance("large" + i[2]) >= ERROR, "said": 1} for i in items]
        c2 = usd()
    calls = sum(r["escalated"] for r in grid_rows) / len(items)
    weak, strong, got = share(local), share(big), share(grid_rows)
    print("| cascade | quality | of always-large | cost of it | calls |\n|---|--:|--:|--:|--:|")
    for name, q, c, n in (("always small", weak, 0, 0), ("the grid", got, (c1 - c0) / (c2 - c1), calls), ("always large", strong, 1, 1),
                          ("random, as many calls", weak + calls * (strong - weak), calls, calls),
                          ("oracle", sum(l["right"] or b["right"] for l, b in zip(local, big)) / len(items), None, sum(not l["right"] for l in local) / len(items))):
        print("| %s | %.1f %% | %.1f %% | %s | %.1f %% |" % (name, 100 * q, 100 * q / strong, "-" if c is None else "%.1f %%" % (100 * c), 100 * n))
    print("\nAPGR of the confidences %.3f (random 0.5)%s\n" % (apgr(local, big), void(local)))
    return local, cpu, grid_rows


def per_task(items, rows):
    out = {}
    for i, r in zip(items, rows):
        out.setdefault(i[0], []).append(r)
    return out


def majority(items, task):
    golds = [str(i[3]["answers"][0] if i[1] == "chat" else i[3]) for i in items if i[0] == task]
    return max(golds.count(g) for g in set(golds)) / len(golds)


def general(items, local, cpu):
    prompts = [as_prompt(i) for i in items]
    alone, lm_cpu = run(grid(NO_CONTRACTS, "policy: {privacy: {pii: any}}\n"), prompts, model="chat")
    p50 = lambda rows: statistics.median(r["ms"] for r in rows)
    tokens = lambda rows: sum(r["tokens"] for r in rows)
    mine, theirs = per_task(items, local), per_task(items, alone)
    print("| task | texts | grid | general model | majority class |\n|---|--:|--:|--:|--:|")
    for task in mine:
        low = majority(items, task)
        note = ", does not count" if share(theirs[task]) < low else ""
        print("| %s | %d | %.1f %%%s | %.1f %%%s%s | %.1f %% |" % (task, len(mine[task]), 100 * share(mine[task]), void(mine[task]), 100 * share(theirs[task]),
                                                          void(theirs[task]), note, 100 * low))
    print("\n| the whole workload | grid | general model | ratio |\n|---|--:|--:|--:|")
    for name, a, b in (("p50 ms", p50(local), p50(alone)), ("tokens", tokens(local), tokens(alone)), ("CPU seconds", cpu, lm_cpu),
                       ("accuracy", share(local), share(alone)), ("p50 ms behind a link of 80 ms", p50(local), p50(alone) + 80)):
        print("| %s | %.4g | %.4g | %.3g |" % (name, a, b, b / a if a else float("inf")))


def main():
    items = workload()
    local, cpu, rows = cascade(items, choose_contracts())
    here = sum(not r["escalated"] and r["status"] == 200 for r in rows)
    wrong = sum(not r["escalated"] and r["status"] == 200 and not r["right"] for r in rows)
    print("answered here %.1f %%, of these wrong %.1f %%\n" % (100 * here / len(rows), 100 * wrong / max(here, 1)), flush=True)
    general(items, local, cpu)


main()
