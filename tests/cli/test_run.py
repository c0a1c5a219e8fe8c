#!/usr/bin/env python3
"""run, route, explain, list, show and usage, over a grid of its own: two small classifiers trained here, the rules for
personal data, no network."""
import json, os, sqlite3, subprocess, sys, tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import NANOGRID, check  # noqa: E402

HOME = tempfile.TemporaryDirectory()
ENV = {k: v for k, v in os.environ.items() if not k.startswith("NANOGRID")}
ENV["NANOGRID_HOME"] = os.path.join(HOME.name, "home")


def nanogrid(*args, stdin=b"", env=None, cwd=None):
    p = subprocess.run([NANOGRID, *args], input=stdin, capture_output=True, env={**ENV, **(env or {})}, cwd=cwd or HOME.name)
    return p.returncode, p.stdout.decode("utf-8", "replace"), p.stderr.decode("utf-8", "replace")


def one(*args, **more):
    code, out, err = nanogrid(*args, **more)
    check("exit of %s" % (args,), code == 0, err)
    check("one line of %s" % (args,), out.count("\n") == 1, out)
    return json.loads(out) if out.startswith("{") else {}


def path(*names):
    return os.path.join(HOME.name, *names)


def write(name, text):
    os.makedirs(os.path.dirname(path(name)) or ".", exist_ok=True)
    with open(path(name), "w") as f:
        f.write(text)
    return path(name)


def train(name, rows):
    """A package below $NANOGRID_HOME/packages from {label: sentences}.  Its dev set has mistakes in it, so that the
    calibrated confidence stays away from 1."""
    labels = list(rows)
    lines = ["%s\t%s" % (label, text) for label, texts in rows.items() for text in texts]
    wrong = ["%s\t%s %s" % (labels[1 - labels.index(label)], text, more) for label in labels for text in rows[label][:4] for more in ("again", "too")]
    write("recipes/%s.tsv" % name, "\n".join(["label\ttext"] + lines) + "\n")
    write("recipes/%s.dev.tsv" % name, "\n".join(["label\ttext"] + [line + " now" for line in lines] + wrong) + "\n")
    recipe = write("recipes/%s.yaml" % name, "name: %s\ntask: classify\nlicence: CC0\ndata: {train: [{file: ./%s.tsv}], dev: [{file: ./%s.dev.tsv}]}\n"
                   "features: {bits: 12, rows: 4096}\ntraining: {epochs: 5}\n" % (name, name, name))
    folder = path("home/packages", name)
    code, _, err = nanogrid("train", recipe, "--out", folder)
    check("train " + name, code == 0, err)
    write("home/packages/%s/card.json" % name, '{"name": "%s", "task": "classify", "accuracy": {"dev": 0.5}, "languages": ["en"]}' % name)


def build():
    verbs = {"greet": ["hello there", "hi friend", "good morning to you", "hey how are you"] * 3,
             "pay": ["pay my bill now", "send money to bob", "transfer ten euros", "i want to pay rent"] * 3}
    mood = {"good": ["a lovely day", "i love it so much", "great and funny film", "really nice work"] * 3,
            "bad": ["a horrible day", "i hate it so much", "dull and boring film", "really poor work"] * 3}
    train("verbs", verbs)
    train("mood", mood)
    return write("grid.yaml", "embedded: false\nexperts:\n  - {name: verbs, task: classify, model: verbs}\n"
                 "  - {name: pii, task: extract}\npolicy: {privacy: {pii: local}}\n")


