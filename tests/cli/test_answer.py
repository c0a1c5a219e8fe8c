"""Questions over a given text, from outside: run --context, POST /v1/answer, refusals, rerank by the answer, bad input, the recipe on made-up stories."""
import json, os, sys, tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
from checks import check, run  # noqa: E402
from served import Served

TEXT = ("Marie Curie was born in Warsaw in 1867. She moved to Paris in 1891 because women could not study at home. "
        "There she met Pierre, a physicist, and they discovered polonium and radium.")


def ask(question, context=TEXT, stdin=""):
    return json.loads(run("run", "--json", "--task", "answer", "--context", context, question, stdin=stdin).stdout)


def command_line(home):
    a = ask("Where was Marie Curie born?")
    check("who answers: %s" % a, a["task"] == "answer" and a["expert"] == "answer" and a["tier"] == "nano")
    check("an answer: %s" % a, "Warsaw" in a["answer"] and TEXT[a["start"]:a["end"]] == a["answer"] and 0 < a["confidence"] < 1)
    told = run("explain", a["decision_id"]).stdout
    check("explain tells the decision, not the text: %s" % told, "answer" in told and "Warsaw" not in told)
    a = ask("Who won the world cup in 1998?")
    check("a refusal: %s" % a, a["answerable"] is False and a["answer"] is None and "start" not in a and a["confidence"] > 0.5)
    check("a refusal in words", "does not hold" in run("run", "--task", "answer", "--context", TEXT, "Who won the world cup in 1998?").stdout)
    a = json.loads(run("run", "--json", TEXT + " Question: What did they discover?").stdout)
    check("text and question in one: %s" % a, a["task"] == "answer" and a["answer"] == "polonium and radium")
    a = json.loads(run("run", "--json", TEXT + " Question: Who won the world cup in 1998?").stdout)
    check("nobody asked for a span of it, so none is an abstention: %s" % a, a["task"] == "answer" and a["answerable"] is False and not a["in_scope"])
    check("who asks for one is answered", ask("Who won the world cup in 1998?")["in_scope"])
    path = os.path.join(home, "text.txt")
    with open(path, "w") as f:
        f.write(TEXT)
    check("a context from a file", ask("What did they discover?", "@" + path)["answer"] == "polonium and radium")
    check("a context from standard input", ask("What did they discover?", "-", TEXT)["answer"] == "polonium and radium")
    lines = run("run", "--lines", "--json", "--task", "answer", "--context", TEXT, stdin="Where was Marie born?\nwhy?\n").stdout.splitlines()
    check("one question a line: %s" % lines, len(lines) == 2 and json.loads(lines[1])["in_scope"] is False)


def contract(home):
    """A promise of at most 10 % error: what is less sure is told so, or asked of a higher tier where there is one."""
    path = os.path.join(home, "contract.yaml")
    with open(path, "w") as f:
        f.write("experts:\n  - {name: answer, task: answer, model: nanogrid/answer, contract: {max_error: 0.1}}\n")
    sure, unsure = (json.loads(run("run", "--json", "--grid", path, "--task", "answer", "--context", TEXT, q).stdout)
                    for q in ("Where was Marie Curie born?", "Who did Marie meet in Paris?"))
    check("above the contract: %s" % sure, sure["route"][-1]["outcome"] == "answered" and not sure["warnings"])
    check("below the contract: %s" % unsure, unsure["route"][-1]["outcome"] == "below-contract" and unsure["warnings"])
    check("audit judges it", "answer" in run("audit", "--grid", path).stdout)


def bad_input():
    check("invalid UTF-8", b"not valid UTF-8" in run("run", "--task", "answer", "--context", "-", "who?", stdin=b"a \xff b", want=1).stderr)
    check("a zero byte", b"zero byte" in run("run", "--task", "answer", "--context", "-", "who?", stdin=b"a \0 b", want=1).stderr)
    check("no such file", "cannot open" in run("run", "--task", "answer", "--context", "@/nonexistent", "who?", want=1).stderr)
    check("a context without the task", "--task answer" in run("run", "--context", "x", "who is it?", want=2).stderr)
    check("a context for another task", "does not apply" in run("run", "--task", "classify", "--context", "x", "who?", want=2).stderr)
    for question, context in (("", TEXT), ("   ", TEXT), ("Who is it?", ""), ("Who is it?", " .. "), ("Who is it?", "\n\n\n")):
        check("nothing to find for %r in %r" % (question, context[:9]), ask(question, context)["answer"] is None)
    big = ("The king gave the boy a horse. " * 40000)[:1000000].encode()
    check("a text of 1 MB", "horse" in ask("What did the king give the boy?", "-", big)["answer"])
    check("5 MB", "at most 4194304" in run("run", "--task", "answer", "--context", "-", "Who is it?", stdin="word " * 1000000, want=1).stderr)


