#!/usr/bin/env python3
"""Kept prefixes from the outside: over HTTP through the worker process, across a restart, and in `complete`; the same
answers with and without; what is private, foreign or damaged stays out, and the log and the metrics say so; a context that
shifts."""
import json, os, shutil, stat, subprocess, sys, tempfile, time
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
from checks import check
from served import Served
import models

SYSTEM = "You are a clerk who knows all about these things: " + " ".join("item %d is made of %s;" % (i, ["wood", "iron", "wool"][i % 3]) for i in range(60))
QUESTIONS = ["What is item 7 made of?", "How many items are of wool?", "What is the last item?"]


def chat(s, i, headers=None, user=None):
    body = {"model": "chat", "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTIONS[i]}],
            "temperature": 0, "max_tokens": 16}
    if user:
        body["user"] = user
    r = s.post("/v1/chat/completions", body, headers)
    if r.status != 200:
        return str(r), -1
    return r.json["choices"][0]["message"]["content"], r.json["usage"]["prompt_tokens_details"]["cached_tokens"]


def series(s, path):
    """The metrics of the one decoder: {name[,label]: value}"""
    model, out = '{model="%s"' % os.path.basename(path), {}
    for line in s.get("/metrics").body.decode().splitlines():
        if model in line:
            name, _, rest = line.partition(model)
            label, _, value = rest.partition("} ")
            out[name + label] = float(value)
    return out


def files(home):
    folder = os.path.join(home, "cache", "prefix")
    return sorted(os.path.join(folder, f) for f in os.listdir(folder)) if os.path.isdir(folder) else []


def wait_for_files(home):
    until, before = time.time() + 20, -1
    while time.time() < until and (before <= 0 or len(files(home)) != before):
        before = len(files(home))
        time.sleep(0.5)
    return files(home)