def answers(grid):
    a = one("run", "--grid", grid, "--task", "classify", "--json", "please pay my bill")
    keys = ["task", "expert", "tier", "confidence", "escalated", "decision_id", "latency_ms", "in_scope", "load_ms", "warnings",
            "tokens", "route", "label", "scores"]
    check("fields of an answer", all(k in a for k in keys), a)
    check("its values", (a["task"], a["expert"], a["tier"], a["label"], a["escalated"]) == ("classify", "verbs", "nano", "pay", False), a)
    check("the way", [s["step"] for s in a["route"]] == ["cache", "router", "expert"] and all("latency_us" in s for s in a["route"]), a["route"])
    check("the words of the text are its tokens", a["tokens"] == {"prompt": 4, "completion": 0}, a["tokens"])
    check("loading is told", a["load_ms"] > 0 and 0.5 < a["confidence"] <= 1, a)
    b = one("run", "--grid", grid, "--task", "classify", "--json", "hello my friend")
    check("confidence is no constant", a["confidence"] != b["confidence"] and b["label"] == "greet", b)
    text = "mail bob@example.com \u00fcber 10.0.0.1"
    e = one("run", "--grid", grid, "--expert", "pii", "--json", text)
    check("byte offsets", all(text.encode()[x["start"]:x["end"]].decode() == x["text"] for x in e["entities"]) and len(e["entities"]) == 2, e)
    e = one("run", "--grid", grid, "--task", "extract", "--offsets", "chars", "--types", "ip", "--json", text)
    check("offsets in characters, chosen types", [text[x["start"]:x["end"]] for x in e["entities"]] == ["10.0.0.1"], e)
    check("no calibration, no confidence", e["confidence"] is None, e)
    check("rules count words too", e["tokens"]["prompt"] > 3, e["tokens"])
    code, out, _ = nanogrid("run", "--grid", grid, "--task", "classify", stdin=b"send money to bob\n")
    check("text for people", code == 0 and out.splitlines()[0] == "pay" and "verbs (nano)" in out and "explain" in out, out)
    r = one("route", "--grid", grid, "--task", "classify", "--json", "hello friend")
    check("fields of a decision", list(r) == ["decision_id", "task", "expert", "tier", "in_scope", "scores", "reason", "latency_us"], r)
    check("its values", r["expert"] == "verbs" and r["in_scope"] and r["latency_us"] > 0 and list(r["scores"]) == ["verbs"], r)


def lines(grid):
    code, out, err = nanogrid("run", "--grid", grid, "--task", "classify", "--json", "--lines", stdin=b"hello there\nbad \xff bytes\npay rent now\n")
    rows = [json.loads(line) for line in out.splitlines()]
    check("one line a line", code == 1 and len(rows) == 3, (code, out, err))
    check("in order, with the failed one in its place", rows[0].get("label") == "greet" and rows[2].get("label") == "pay" and
          rows[1].get("error", {}).get("code") == "EFORMAT" and "byte 4" in rows[1]["error"]["message"], out)
    check("and on stderr", "line 2" in err, err)
    code, out, _ = nanogrid("run", "--grid", grid, "--task", "classify", "--lines", stdin=b"hello\n\nhello\n")
    check("text lines", code == 0 and len(out.splitlines()) == 3, out)
    rows = nanogrid("run", "--grid", grid, "--task", "classify", "--json", "--lines", stdin=b"same words\nsame words\n")[1].splitlines()
    check("the exact cache", json.loads(rows[1]).get("cached") is True and json.loads(rows[1])["route"][0]["outcome"] == "hit", rows)
    a, b = (json.loads(r) for r in rows)
    check("cached and fresh agree", (a["label"], a["scores"], a["confidence"]) == (b["label"], b["scores"], b["confidence"]) and
          a["decision_id"] < b["decision_id"], rows)


