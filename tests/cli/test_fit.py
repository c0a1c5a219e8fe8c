#!/usr/bin/env python3
"""fit on nouns of four kinds, each seen once: a linear model cannot know a new one, an encoder can.  Two budgets choose
different experts; what is chosen answers over HTTP in a memory cgroup of that size; bad input and hopeless budgets are told."""
import csv
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import NANOGRID, attempt, check, read, run, write  # noqa: E402
from tiny_decoder import speaking  # noqa: E402

RAM_MB = 160

WORDS = {
    "animal": """dog cat horse cow sheep goat pig rabbit mouse rat lion tiger bear wolf fox deer monkey elephant giraffe zebra camel donkey
        duck goose chicken eagle owl crow sparrow pigeon parrot swan whale dolphin shark salmon trout tuna crab lobster frog toad snake
        lizard turtle crocodile spider ant bee wasp butterfly beetle squirrel hedgehog otter beaver badger bat kangaroo koala leopard
        cheetah hyena jackal moose buffalo bison hamster puppy kitten calf lamb pony falcon hawk penguin ostrich seal walrus squid""",
    "food": """bread cheese butter milk egg rice pasta noodle soup salad sandwich pizza burger sausage bacon ham steak pancake waffle cake
        cookie pie chocolate candy ice-cream yogurt apple banana orange lemon grape cherry peach pear plum strawberry raspberry melon
        pineapple mango tomato potato carrot onion garlic cabbage lettuce spinach cucumber pepper bean pea corn mushroom pumpkin
        olive honey sugar salt flour oil vinegar mustard ketchup jam tea coffee juice wine beer stew curry porridge omelette muffin
        biscuit pudding cereal toast dumpling""",
    "vehicle": """car bus truck lorry van taxi train tram metro bicycle motorcycle scooter boat ship ferry canoe kayak yacht submarine
        airplane helicopter jet glider rocket spaceship tractor bulldozer ambulance limousine jeep sedan convertible minibus coach wagon
        cart carriage sleigh sled skateboard snowmobile trolley hovercraft tanker freighter cruiser raft rowboat sailboat speedboat
        steamship locomotive monorail bike moped tricycle pickup hatchback minivan caravan camper trailer chariot rickshaw airship
        blimp drone shuttle frigate destroyer barge tugboat gondola dinghy catamaran forklift excavator""",
    "job": """teacher doctor nurse dentist lawyer judge engineer plumber electrician carpenter painter baker butcher cook waiter barber
        farmer fisherman gardener soldier sailor pilot driver mechanic firefighter policeman detective scientist chemist physicist
        biologist mathematician programmer architect accountant banker secretary clerk manager director actor singer dancer musician
        composer poet writer journalist editor photographer librarian professor student pharmacist surgeon psychologist veterinarian
        tailor shoemaker jeweller mason miner blacksmith postman cleaner cashier salesman translator diplomat minister mayor priest
        monk referee coach-trainer astronaut economist""",
}


def fit(*args, want=0):
    return run("fit", *args, want=want)


def write_data(path):
    n = 0
    with open(path, "w", newline="") as f:
        w = csv.writer(f)
        w.writerow(["message", "kind"])
        for i in range(80):
            for kind, words in WORDS.items():
                words = words.split()
                if i < len(words):
                    w.writerow([("%s, please", "I mean the\n%s", "%s")[i % 3] % words[i], kind])
                    n += 1
    return n


def cgroup(limit):
    """A memory cgroup below this process's own, or None with the reason."""
    own = {line.split(":")[1]: line.strip().split(":")[2] for line in open("/proc/self/cgroup")}
    for base, name, most, peak in (("/sys/fs/cgroup/memory" + own.get("memory", "/"), "memory", "memory.limit_in_bytes", "memory.max_usage_in_bytes"),
                                   ("/sys/fs/cgroup" + own.get("", "/"), "", "memory.max", "memory.peak")):
        folder = os.path.join(base, "nanogrid-fit-%d" % os.getpid())
        if name not in own:
            continue
        try:
            os.mkdir(folder)
            with open(os.path.join(folder, most), "w") as f:
                f.write(str(limit))
            return folder, peak
        except OSError:
            try:
                os.rmdir(folder)
            except OSError:
                pass
    return None, None


