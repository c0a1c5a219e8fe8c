#!/usr/bin/env python3
"""Bad input over HTTP: bytes that are not UTF-8 or JSON, wrong framing, limits at and beyond their edge,
random bytes on the socket, clients that stop half-way; and afterwards the server still answers."""
import json, os, random, subprocess, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import check
from served import Served



def raw(s, data, wait=5):
    """Everything that comes back until the server closes or falls silent."""
    got = b""
    with s.socket() as c:
        c.settimeout(wait)
        try:
            c.sendall(data)
            while True:
                more = c.recv(65536)
                if not more:
                    break
                got += more
                head, _, body = got.partition(b"\r\n\r\n")
                length = [int(x.split(b":")[1]) for x in head.lower().split(b"\r\n") if x.startswith(b"content-length:")]
                if length and len(body) >= length[0]:
                    break
        except OSError:
            pass
    return got


def alive(s, what):
    r = s.post("/v1/extract", {"input": "a@b.example"})
    check("alive after " + what, r.status == 200 and len(r.json["results"][0]["entities"]) == 1, r)


def bodies(s):
    deep = lambda n: b'{"input": ' + b"[" * (n - 1) + b"]" * (n - 1) + b"}"
    rows = [
        (b"", 400, "invalid_json"), (b"{", 400, "invalid_json"), (b"null", 400, "invalid_json"), (b"[]", 400, "invalid_json"),
        (b'{"input": "\xff"}', 400, "invalid_utf8"), (b'{"input": "\xc0\xaf"}', 400, "invalid_utf8"),
        (b'{"input": "\xed\xa0\x80"}', 400, "invalid_utf8"), (b'{"input": "\\ud800"}', 400, "invalid_json"),
        (b'{"input": "a\\u0000b"}', 400, "invalid_json"), (b'{"input": "a", "input": "b"}', 400, "invalid_json"),
        (b'{"input": "a"} {"input": "b"}', 400, "invalid_json"), (b'\xef\xbb\xbf{"input": "a"}', 400, "invalid_json"),
        (deep(33), 400, "too_deep"), (deep(32), 501, None), (b"[" * 100000, 400, "too_deep"),
        (b'{"input": 1}', 400, None), (b'{"input": {}}', 400, None), (b'{"inptu": "a"}', 400, "unknown_parameter"),
        (b'{"input": ""}', 400, "empty_input"), (b'{"input": "a", "model": "nobody"}', 404, "model_not_found"),
        (b'{"input": "a", "model": 5}', 400, "invalid_type"), (b'{"input": "a", "types": "email"}', 400, None),
        (json.dumps({"input": ["a"] * 257}).encode(), 400, "too_many_inputs"), (json.dumps({"input": ["a"] * 256}).encode(), 200, None),
    ]
    for body, status, code in rows:
        r = s.request("POST", "/v1/extract", body)
        check("body %r" % body[:50], r.status == status and (code is None or r.error.get("code") == code), r)
        if status != 200:
            check("error shape", set(r.error) == {"message", "type", "param", "code"} and r.error["message"] and r.error["type"], r)
    alive(s, "bad bodies")


def sizes(s):
    for n, status in ((1 << 20, 200), ((1 << 20) + 1, 413), (3 << 20, 413)):
        body = b'{"input": "' + b"a" * (n - 13) + b'"}'
        assert len(body) == n
        r = s.request("POST", "/v1/extract", body)
        check("a body of %d" % n, r.status == status, r)
    head = b"POST /v1/extract HTTP/1.1\r\nHost: localhost\r\n"
    check("a huge length", raw(s, head + b"Content-Length: 18446744073709551615\r\n\r\n")[9:12] in (b"413", b"400"))
    check("an endless body", b" 413 " in raw(s, head + b"Transfer-Encoding: chunked\r\n\r\n" + (b"10000\r\n" + b"x" * 65536 + b"\r\n") * 20 + b"0\r\n\r\n")[:20])
    check("long headers", b" 431 " in raw(s, b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 17000 + b"\r\n\r\n")[:20])
    check("longer headers", b" 431 " in raw(s, b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 70000 + b"\r\n\r\n")[:20])
    check("many headers", b" 431 " in raw(s, b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"".join(b"X%d: 1\r\n" % i for i in range(101)) + b"\r\n")[:20])
    check("a long target", b" 414 " in raw(s, b"GET /" + b"a" * 2000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")[:20])
    alive(s, "sizes")


def framing(s):
    head = b"POST /v1/extract HTTP/1.1\r\nHost: localhost\r\n"
    rows = [
        (head + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", b"400"), (head + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
        (head + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", b"400"), (head + b"Transfer-Encoding: xchunked\r\n\r\n", b"501"),
        (head + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", b"400"), (head + b"Content-Length: +2\r\n\r\nab", b"400"),
        (head + b"Content-Length: 0x2\r\n\r\nab", b"400"), (head + b"Content-Length: \r\n\r\n", b"400"),
        (head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"), (head + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", b"400"),
        (b"GET /health HTTP/1.1\r\n\r\n", b"400"), (b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n", b"400"),
        (b"GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n", b"403"), (b"GET http://evil.example/health HTTP/1.1\r\nHost: localhost\r\n\r\n", b"404"),
        (b"GET /%2e%2e/etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", b"404"), (b"GET /health%00 HTTP/1.1\r\nHost: localhost\r\n\r\n", None),
        (b"BREW /health HTTP/1.1\r\nHost: localhost\r\n\r\n", b"405"), (b"TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"405"),
    ]
    for data, status in rows:
        got = raw(s, data)
        check("framing %r" % data[:90], status is None or got[9:12] == status, got[:200])
    second = raw(s, rows[0][0] + b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    check("nothing is smuggled behind bad framing", second.count(b"HTTP/1.1 ") == 1, second)
    alive(s, "bad framing")


def half_way(s):
    head = b"POST /v1/extract HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n"
    whole = head + b'{"input": "' + b"a" * 37 + b'"}'
    for cut in range(0, len(whole), 7):
        with s.socket() as c:
            c.sendall(whole[:cut])
    dice = random.Random(7)
    for i in range(300):
        data = bytearray(whole if i % 2 else b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for _ in range(dice.randrange(1, 6)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        with s.socket() as c:
            try:
                c.sendall(bytes(data))
                c.settimeout(0.02)
                c.recv(100)
            except OSError:
                pass
    alive(s, "connections cut and bytes flipped")
    idle = [s.socket() for _ in range(200)]
    alive(s, "200 silent connections")
    for c in idle:
        c.close()


def verb():
    def run(*args):
        return subprocess.run([os.environ["NANOGRID"], "serve", *args], capture_output=True, timeout=30, text=True)
    for args, code, word in ((["--listen", "0.0.0.0:0"], 1, "--insecure-listen"), (["--listen", "nonsense"], 2, "HOST:PORT"),
                             (["--listen", "127.0.0.1:99999"], 2, "HOST:PORT"), (["--grid", "/nonexistent.yaml"], 1, "/nonexistent.yaml"),
                             (["--workers", "0"], 2, "--workers"), (["words"], 2, "words")):
        r = run(*args)
        check("serve %s" % args, r.returncode == code and word in r.stderr and not r.stdout, r)


with Served() as s:
    bodies(s)
    sizes(s)
    framing(s)
    half_way(s)
    r = run = subprocess.run([os.environ["NANOGRID"], "serve", "--listen", "127.0.0.1:%d" % s.port], capture_output=True, timeout=30, text=True)
    check("a taken port", r.returncode == 1 and "in use" in r.stderr, r)
verb()
sys.exit(check.done())
