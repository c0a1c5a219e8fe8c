"""Questions over a given text, from outside: run --context, POST /v1/answer, refusals, rerank by the answer, bad input, the recipe on made-up stories."""
import json, os, subprocess, sys, tempfile

NANOGRID = os.environ["NANOGRID"]
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
from served import Served

TEXT = ("Marie Curie was born in Warsaw in 1867. She moved to Paris in 1891 because women could not study at home. "
        "There she met Pierre, a physicist, and they discovered polonium and radium.")
failed = []


def check(ok, what):
    if not ok:
        failed.append(what)
        print("FAILED:", what)


def run(*args, text=b"", code=0, env=None):
    p = subprocess.run([NANOGRID, *args], input=text, capture_output=True, env=env)
    check(p.returncode == code, "%s: exit %d, not %d: %s" % (args, p.returncode, code, p.stderr.decode(errors="replace")))
    return p.stdout.decode() if code == 0 else p.stderr.decode(errors="replace")


def ask(question, context=TEXT, text=b""):
    return json.loads(run("run", "--json", "--task", "answer", "--context", context, question, text=text))


def command_line(home):
    a = ask("Where was Marie Curie born?")
    check(a["task"] == "answer" and a["expert"] == "answer" and a["tier"] == "nano", "who answers: %s" % a)
    check("Warsaw" in a["answer"] and TEXT[a["start"]:a["end"]] == a["answer"] and 0 < a["confidence"] < 1, "an answer: %s" % a)
    told = run("explain", a["decision_id"])
    check("answer" in told and "Warsaw" not in told, "explain tells the decision, not the text: %s" % told)
    a = ask("Who won the world cup in 1998?")
    check(a["answerable"] is False and a["answer"] is None and "start" not in a and a["confidence"] > 0.5, "a refusal: %s" % a)
    check("does not hold" in run("run", "--task", "answer", "--context", TEXT, "Who won the world cup in 1998?"), "a refusal in words")
    a = json.loads(run("run", "--json", TEXT + " Question: What did they discover?"))
    check(a["task"] == "answer" and a["answer"] == "polonium and radium", "text and question in one: %s" % a)
    path = os.path.join(home, "text.txt")
    with open(path, "w") as f:
        f.write(TEXT)
    check(ask("What did they discover?", "@" + path)["answer"] == "polonium and radium", "a context from a file")
    check(ask("What did they discover?", "-", TEXT.encode())["answer"] == "polonium and radium", "a context from standard input")
    lines = run("run", "--lines", "--json", "--task", "answer", "--context", TEXT, text=b"Where was Marie born?\nwhy?\n").splitlines()
    check(len(lines) == 2 and json.loads(lines[1])["in_scope"] is False, "one question a line: %s" % lines)


def contract(home):
    """A promise of at most 10 % error: what is less sure is told so, or asked of a higher tier where there is one."""
    path = os.path.join(home, "contract.yaml")
    with open(path, "w") as f:
        f.write("experts:\n  - {name: answer, task: answer, model: nanogrid/answer, contract: {max_error: 0.1}}\n")
    sure, unsure = (json.loads(run("run", "--json", "--grid", path, "--task", "answer", "--context", TEXT, q))
                    for q in ("Where was Marie Curie born?", "Who did Marie meet in Paris?"))
    check(sure["route"][-1]["outcome"] == "answered" and not sure["warnings"], "above the contract: %s" % sure)
    check(unsure["route"][-1]["outcome"] == "below-contract" and unsure["warnings"], "below the contract: %s" % unsure)
    check("answer" in run("audit", "--grid", path), "audit judges it")


def bad_input():
    check("not valid UTF-8" in run("run", "--task", "answer", "--context", "-", "who?", text=b"a \xff b", code=1), "invalid UTF-8")
    check("zero byte" in run("run", "--task", "answer", "--context", "-", "who?", text=b"a \0 b", code=1), "a zero byte")
    check("cannot open" in run("run", "--task", "answer", "--context", "@/nonexistent", "who?", code=1), "no such file")
    check("--task answer" in run("run", "--context", "x", "who is it?", code=2), "a context without the task")
    check("does not apply" in run("run", "--task", "classify", "--context", "x", "who?", code=2), "a context for another task")
    for question, context in (("", TEXT), ("   ", TEXT), ("Who is it?", ""), ("Who is it?", " .. "), ("Who is it?", "\n\n\n")):
        check(ask(question, context)["answer"] is None, "nothing to find for %r in %r" % (question, context[:9]))
    big = ("The king gave the boy a horse. " * 40000)[:1000000].encode()
    check("horse" in ask("What did the king give the boy?", "-", big)["answer"], "a text of 1 MB")
    check("at most 4194304" in run("run", "--task", "answer", "--context", "-", "Who is it?", text=b"word " * 1000000, code=1), "5 MB")


def served():
    with Served() as s:
        r = s.post("/v1/answer", {"input": ["Where was Marie Curie born?", "Who won the world cup in 1998?"], "context": TEXT})
        a, b = r.json["results"]
        check(r.status == 200 and "Warsaw" in a["answer"] and a["end"] > a["start"] and b["answerable"] is False, "HTTP: %s" % r)
        r = s.post("/v1/answer", {"input": "Where?"})
        check(r.status == 400 and r.error["param"] == "context", "HTTP without a context: %s" % r)
        check("answer" in [m["id"] for m in s.get("/v1/models").json["data"]], "the expert is listed")


