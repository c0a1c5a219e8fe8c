"""served.py: a real `nanogrid serve` on a free port, for tests.

    with Served("upstreams:\\n  - {..}\\n") as s:       text of grid.yaml; "" is the built-in grid
        s.url                                           "http://127.0.0.1:PORT"
        r = s.post("/v1/classify", {"input": "hi"})     r.status, r.headers[lower case], r.json, r.body
        s.stream("/v1/chat/completions", {..})          the list of its events (dicts, then "[DONE]")
        s.socket()                                      a raw connection
    leaving stops it with SIGTERM and checks that it ends with exit code 0 in time

Home and database live in a temporary folder."""
import http.client, json, os, signal, shutil, socket, subprocess, tempfile, threading

from checks import NANOGRID


class Answer:
    def __init__(self, response):
        self.status, self.body = response.status, response.read()
        self.headers = {k.lower(): v for k, v in response.getheaders()}
        kind = self.headers.get("content-type", "")
        self.json = json.loads(self.body) if kind.startswith("application/json") else None

    @property
    def error(self):
        return (self.json or {}).get("error", {})

    def __repr__(self):
        return "%d %s" % (self.status, self.body[:400])


class Served:
    def __init__(self, grid="", args=(), home=None, env=None):
        self.binary, self.grid, self.args, self.env = NANOGRID, grid, list(args), env or {}
        self.keep = home is not None
        self.home = home or tempfile.mkdtemp(prefix="ng-served-")
        self.exit = None

    def __enter__(self):
        if self.grid:
            with open(os.path.join(self.home, "grid.yaml"), "w") as f:
                f.write(self.grid)
        env = dict(os.environ, NANOGRID_HOME=self.home, **self.env)
        for name in ("NANOGRID_GRID", "NANOGRID_LISTEN"):
            if name not in self.env:
                env.pop(name, None)
        self.process = subprocess.Popen([NANOGRID, "serve", "--listen", "127.0.0.1:0", *self.args],
                                        stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=env)
        self.log, self.ready = [], threading.Event()
        threading.Thread(target=self._read, daemon=True).start()
        if not self.ready.wait(30) or self.process.poll() is not None:
            raise RuntimeError("serve did not start: %s" % self.log)
        return self

    def _read(self):
        for line in self.process.stderr:
            line = line.decode(errors="replace").rstrip()
            self.log.append(line)
            if "listening on http://" in line:
                self.url = line.split("listening on ")[1]
                self.port = int(self.url.rsplit(":", 1)[1])
                self.ready.set()
        self.ready.set()

    def stop(self, sig=signal.SIGTERM, timeout=20):
        self.process.send_signal(sig)
        self.exit = self.process.wait(timeout)
        return self.exit

    def __exit__(self, kind, *rest):
        alive = self.process.poll() is None
        if not alive and self.exit is None:
            print("serve died with %s:\n%s" % (self.process.returncode, "\n".join(self.log[-60:])))
        try:
            if alive:
                self.stop()
        finally:
            self.process.kill()
            if not self.keep:
                shutil.rmtree(self.home, ignore_errors=True)
        if kind is None and self.exit != 0:
            raise AssertionError("serve ended with %s: %s" % (self.process.returncode, self.log[-5:]))

    def request(self, method, path, body=None, headers=None, timeout=60):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        data = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
        try:
            c.request(method, path, data, dict({"Content-Type": "application/json"} if data is not None else {}, **(headers or {})))
            return Answer(c.getresponse())
        finally:
            c.close()

    def get(self, path, headers=None):
        return self.request("GET", path, None, headers)

    def post(self, path, body, headers=None):
        return self.request("POST", path, body, headers)

    def stream(self, path, body, headers=None):
        a = self.request("POST", path, dict(body, stream=True), headers)
        if a.status != 200:
            return a
        events = []
        for line in a.body.decode().split("\n"):
            if line.startswith("data: "):
                events.append(line[6:] if line == "data: [DONE]" else json.loads(line[6:]))
        return events

    def socket(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def metric(self, name):
        for line in self.get("/metrics").body.decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[-1])
        return None


def workers(served):
    """pids of the server's worker processes"""
    out = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % pid) as f:
                stat = f.read().rsplit(")", 1)[1].split()
            with open("/proc/%s/cmdline" % pid, "rb") as f:
                words = f.read().split(b"\0")
        except OSError:
            continue
        if int(stat[1]) == served.process.pid and stat[0] != "Z" and b"worker" in words:
            out.append(int(pid))
    return out