def refusals(grid):
    for args, code, says in (
            (("run", "--grid", grid, "--task", "sing", "x"), 2, "there is no task 'sing'; known: auto, generate"),
            (("run", "--grid", grid, "--expert", "nobody", "x"), 1, "no expert or upstream 'nobody'; known: verbs, pii"),
            (("run", "--grid", grid, "--expert", "pii", "--task", "classify", "x"), 2, "serves extract, not classify"),
            (("run", "--grid", grid, "--privacy", "secret", "x"), 2, "not one of local|mesh|any"),
            (("run", "--grid", grid, "--task", "translate", "x"), 2, "translate needs --to"),
            (("run", "--grid", grid, "--task", "translate", "--to", "de", "x"), 1, "no expert here serves the task 'translate'"),
            (("run", "--grid", grid, "--task", "extract", "--top-k", "3", "x"), 2, "--top-k does not apply to extract"),
            (("run", "--grid", grid, "--task", "classify", "--labels", "a,b", "x"), 1, "zero-shot"),
            (("run", "--grid", grid, "a", "b"), 2, "one TEXT at most"),
            (("run", "--grid", grid, "--task", "classify", "--energy", "x"), 2, "energy"),
            (("run", "--grid", grid, "--task", "classify", "--max-cost", "-1", "x"), 2, "--max-cost: -1 is below 0"),
            (("run", "--grid", path("nowhere.yaml"), "x"), 1, "nowhere.yaml"),
            (("run", "--grid", grid, "x"), 1, "name a task or an expert"),
            (("explain", "--grid", grid), 2, "decision id"),
            (("explain", "--grid", grid, "01ARZ3NDEKTSV4RRFFQ69G5FAV"), 1, "there is no decision"),
            (("show", "no-such-package"), 1, "is not installed; looked in"),
            (("show", "../../etc"), 2, "is no package name"),
            (("list", "x"), 2, "takes no words")):
        got, out, err = nanogrid(*args)
        check("refusal %s" % (args[:1] + args[3:],), got == code and says in err and not out and err.count("\n") == 1, (got, err, out))
    got, _, err = nanogrid("run", "--grid", grid, "--task", "classify", stdin=b"\xc3\x28")
    check("invalid UTF-8", got == 1 and "not valid UTF-8: byte 0" in err, err)
    for verb in (("run", "--grid", grid, "--task", "extract", "x"), ("route", "--grid", grid, "--task", "extract", "x"), ("show", "grid")):
        got, out, err = nanogrid(*verb, env={"NG_CPU": "no-such"})
        check("an unknown cap of the kernels", got == 2 and "NG_CPU=no-such" in err and not out, (got, err))
    empty = write("empty.yaml", "embedded: false\n")
    got, _, err = nanogrid("run", "--grid", empty, "hello")
    check("nobody at all", got == 1 and "Add a model" in err and "upstream" in err, err)


def configuration(grid):
    for text, says in (("listen: x\nenergy: {below: 1}\n", "g.yaml:2: unknown key 'energy'"),
                       ("experts:\n  - {name: a, task: classify, model: verbs, contract: {max_error: 0.02}}\n", "g.yaml:2: "),
                       ("experts:\n  - name: a\n    task: dance\n", "g.yaml:3: task: 'dance'"),
                       ("models: {m: {path: gone.gguf}}\nexperts: [{name: a, task: classify, model: m}]\n", "has no file " + path("gone.gguf")),
                       ("listen: [\n", "not YAML")):
        code, _, err = nanogrid("run", "--grid", write("g.yaml", text), "x")
        check("malformed %r" % text, code in (1, 2) and says in err, err)
    os.makedirs(path("sub"), exist_ok=True)
    os.replace(path("home/packages/mood/model.gguf"), path("sub/mood.gguf"))
    relative = write("sub/grid.yaml", "embedded: false\nmodels: {m: {path: mood.gguf}}\nexperts: [{name: mood, task: classify, model: m}]\n")
    a = one("run", "--grid", relative, "--json", "i love it so much", cwd="/")
    check("a path is relative to its grid file; one task needs no router", a["label"] == "good" and a["expert"] == "mood", a)
    a = one("run", "--json", "i love it so much", env={"NANOGRID_GRID": relative})
    check("NANOGRID_GRID", a["expert"] == "mood", a)
    a = one("run", "--grid", grid, "--task", "classify", "--json", "hello there", env={"NANOGRID_GRID": relative})
    check("the flag wins", a["expert"] == "verbs", a)
    write("home/grid.yaml", "embedded: false\nexperts: [{name: only, task: extract}]\n")
    a = one("run", "--json", "a@b.com")
    check("$NANOGRID_HOME/grid.yaml", a["expert"] == "only", a)
    os.unlink(path("home/grid.yaml"))
    code, out, _ = nanogrid("show", "grid")
    check("show grid", code == 0 and out.startswith("# The grid that is compiled in") and "records:" in out, out)
    b = one("list", "--json", "--grid", write("copy.yaml", out))
    check("show grid is a grid.yaml", [e["name"] for e in b["experts"]][:2] == ["intent", "sentiment"], b)
    c = one("list", "--json", "--grid", grid)
    check("list", [(e["name"], e["task"], e["available"]) for e in c["experts"]] == [("verbs", "classify", True), ("pii", "extract", True)] and
          "verbs" in [p["name"] for p in c["packages"]] and all(p["bytes"] > 0 for p in c["packages"]), c)
    check("list for people", "verbs" in nanogrid("list", "--grid", grid)[1])
    check("show a card", "accuracy.dev" in nanogrid("show", "verbs")[1], nanogrid("show", "verbs"))
    check("show a card as JSON", one("show", "nanogrid/verbs", "--json")["accuracy"] == {"dev": 0.5})