def documents(home):
    path = os.path.join(home, "documents.txt")
    with open(path, "w") as f:
        f.write("The weather was nice.\n\n%s\nParis is the capital of France.\n" % TEXT)
    a = json.loads(run("run", "--json", "--task", "rerank", "--documents", "@" + path, "Where was Marie Curie born?"))
    check([r["index"] for r in a["results"]][0] == 2 and len(a["results"]) == 4 and a["results"][0]["score"] > 0.9, "documents in order: %s" % a)
    check(run("run", "--task", "rerank", "--documents", "@" + path, "Where was Marie Curie born?").startswith("2 ("), "the same in words")
    check("needs documents" in run("run", "--task", "rerank", "Where?", code=2), "no documents")
    check("@FILE" in run("run", "--task", "rerank", "--documents", "some text", "Where?", code=2), "documents as text")
    check("UTF-8" in run("run", "--task", "rerank", "--documents", "-", "Where?", text=b"\xff\n", code=1), "documents of other bytes")
    with Served() as s:
        docs = ["The weather was nice.", TEXT, "Paris is the capital of France."]
        r = s.post("/v1/rerank", {"query": "Where was Marie Curie born?", "documents": docs, "top_n": 2, "return_documents": True})
        first = r.json["results"][0] if r.status == 200 else {}
        check(first.get("index") == 1 and first["document"]["text"] == TEXT and len(r.json["results"]) == 2, "POST /v1/rerank: %s" % r)
        check(r.headers["x-nanogrid-expert"] == "rerank" and r.json["usage"]["prompt_tokens"] > 10, "its headers and usage: %s" % r.headers)
        for body, param in (({"query": "x"}, "documents"), ({"documents": docs}, "query"), ({"query": "x", "documents": []}, "documents"),
                            ({"query": "x", "documents": "y"}, "documents"), ({"query": ["x"], "documents": docs}, "query"),
                            ({"query": "x", "documents": docs, "top_n": 0}, "top_n")):
            r = s.post("/v1/rerank", body)
            check(r.status == 400 and r.error["param"] == param, "%s: %s" % (body, r))


def story(i):
    names = ["Anna", "Bruno", "Clara", "David", "Emma", "Felix", "Greta", "Hugo"]
    things = ["lamp", "crown", "basket", "violin", "ladder", "candle", "mirror", "kettle"]
    places = ["the forest", "the old mill", "the harbour", "the castle", "the market", "the desert", "the island", "the valley"]
    n, t, p = names[i % 8], things[(i // 8) % 8], places[(i // 3) % 8]
    text = "%s lived in %s. One day %s found a %s under the bed. Then the rain came." % (n, p, n, t)
    return [{"question": "Where did %s live?" % n, "context": text, "answers": ["in " + p]},
            {"question": "What did %s find?" % n, "context": text, "answers": ["a " + t, t]}]


def recipe(home):
    """Trained on made-up stories: the same bytes twice, answers learned, broken lines named."""
    def write(name, items):
        with open(os.path.join(home, name), "w") as f:
            f.writelines(json.dumps(x) + "\n" for x in items)
    for name, at in (("train.jsonl", 0), ("dev.jsonl", 200), ("test.jsonl", 300)):
        write(name, [q for i in range(at, at + 60) for q in story(i)])
    path = os.path.join(home, "r.yaml")
    text = "name: tales\ntask: answer\ndata:\n" + "".join("  %s: [{file: %s.jsonl}]\n" % (s, s) for s in ("train", "dev", "test"))
    with open(path, "w") as f:
        f.write(text + "training: {epochs: 4, rate: 0.05}\n")
    env = dict(os.environ, NANOGRID_DATA=home)
    models = []
    for out in ("a", "b"):
        run("train", path, "--out", os.path.join(home, out), env=env)
        models.append(open(os.path.join(home, out, "model.gguf"), "rb").read())
    check(models[0] == models[1], "the same recipe gives other bytes")
    figures = json.loads(run("eval", path, "--json", "--dir", os.path.join(home, "a"), env=env))
    check(figures["always"]["f1"] > 0.9, "made-up stories are learned: %s" % figures)
    write("train.jsonl", [{"question": "Who?", "answers": ["x"]}])
    check("train.jsonl:1" in run("train", path, "--out", os.path.join(home, "c"), code=1, env=env), "a line without its passage is named")
    write("train.jsonl", [{"question": "Who is it?", "answers": ["nobody"], "context": "The sun shines."}])
    check("no training question" in run("train", path, "--out", os.path.join(home, "c"), code=1, env=env), "no literal answers")
    check(not os.path.exists(os.path.join(home, "c", "model.gguf")), "a model of a failed run")


def main():
    with tempfile.TemporaryDirectory() as home:
        os.environ["NANOGRID_HOME"] = home
        command_line(home)
        bad_input()
        contract(home)
        recipe(home)
        documents(home)
    served()
    print("failed: %d" % len(failed))
    return 1 if failed else 0


sys.exit(main())
