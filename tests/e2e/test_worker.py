#!/usr/bin/env python3
"""Worker processes: a decoder of `serve` runs in a process of its own.  It is killed, stopped (a hang), starved of
memory and given an unusable file, and each time only its own requests feel it."""
import os, re, signal, sys, threading, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import models
from checks import check
from served import Served, workers

CHAT = "models: {m: {path: \"%s\"}}\nexperts:\n  - {name: chat, task: generate, model: m}\nworkers: {hang: 1s%s}\n"


def wait_for(what, seconds=20):
    end = time.time() + seconds
    while time.time() < end:
        got = what()
        if got:
            return got
        time.sleep(0.002)
    return what()


def chat(served, text, n=8, **more):
    return served.post("/v1/chat/completions", {"model": "chat", "messages": [{"role": "user", "content": text}],
                                                "max_tokens": n, "temperature": 0, **more})


def content(r):
    return r.json["choices"][0]["message"]["content"] if r.status == 200 else None


def metric(served, name, model=""):
    """Of the worker of that model file; of any without one."""
    m = re.search(r"^%s\{model=\"[^\"]*%s\"\} (\d+)$" % (name, re.escape(os.path.basename(model))), served.get("/metrics").body.decode(), re.M)
    return int(m.group(1)) if m else None


def of_model(served, model):
    """pids of its worker; other experts of the grid have workers too"""
    out = []
    for pid in workers(served):
        try:
            with open("/proc/%d/cmdline" % pid, "rb") as f:
                if model.encode() in f.read().split(b"\0"):
                    out.append(pid)
        except OSError:
            pass
    return out


def same_answers_as_in_process(model):
    with Served(CHAT % (model, "")) as s:
        check("nothing is started before it is asked for", not workers(s), workers(s))
        first = chat(s, "Say hello.", seed=1)
        pids = workers(s)
        check("one worker answers", first.status == 200 and len(pids) == 1, (first, pids))
        check("as the task that was asked", not first.json.get("warnings"), first.json)
        events = s.stream("/v1/chat/completions", {"model": "chat", "stream": True, "max_tokens": 8, "temperature": 0,
                                                   "messages": [{"role": "user", "content": "Say hello."}]})
        text = "".join(c["choices"][0]["delta"].get("content", "") for c in events[:-1] if c.get("choices"))
        check("a stream tells the same", text == content(first), (text, content(first)))
        check("metrics name it", metric(s, "nanogrid_worker_up") == 1 and metric(s, "nanogrid_worker_resident_bytes") > 1 << 20)
        long = chat(s, "word " * 9000)
        check("an error of the model comes through", long.status == 400 and "context" in long.error["message"], long)
    with Served((CHAT % (model, "")).replace("hang: 1s", "enabled: false")) as s:
        r = chat(s, "Say hello.", seed=1)
        check("in the server's own process: the same text", content(r) == content(first), (r, first))
        check("and no worker", not workers(s), workers(s))


def killed_under_load(model):
    with Served(CHAT % (model, "")) as s:
        want = content(chat(s, "Count to three."))
        stop, failed, done, others = threading.Event(), [], [], []

        def ask_chat():
            while not stop.is_set():
                r = chat(s, "Count to three.")
                (done if content(r) == want else failed).append(r)

        def ask_other():
            while not stop.is_set():
                r = s.post("/v1/classify", {"input": "please freeze my account %d" % len(others)})
                others.append(r.status)
                time.sleep(0.005)

        threads = [threading.Thread(target=ask_chat), threading.Thread(target=ask_other)]
        [t.start() for t in threads]
        back = []
        for _ in range(5):
            time.sleep(1)
            pids = wait_for(lambda: of_model(s, model))
            t0 = time.time()
            os.kill(pids[0], signal.SIGKILL)
            check("it comes back", wait_for(lambda: [p for p in of_model(s, model) if p not in pids]), pids)
            wait_for(lambda: metric(s, "nanogrid_worker_up", model) == 1)
            back.append(time.time() - t0)
        stop.set()
        [t.join() for t in threads]
        check("other experts never fail", others and set(others) == {200}, set(others))
        check("requests in flight are sent once more", done and not failed, failed[:2])
        check("restarts are counted", metric(s, "nanogrid_worker_restarts_total", model) == 5, s.get("/metrics").body)
        print("killed 5 times under load: %d chats answered, ready again after %s ms" %
              (len(done), " ".join("%.0f" % (1e3 * b) for b in back)))


