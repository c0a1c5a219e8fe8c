#!/usr/bin/env python3
"""llama-server as the upstream of a grid: plain and streamed generation, tokens counted, and what happens when it dies.
Needs PEERS_BIN (llama-server) and SMOLLM2_DIR."""
import glob, http.client, json, os, re, socket, subprocess, sys, tempfile, time

NANOGRID = os.environ["NANOGRID"]
server_bin = os.path.join(os.environ.get("PEERS_BIN", ""), "llama-server")
models = glob.glob(os.path.join(os.environ.get("SMOLLM2_DIR", "/nonexistent"), "Q4_1.gguf"))
if not os.path.exists(server_bin) or not models:
    print("SKIPPED: PEERS_BIN/llama-server or SMOLLM2_DIR/Q4_1.gguf is missing")
    sys.exit(77)
bad = []


def check(what, ok, detail=""):
    if not ok:
        bad.append("%s: %s" % (what, str(detail)[:600]))


def post(address, path, body):
    c = http.client.HTTPConnection(*address, timeout=120)
    c.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    r = c.getresponse()
    return r.status, r.read().decode()


with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    port = s.getsockname()[1]
peer = subprocess.Popen([server_bin, "-m", models[0], "--port", str(port), "-c", "1024", "-t", "2"],
                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                        env=dict(os.environ, LD_LIBRARY_PATH=os.environ["PEERS_BIN"]))
home = tempfile.TemporaryDirectory()
grid_yaml = os.path.join(home.name, "grid.yaml")
open(grid_yaml, "w").write("cache: {exact: 0MB}\nupstreams:\n  - {name: peer, tier: small, base_url: \"http://127.0.0.1:%d/v1\", model: smollm2, "
                           "allowed_fails: 2, cooldown_time: 60s, pricing: {prompt_per_1m: 1, completion_per_1m: 2}}\n" % port)
grid = None
try:
    for _ in range(300):
        try:
            if post(("127.0.0.1", port), "/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1})[0] == 200:
                break
        except OSError:
            pass
        time.sleep(0.2)
    grid = subprocess.Popen([NANOGRID, "serve", "--grid", grid_yaml, "--listen", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True,
                            env=dict(os.environ, NANOGRID_HOME=home.name))
    for line in grid.stderr:
        m = re.search(r"listening on http://([\d.]+):(\d+)", line)
        if m:
            address = m.group(1), int(m.group(2))
            break
    ask = {"model": "peer", "messages": [{"role": "user", "content": "Name three colours."}], "max_tokens": 24, "temperature": 0}
    status, text = post(address, "/v1/chat/completions", ask)
    body = json.loads(text)
    check("plain", status == 200 and len(body["choices"][0]["message"]["content"]) > 0 and body["usage"]["completion_tokens"] > 0, text)
    if status != 200:
        raise SystemExit("llama-server did not answer through the grid: %s" % text)
    status, text = post(address, "/v1/chat/completions", dict(ask, stream=True))
    pieces = [json.loads(l[6:]) for l in text.split("\n") if l.startswith("data: {")]
    check("every chunk has choices", all("choices" in p for p in pieces), text[:1500])
    said = "".join(p["choices"][0]["delta"].get("content") or "" for p in pieces if p.get("choices"))
    check("streamed", status == 200 and said == body["choices"][0]["message"]["content"] and "[DONE]" in text, (said, text[-200:]))
    peer.kill()
    peer.wait()
    for i in range(3):
        t0 = time.time()
        status, text = post(address, "/v1/chat/completions", ask)
        check("dead upstream %d" % i, status in (502, 503) and time.time() - t0 < 5 and "peer" in json.loads(text)["error"]["message"], text)
    status, text = post(address, "/v1/classify", {"input": "please freeze my account"})
    check("the grid lives", status == 200 and json.loads(text)["results"][0]["label"] == "freeze_account", text)
finally:
    peer.kill()
    if grid:
        grid.terminate()
        check("serve ends cleanly", grid.wait(20) == 0, grid.returncode)
print("\n".join(bad) or "llama-server: all checks passed")
sys.exit(1 if bad else 0)
