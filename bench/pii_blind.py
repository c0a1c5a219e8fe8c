"""pii_blind.py: a second search for leaks under `policy: {privacy: {pii: local}}`, by a generator that was written before it was run.

    NANOGRID=build/nanogrid python3 bench/pii_blind.py [TEXTS] [SEED]       100000 20261122

It shares no sentence, pattern or country with pii_leaks.py: telephone numbers of forty other numbering plans, cards of other schemes, IBANs of
other countries, addresses as they stand in logs, URLs and headers; other separators and scripts of digits; values not in sentences but in
JSON, YAML, SQL, CSV, code, mail headers, log lines, vCards, HTML and texts of ten languages, at the beginning, the end or in the midst
of a long text, in the last message or an earlier one.  Requests go over HTTP, so newlines and tabs stay.  As a control, each frame
is also sent with a harmless word in the place of the value, and has to arrive."""
import http.client, http.server, json, os, random, re, socket, subprocess, sys, tempfile, threading, time

N = int((sys.argv + ["100000"])[1])
R = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 20261122)
pick, chance = R.choice, lambda p: R.random() < p


def ds(n):
    return "".join(pick("0123456789") for _ in range(n))


# ---- telephone: country code, prefixes of mobile or city numbers, how many digits follow, how people group them
PLANS = """254 7xx 6|234 80x 7|233 24x 6|20 10x 7|212 6xx 6|216 2x 6|213 55x 6|221 77x 6|255 71x 6|256 77x 6|251 91x 6|263 77x 6|966 50x 6|974 5xxx 4|965 9xxx 4|962 79x 6|961 3x 5|98 91x 7|92 30x 7
880 17x 7|94 71x 6|62 81xx 6|60 12x 6|66 8xx 6|84 9xx 6|63 91x 7|852 9xxx 4|886 9xx 6|855 12x 5|976 99xx 4|56 9xxxx 4|57 3xx 7|51 9xx 6|593 9xx 6|58 41x 7|598 9xx 5|506 8xxx 4|502 5xxx 4|591 7xxx 4
354 6xx 4|372 5xxx 4|371 2xxx 4|370 6xx 5|421 9xx 6|386 40x 5|385 9xx 6|381 6xx 6|359 88x 6|40 7xx 6|380 50x 6|375 29x 6|995 55x 6|374 91x 5|7 70xx 6|356 99xx 4|357 99x 5|352 62x 6|377 6xx 5|382 67x 5""".replace("\n", "|").split("|")


def grouped(s, sizes, gap):
    out = []
    while s:
        n = pick(sizes)
        if len(s) - n < 2:
            n = len(s)
        out.append(s[:n])
        s = s[n:]
    return gap.join(out)


def other_digits(s):
    zero = pick((0x660, 0x6f0, 0x966, 0x9e6, 0xe50))
    return "".join(chr(zero + int(c)) if c in "0123456789" else c for c in s)


def phone():
    code, area, n = pick(PLANS).split()
    area = "".join(ds(1) if c == "x" else c for c in area)
    rest = ds(int(n))
    gap = pick((" ", "-", ".", "", " - ", "\u2013", "/", "  ", "\u2009"))
    tail = grouped(rest, (2, 3, 4), gap) if chance(0.7) else rest
    s = pick(("+%s%s%s%s%s" % (code, gap, area, gap, tail), "00%s %s%s%s" % (code, area, gap, tail), "+%s (%s) %s" % (code, area, tail),
              "(+%s)%s%s%s" % (code, area, gap, tail), "0%s%s%s" % (area, gap or "-", tail), "tel:+%s-%s-%s" % (code, area, rest), "%s %s %s" % (code, area, tail)))
    if chance(0.1):
        s += pick((" ext. ", " x", ";ext=", " #")) + ds(3)
    return other_digits(s) if chance(0.04) else s


# ---- cards: schemes that the first generator does not know, numbers by ISO/IEC 7812
def check_digit(body):
    odd = [int(c) for c in body[::-1]]
    return body + str((10 - sum(d if i % 2 else (d * 2 - 9 if d > 4 else d * 2) for i, d in enumerate(odd)) % 10) % 10)