def records(grid):
    secret = "pay my bill number seventy-seven"
    a = one("run", "--grid", grid, "--task", "classify", "--json", secret)
    e = one("explain", "--grid", grid, "--json", a["decision_id"])
    check("explain in another process", e["decision_id"] == a["decision_id"] and e["label"] == "pay" and e["expert"] == "verbs", e)
    check("it tells scores and the way", e["scores"] and [s["step"] for s in e["route"]] == ["cache", "router", "expert"], e)
    check("not the text", "seventy" not in json.dumps(e), e)
    code, out, _ = nanogrid("explain", "--grid", grid, a["decision_id"].lower())
    check("explain for people", code == 0 and "answered by verbs (nano), task classify" in out and "because" in out, out)
    database = path("home/nanogrid.db")
    db = sqlite3.connect(database)
    text, features = db.execute("SELECT text, features FROM decisions WHERE id = ?", (a["decision_id"],)).fetchone()
    check("features are kept, the text is not", text is None and features[:4] == b"NGF2" and len(features) > 100, (text, features))
    db.close()  # closing a file of one's own drops the locks of one's own connections: read the bytes without any
    check("nowhere in the file", secret.encode() not in open(database, "rb").read())
    before = one("usage", "--json", "--grid", grid)
    nanogrid("run", "--grid", grid, "--task", "classify", "hi friend")
    after = one("usage", "--json", "--grid", grid)
    check("usage", after["requests"] == before["requests"] + 1 and {"verbs", "pii"} <= {x["expert"] for x in after["experts"]}, after)
    check("usage for people", "verbs" in nanogrid("usage", "--grid", grid)[1])
    db = sqlite3.connect(database)
    db.execute("BEGIN EXCLUSIVE")
    code, out, err = nanogrid("run", "--grid", grid, "--task", "classify", "--json", "hello there")
    check("a locked database costs no answer", code == 0 and json.loads(out)["label"] == "greet" and "could not be recorded" in err, (code, err, out))
    db.execute("COMMIT")
    db.close()
    with open(database, "r+b") as f:
        f.write(b"garbage" * 1000)
    for leftover in ("-wal", "-shm"):
        if os.path.exists(database + leftover):
            os.unlink(database + leftover)
    code, out, err = nanogrid("run", "--grid", grid, "--task", "classify", "--json", "hello there")
    check("nor does a corrupt one", code == 0 and json.loads(out)["label"] == "greet" and "not a database" in json.loads(out)["warnings"][0], (out, err))
    os.unlink(database)


def main():
    grid = build()
    answers(grid)
    lines(grid)
    refusals(grid)
    records(grid)
    configuration(grid)
    return check.done()


if __name__ == "__main__":
    sys.exit(main())
