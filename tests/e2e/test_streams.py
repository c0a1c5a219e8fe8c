#!/usr/bin/env python3
"""Eight streaming chats at once on one model: each says, byte for byte and logprob for logprob, what it says
alone; one hangs up on the way and the others do not notice; their worker process is killed and every stream goes on where it
stood; /slots shows them running, and idle afterwards."""
import http.client, json, os, signal, sys, threading, time
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
from checks import check
from served import Served, workers
import models

N, HANGS_UP, AFTER = 8, 3, 5
QUESTIONS = ["What is the capital of France?", "Name three fruits.", "Write a line about the sea.", "Tell me a long story about a dog.",
             "What is the capital of France?", "Why is the sky blue? " + "Think of light and air. " * 20, "Say hello.", "Count from one to ten."]


def body(i):
    return {"model": "chat", "messages": [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": QUESTIONS[i]}],
            "temperature": 0.9 if i % 4 else 0, "seed": 100 + i, "max_tokens": 200 if i == HANGS_UP else 40, "stream": True, "logprobs": i % 2 == 0,
            "top_logprobs": 3 if i % 2 == 0 else None, "stop": ["\n\n"] if i % 3 == 1 else None, "stream_options": {"include_usage": True}}


def stream(s, i, stop_after=None, started=None):
    """What a stream said: its text, its logprobs, how it ended, its usage."""
    c = http.client.HTTPConnection("127.0.0.1", s.port, timeout=120)
    asked = {k: v for k, v in body(i).items() if v is not None}
    c.request("POST", "/v1/chat/completions", json.dumps(asked).encode(), {"Content-Type": "application/json"})
    r = c.getresponse()
    text, logprobs, end, usage, n = "", [], None, None, 0
    while True:
        line = r.readline().decode().rstrip("\n")
        if line == "data: [DONE]" or (not line and r.isclosed()):
            break
        if not line.startswith("data: "):
            continue
        event = json.loads(line[6:])
        if "error" in event:
            return event
        usage = event.get("usage") or usage
        (usage or {}).pop("prompt_tokens_details", None) # what was known before differs, as it should
        for choice in event["choices"]:
            text += choice["delta"].get("content") or ""
            logprobs += (choice.get("logprobs") or {}).get("content") or []
            end = choice["finish_reason"] or end
            n += 1
        if started and n == 3:
            started.release()
        if stop_after and n == stop_after:
            c.sock.close()
            r.close()
            return {"text": text}
    c.close()
    return {"text": text, "logprobs": logprobs, "end": end, "usage": usage}


def main(path):
    grid = "models: {chat: {path: \"%s\"}}\nexperts: [{name: chat, task: generate, model: chat}]\n" % path
    with Served(grid) as s:
        check("no model is loaded yet", s.get("/slots").json == [], s.get("/slots"))
        alone = [stream(s, i) for i in range(N)]
    for i, a in enumerate(alone):
        check("alone %d" % i, a.get("text") and a["end"] in ("stop", "length") and a["usage"]["completion_tokens"] > 0, a)
    with Served(grid) as s: # another process: its cache knows none of these answers
        got, started = [None] * N, threading.Semaphore(0)
        def run(i):
            got[i] = stream(s, i, AFTER if i == HANGS_UP else None, started)
        threads = [threading.Thread(target=run, args=(i,)) for i in range(N)]
        for t in threads:
            t.start()
        for _ in range(2):
            started.acquire(timeout=60)
        slots = s.get("/slots").json
        running = [x for x in slots if x["is_processing"]]
        rows = [l for l in s.get("/metrics").body.decode().splitlines() if l.startswith(("nanogrid_streams_running{", "nanogrid_slots{"))]
        check("running streams in the metrics", len(rows) == 2 and 0 < int(rows[0].split()[-1]) <= 8 == int(rows[1].split()[-1]), rows)
        check("slots", len(slots) == 8 and running and all(x["model"] == "chat" and x["n_ctx"] == 4096 for x in slots), slots)
        for t in threads:
            t.join(120)
        for i in range(N):
            if i == HANGS_UP:
                check("the start of the one that hung up", got[i] and alone[i]["text"].startswith(got[i]["text"]), (got[i], alone[i]))
            else:
                check("stream %d" % i, got[i] == alone[i], "together %r\n  alone %r" % (got[i], alone[i]))
        until = time.time() + 5
        while any(x["is_processing"] for x in s.get("/slots").json) and time.time() < until:
            time.sleep(0.05)
        slots = s.get("/slots").json
        check("all are idle", not any(x["is_processing"] for x in slots) and all(x["state"] == "idle" for x in slots), slots)
        check("what was read is kept", max(x["n_past"] for x in slots) > 20, slots)
        again = stream(s, HANGS_UP)
        check("and it still answers", again == alone[HANGS_UP], again)
    killed(grid, alone)
    small(grid, alone)


def crowd(s, who, started=None):
    """What the streams of `who` say together."""
    got = {}
    def run(i):
        got[i] = stream(s, i, None, started)
    threads = [threading.Thread(target=run, args=(i,)) for i in who]
    for t in threads:
        t.start()
    return got, threads


def killed(grid, alone):
    with Served(grid) as s:
        started = threading.Semaphore(0)
        got, threads = crowd(s, range(N), started)
        for _ in range(N - 2):
            started.acquire(timeout=60)
        pids = workers(s)
        check("one worker runs them all", len(pids) == 1, pids)
        os.kill(pids[0], signal.SIGKILL)
        for t in threads:
            t.join(120)
        for i in range(N):
            check("stream %d survives its worker" % i, got[i] == alone[i], "together %r\n  alone %r" % (got[i], alone[i]))
        check("a successor ran", workers(s) not in ([], pids), (pids, workers(s)))


def small(grid, alone):
    """With past tokens in 8 bits: other words than in 16, the same alone as together."""
    with Served(grid.replace(".gguf\"", ".gguf\", kv: q8")) as s:
        one = stream(s, 3)
    with Served(grid.replace(".gguf\"", ".gguf\", kv: q8")) as s:
        got, threads = crowd(s, range(N))
        for t in threads:
            t.join(120)
        check("8-bit past", got[3] == one and all(len(got[i]["text"]) > 0 for i in range(N)), (got[3], one))
        check("8-bit past is another arithmetic", got[3]["text"] != alone[3]["text"] or got[0]["logprobs"] != alone[0]["logprobs"], one)


path = models.smollm2()
if not path:
    print("SKIPPED test_streams: " + models.reason)
    sys.exit(77)
main(path)
sys.exit(check.done())
