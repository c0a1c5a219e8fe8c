#!/usr/bin/env python3
"""The official `openai` Python client against a real server: chat, stream, embeddings, moderations,
models, errors; and the cascade: an out-of-scope request goes up to the upstream and stays here when
the privacy header forbids that.

The client is installed once into a virtual environment under ${XDG_CACHE_HOME:-~/.cache}/nanogrid;
where the package index is out of reach the test is skipped."""
import os, subprocess, sys
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
VERSION = "1.109.1"


def skip(why):
    print("SKIPPED test_openai: " + why)
    sys.exit(77)


def with_client():
    """Runs this file again under a Python that has the client."""
    cache = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "nanogrid", "openai-" + VERSION)
    python = os.path.join(cache, "bin", "python3")
    done = os.path.join(cache, "complete")
    if not os.path.exists(done):
        if os.environ.get("NANOGRID_FETCH") == "0":
            skip("the openai client is not installed and NANOGRID_FETCH=0 forbids fetching it")
        made = subprocess.run([sys.executable, "-m", "venv", "--clear", cache], capture_output=True, text=True)
        if made.returncode:
            skip("no virtual environment: " + (made.stderr or made.stdout).strip()[-200:])
        got = subprocess.run([os.path.join(cache, "bin", "pip"), "install", "-q", "--disable-pip-version-check", "openai==" + VERSION],
                             capture_output=True, text=True, timeout=170)
        if got.returncode:
            skip("pip cannot install openai: " + got.stderr.strip()[-200:])
        open(done, "w").close()
    os.execve(python, [python, os.path.abspath(__file__)], dict(os.environ, NANOGRID_OPENAI_CHILD="1"))


try:
    import openai
except ImportError:
    if os.environ.get("NANOGRID_OPENAI_CHILD"):
        skip("the installed openai client cannot be imported")
    with_client()

from faulty_server import FaultyServer
from checks import check
from served import Served
import models

HI = [{"role": "user", "content": "hello there"}]


def fails(kind, call):
    try:
        call()
    except kind as e:
        return e
    except Exception as e:  # another error is a failure of the check, not of the test
        return None
    return None


def through_an_upstream():
    with FaultyServer(["text:hi from the cloud"]) as up, Served(grid(up.url)) as s:
        c = openai.OpenAI(base_url=s.url + "/v1", api_key="unused", max_retries=0)
        names = [m.id for m in c.models.list()]
        check("models", {"cloud", "pii"} <= set(names), names)
        check("one model", c.models.retrieve("cloud").id == "cloud")
        r = c.chat.completions.create(model="cloud", messages=HI, temperature=0, max_tokens=20)
        check("chat", r.choices[0].message.content.split() == "hi from the cloud".split() and r.choices[0].finish_reason == "stop", r)
        check("usage", r.usage.total_tokens == r.usage.prompt_tokens + r.usage.completion_tokens > 0, r.usage)
        pieces, usage = [], None
        for chunk in c.chat.completions.create(model="cloud", messages=HI, stream=True, stream_options={"include_usage": True}):
            pieces += [x.delta.content for x in chunk.choices if x.delta.content]
            usage = chunk.usage or usage
        check("stream", "".join(pieces).split() == "hi from the cloud".split() and len(pieces) > 1, pieces)
        check("stream usage", usage and usage.completion_tokens == 4, usage)
        raw = c.chat.completions.with_raw_response.create(model="cloud", messages=HI)
        check("headers", raw.headers["x-nanogrid-tier"] == "medium" and raw.headers["x-nanogrid-decision-id"], dict(raw.headers))
        e = fails(openai.NotFoundError, lambda: c.chat.completions.create(model="nobody", messages=HI))
        check("an unknown model", e and e.code == "model_not_found" and e.param == "model", e)
        e = fails(openai.BadRequestError, lambda: c.chat.completions.create(model="cloud", messages=HI, temperature=3))
        check("a bad value", e and e.param == "temperature", e)
        tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
        e = fails(openai.InternalServerError, lambda: c.chat.completions.create(model="cloud", messages=HI, tools=tools))
        check("an unsupported field is refused by name", e and e.status_code == 501 and e.param == "tools", e)
        image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]
        e = fails(openai.BadRequestError, lambda: c.chat.completions.create(model="cloud", messages=image))
        check("an unserved part is named", e and "image_url" in e.message, e)


