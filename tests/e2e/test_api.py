#!/usr/bin/env python3
"""The HTTP API of a real server: task API, embedded experts, chat through an upstream, privacy, cascade,
headers, decisions, metrics, overload, hang-ups, SIGHUP and SIGTERM."""
import json, os, signal, sys, threading, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from faulty_server import FaultyServer
from checks import check
from served import Served
import models

HI = [{"role": "user", "content": "hello there"}]
DECISION = ("x-nanogrid-expert", "x-nanogrid-tier", "x-nanogrid-confidence", "x-nanogrid-decision-id", "x-nanogrid-overhead-us")


def cloud(url, more=""):
    return "upstreams:\n  - {name: cloud, tier: medium, base_url: \"%s\", model: scripted, timeout: 10s%s}\n" % (url, more)


def embedded(s):
    """Experts that come with the program; what is not there is not checked, loudly."""
    there = {m["id"]: m for m in s.get("/v1/models").json["data"]}
    check("models are listed", {"pii", "summarize"} <= set(there) and "auto" not in there, sorted(there))
    r = s.post("/v1/extract", {"input": "write to Bob at bob@example.com please"})
    e = r.json["results"][0]["entities"]
    check("extract", r.status == 200 and [(x["label"], x["text"], x["start"], x["end"]) for x in e] == [("person", "Bob", 9, 12), ("email", "bob@example.com", 16, 31)], r)
    check("decision headers", all(h in r.headers for h in DECISION), r.headers)
    check("the header is the result's", r.headers["x-nanogrid-decision-id"] == r.json["results"][0]["decision_id"], r)
    r = s.post("/v1/extract", {"input": "\u00e9 a@b.example", "offsets": "chars"})
    check("offsets in characters", r.json["results"][0]["entities"][0]["start"] == 2, r)
    r = s.post("/v1/extract", {"input": ["a@b.example", "nothing"]})
    check("arrays keep their order", [len(x["entities"]) for x in r.json["results"]] == [1, 0], r)
    check("arrays carry no decision header", "x-nanogrid-expert" not in r.headers and "x-nanogrid-overhead-us" in r.headers, r.headers)
    asked = {"intent": ("/v1/classify", "please freeze my account", lambda a: a["label"] == "freeze_account"),
             "language-id": ("/v1/detect-language", "Wo ist der Bahnhof, bitte?", lambda a: a["label"] == "de"),
             "sentiment": ("/v1/classify", "a gorgeous, witty, seductive movie", lambda a: a["label"] == "positive"),
             "summarize": ("/v1/summarize", "The port closed at noon. Ferries were cancelled. It rained.", lambda a: a["answer"])}
    for name, (path, text, good) in asked.items():
        if not there.get(name, {}).get("available"):
            check.skip("%s: %s" % (name, there.get(name, {}).get("why")))
            continue
        r = s.post(path, {"input": text, "model": name})
        check(name, r.status == 200 and good(r.json["results"][0]), r)
        check(name + " in the headers", r.headers.get("x-nanogrid-expert") == name, r.headers)
    if there.get("moderation", {}).get("available"):
        for path in ("/v1/classify", "/v1/route"):
            told = [s.post(path, {"input": ["what signals are there"]}, {"x-nanogrid-debug": d}).json["results"][0] for d in ("true", "false")]
            check("signals of " + path, told[0].get("signals", {}).get("bytes") == 22 and "signals" not in told[1], told)
        r = s.post("/v1/moderations", {"input": ["have a nice day", "kill all of them, the filthy vermin"]})
        row = r.json["results"]
        check("each row tells who answered", all(x["expert"] == "moderation" and x["tier"] == "nano" and
              x["decision_id"] and "confidence" in x for x in row), r)
        check("moderations", len(row) == 2 and set(row[0]["categories"]) == set(row[0]["category_scores"]) and not row[0]["flagged"], r)
    if there.get("intent", {}).get("available"):
        r = s.post("/v1/route", {"input": "please freeze my card"})
        if r.status == 422 and "no router" in r.error["message"]:
            check.skip("auto: " + r.error["message"])
            return
        check("route", r.status == 200 and r.json["expert"] == "intent" and r.json["task"] == "classify", r)
        r = s.post("/v1/chat/completions", {"model": "auto", "messages": [{"role": "user", "content": "please freeze my card"}]})
        check("auto answers with the label", r.status == 200 and r.json["choices"][0]["message"]["content"], r)


