"""`replay` makes recorded decisions again from their features: nothing changes under the same configuration,
two runs print the same bytes, and one weight of the router that changes shows."""
import json
import os
import shutil
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
from checks import attempt, check  # noqa: E402
from gguf_read import read_gguf  # noqa: E402

TEXTS = ["please freeze my card", "how do i change my pin", "a gorgeous, witty, seductive movie", "what is the capital of peru",
         "stocks fall as oil prices rise", "mail bob@example.com", "Wo ist der Bahnhof, bitte? Ich suche ihn seit einer Stunde.",
         "what language is this: Wo ist der Bahnhof?", "you are a filthy idiot", "book a table for four at seven", "xqzzt blorp",
         "caf\u00e9 na\u00efve r\u00e9sum\u00e9 voil\u00e0 encore une fois", "write a poem about the sea", "yankees win again in the ninth",
         "pl\u200bease fr\u0435eze my card !!!!! ....."]
CLOUD = "upstreams:\n  - {name: cloud, base_url: \"http://127.0.0.1:9/v1\", model: m, pricing: {prompt_per_1m: 1, completion_per_1m: 4}}\n"


def run(home, *args, stdin=""):
    return attempt(*args, stdin=stdin, NANOGRID_HOME=home)


def replay(home, *args):
    p = run(home, "replay", "--json", *args)
    check(f"replay {' '.join(args)}: exit", p.returncode == 0, p.stderr)
    return json.loads(p.stdout), p.stdout


def shift_weight(path, byte_of):
    """Changes one number of a router's file in place."""
    _, tensors = read_gguf(path)
    data = bytearray(open(path, "rb").read())
    name, at, change = byte_of
    start = data.find(tensors[name][2])
    data[start + at] = change(data[start + at])
    with open(path, "wb") as f:
        f.write(data)


def main():
    if not os.path.exists(os.path.join(ROOT, "models", "router-en", "expert.gguf")):
        print("SKIP: no package models/router-en")
        return 77
    with tempfile.TemporaryDirectory() as home:
        p = run(home, "replay")
        check("nothing recorded is told", p.returncode == 1 and "no decisions are recorded yet" in p.stderr, p.stderr)
        run(home, "run", "--lines", "--json", stdin="\n".join(TEXTS) + "\n")
        run(home, "route", "--lines", stdin="freeze my card\nplay some jazz\n")
        run(home, "run", "--expert", "topic", "the pope visits brazil")
        same, first = replay(home)
        check("the same configuration changes nothing", same["changed"] == 0, first)
        n = len(TEXTS) + 3
        check("all are replayed but the one about a part of its text and those that an encoder answered",
              same["decisions"] == n and same["replayed"] + same["skipped"]["needs_text"] == n - 1 and same["replayed"] > n / 2
              and same["skipped"]["part_of_text"] == 1, first)
        check("two runs, the same bytes", replay(home)[1] == first)
        check("since the future: nothing", replay(home, "--since", "2100-01-01")[0]["decisions"] == 0)
        check("since an hour: all", replay(home, "--since", "1h")[0]["decisions"] == n)
        check("nonsense is refused", run(home, "replay", "--since", "yesterday").returncode == 2)

        grid = os.path.join(home, "other.yaml")
        with open(grid, "w") as f:
            f.write("experts:\n  - {name: intent, task: classify, model: nanogrid/intent, contract: {max_error: 0.02}}\n" + CLOUD)
        other, text = replay(home, "--grid", grid, "--flips", "2")
        check("an upstream takes what nothing here knows", other["after"]["tiers"]["medium"] > 0 == other["before"]["tiers"]["medium"], text)
        check("and is priced", other["after"]["cost_usd"] > 0 == other["before"]["cost_usd"], text)
        check("flips are told, as many as asked for", len(other["flips"]) == 2 and other["changed"] > 2 and
              other["flips"][0]["before"] != other["flips"][0]["after"], text)
        check("the same bytes again", replay(home, "--grid", grid, "--flips", "2")[1] == text)
        check("text for people", "digest" in run(home, "replay", "--grid", grid).stdout)

        package = os.path.join(home, "packages", "router-en")
        shutil.copytree(os.path.join(ROOT, "models", "router-en"), package)
        check("a copied router changes nothing", replay(home)[1] == first)
        shift_weight(os.path.join(package, "expert.gguf"), ("linear.weight", 12345, lambda b: b ^ 1))
        one, _ = replay(home)
        check("one weight changes the output", one["models"]["router/expert"] != same["models"]["router/expert"]
              and one["models"]["router/task"] == same["models"]["router/task"], one)
        shift_weight(os.path.join(package, "expert.gguf"), ("linear.bias", 1, lambda b: b ^ 64))
        check("a weight that all texts share changes the scores", replay(home)[0]["digest"] != same["digest"])
    return check.done()


sys.exit(main())