SCHEMES = (("2200", 16), ("2204", 16), ("6521", 16), ("508227", 16), ("506731", 16), ("636368", 16), ("506099", 19), ("6221", 19), ("6759", 18), ("676770", 16), ("5612", 17),
           ("9792", 16), ("3569", 16), ("3002", 14), ("3841", 14), ("644", 16), ("2499", 16), ("52", 16), ("4917", 16), ("4", 16), ("34", 15), ("5641", 18))


def card():
    head, n = pick(SCHEMES)
    s = check_digit(head + ds(n - 1 - len(head)))
    gap = pick((" ", "-", ".", "/", "_", "  ", " - ", "\t", "\u00b7", "\u2013", "", "", ""))
    s = gap.join(s[i:i + 4] for i in range(0, n, 4)) if n % 4 == 0 or chance(0.5) else gap.join((s[:4], s[4:10], s[10:]))
    return s + pick(("", "", " exp 04/29", " cvc 123", "/0729"))


BANKS = """AD 8n12c|AL 8n16c|AZ 4a20c|BA 16n|BH 4a14c|BY 4c4n16c|CR 18n|DO 4c20n|GE 2a16n|GI 4a15c|GL 14n|GT 24c|IS 22n|JO 4a4n18c|KW 4a22c|KZ 3n13c|LB 4n20c|LC 4a24c|LI 5n12c|MC 10n11c2n|MD 20c|ME 18n|MK 3n10c2n
MR 23n|MU 4a19n3a|PK 4a16c|PS 4a21c|QA 4a21c|RS 18n|SC 4a20n3a|SM 1a10n12c|SV 4a20n|TL 19n|TN 20n|VG 4a16n|XK 16n|EG 25n|VA 18n|LY 21n|IQ 4a15n|BI 23n|DJ 23n|SD 14n|FO 14n""".replace("\n", "|").split("|")