def over_http(path, home):
    grid = "models: {chat: {path: \"%s\"}}\nexperts: [{name: chat, task: generate, model: chat}]\ncache: {exact: 0, prefix_disk: %s}\n"
    with Served(grid % (path, "0")) as s:
        plain = [chat(s, i)[0] for i in range(3)]
        check("no files unless asked for", files(s.home) == [])
    with Served(grid % (path, "100MB"), home=home) as s:
        first, second = chat(s, 0), chat(s, 1)
        check("the first reads all", first == (plain[0], 0), (first, plain[0]))
        check("the second begins where they part", second[0] == plain[1] and second[1] > 500, second)
        check("another user shares nothing", chat(s, 1, user="eve") == (plain[1], 0))
        written = wait_for_files(home)
        check("what both begin with is in files", len(written) == (second[1] + 63) // 64, (written, second))
        check("for the owner alone", all(stat.S_IMODE(os.stat(f).st_mode) == 0o600 for f in written), written)
        check("in a folder of the owner", stat.S_IMODE(os.stat(os.path.dirname(written[0])).st_mode) == 0o700)
        check("metrics", "nanogrid_cached_tokens_total %d" % second[1] in s.get("/metrics").body.decode(), second)
        told = series(s, path)
        check("what the decoder counted", told["nanogrid_streams_total"] == 3 and told["nanogrid_steps_total"] > 0 and
              told["nanogrid_step_seconds_total"] > 0 and told["nanogrid_streams_running"] == told["nanogrid_streams_waiting"] == 0 and
              told["nanogrid_decode_tokens_total"] > 0 and 0 < told["nanogrid_kv_pages_used"] < told["nanogrid_kv_pages"], told)
        check("what it read and what it did not", told['nanogrid_prefix_hits_total,from="memory"'] == 1 and
              told['nanogrid_prefix_tokens_total,from="memory"'] == second[1] and told['nanogrid_prefix_hits_total,from="disk"'] == 0 and
              told["nanogrid_prefill_tokens_total"] > 2 * second[1] and told['nanogrid_prefix_files_total,outcome="written"'] == len(written), told)
    with Served(grid % (path, "100MB"), home=home) as s:
        third = chat(s, 2)
        check("after a restart", third[0] == plain[2] and third[1] >= second[1] // 64 * 64, third)
        told = series(s, path)
        check("from files, say the metrics", told['nanogrid_prefix_hits_total,from="disk"'] == 1 and
              told['nanogrid_prefix_tokens_total,from="disk"'] == third[1], told)
        check("others not", chat(s, 2, user="eve") == (plain[2], 0))
    for f in written: # a bit of each: all are refused
        with open(f, "r+b") as out:
            out.seek(-100, 2)
            byte = out.read(1)
            out.seek(-100, 2)
            out.write(bytes([byte[0] ^ 4]))
    with Served(grid % (path, "100MB"), home=home) as s:
        third = chat(s, 2)
        check("damaged files are not used", third == (plain[2], 0), third)
        check("and counted", series(s, path)['nanogrid_prefix_files_total,outcome="refused"'] > 0, series(s, path))
        lines = [l for l in s.log if "is not used: its page is damaged" in l]
        check("with a line in the log", len(lines) == 1 and lines[0].startswith("nanogrid: the worker of ") and home in lines[0], s.log)
    shutil.rmtree(os.path.join(home, "cache", "prefix"))
    with Served(grid % (path, "100MB"), home=home) as s:
        chat(s, 0), chat(s, 1)
        begin = time.time()
        s.stop()
        check("what waits to be written is written at the end", len(files(home)) == len(written), (files(home), written))
        check("soon", time.time() - begin < 10)
        check("whole", not [f for f in files(home) if ".tmp." in f])
    with Served(grid % (path, "100MB"), home=home) as s:
        check("and found again", chat(s, 2)[1] >= second[1] // 64 * 64)
    shutil.rmtree(os.path.join(home, "cache", "prefix"))
    with Served(grid % (path, "100MB"), home=home) as s:
        local = {"x-nanogrid-privacy": "local"}
        private = [chat(s, i, local) for i in range(2)]
        time.sleep(1)
        check("private texts are kept in memory", private[1][0] == plain[1] and private[1][1] > 500, private)
        check("and only there", files(home) == [], files(home))


def complete(path, folder, *more, prompt=SYSTEM):
    r = subprocess.run([os.environ["NANOGRID"], "complete", "-m", path, "-p", prompt, "-n", "12", "--temp", "0", "--json", "-t", "2",
                        *(["--prefix-cache", folder] if folder else []), *more], capture_output=True, text=True)
    return (json.loads(r.stdout) if r.returncode == 0 else {}), r.stderr, r.returncode


def one_shot(path, folder):
    plain, _, _ = complete(path, None)
    first, err, _ = complete(path, folder)
    check("complete keeps", first["tokens"] == plain["tokens"] and first["cached_tokens"] == 0 and not err, (first, err))
    again, err, _ = complete(path, folder)
    check("complete recalls", again["tokens"] == plain["tokens"] and again["cached_tokens"] == again["prompt_tokens"] - 1 and not err,
          (again, err))
    q8, err, _ = complete(path, folder, "--kv", "q8")
    check("another KV type is foreign", q8["cached_tokens"] == 0, (q8, err))
    names = sorted(os.listdir(folder))
    with open(os.path.join(folder, names[0]), "r+b") as f:
        f.truncate(1000)
    cut = [complete(path, folder, *kv) for kv in ([], ["--kv", "q8"])]
    said = "".join(err for _, err, _ in cut)
    check("a cut file is refused with a line", names[0] in said and "is not used: its length is wrong" in said, said)
    check("and costs no answer", cut[0][0]["tokens"] == plain["tokens"], cut)
    blocked = os.path.join(folder, names[1])
    r, err, code = complete(path, blocked)
    check("a folder that is none", code == 0 and r["tokens"] == plain["tokens"] and "prefix cache: " in err and blocked in err, (r, err))


def shifted(path):
    long, err, _ = complete(path, None, "-c", "128", "-n", "200", "--shift", "--keep", "4", prompt="Once upon a time")
    check("a generation goes on past the context", len(long.get("tokens", [])) == 200 or long.get("finish") == "stop", (long, err))
    short, _, _ = complete(path, None, "-c", "128", "-n", "200", prompt="Once upon a time")
    check("and ends there without", short["finish"] in ("length", "stop") and len(short["tokens"]) < 128, short)
    check("the same until then", long["tokens"][:len(short["tokens"])] == short["tokens"])
    for args, says in ((["--keep", "4"], "--keep acts with --shift only"), (["--shift", "--keep", "127", "-c", "128"], "leave nothing to go")):
        _, err, code = complete(path, None, *args, prompt="Once")
        check(" ".join(args), code in (1, 2) and says in err, (code, err))
    talk = subprocess.run([os.environ["NANOGRID"], "chat", "-m", path, "--system", "Be brief.", "--shift", "--temp", "0", "-n", "8"],
                          input="Hello.\n", capture_output=True, text=True)
    check("chat takes --shift", talk.returncode == 0 and talk.stdout.strip(), talk)


path = models.smollm2()
if not path:
    print("SKIPPED test_prefix_cache: " + models.reason)
    sys.exit(77)
top = tempfile.mkdtemp(prefix="ng-prefix-test-")
try:
    over_http(path, os.path.join(top))
    one_shot(path, os.path.join(top, "files"))
    shifted(path)
finally:
    shutil.rmtree(top)
sys.exit(check.done())