def identity(s):
    r = s.post("/v1/extract", {"input": "x@y.example"}, {"X-Request-Id": "abc-123"})
    check("x-request-id is echoed", r.headers["x-request-id"] == "abc-123", r.headers)
    r = s.post("/v1/extract", {"input": "x@y.example"}, {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"})
    check("traceparent is taken", r.status == 200 and r.headers["x-request-id"].startswith("req-"), r.headers)
    one = s.get("/v1/decisions/" + r.headers["x-nanogrid-decision-id"])
    check("a decision can be read back", one.status == 200 and "4bf92f3577b34da6a3ce929d0e0e4736" in one.body.decode()
          or one.status == 200 and one.json.get("request_id") == r.headers["x-request-id"], one)
    r = s.get("/v1/decisions?n=2")
    check("the newest decisions", r.status == 200 and len(r.json["data"]) == 2, r)
    for path in ("/health", "/ready", "/"):
        check(path, s.get(path).status == 200, path)
    text = s.get("/metrics").body.decode()
    for name in ("nanogrid_requests_total{", "nanogrid_overhead_seconds_bucket{le=", "gen_ai_client_token_usage_bucket{", "nanogrid_grid_requests_total "):
        check("metric " + name, name in text)
    for line in text.splitlines():
        check("metrics line", line.startswith("#") or len(line.rsplit(" ", 1)) == 2 and float(line.rsplit(" ", 1)[1]) >= 0, line)


def chat(s, up):
    r = s.post("/v1/chat/completions", {"model": "cloud", "messages": HI, "max_tokens": 9, "temperature": 0, "stop": ["END"]})
    check("chat", r.status == 200 and r.json["choices"][0]["message"]["content"].split() == "hi from the cloud".split(), r)
    check("parameters are passed on", up.requests[-1].get("stop") == ["END"] and 9 in (up.requests[-1].get("max_tokens"), up.requests[-1].get("max_completion_tokens")), up.requests[-1])
    check("tier", r.headers["x-nanogrid-tier"] == "medium" and r.headers["x-nanogrid-expert"] == "cloud", r.headers)
    e = s.stream("/v1/chat/completions", {"model": "cloud", "messages": HI, "stream_options": {"include_usage": True}})
    text = "".join(c["choices"][0]["delta"].get("content", "") for c in e[:-1] if c["choices"])
    check("stream text", text.split() == "hi from the cloud".split(), e)
    check("stream end", e[-1] == "[DONE]" and e[-2]["usage"]["completion_tokens"] == 4 and e[-2]["nanogrid"]["tier"] == "medium", e[-2:])
    check("one id", len({c["id"] for c in e[:-1]}) == 1, e)
    r = s.post("/v1/chat/completions", {"model": "cloud", "messages": HI}, {"x-nanogrid-debug": "true"})
    check("debug shows the way", r.json["nanogrid"]["route"][-1]["expert"] == "cloud", r)
    n = len(up.requests)
    for headers in ({"x-nanogrid-privacy": "local"},):
        r = s.post("/v1/chat/completions", {"model": "cloud", "messages": HI}, headers)
        check("privacy keeps it here", r.status in (403, 422) and r.error["message"], r)
        r = s.post("/v1/translate", {"input": "good morning", "to": "de"}, headers)
        check("no local translator: 422", r.status == 422 and r.error["code"] == "no_expert", r)
    check("nothing left this machine", len(up.requests) == n, up.requests[n:])
    r = s.post("/v1/translate", {"input": "good morning", "to": "de"})
    check("an upstream translates", r.status == 200 and r.json["results"][0]["tier"] == "medium" and r.json["results"][0]["answer"], r)


def faults():
    with FaultyServer(["500", "nonsense", "reset"]) as up, Served(cloud(up.url, ", allowed_fails: 100")) as s:
        for _ in range(4):
            r = s.post("/v1/chat/completions", {"model": "cloud", "messages": HI})
            check("a broken upstream is a clear error", r.status in (502, 503) and r.error["message"] and r.error["type"], r)
        r = s.stream("/v1/chat/completions", {"model": "cloud", "messages": HI})
        check("the same for a stream", getattr(r, "status", 200) in (502, 503), r)
        check("the server lives", s.get("/health").status == 200)


def hang_ups_and_overload():
    with FaultyServer(["hang"]) as up, Served(cloud(up.url), ["--workers", "1", "--queue", "1", "--drain-ms", "300"]) as s:
        body = json.dumps({"model": "cloud", "messages": HI, "stream": True}).encode()
        wire = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        busy, waiting = s.socket(), s.socket()
        busy.sendall(wire)
        wait(lambda: s.metric("nanogrid_active_requests") == 1)
        waiting.sendall(wire)
        wait(lambda: s.metric("nanogrid_queue_length") == 1)
        t = time.time()
        r = s.post("/v1/extract", {"input": "x"})
        check("a full queue answers 503 at once", r.status == 503 and r.headers.get("retry-after") == "1" and time.time() - t < 1, r)
        check("health needs no worker", s.get("/health").status == 200)
        got = b""
        while b": ping" not in got:
            got += busy.recv(4096)
        check("pings while the upstream thinks", got.startswith(b"HTTP/1.1 200"), got)
        waiting.close()
        busy.close()
        check("hang-ups are noticed", wait(lambda: s.metric("nanogrid_active_requests") == 0, 15), s.metric("nanogrid_active_requests"))
        check("and counted", s.metric("nanogrid_cancelled_total") >= 1, s.metric("nanogrid_cancelled_total"))


def wait(condition, seconds=10):
    end = time.time() + seconds
    while time.time() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def signals():
    with FaultyServer(["slow:0.7:late but whole"]) as up, Served(cloud(up.url)) as s:
        got = []
        t = threading.Thread(target=lambda: got.append(s.post("/v1/chat/completions", {"model": "cloud", "messages": HI})))
        with open(os.path.join(s.home, "grid.yaml"), "w") as f:
            f.write("experts: [{name: mine, task: extract}]\n")
        t.start()
        wait(lambda: s.metric("nanogrid_active_requests") == 1)
        s.process.send_signal(signal.SIGHUP)
        check("SIGHUP reads the grid again", wait(lambda: "mine" in s.get("/v1/models").body.decode()), s.log)
        with open(os.path.join(s.home, "grid.yaml"), "w") as f:
            f.write("experts: [{name: mine, task: dance}]\n")
        s.process.send_signal(signal.SIGHUP)
        check("a bad file keeps the old grid", wait(lambda: any("old one stays" in x for x in s.log)) and "mine" in s.get("/v1/models").body.decode(), s.log)
        code = s.stop()
        t.join(10)
        check("a running request ends before the server does", code == 0 and got and got[0].status == 200, (code, got))


def real_models():
    path = models.smollm2()
    if not path:
        check.skip("chat with a real model: " + models.reason)
        return
    grid = "models: {chat: {path: \"%s\"}}\nexperts: [{name: chat, task: generate, model: chat}]\n" % path
    with Served(grid) as s:
        ask = {"model": "chat", "messages": [{"role": "user", "content": "What is the capital of France?"}], "temperature": 0, "max_tokens": 16}
        r = s.post("/v1/chat/completions", dict(ask, logprobs=True, top_logprobs=2))
        check("a real chat", r.status == 200 and r.json["choices"][0]["message"]["content"] and r.json["model"] == "chat", r)
        lp = r.json["choices"][0]["logprobs"]["content"]
        check("logprobs", len(lp) == r.json["usage"]["completion_tokens"] and len(lp[0]["top_logprobs"]) == 2 and lp[0]["logprob"] <= 0, r)
        check("tokens spell the text", b"".join(bytes(x["bytes"]) for x in lp).decode() == r.json["choices"][0]["message"]["content"], r)
        e = s.stream("/v1/chat/completions", ask)
        text = "".join(c["choices"][0]["delta"].get("content", "") for c in e[:-1])
        check("streamed and whole agree", text == r.json["choices"][0]["message"]["content"], (text, r))
        r = s.post("/v1/chat/completions", dict(ask, messages=[{"role": "user", "content": "word " * 20000}]))
        check("a prompt that does not fit", r.status == 400 and "tokens" in r.error["message"], r)
        body = json.dumps(dict(ask, stream=True, max_tokens=2000, temperature=1, messages=[{"role": "user", "content": "Write a very long story."}])).encode()
        c = s.socket()
        c.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        c.recv(2000)
        c.close()
        check("a hang-up frees the model", wait(lambda: s.metric("nanogrid_active_requests") == 0, 3))
        body = json.dumps(dict(ask, messages=[{"role": "user", "content": "one two three " * 1200}])).encode()
        c = s.socket()
        c.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        wait(lambda: s.metric("nanogrid_active_requests") == 1)
        t = time.time()
        c.close()
        check("even while it reads the prompt", wait(lambda: s.metric("nanogrid_active_requests") == 0, 20), time.time() - t)
        r2 = s.post("/v1/chat/completions", ask)
        check("and the model answers as before", r2.status == 200 and r2.json["choices"][0]["message"]["content"] == text, r2)


with FaultyServer(["text:hi from the cloud"]) as up, Served(cloud(up.url)) as s:
    embedded(s)
    identity(s)
    chat(s, up)
faults()
hang_ups_and_overload()
signals()
real_models()
sys.exit(check.done())