def killed_while_idle(model):
    """No answer lies between two deaths, and yet none is the model's fault: nobody waits longer for the third than for the first."""
    with Served(CHAT % (model, "")) as s:
        chat(s, "Count to three.")
        back = []
        for _ in range(4):
            time.sleep(0.8)
            pids = wait_for(lambda: of_model(s, model))
            t0 = time.time()
            os.kill(pids[0], signal.SIGKILL)
            wait_for(lambda: [p for p in of_model(s, model) if p not in pids])
            wait_for(lambda: metric(s, "nanogrid_worker_up", model) == 1)
            back.append(time.time() - t0)
            print("killed while idle: ready again after %.0f ms" % (1e3 * back[-1]))
        check("no back-off", max(back) < 4 * min(back) + 0.1, back)


def a_stream_survives(model):
    """The successor says the same bits, so the client sees one text, whole and once."""
    body = {"model": "chat", "max_tokens": 120, "temperature": 0.8, "seed": 7, "logprobs": True,
            "messages": [{"role": "user", "content": "Tell me about rivers."}]}
    with Served(CHAT % (model, "")) as s:
        def text(events):
            return "".join(c["choices"][0]["delta"].get("content") or "" for c in events[:-1] if c.get("choices"))
        want = text(s.stream("/v1/chat/completions", {**body, "stream": True}))
        for delay in (0.1, 0.25):
            killer = threading.Timer(delay, lambda: os.kill(workers(s)[0], signal.SIGKILL))
            killer.start()
            got = text(s.stream("/v1/chat/completions", {**body, "stream": True, "user": "u%f" % delay}))
            killer.join()
            check("a stream outlives its worker", got == want and len(want) > 100, (got, want))
        check("both were killed", metric(s, "nanogrid_worker_restarts_total") == 2)


def hang_is_ended(model):
    with Served(CHAT % (model, "")) as s:
        want = content(chat(s, "Hi."))
        os.kill(workers(s)[0], signal.SIGSTOP)
        t0 = time.time()
        r = chat(s, "Hi. ")
        check("a worker that hangs is replaced", r.status == 200 and 0.9 < time.time() - t0 < 10, (r, time.time() - t0))
        check("the log says so", any("said nothing" in line for line in s.log), s.log)
        check("and it is itself again", content(chat(s, "Hi.")) == want)


def parent_dies(model):
    s = Served(CHAT % (model, ""))
    with s:
        chat(s, "Hi.")
        pid = workers(s)[0]
        s.process.kill()
        s.process.wait()
        check("it ends with its parent", wait_for(lambda: not os.path.exists("/proc/%d" % pid) or
              open("/proc/%d/stat" % pid).read().rsplit(")", 1)[1].split()[0] == "Z", 5))
        s.exit = 0


def hunger_and_nonsense(model, folder):
    with Served(CHAT % (model, ", memory: 8MB")) as s:
        r = chat(s, "Hi.")
        check("too little memory is an error", r.status in (500, 503), r)
        if os.environ.get("SANITIZED") != "1":  # their own allocator ends the process
            check("and says so", "memory" in r.error["message"], r)
        r = s.post("/v1/classify", {"input": "please freeze my account"})
        check("the server lives", r.status == 200, r)
    bad = os.path.join(folder, "cut.gguf")
    with open(model, "rb") as src, open(bad, "wb") as dst:
        dst.write(src.read(os.path.getsize(model) // 2))
    with Served(CHAT % (bad, "")) as s:
        r = chat(s, "Hi.")
        check("an unusable model says why", r.status >= 400 and "cut.gguf" in r.error["message"], r)
        r = chat(s, "Hi again.")
        check("for good, without a new start", r.status >= 400 and not workers(s), (r, workers(s)))


def main():
    model = models.smollm2()
    if not model:
        print("SKIPPED: SmolLM2 is not here: " + models.reason)
        sys.exit(77)
    import tempfile
    same_answers_as_in_process(model)
    killed_under_load(model)
    killed_while_idle(model)
    a_stream_survives(model)
    hang_is_ended(model)
    parent_dies(model)
    with tempfile.TemporaryDirectory() as folder:
        hunger_and_nonsense(model, folder)
    sys.exit(check.done())


main()
