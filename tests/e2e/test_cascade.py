#!/usr/bin/env python3
"""The cascade over HTTP: an out-of-scope request escalates to the upstream, a privacy header forbids that, a faulty
upstream (hang, reset, 500, nonsense) costs no request, and a second nanogrid can be the upstream."""
import os, sys, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from faulty_server import FaultyServer
from checks import check
from served import Served

OUT_OF_SCOPE = "which of the byzantine emperors wrote treatises on siege engines"
# One expert that knows what it does not know: a sentence about Byzantium is no intent of a voice assistant.
INTENT_ONLY = "embedded: false\nexperts:\n  - {name: intent, task: classify, model: nanogrid/intent, tier: nano}\n"


def upstream(url, **more):
    keys = {"name": "cloud", "tier": "medium", "base_url": '"%s"' % url, "model": "scripted", "allowed_fails": 50, "timeout": "1s", **more}
    return "upstreams:\n  - {%s, pricing: {prompt_per_1m: 1, completion_per_1m: 2}}\n" % ", ".join("%s: %s" % kv for kv in keys.items())


def classify(grid, text, **headers):
    r = grid.post("/v1/classify", {"input": text}, {k.replace("_", "-"): v for k, v in headers.items()})
    return r, (r.json.get("results") or [{}])[0]


def escalates_and_stays_local():
    with FaultyServer(["text:history_question"]) as up, Served(INTENT_ONLY + upstream(up.url)) as grid:
        r, a = classify(grid, "please freeze my account")
        check("in scope stays here", r.status == 200 and a["tier"] == "nano" and a["label"] == "freeze_account" and not up.requests, r)
        check("decision headers", {"x-nanogrid-expert", "x-nanogrid-tier", "x-nanogrid-decision-id", "x-nanogrid-overhead-us"} <= set(r.headers), r.headers)
        r, a = classify(grid, OUT_OF_SCOPE)
        check("out of scope escalates", r.status == 200 and a["escalated"] and a["expert"] == "cloud" and a["tier"] == "medium" and len(up.requests) == 1, r)
        check("the way is told", [s["expert"] for s in a["route"] if s.get("outcome") == "answered"] == ["cloud"], a["route"])
        r, a = classify(grid, OUT_OF_SCOPE, x_nanogrid_privacy="local")
        check("privacy keeps it here", r.status == 200 and not a["escalated"] and a["tier"] == "nano" and len(up.requests) == 1, r)
        check("the local answer abstains", a["label"] is None and not a["in_scope"], a)
        r, a = classify(grid, OUT_OF_SCOPE + " again", x_nanogrid_max_cost_usd="0")
        check("no money, no upstream", r.status == 200 and len(up.requests) == 1, r)
        r, a = classify(grid, "x", x_nanogrid_privacy="secret")
        check("a bad header is named", r.status == 400 and "x-nanogrid-privacy" in r.error["message"], r)
        r, a = classify(grid, "x", x_nanogrid_task="sing")
        check("nobody sings", r.status == 400 and "x-nanogrid-task" in r.error["message"], r)
        r, a = classify(grid, "x", x_nanogrid_task="generate")
        check("the endpoint's task stands", r.status == 400 and r.error["code"] == "wrong_task", r)
        chat = {"model": "auto", "messages": [{"role": "user", "content": "Summarize: please freeze my account"}]}
        r = grid.post("/v1/chat/completions", chat, {"x-nanogrid-task": "classify", "x-nanogrid-debug": "true"})
        check("a chat says its task", r.status == 200 and r.json["nanogrid"]["task"] == "classify" and r.json["nanogrid"]["label"] == "freeze_account", r)


def faults_cost_no_request():
    for fault in ("hang", "reset", "500", "nonsense"):
        with FaultyServer([fault]) as up, Served(INTENT_ONLY + upstream(up.url)) as grid:
            t0 = time.time()
            r, a = classify(grid, OUT_OF_SCOPE)
            check(fault + ": the local answer stands", r.status == 200 and a["tier"] == "nano" and a["label"] is None, r)
            check(fault + ": it says so", any("cloud" in w for w in a["warnings"]), a["warnings"])
            check(fault + ": one retry, in time", len(up.requests) == 2 and time.time() - t0 < 8, (len(up.requests), time.time() - t0))
            r, a = classify(grid, "please freeze my account")
            check(fault + ": the server lives", r.status == 200 and a["label"] == "freeze_account", r)
    with FaultyServer(["500"]) as up, Served(INTENT_ONLY + upstream(up.url, allowed_fails=2, cooldown_time="60s")) as grid:
        for i in range(5):
            r, a = classify(grid, OUT_OF_SCOPE + " %d" % i)
            check("breaker: answered %d" % i, r.status == 200, r)
        check("the breaker of a single upstream opens", len(up.requests) == 2, len(up.requests))


def generates_through_the_upstream():
    with FaultyServer(["text:one two three"]) as up, Served(upstream(up.url)) as grid:
        ask = {"model": "auto", "messages": [{"role": "user", "content": "Write a poem about the sea"}]}
        r = grid.post("/v1/chat/completions", ask)
        check("generate is passed on", r.status == 200 and r.json["choices"][0]["message"]["content"] == "one two three" and
              r.headers.get("x-nanogrid-expert") == "cloud", r)
        events = grid.stream("/v1/chat/completions", ask)
        said = "".join(e["choices"][0]["delta"].get("content") or "" for e in events[:-1] if e["choices"])
        check("streams", said.split() == ["one", "two", "three"] and events[-1] == "[DONE]", events)
        r = grid.post("/v1/chat/completions", ask, {"x-nanogrid-privacy": "local"})
        check("nobody here may answer", r.status == 422 and r.error["code"] == "no_expert" and "model" in r.error["message"], r)
        r = grid.post("/v1/chat/completions", dict(ask, model="cloud"))
        check("an upstream by name", r.status == 200 and r.headers.get("x-nanogrid-expert") == "cloud", r)


def a_second_nanogrid_is_an_upstream():
    with Served() as second, Served(upstream(second.url + "/v1", model="sentiment", timeout="10s")) as first:
        ask = {"model": "cloud", "messages": [{"role": "user", "content": "a gorgeous, witty movie"}]}
        r = first.post("/v1/chat/completions", ask)
        check("a label from the second grid", r.status == 200 and "positive" in r.json["choices"][0]["message"]["content"], r)


for test in (escalates_and_stays_local, faults_cost_no_request, generates_through_the_upstream, a_second_nanogrid_is_an_upstream):
    try:
        test()
    except Exception as e:  # a wrong shape fails this test, the others still run
        check(test.__name__, False, "%s: %s" % (type(e).__name__, e))
sys.exit(check.done())