def served():
    with Served() as s:
        r = s.post("/v1/answer", {"input": ["Where was Marie Curie born?", "Who won the world cup in 1998?"], "context": TEXT})
        a, b = r.json["results"]
        check("HTTP: %s" % r, r.status == 200 and "Warsaw" in a["answer"] and a["end"] > a["start"] and b["answerable"] is False)
        r = s.post("/v1/answer", {"input": "Where?"})
        check("HTTP without a context: %s" % r, r.status == 400 and r.error["param"] == "context")
        check("the expert is listed", "answer" in [m["id"] for m in s.get("/v1/models").json["data"]])


def documents(home):
    path = os.path.join(home, "documents.txt")
    with open(path, "w") as f:
        f.write("The weather was nice.\n\n%s\nParis is the capital of France.\n" % TEXT)
    a = json.loads(run("run", "--json", "--task", "rerank", "--documents", "@" + path, "Where was Marie Curie born?").stdout)
    check("documents in order: %s" % a, [r["index"] for r in a["results"]][0] == 2 and len(a["results"]) == 4 and a["results"][0]["score"] > 0.9)
    check("the same in words", run("run", "--task", "rerank", "--documents", "@" + path, "Where was Marie Curie born?").stdout.startswith("2 ("))
    check("no documents", "needs documents" in run("run", "--task", "rerank", "Where?", want=2).stderr)
    check("documents as text", "@FILE" in run("run", "--task", "rerank", "--documents", "some text", "Where?", want=2).stderr)
    check("documents of other bytes", b"UTF-8" in run("run", "--task", "rerank", "--documents", "-", "Where?", stdin=b"\xff\n", want=1).stderr)
    with Served() as s:
        docs = ["The weather was nice.", TEXT, "Paris is the capital of France."]
        r = s.post("/v1/rerank", {"query": "Where was Marie Curie born?", "documents": docs, "top_n": 2, "return_documents": True})
        first = r.json["results"][0] if r.status == 200 else {}
        check("POST /v1/rerank: %s" % r, first.get("index") == 1 and first["document"]["text"] == TEXT and len(r.json["results"]) == 2)
        check("its headers and usage: %s" % r.headers, r.headers["x-nanogrid-expert"] == "rerank" and r.json["usage"]["prompt_tokens"] > 10)
        for body, param in (({"query": "x"}, "documents"), ({"documents": docs}, "query"), ({"query": "x", "documents": []}, "documents"),
                            ({"query": "x", "documents": "y"}, "documents"), ({"query": ["x"], "documents": docs}, "query"),
                            ({"query": "x", "documents": docs, "top_n": 0}, "top_n")):
            r = s.post("/v1/rerank", body)
            check("%s: %s" % (body, r), r.status == 400 and r.error["param"] == param)


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
    env = {"NANOGRID_DATA": home}
    models = []
    for out in ("a", "b"):
        run("train", path, "--out", os.path.join(home, out), **env)
        models.append(open(os.path.join(home, out, "model.gguf"), "rb").read())
    check("the same recipe gives other bytes", models[0] == models[1])
    figures = json.loads(run("eval", path, "--json", "--dir", os.path.join(home, "a"), **env).stdout)
    check("made-up stories are learned: %s" % figures, figures["always"]["f1"] > 0.9)
    write("train.jsonl", [{"question": "Who?", "answers": ["x"]}])
    check("a line without its passage is named", "train.jsonl:1" in run("train", path, "--out", os.path.join(home, "c"), want=1, **env).stderr)
    write("train.jsonl", [{"question": "Who is it?", "answers": ["nobody"], "context": "The sun shines."}])
    check("no literal answers", "no training question" in run("train", path, "--out", os.path.join(home, "c"), want=1, **env).stderr)
    check("a model of a failed run", not os.path.exists(os.path.join(home, "c", "model.gguf")))


def main():
    with tempfile.TemporaryDirectory() as home:
        os.environ["NANOGRID_HOME"] = home
        command_line(home)
        bad_input()
        contract(home)
        recipe(home)
        documents(home)
    served()
    return check.done()


sys.exit(main())
