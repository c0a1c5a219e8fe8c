"""answer.py: answers found by the package, beside a chat model that is given the same passage and question.

    NANOGRID=build/nanogrid NANOGRID_DATA=.. python3 bench/answer.py CHAT.gguf [QUESTIONS]

Test questions of FairytaleQA whose answer stands in their passage, QUESTIONS of them (150) by a hash of the question.  The chat model
answers greedily, at most 32 tokens, to the instruction that an upstream gets and to one that does not offer it to refuse; the better of
the two stands for it.  F1 as SQuAD's: lower case, without punctuation and articles, the best over the answers.  The package's refusals
count as 0."""
import collections, hashlib, json, os, re, statistics, string, sys, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "support"))
from served import Served

DATA = os.path.join(os.environ["NANOGRID_DATA"], "fairytaleqa")
PROMPTS = {
    "as an upstream": ("Answer the question from the given text only, with words copied from it. If the text does not hold the answer, "
                       "answer: none", "%(q)s\n\nText: %(passage)s"),
    "without refusing": (None, "%(passage)s\n\nAnswer the question about the text above with a few words from the text.\nQuestion: %(q)s"),
}


def words(text):
    text = "".join(" " if c in string.punctuation else c for c in text.lower())
    return [w for w in text.split() if w not in ("a", "an", "the")]


def f1(text, answers):
    best = 0
    for gold in answers:
        a, b = words(text), words(gold)
        both = sum((collections.Counter(a) & collections.Counter(b)).values())
        best = max(best, 2 * both / (len(a) + len(b)) if both else 0)
    return best


def questions(n):
    with open(os.path.join(DATA, "stories.test.jsonl")) as f:
        stories = {s["story"]: s["sections"] for s in map(json.loads, f)}
    found = []
    with open(os.path.join(DATA, "qa.test.jsonl")) as f:
        for q in map(json.loads, f):
            q["passage"] = re.sub(r"\s+", " ", " ".join(stories[q["story"]][int(k) - 1] for k in q["sections"].split(","))).strip()
            have = " %s " % " ".join(words(q["passage"]))
            if any(words(a) and " %s " % " ".join(words(a)) in have for a in q["answers"]):
                found.append(q)
    return sorted(found, key=lambda q: hashlib.sha256((q["story"] + q["q"]).encode()).hexdigest())[:n]


def ask_package(s, q):
    r = s.post("/v1/answer", {"input": q["q"], "context": q["passage"]}).json["results"][0]
    return r["answer"] or ""


def ask_chat(s, q, system, user):
    messages = ([{"role": "system", "content": system}] if system else []) + [{"role": "user", "content": user % q}]
    body = {"model": "chat", "temperature": 0, "max_tokens": 32, "messages": messages}
    r = s.request("POST", "/v1/chat/completions", body, timeout=600)
    return r.json["choices"][0]["message"]["content"]


def measure(name, qs, ask):
    scores, ms = [], []
    for q in qs:
        t = time.monotonic()
        text = ask(q)
        ms.append((time.monotonic() - t) * 1e3)
        scores.append(f1(text, q["answers"]))
    print("%-36s F1 %5.1f   %8.1f ms a question (median)" % (name, 100 * statistics.mean(scores), statistics.median(ms)), flush=True)
    return statistics.mean(scores)


def main():
    qs = questions(int(sys.argv[2]) if len(sys.argv) > 2 else 150)
    grid = "models: {chat: {path: %s}}\ncache: {exact: 0}\nexperts:\n  - {name: chat, task: generate, model: chat}\n" % os.path.abspath(sys.argv[1])
    print("%d questions" % len(qs))
    with Served(grid, ["-t", "1"]) as s:
        ours = measure("package answer", qs, lambda q: ask_package(s, q))
        theirs = max(measure("%s, %s" % (os.path.basename(sys.argv[1])[:16], how), qs, lambda q: ask_chat(s, q, *prompt))
                     for how, prompt in PROMPTS.items())
    print("%+.1f points F1" % (100 * (ours - theirs)))


main()