def cascade():
    only = "embedded: false\nexperts: [{name: intent, task: classify, model: nanogrid/intent}]\n"
    with FaultyServer(["text:none of these"]) as up, Served(grid(up.url, only)) as s:
        there = {m["id"]: m for m in s.get("/v1/models").json["data"]}
        if not there["intent"]["available"]:
            check.skip("the cascade of an out-of-scope request: %s" % there["intent"]["why"])
            return
        outside = {"input": "zxqv flurble the quantum marmalade of Saturn"}
        r = s.post("/v1/classify", outside)
        a = r.json["results"][0]
        check("out of scope escalates", a["escalated"] and a["tier"] == "medium" and len(up.requests) == 1, r)
        r = s.post("/v1/classify", outside, {"x-nanogrid-privacy": "local"})
        a = r.json["results"][0]
        check("the privacy header keeps it here", not a["escalated"] and a["tier"] == "nano" and a["label"] is None
              and not a["in_scope"] and len(up.requests) == 1, r)
        r = s.post("/v1/classify", {"input": "please freeze my card right now"})
        a = r.json["results"][0]
        check("in scope stays here", a["label"] == "freeze_account" and a["in_scope"] and a["tier"] == "nano" and len(up.requests) == 1, r)
        c = openai.OpenAI(base_url=s.url + "/v1", api_key="unused", max_retries=0, default_headers={"x-nanogrid-privacy": "local"})
        r = c.chat.completions.with_raw_response.create(model="intent", messages=[{"role": "user", "content": "please freeze my card right now"}])
        check("chat with a classifier says the label", r.headers["x-nanogrid-tier"] == "nano"
              and r.parse().choices[0].message.content == "freeze_account", r.text)


def automatic():
    with Served() as s:
        c = openai.OpenAI(base_url=s.url + "/v1", api_key="unused", max_retries=0)
        ask = lambda: c.chat.completions.with_raw_response.create(model="auto", messages=[{"role": "user", "content": "please freeze my card right now"}])
        e = fails(openai.UnprocessableEntityError, ask)
        if e and "no router" in e.message:
            check.skip("auto: " + e.message)
            return
        r = ask()
        check("auto answers here", r.headers["x-nanogrid-tier"] == "nano" and r.parse().choices[0].message.content, r.text)
        r = c.moderations.create(input="have a nice day") if "moderation" in [m["id"] for m in s.get("/v1/models").json["data"] if m["available"]] else None
        check("moderations", r is None or r.results[0].flagged is False, r)


def grid(url, more=""):
    return more + "upstreams:\n  - {name: cloud, tier: medium, base_url: \"%s\", model: scripted, timeout: 10s}\n" % url


def real_models():
    chat = models.smollm2()
    if not chat:
        check.skip("a real chat model: " + models.reason)
        return
    with Served("models: {chat: {path: \"%s\"}}\nexperts: [{name: chat, task: generate, model: chat}]\n" % chat) as s:
        c = openai.OpenAI(base_url=s.url + "/v1", api_key="unused", max_retries=0)
        r = c.chat.completions.create(model="chat", messages=HI, max_tokens=12, seed=3, logprobs=True, top_logprobs=2, n=2)
        check("n", len(r.choices) == 2 and all(x.message.content for x in r.choices), r)
        check("logprobs", r.choices[0].logprobs.content[0].logprob <= 0 and len(r.choices[0].logprobs.content[0].top_logprobs) == 2, r)
        again = c.chat.completions.create(model="chat", messages=HI, max_tokens=12, seed=3, n=2)
        check("a seed repeats", [x.message.content for x in again.choices] == [x.message.content for x in r.choices], (r, again))
        e = fails(openai.BadRequestError, lambda: c.chat.completions.create(model="chat", messages=[{"role": "user", "content": "word " * 20000}]))
        check("a prompt that does not fit", e and "tokens" in e.message, e)


def embeddings():
    folder = models.minilm()
    if not folder:
        check.skip("embeddings: " + models.reason)
        return
    import tempfile
    with tempfile.TemporaryDirectory() as home:
        gguf = os.path.join(home, "minilm.gguf")
        made = subprocess.run([os.environ["NANOGRID"], "convert", folder, gguf], capture_output=True, text=True)
        if made.returncode:
            check("convert", False, made.stderr)
            return
        with Served("models: {m: {path: \"%s\"}}\nexperts: [{name: embed, task: embed, model: m}]\n" % gguf) as s:
            c = openai.OpenAI(base_url=s.url + "/v1", api_key="unused", max_retries=0)
            texts = ["a cat sat on the mat", "a kitten rests on a rug", "interest rates rose again"]
            packed = c.embeddings.create(model="embed", input=texts)  # the client asks for base64
            plain = c.embeddings.create(model="embed", input=texts, encoding_format="float")
            v = [x.embedding for x in packed.data]
            check("384 numbers each", [len(x) for x in v] == [384] * 3)
            check("both encodings agree", all(abs(a - b) < 1e-6 for x, y in zip(packed.data, plain.data) for a, b in zip(x.embedding, y.embedding)))
            dot = lambda a, b: sum(x * y for x, y in zip(a, b))
            check("meaning is near", dot(v[0], v[1]) > dot(v[0], v[2]) + 0.2 and abs(dot(v[0], v[0]) - 1) < 1e-4)


through_an_upstream()
cascade()
automatic()
real_models()
embeddings()
sys.exit(check.done())