def post(port, path, body):
    r = urllib.request.Request("http://127.0.0.1:%d%s" % (port, path), json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(r, timeout=30) as f:
        return json.load(f)


def serve_within(grid, limit_mb, latency_ms, home):
    folder, peak_file = cgroup(limit_mb << 20)
    if not folder:
        print("SKIPPED: no memory cgroup can be made here; the budget was not tried in one")
        return
    enter = lambda: open(os.path.join(folder, "cgroup.procs"), "w").write(str(os.getpid()))
    p = subprocess.Popen([NANOGRID, "serve", "--grid", grid, "--listen", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True, preexec_fn=enter,
                         env={**os.environ, "NANOGRID_HOME": home})
    try:
        port = None
        while port is None:
            line = p.stderr.readline()
            if not line:
                break
            m = re.search(r"127\.0\.0\.1:(\d+)", line)
            port = int(m.group(1)) if m else None
        check("serve starts in %d MB" % limit_mb, port)
        if not port:
            return
        words = [w for kind in WORDS.values() for w in kind.split()]
        answers = [post(port, "/v1/classify", {"input": "the word %s" % w})["results"][0] for w in words]
        ms = sorted(a["latency_ms"] for a in answers[16:])
        check("every text is answered: %s" % answers[0], all(a["expert"] == "fitted" and a["label"] in WORDS for a in answers))
        check("p95 over HTTP is %.2f ms of %g" % (ms[len(ms) * 95 // 100], latency_ms), ms[len(ms) * 95 // 100] <= latency_ms)
        check("the server lives", p.poll() is None)
        peak = int(open(os.path.join(folder, peak_file)).read()) if os.path.exists(os.path.join(folder, peak_file)) else 0
        check("the cgroup peaked at %d" % peak, peak <= limit_mb << 20)
        print("cgroup of %d MB: peak %.1f MB, p95 %.3f ms over %d requests" % (limit_mb, peak / 1048576, ms[len(ms) * 95 // 100], len(answers)))
    finally:
        p.terminate()
        p.wait()
        os.rmdir(folder)


def main():
    work = tempfile.mkdtemp()
    at = lambda name: os.path.join(work, name)
    n = write_data(at("data.csv"))
    columns = ["--task", "classify", "--data", at("data.csv"), "--text", "message", "--label", "kind"]
    if os.environ.get("SANITIZED") == "1":
        print("memory figures mean nothing under a sanitizer: only the paths are run")
    big_limits = ["--ram", "%dMB" % RAM_MB, "--latency", "500ms"] if os.environ.get("SANITIZED") != "1" else []
    big = json.loads(fit(*columns, *big_limits, "--out", at("big"), "--json").stdout)
    rows = {r["name"]: r for r in big["tried"]}
    check("a tenth tunes, the others are told: %s" % big, 0.8 * n < big["train"] + big["choose"] + big["test"] < n and big["choose"] >= 20)
    check("an encoder knows new nouns, and memory allows it: %s" % big, big["chosen"].startswith("encoder"))
    check("by far: %s" % rows, rows["linear"]["accuracy"] + 0.15 < rows[big["chosen"]]["accuracy"])
    check("the table: %s" % rows, rows["linear-small"]["fits"] and rows["encoder-2"]["model_mb"] > rows["encoder-2-q4"]["model_mb"] > 1)
    check("within the budget: %s" % rows[big["chosen"]], rows[big["chosen"]]["memory_mb"] <= RAM_MB or not big_limits)
    left = sorted(os.listdir(at("big")))
    stand_in = [name for name in ("linear", "linear-small") if name + ".gguf" in left]
    check("only what is served stays, and a linear model that stands in: %s" % left,
          len(stand_in) == 1 and left == sorted(["grid.yaml", big["chosen"] + ".gguf", stand_in[0] + ".gguf", stand_in[0] + ".yaml"]))

    # Between the two, whatever else the machine does: a linear model takes some microseconds, the smallest encoder some hundred.
    fastest = min(r["p50_ms"] for r in rows.values() if r["name"].startswith("encoder") and r["p50_ms"])
    limit = min(fastest / 3, 20 * rows["linear"]["p50_ms"])
    small = json.loads(fit(*columns, "--latency", "%dus" % max(1, limit * 1000), "--ram", "4GB", "--out", at("small"), "--json").stdout)
    check("no encoder is so fast: %s" % small, small["chosen"].startswith("linear"))
    left = sorted(os.listdir(at("small")))
    check("model, recipe, grid: %s" % left, left == sorted(["grid.yaml", small["chosen"] + ".gguf", small["chosen"] + ".yaml"]))
    again = attempt("train", os.path.join(at("small"), small["chosen"] + ".yaml"), "--out", at("again"))
    same = open(os.path.join(at("small"), small["chosen"] + ".gguf"), "rb").read() == open(os.path.join(at("again"), small["chosen"] + ".gguf"), "rb").read() \
        if again.returncode == 0 else False
    check("the recipe makes the same model again", same)

    for out in ("big", "small"):
        r = attempt("run", "--grid", os.path.join(at(out), "grid.yaml"), "--task", "classify", "--json", "the word leopardess", NANOGRID_HOME=at("home"))
        check("%s/grid.yaml answers: %s" % (out, r.stderr), r.returncode == 0 and json.loads(r.stdout)["expert"] == "fitted")
    falls_back(at, big["chosen"])
    if big_limits:
        serve_within(big["grid"], RAM_MB, 500, at("home"))
        serve_within(small["grid"], 48, 5, at("home"))

    r = fit(*columns, "--ram", "1MB", "--out", at("none"), want=1)
    check("1 MB is hopeless: %s" % r.stderr[-300:], "nothing" in r.stderr and os.listdir(at("none")) == [])
    r = fit(*columns, "--latency", "0.01us", "--out", at("none"), want=1)
    check("the nearest miss: %s" % r.stderr[-300:], "nearest is linear" in r.stderr and "--latency" in r.stderr and os.listdir(at("none")) == [])
    r = fit(*columns, "--out", at("big"), want=2)
    check("an out_dir in use: %s" % r.stderr, "--out" in r.stderr and "grid.yaml" in r.stderr)
    golden = lambda name: os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", name)
    r = fit("--task", "generate", "-m", golden("llama-tiny-f32.gguf"), "--ram", "20MB", "--out", at("none"), want=1)
    check("a decoder: %s" % r.stderr[-400:], "context full" in r.stderr and "Q4_1" in r.stderr and os.listdir(at("none")) == [])
    r = fit("--task", "generate", "-m", golden("bert-tiny-f32.gguf"), "--out", at("none"), want=2)
    check("an encoder does not generate: %s" % r.stderr, "not generate" in r.stderr)
    plain = json.loads(fit("--task", "moderate", "--ram", "4GB", "--out", at("plain"), "--json").stdout)
    check("packages as they are: %s" % plain, plain["chosen"] and plain["test_accuracy"] is None and os.listdir(at("plain")) == ["grid.yaml"])
    as_they_are(at)
    entities(at)
    replies(at)
    languages(at)
    bad_input(work, columns)
    return check.done()


def falls_back(at, chosen):
    """The encoder's file is damaged: the linear model beside it answers, and says that it does."""
    grid = os.path.join(at("big"), "grid.yaml")
    model = os.path.join(at("big"), chosen + ".gguf")
    whole = read(model)
    check("the fallback is told in words too", "unsure: {model: second, stands: fallback}" in open(grid).read())
    ask = lambda: json.loads(run("run", "--grid", grid, "--task", "classify", "--json", "the word dog", NANOGRID_HOME=at("home")).stdout)
    check("as long as the encoder runs it answers alone: %s" % ask(), [s["step"] for s in ask()["route"]][-1] == "expert" and not ask()["warnings"])
    with open(model, "wb") as f:
        f.write(whole[:len(whole) // 2])
    said = ask()
    check("then the linear model: %s" % said, said["label"] in WORDS and said["route"][-1]["step"] == "second" and said["warnings"])
    with open(model, "wb") as f:
        f.write(whole)


def replies(at):
    """Prompts with their answers: the weights that say them are told from those rounded to fewer bits."""
    model, letters = at("tiny.gguf"), "abcdefghijklm"
    golden = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "llama-tiny-f32.gguf")
    speaking(golden, model)
    write(at("tiny.yaml"), "embedded: false\nmodels: {m: {path: tiny.gguf}}\nexperts: [{name: e, task: generate, model: m}]\ncache: {exact: 0}\n")
    prompts = ["%s %s" % (letters[i % 13] * (1 + i % 4), letters[i * 5 % 13:][:6]) for i in range(90)]
    said = run("run", "--grid", at("tiny.yaml"), "--expert", "e", "--task", "generate", "--max-tokens", "32", "--lines", "--json", stdin="\n".join(prompts) + "\n",
               NANOGRID_HOME=at("home")).stdout.splitlines()
    rows = [{"prompt": p, "answer": json.loads(a)["answer"]} for p, a in zip(prompts, said)]
    rows = [r for r in rows if r["answer"].strip()]
    write(at("said.jsonl"), "".join(json.dumps(r) + "\n" for r in rows))
    asked = ["--task", "generate", "-m", model, "--ram", "4GB"]
    short = json.loads(fit(*asked, "--data", at("said.jsonl"), "--out", at("said"), "--json").stdout)
    tried = {r["name"]: r for r in short["tried"]}
    check("who said it says it again: %s" % short, short["chosen"] == "model1 F32 192" and tried["model1 F32 192"]["accuracy"] == 1 and short["test_accuracy"] == 1)
    check("four bits say something else: %s" % tried, tried["model1 Q4_1 192"]["accuracy"] < 0.9 and short["choose"] + short["test"] <= 90)
    check("the grid answers", json.loads(run("run", "--grid", short["grid"], "--task", "generate", "--json", prompts[0], NANOGRID_HOME=at("home")).stdout)["expert"] == "fitted")
    free = "".join("%s,%s\n" % (p, " ".join(letters[(i + k) % 13] * (1 + k % 3) for k in range(12))) for i, p in enumerate(prompts))
    write(at("free.csv"), "question,reply\n" + free + "%s,too long for the context and so eight bits a byte\n" % ("a " * 300))
    long = json.loads(fit(*asked, "--data", at("free.csv"), "--text", "question", "--label", "reply", "--out", at("free"), "--json").stdout)
    bits = {r["name"]: r["bits_per_byte"] for r in long["tried"] if r["bits_per_byte"]}
    check("free answers are judged by what they cost: %s" % bits, len(bits) >= 4 and all(3 < x < 9 for x in bits.values()) and 3 < long["test_bits_per_byte"] < 9)
    check("on random weights fewer bits are as good, and smaller: %s" % long["because"], long["chosen"] != "model1 F32 192")
    check("the table says so", "bits/byte" in open(long["grid"]).read())
    write(at("few.jsonl"), "".join(json.dumps(r) + "\n" for r in rows[:30]))
    r = fit("--task", "generate", "-m", model, "--data", at("few.jsonl"), "--out", at("none"), want=2)
    check("too few prompts: %s" % r.stderr, "60 rows" in r.stderr and os.listdir(at("none")) == [])
    r = fit("--task", "generate", "-m", model, "--data", at("free.csv"), "--out", at("none"), want=1)
    check("no such column: %s" % r.stderr, "prompt" in r.stderr and os.listdir(at("none")) == [])


def languages(at):
    """The installed package is tried where it knows every label of the data."""
    said = {"en": "the weather is fine today;where is the station;I would like some tea;he has two brothers;what time is it now",
            "de": "das Wetter ist heute sch\u00f6n;wo ist der Bahnhof;ich h\u00e4tte gern einen Tee;er hat zwei Br\u00fcder;wie sp\u00e4t ist es jetzt",
            "fr": "il fait beau aujourd'hui;o\u00f9 est la gare;je voudrais un th\u00e9;il a deux fr\u00e8res;quelle heure est-il"}
    for name, label in (("codes", lambda c: c), ("words", lambda c: "lang-" + c)):
        with open(at(name + ".csv"), "w", encoding="utf-8") as f:
            f.write("text,label\n" + "".join("%s %d,%s\n" % (t, i, label(c)) for c, texts in said.items() for t in texts.split(";") for i in range(20)))
        r = json.loads(fit("--task", "detect-language", "--data", at(name + ".csv"), "--out", at(name), "--json").stdout)
        rows = {x["name"]: x for x in r["tried"]}
        check("candidates for %s: %s" % (name, sorted(rows)), sorted(rows) == sorted(["linear", "linear-small"] + ["language-id"] * (name == "codes")))
        check("they tell the languages: %s" % rows, rows["linear"]["accuracy"] > 0.9 and rows.get("language-id", {"accuracy": 1})["accuracy"] > 0.7)


def as_they_are(at):
    """Packages on texts of the user's, and tasks that need more than a text."""
    with open(at("films.csv"), "w") as f:
        f.write("text,label\n" + "".join("the %s was %s\n" % (what, said) for what in ("film acting plot end script music cast scene hero pace sound story joke light "
                "song fight kiss cut pause talk dream war game trip crime").split() for said in
                ("a delight and a joy,positive", "wonderful and moving,positive", "warm and funny,positive", "brilliant throughout,positive", "simply great,positive",
                 "a bore and a waste,negative", "dull and stupid,negative", "painfully bad,negative", "a clumsy mess,negative", "simply awful,negative")))
    films = json.loads(fit("--task", "classify", "--data", at("films.csv"), "--out", at("films"), "--json").stdout)
    rows = {r["name"]: r for r in films["tried"]}
    check("packages that know both labels are asked, others are not: %s" % sorted(rows),
          {"sentiment", "encoder-en/sentiment", "linear"} <= set(rows) and not {"topic", "intent", "encoder-en/topic"} & set(rows))
    check("on these texts, not by their cards: %s" % rows["encoder-en/sentiment"], rows["encoder-en/sentiment"]["accuracy"] > 0.8 and rows["sentiment"]["accuracy"] > 0.6)
    with open(at("rude.csv"), "w") as f:
        f.write("text,label\n" + "".join("%s %s,%s\n" % (who, said, label) for who in ("anna bob carl dora emil frida gus hans ida jan kurt lea max nora otto paul rita "
                "sam tom ute vera will xenia yann zoe").split() for said, label in
                (("is a stupid worthless idiot", "toxicity"), ("is a disgusting piece of trash", "toxicity"), ("you fucking moron shut up", "toxicity"),
                 ("what a filthy bastard", "toxicity"), ("is a dirty liar and a cunt", "toxicity"), ("came by bus today", ""), ("likes tea with milk", ""), ("is on holiday until May", ""),
                 ("asked for the key to room nine", ""), ("will call you back tomorrow", ""))))
    rude = json.loads(fit("--task", "moderate", "--data", at("rude.csv"), "--out", at("rude"), "--json").stdout)
    rows = {r["name"]: r for r in rude["tried"]}
    check("moderation is judged by what is flagged: %s" % rows, rows["moderation"]["accuracy"] > 0.8 and rows["linear"]["accuracy"] > 0.9)
    check("an adapter learns it too: %s" % rows, rows["encoder-lora"]["accuracy"] > 0.9)
    ranked = json.loads(fit("--task", "rerank", "--ram", "4GB", "--out", at("ranked"), "--json").stdout)
    rows = {r["name"]: r for r in ranked["tried"]}
    slower = rows["encoder-en/embed"]["p50_ms"] > rows["answer"]["p50_ms"] > 0 or os.environ.get("SANITIZED") == "1"
    check("what finds answers and what makes vectors reranks: %s" % rows, ranked["chosen"] == "answer" and slower)
    answers = json.loads(fit("--task", "answer", "--ram", "4GB", "--out", at("answers"), "--json").stdout)
    check("questions are asked over a text: %s" % answers["tried"], answers["tried"][0]["fits"] and answers["tried"][0]["p50_ms"] > 0)
    for task in ("translate", "rewrite"):
        r = fit("--task", task, "--out", at("none"), want=1)
        check("%s: %s" % (task, r.stderr), "upstream" in r.stderr)


def tagged(path, kinds, rows):
    """CoNLL: sentences of two entities."""
    parts = ("She saw a %s beside the %s .", "What a %s , said the %s to him .", "No %s is like the %s we had on Monday")
    with open(path, "w") as f:
        for i in range(rows):
            pairs = [(k, WORDS[w].split()) for k, w in kinds]
            for word in parts[i % 3].split():
                tag = "O"
                if word == "%s":
                    k, words = pairs.pop(0)
                    word, tag = words[i * 7 % len(words)], "B-" + k
                f.write("%s\t%s\n" % (word, tag))
            f.write("\n")


def entities(at):
    """Entities of the user's own kinds: an adapter learns them, rules and packages do not know them."""
    tagged(at("kinds.conll"), (("beast", "animal"), ("craft", "vehicle")), 330)
    found = json.loads(fit("--task", "extract", "--data", at("kinds.conll"), "--out", at("kinds"), "--json").stdout)
    rows = {r["name"]: r for r in found["tried"]}
    check("the adapter is chosen: %s" % found, found["chosen"] == "encoder-lora" and found["test_accuracy"] > 0.8)
    check("rules find no such kind, heads of other kinds are not asked: %s" % rows, rows["rules"]["accuracy"] == 0 and "encoder-en/entities" not in rows)
    left = sorted(os.listdir(at("kinds")))
    check("adapter, recipes, grid: %s" % left, left == ["encoder-lora.data.yaml", "encoder-lora.gguf", "encoder-lora.yaml", "grid.yaml"])
    r = attempt("run", "--grid", os.path.join(at("kinds"), "grid.yaml"), "--task", "extract", "--json", "She saw a zebra beside the tractor .", NANOGRID_HOME=at("home"))
    got = {(e["label"], e["text"]) for e in json.loads(r.stdout)["entities"]} if r.returncode == 0 else r.stderr
    check("the grid answers: %s" % got, got == {("beast", "zebra"), ("craft", "tractor")})
    again = attempt("finetune", os.path.join(at("kinds"), "encoder-lora.yaml"), "--out", at("again-kinds"))
    same = again.returncode == 0 and open(os.path.join(at("kinds"), "encoder-lora.gguf"), "rb").read() == open(os.path.join(at("again-kinds"), "adapter.gguf"), "rb").read()
    check("the recipe makes the same adapter again: %s" % again.stderr, same)
    tagged(at("few.conll"), (("beast", "animal"), ("craft", "vehicle")), 40)
    r = fit("--task", "extract", "--data", at("few.conll"), "--out", at("none"), want=2)
    check("too few sentences: %s" % r.stderr, "240 rows" in r.stderr and os.listdir(at("none")) == [])
    r = fit("--task", "extract", "--data", at("few.conll"), "--label", "x", "--out", at("none"), want=2)
    check("CoNLL has no columns: %s" % r.stderr, "no columns" in r.stderr)


def bad_input(work, columns):
    at = lambda name: os.path.join(work, name)
    write = lambda name, text: open(at(name), "w").write(text)
    write("few.csv", "text,label\n" + "".join("word %d,%s\n" % (i, "ab"[i % 2]) for i in range(40)))
    write("one.csv", "text,label\n" + "".join("word %d,a\n" % i for i in range(400)))
    write("broken.csv", 'text,label\nword,a\n"open,b\n')
    for args, want, says in (
            (["--task", "classify"], 2, "--data"), ([], 2, "--task"), (["--task", "fly"], 2, "no task 'fly'"),
            (["--task", "classify", "--ram", "much"], 2, "--ram"), (["--task", "classify", "--latency", "-3ms"], 2, "--latency"),
            (["--task", "summarize", "--data", at("few.csv")], 2, "data train"), (["--task", "classify", "--data", at("nothing.csv")], 1, "nothing.csv"),
            (["--task", "classify", "--data", at("few.csv")], 2, "240 rows"), (["--task", "classify", "--data", at("one.csv")], 2, "at least two"),
            (["--task", "classify", "--data", at("broken.csv")], 1, "broken.csv:3"), (["--task", "classify", "--text", "x"], 2, "--data"),
            ([*columns[:-1], "sort"], 1, "sort")):
        r = attempt("fit", *args, "--out", at("none"))
        check("%s: %d %s" % (args, r.returncode, r.stderr), r.returncode == want and says in r.stderr)
        check("nothing is left: %s" % args, not os.path.exists(at("none")) or os.listdir(at("none")) == [])


if __name__ == "__main__":
    sys.exit(main())
