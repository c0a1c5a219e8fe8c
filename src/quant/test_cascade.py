#!/usr/bin/env python3
"""The cascade over HTTP: an out-of-scope request escalates to the upstream, a privacy header forbids that, a faulty
upstream (hang, reset, 500, nonsense) costs no request, and a second nanogrid can be the upstream."""
import http.client, json, os, re, subprocess, sys, tempfile, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from faulty_server import FaultyServer

NANOGRID = os.environ["NANOGRID"]
OUT_OF_SCOPE = "which of the byzantine emperors wrote treatises on siege engines"
bad = []


def check(what, ok, detail=""):
    if not ok:
        bad.append("%s: %s" % (what, str(detail)[:600]))


class Grid:
    """One `nanogrid serve` on a free port with its own home."""

    def __init__(self, yaml):
        self.home = tempfile.TemporaryDirectory()
        path = os.path.join(self.home.name, "grid.yaml")
        open(path, "w").write(yaml)
        self.process = subprocess.Popen([NANOGRID, "serve", "--grid", path, "--listen", "127.0.0.1:0"], stderr=subprocess.PIPE,
                                        env=dict(os.environ, NANOGRID_HOME=self.home.name), text=True)
        for line in self.process.stderr:
            m = re.search(r"listening on http://([\d.]+):(\d+)", line)
            if m:
                self.address = m.group(1), int(m.group(2))
                break
        else:
            raise SystemExit("serve did not come up")

    def post(self, path, body, **headers):
        c = http.client.HTTPConnection(*self.address, timeout=60)
        c.request("POST", path, json.dumps(body), {"Content-Type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}})
        r = c.getresponse()
        text = r.read().decode()
        return r.status, {k.lower(): v for k, v in r.getheaders()}, json.loads(text) if text.startswith("{") else text

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.process.terminate()
        check("serve ends cleanly on SIGTERM", self.process.wait(20) == 0, self.process.returncode)


def upstream_yaml(url, **more):
    keys = {"name": "cloud", "tier": "medium", "base_url": '"%s"' % url, "model": "scripted", "allowed_fails": 50, "timeout": "1s", **more}
    return "upstreams:\n  - {%s, pricing: {prompt_per_1m: 1, completion_per_1m: 2}}\n" % ", ".join("%s: %s" % kv for kv in keys.items())


def classify(grid, text, **headers):
    return grid.post("/v1/classify", {"input": text, "model": "auto"}, **headers)


def escalates_and_stays_local():
    with FaultyServer(["text:none"]) as up, Grid(upstream_yaml(up.url)) as grid:
        status, headers, body = classify(grid, "please freeze my account")
        first = body["results"][0]
        check("in scope stays here", status == 200 and first["tier"] == "nano" and first["label"] == "freeze_account" and not up.requests, body)
        check("decision headers", {"x-nanogrid-expert", "x-nanogrid-tier", "x-nanogrid-decision-id", "x-nanogrid-overhead-us"} <= set(headers), headers)
        status, headers, body = classify(grid, OUT_OF_SCOPE)
        first = body["results"][0]
        check("out of scope escalates", status == 200 and first["escalated"] and first["expert"] == "cloud" and first["tier"] == "medium" and len(up.requests) == 1, body)
        check("the way is told", [s["expert"] for s in first["route"] if s.get("outcome") == "answered"] == ["cloud"], first["route"])
        seen = len(up.requests)
        status, headers, body = classify(grid, OUT_OF_SCOPE, x_nanogrid_privacy="local")
        first = body["results"][0]
        check("privacy keeps it here", status == 200 and not first["escalated"] and first["tier"] == "nano" and len(up.requests) == seen, body)
        check("the local answer abstains", first["label"] is None and not first["in_scope"], first)
        status, headers, body = classify(grid, OUT_OF_SCOPE + " again", x_nanogrid_max_cost_usd="0")
        check("no money, no upstream", status == 200 and len(up.requests) == seen, body)
        status, headers, body = classify(grid, "x", x_nanogrid_privacy="secret")
        check("a bad header is named", status == 400 and "x-nanogrid-privacy" in body["error"]["message"], body)


def faults_cost_no_request():
    for fault in ("hang", "reset", "500", "nonsense"):
        with FaultyServer([fault]) as up, Grid(upstream_yaml(up.url)) as grid:
            t0 = time.time()
            status, headers, body = classify(grid, OUT_OF_SCOPE)
            first = body["results"][0]
            check(fault + ": the local answer stands", status == 200 and first["tier"] == "nano" and first["label"] is None, body)
            check(fault + ": it says so", any("cloud" in w for w in first["warnings"]), first["warnings"])
            check(fault + ": one retry, in time", len(up.requests) == 2 and time.time() - t0 < 5, (len(up.requests), time.time() - t0))
            status, _, body = classify(grid, "please freeze my account")
            check(fault + ": the server lives", status == 200 and body["results"][0]["label"] == "freeze_account", body)
    with FaultyServer(["500"]) as up, Grid(upstream_yaml(up.url, allowed_fails=2, cooldown_time="60s")) as grid:
        for i in range(5):
            status, _, body = classify(grid, OUT_OF_SCOPE + " %d" % i)
            check("breaker: answered %d" % i, status == 200, body)
        check("the breaker of a single upstream opens", len(up.requests) == 2, len(up.requests))


def generates_through_the_upstream():
    with FaultyServer(["text:one two three"]) as up, Grid(upstream_yaml(up.url)) as grid:
        ask = {"model": "auto", "messages": [{"role": "user", "content": "Write a poem about the sea"}]}
        status, headers, body = grid.post("/v1/chat/completions", ask)
        check("generate is passed on", status == 200 and body["choices"][0]["message"]["content"] == "one two three" and
              headers.get("x-nanogrid-expert") == "cloud", body)
        status, headers, text = grid.post("/v1/chat/completions", dict(ask, stream=True))
        pieces = "".join(json.loads(l[6:])["choices"][0]["delta"].get("content") or "" for l in text.split("\n")
                         if l.startswith("data: {") and json.loads(l[6:])["choices"])
        check("streams", status == 200 and pieces.split() == ["one", "two", "three"] and text.rstrip().endswith("data: [DONE]"), text)
        status, headers, body = grid.post("/v1/chat/completions", ask, x_nanogrid_privacy="local")
        check("nobody here may answer", status == 422 and body["error"]["code"] == "no_expert" and "model" in body["error"]["message"], body)
        status, headers, body = grid.post("/v1/chat/completions", dict(ask, model="cloud"))
        check("an upstream by name", status == 200 and headers.get("x-nanogrid-expert") == "cloud", body)


def a_second_nanogrid_is_an_upstream():
    with Grid("") as second:
        url = "http://%s:%d/v1" % second.address
        with Grid(upstream_yaml(url, model="sentiment", timeout="10s") + "experts: []\n") as first:
            status, headers, body = first.post("/v1/chat/completions", {"model": "cloud", "messages": [{"role": "user", "content": "a gorgeous, witty movie"}]})
            check("a label from the second grid", status == 200 and "positive" in body["choices"][0]["message"]["content"], body)


for test in (escalates_and_stays_local, faults_cost_no_request, generates_through_the_upstream, a_second_nanogrid_is_an_upstream):
    try:
        test()
    except Exception as e:  # a wrong shape is a failure of this test, the others still run
        bad.append("%s: %s: %s" % (test.__name__, type(e).__name__, e))
print("\n".join(bad) or "cascade: all checks passed")
sys.exit(1 if bad else 0)