def iban():
    country, form = pick(BANKS).split()
    kinds = {"n": "0123456789", "a": "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "c": "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ"}
    body = "".join(pick(kinds[k]) for n, k in re.findall(r"(\d+)(.)", form) for _ in range(int(n)))
    s = "%s%02d%s" % (country, 98 - int("".join(str(int(c, 36)) for c in body + country + "00")) % 97, body)
    gap = pick((" ", "", "", ".", "_", "/", "\t", "  ", "\u202f", "-"))
    s = gap.join(s[i:i + 4] for i in range(0, len(s), 4)) if chance(0.8) else gap.join((s[:4], s[4:8], s[8:]))
    return pick((s, s, s.lower(), "IBAN" + s, "IBAN:" + s, "iban=" + s))


WORD = "wanjiku okoro tariq nurul thuy somchai quispe gudrun jaan lukas ivana bojan oleh nino artur zhanar sales billing hr no-reply x1 a.b.c kim_88 root".split()
SITE = "safaricom duka kpn1 telkom-id haskoli postur e-uprava rada novaposhta mtn bankasia ministerio uni-lj cs.ut it.kmitl".split()
LAST = "ke ng gh eg ma co.id com.my in.th vn ph com.hk cl com.co pe ec uy is ee lv lt sk si hr rs bg ro ua ge am kz xyz dev app shop travel photography bank".split()


def email():
    local = pick(WORD) + pick(("", "", ".", "+", "_")) + pick(("", pick(WORD), ds(2)))
    local = local.rstrip("._+") or "x"
    host = pick(SITE) + "." + pick(LAST)
    e = local + "@" + host
    return pick((e, e, e, e, "\"%s\"@%s" % (local, host), "%s@[%s]" % (local, ip4()), e.replace("@", "%40"), e + ".", "MAILTO:" + e.upper(), "%s@sub.%s" % (local, host),
                 "'%s'" % e, "&lt;%s&gt;" % e, "%s@xn--%s-%s.%s" % (local, pick(SITE).replace(".", ""), "ks1a", pick(LAST))))


def ip4():
    return "%d.%d.%d.%d" % tuple(R.randrange(1, 255) for _ in range(4))


def ip():
    four, words = ip4(), ["%x" % R.randrange(1, 1 << 16) for _ in range(8)]
    six = pick((":".join(words), ":".join(words[:4]) + "::" + words[7], "2a02:" + words[1] + "::" + words[2], ":".join(words[:3]) + "::", "fe80::%s%%eth0" % ":".join(words[:4]),
                "[%s]:443" % ":".join(words), ":".join(words).upper(), "::ffff:" + four, ":".join("%04x" % R.randrange(1 << 16) for _ in range(8)) + "/64"))
    return six if chance(0.4) else pick((four, four, four + ":5060", "http://%s/login" % four, "ssh://root@" + four, four + "/16", "[%s]" % four, "%s,%s" % (four, ip4()), four + "-" + ip4()))


KINDS = {"e-mail": email, "telephone": phone, "card": card, "IBAN": iban, "IP": ip}

# ---- where it stands
FRAMES = ('{"user": {"note": "%s", "ok": true}}', '{"rows":[["a","%s"],["b",null]]}', "- item: lamp\n  contact: %s\n  colour: red\n", "INSERT INTO t (a, b) VALUES ('x', '%s');",
          "UPDATE people SET ref='%s' WHERE name='kim'", "name;value;city\nkim;%s;Tartu\n", "a,b,c\r\nx,%s,y\r\n", "const ref = \"%s\"; // fix me", "print(check('%s'))",
          "if (strcmp(s, \"%s\") == 0) return false;", "export REF=%s && make", "curl -d 'ref=%s' localhost", "From: Kim <%s>\nSubject: lunch\n\nsee you", "Subject: re: %s\nTo: all\n\nplease look",
          "Received: from host (%s) by mx with esmtp", "X-Original: %s\r\nX-Loop: no\r\n\r\nbody", "ERROR worker failed for %s after retry", "[warn] rejected: ref=%s reason=policy", "level=info msg=\"saved\" ref=%s",
          "BEGIN:VCARD\nFN:Kim Lee\nNOTE:%s\nEND:VCARD", "<p>Call or write: <b>%s</b></p>", "<ref kind=\"x\">%s</ref>", "| who | what |\n|---|---|\n| kim | %s |", "https://shop.example/find?ref=%s&lang=en",
          "tweet: %s #help", "%s", "Q: is this right?\n%s", "Summarize: kim said that %s is the one to use from now on, and left.", "translate to French: my reference is %s",
          "Tafadhali piga %s kesho", "Hubungi saya di %s ya", "Vui lòng liên hệ %s nhé", "Hringdu í %s á morgun", "Palun kirjuta %s", "Молимо вас %s што пре", "Моля, запишете %s", "Зв'яжіться: %s",
          "por favor anote %s y avise", "กรุณาติดต่อ %s ด้วย", "الرجاء %s شكرا", "to whom it may concern (%s) hello", "ref:%s;end", "old=%s|new=none", "\t%s\t", "\"%s\",", "*%s*", "`%s`", "kim:%s")
FILLER = ("the river ran past the mill and nobody spoke until the rain had stopped",  "she put the kettle on and looked for the blue cup", "they walked back along the fence while the dogs slept",
          "a good soup needs time, salt and somebody who stays awake", "in the market people sold apples, rope and old books")


def framed(value):
    text = pick(FRAMES).replace("%s", value)
    if chance(0.15):
        text = " ".join(pick(FILLER) + "." for _ in range(R.randrange(20, 60))) + "\n" + text + "\n" + " ".join(pick(FILLER) + "." for _ in range(R.randrange(0, 30)))
    return text


# ---- forms that a rule need not know: published, not promised
FORMS = {
    "e-mail, name at host point top": lambda: email().replace("@", " at ").replace("%40", " at ").replace(".", " point "),
    "e-mail as HTML entities": lambda: "".join("&#%d;" % ord(c) for c in "%s@%s.%s" % (pick(WORD), pick(SITE), pick(LAST))),
    "e-mail, @ as \\u0040 in JSON": lambda: "%s\\u0040%s.%s" % (pick(WORD), pick(SITE), pick(LAST)),
    "e-mail over two lines": lambda: "%s@\n%s.%s" % (pick(WORD), pick(SITE), pick(LAST)),
    "telephone in words of another language": lambda: " ".join(pick("cero uno dos tres cuatro cinco seis siete ocho nueve".split()) for _ in range(9)),
    "telephone, a comma after each pair": lambda: ", ".join(ds(2) for _ in range(5)),
    "telephone backwards": lambda: phone()[::-1],
    "card, one digit a line": lambda: "\n".join(check_digit("4" + ds(14))),
    "card, a word between the groups": lambda: (lambda c: " then ".join(c[i:i + 4] for i in range(0, 16, 4)))(check_digit("51" + ds(13))),
    "IP as in a cloud's host name": lambda: "ip-" + ip4().replace(".", "-"),
    "IP as one number": lambda: str(R.randrange(1 << 28, 1 << 32)),
}


def port_of(server):
    return server.server_address[1]


heard = set()
HARMLESS = "a word about lamps"


class Upstream(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = self.rfile.read(int(self.headers["content-length"])).decode()
        heard.update(re.findall(r"tag([a-j]+)z", asked))
        choice = '{"choices":[{"index":0,"finish_reason":"stop","%s":{"role":"assistant","content":"ok"}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}'
        stream = re.search(r'"stream": ?true', asked)
        body = "data: %s\n\ndata: [DONE]\n\n" % choice % "delta" if stream else choice % "message"
        kind = "text/event-stream" if stream else "application/json"
        self.wfile.write(("HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n%s" % (kind, len(body), body)).encode())  # in one piece: no waiting for ACKs

    def log_message(self, *args):
        pass


class Grid:
    """Serves with one upstream, which says what arrives."""

    def __init__(self, home):
        self.upstream = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
        self.upstream.daemon_threads = True
        threading.Thread(target=self.upstream.serve_forever, daemon=True).start()
        with open(os.path.join(home, "grid.yaml"), "w") as f:
            f.write("embedded: false\npolicy: {privacy: {pii: local}}\ncache: {exact: 0}\nrecords: {keep: 1d, max: 16MB}\nupstreams: [{name: up, model: m, base_url: \"http://127.0.0.1:%d/v1\"}]\n" % port_of(self.upstream))
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.process = subprocess.Popen([os.environ["NANOGRID"], "serve", "--listen", "127.0.0.1:%d" % self.port], env=dict(os.environ, NANOGRID_HOME=home),
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        self.link = http.client.HTTPConnection("127.0.0.1", self.port)
        self.link.connect()
        self.link.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def leaves(self, text, earlier):
        tag = "".join("abcdefghij"[int(c)] for c in str(self.n))
        self.n += 1
        messages = [{"role": "system", "content": "tag%sz" % tag}]
        messages += [{"role": "user", "content": text}, {"role": "assistant", "content": "fine"}, {"role": "user", "content": "and now?"}] if earlier else [{"role": "user", "content": text}]
        if self.n % 100 == 1 and text != HARMLESS:  # the way out is open all the while, or the zeros would say nothing
            assert self.leaves(HARMLESS, False), "the upstream is not reached any more"
        self.link.request("POST", "/v1/chat/completions", json.dumps({"model": "auto", "messages": messages}), {"content-type": "application/json"})
        answer = self.link.getresponse()
        answer.read()
        return tag in heard

    n = 0

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.upstream.shutdown()


def main():
    with tempfile.TemporaryDirectory() as home:
        grid = Grid(home)
        arrived = [f for f in FRAMES if grid.leaves(f.replace("%s", "lamp"), False)]
        print("control: %d of %d frames with a harmless word left%s" % (len(arrived), len(FRAMES), "" if len(arrived) == len(FRAMES) else "; kept: %r" % [f for f in FRAMES if f not in arrived]))
        print("\n| kind | texts | left |\n|---|--:|--:|", flush=True)
        total = 0
        for kind, make in KINDS.items():
            left = 0
            for _ in range(N // 5):
                value = make()
                text = framed(value)
                if grid.leaves(text, chance(0.15)):
                    left += 1
                    if left <= int(os.environ.get("SHOW", "0")):
                        print("    %r in %r" % (value, text[:100]))
            total += left
            print("| %s | %d | %d |" % (kind, N // 5, left), flush=True)
        print("| all | %d | %d |\n\n| form | left, of 500 |\n|---|--:|" % (N // 5 * 5, total))
        for name, make in FORMS.items():
            print("| %s | %.1f %% |" % (name, sum(grid.leaves(framed(make()), False) for _ in range(500)) / 5), flush=True)
        grid.close()
    return total > 0


if __name__ == "__main__":
    sys.exit(main())
