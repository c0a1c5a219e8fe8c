"""pii_leaks.py: does text with personal data leave a grid whose policy says `privacy: {pii: local}`?

    NANOGRID=build/nanogrid NANOGRID_DATA=.. python3 bench/pii_leaks.py [TEXTS]       100000

Nothing here answers, a listening upstream is the only way, and every text with e-mail address, phone, card, IBAN or IP address must not
reach it.  The generator shares neither code nor patterns with the detector: presidio's sentence templates, and values made from numbering
plans, issuers' ranges, the IBAN registry and RFC 4291, with spacing and separators as people of each country write them, beside the
telephone numbers and addresses of FakeNameGenerator's 3,000 people of 37 countries.  As a control, headlines and questions without personal data must arrive.
Obfuscated forms, names and street addresses follow, with the share that leaves."""
import csv, http.server, json, os, random, re, subprocess, sys, tempfile, threading

N = int((sys.argv + ["100000"])[1])
DATA = os.environ["NANOGRID_DATA"]
GEN = os.path.join(DATA, "pii_presidio", "gen")
R = random.Random(20261121)
D = "0123456789"


def digits(n, first=None):
    return (R.choice(first) if first else "") + "".join(R.choice(D) for _ in range(n - (1 if first else 0)))


def fill(pattern):
    """'n' is 2-9, 'd' any digit; the rest stands for itself."""
    return "".join(R.choice("23456789") if c == "n" else R.choice(D) if c == "d" else c for c in pattern)


# Mobile and geographic numbers as they are written at home and abroad.
PHONES = ("(ndd) ndd-dddd ndd-ndd-dddd ndd.ndd.dddd +1 ndd ndd dddd|+1-ndd-ndd-dddd|1-ndd-ndd-dddd|+1 (ndd) ndd-dddd|+1nddndddddd|001-ndd-ndd-dddd|"   # North America
          "020 7ddd dddd|+44 20 7ddd dddd|07ddd dddddd|07ddd ddd ddd|+44 7ddd dddddd|+44 (0) 7ddd dddddd|0044 7ddd dddddd|0161 ddd dddd|+447ddddddddd|"      # United Kingdom
          "030 ddddddd|030/ddddddd|+49 30 ddddddd|0171 ddddddd|0171-ddddddd|+49 171 ddddddd|+49 (0)171 ddddddd|0049 171 ddddddd|+4917ddddddddd|089 / dd dd dd dd|"   # Germany
          "01 dd dd dd dd|06 dd dd dd dd|06.dd.dd.dd.dd|+33 6 dd dd dd dd|+336dddddddd|06-dd-dd-dd-dd|06dddddddd|0033 1 dd dd dd dd|"                       # France
          "+34 6dd ddd ddd|+34 6dd dd dd dd|+34 91 ddd dd dd|0034 6ddddddddd|+39 3dd ddd dddd|+39 06 dddd dddd|+39 3dddddddddd|06 dddd dddd|"                  # Spain, Italy
          "06-dddddddd|06 dd dd dd dd|+31 6 dddddddd|020-ddd dddd|+32 4dd dd dd dd|04dd dd dd dd|04dd/dd.dd.dd|+41 79 ddd dd dd|079 ddd dd dd|0041 44 ddd dd dd|"   # NL, BE, CH
          "+43 664 ddd dddd|0664 dddddddd|070-ddd dd dd|+46 70 ddd dd dd|08-ddd ddd dd|+47 4dd dd ddd|+47 dd dd dd dd|+45 dd dd dd dd|+358 40 ddd dddd|040 ddd dddd|"  # AT, Nordic
          "+48 5dd ddd ddd|+420 7dd ddd ddd|+36 20 ddd dddd|+351 9dd ddd ddd|+30 69d ddd dddd|+353 8d ddd dddd|08d ddd dddd|+7 9dd ddd-dd-dd|8 (9dd) ddd-dd-dd|"       # PL .. RU
          "04dd ddd ddd|+61 4dd ddd ddd|(02) dddd dddd|+61 2 dddd dddd|+64 21 ddd ddd|021 ddd dddd|090-dddd-dddd|+81 90 dddd dddd|03-dddd-dddd|+86 13d dddd dddd|"      # AU, NZ, JP, CN
          "+91 9dddd ddddd|+91-9ddddddddd|09dddd ddddd|+55 11 9dddd-dddd|(11) 9dddd-dddd|+52 55 dddd dddd|+54 9 11 dddd-dddd|+27 8d ddd dddd|08d ddd dddd|+972 5d-ddd-dddd|+971 5d ddd dddd|+65 8ddd dddd|+82 10-dddd-dddd|010-dddd-dddd|+90 53d ddd dd dd|053d ddd dd dd")
PHONES = [p for part in PHONES.split("|") for p in ([part] if " " in part or part else [])]
PHONES[0:1] = ["(ndd) ndd-dddd", "ndd-ndd-dddd", "ndd.ndd.dddd", "+1 ndd ndd dddd"]


def luhn(body):
    total = sum(int(c) if i % 2 else sum(divmod(2 * int(c), 10)) for i, c in enumerate(reversed(body)))
    return body + str(-total % 10)


CARDS = (("4", 16, (4, 4, 4, 4)), ("51", 16, (4, 4, 4, 4)), ("55", 16, (4, 4, 4, 4)), ("2221", 16, (4, 4, 4, 4)), ("2720", 16, (4, 4, 4, 4)), ("34", 15, (4, 6, 5)),
         ("37", 15, (4, 6, 5)), ("6011", 16, (4, 4, 4, 4)), ("65", 16, (4, 4, 4, 4)), ("3528", 16, (4, 4, 4, 4)), ("3589", 16, (4, 4, 4, 4)), ("36", 14, (4, 6, 4)),
         ("4", 13, (4, 3, 3, 3)), ("62", 16, (4, 4, 4, 4)), ("5018", 16, (4, 4, 4, 4)))
GAPS = (" ", "-", "", "\u00a0", "\u2009", "\u202f", "\u2011")


def groups(text, sizes, gap):
    out, at = [], 0
    for n in sizes:
        out.append(text[at:at + n])
        at += n
    return gap.join(x for x in out + [text[at:]] if x)


def card():
    prefix, n, sizes = R.choice(CARDS)
    return groups(luhn(prefix + digits(n - 1 - len(prefix))), sizes, R.choice(GAPS))


# Country, structure of the rest: n digits, c letters or digits, a letters (SWIFT registry).
IBANS = {"DE": "18n", "FR": "10n11c2n", "GB": "4a14n", "ES": "20n", "IT": "1a10n12c", "NL": "4a10n", "BE": "12n", "CH": "5n12c", "AT": "16n", "SE": "20n", "NO": "11n", "DK": "14n",
         "FI": "14n", "PL": "24n", "PT": "21n", "IE": "4a14n", "CZ": "20n", "HU": "24n", "GR": "7n16c", "RO": "4a16c", "BG": "4a6n8c", "HR": "17n", "LU": "3n13c", "MT": "4a5n18c",
         "TR": "5n1n16c", "SA": "2n18c", "AE": "19n", "IL": "19n", "BR": "23n1a1c", "CY": "8n16c", "EE": "16n", "LT": "16n", "LV": "4a13c", "SK": "20n", "SI": "15n", "UA": "6n19c"}
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def iban():
    country, form = R.choice(sorted(IBANS.items()))
    rest = "".join(R.choice({"n": D, "a": LETTERS, "c": D + LETTERS}[k]) for n, k in re.findall(r"(\d+)([nac])", form) for _ in range(int(n)))
    number = int("".join(str(int(c, 36)) for c in rest + country + "00"))
    whole = country + "%02d" % (98 - number % 97) + rest
    return groups(whole, (4,) * (len(whole) // 4), R.choice((" ", "", " ", "\u00a0", "-")))


NAMES = "anna.kovacs j_smith bob mueller-k o.brien.7 li+news maria99 x nguyen%work info svc-4 étienne søren 李".split()
HOSTS = "example acme-tools mail univ-lyon2 k9 bücher stats.gov big.corp.internal".split()
TOPS = "com org de fr co.uk com.br io museum jp nl technology ai".split()


def email():
    e = "%s@%s.%s" % (R.choice(NAMES), R.choice(HOSTS), R.choice(TOPS))
    return R.choice((e, e, e.upper(), e.capitalize(), "<%s>" % e, "mailto:" + e))


def ip():
    if R.random() < 0.6:
        return ".".join(str(R.randrange(1, 256)) for _ in range(4)) + R.choice(("", "", ":8080", "/24"))
    words = ["%x" % R.randrange(1 << 16) for _ in range(8)]
    kind = R.randrange(3)
    if kind == 0:
        return ":".join(words)
    at, n = R.randrange(1, 5), R.randrange(2, 4)
    return (":".join(words[:at]) + "::" + ":".join(words[at + n:]))[:39 if kind == 1 else 60]


PEOPLE = list(csv.DictReader(open(os.path.join(GEN, "FakeNameGenerator.com_3000.csv"), encoding="utf-8-sig")))


def person():
    p = R.choice(PEOPLE)
    return p["GivenName"] + " " + p["Surname"]


def phone():
    if R.random() < 0.8:
        return fill(R.choice(PHONES))
    p = R.choice(PEOPLE)
    return "+" + p["TelephoneCountryCode"] + " " + p["TelephoneNumber"].lstrip("0")


def home_phone():
    return R.choice(PEOPLE)["TelephoneNumber"]


def address():
    p = R.choice(PEOPLE)
    return "%s, %s %s" % (p["StreetAddress"], p["ZipCode"], p["City"])


KINDS = {"email": email, "phone": phone, "card": card, "iban": iban, "ip": ip}
SLOTS = {"email": "email", "phone": "phone_number", "card": "credit_card_number", "iban": "iban", "ip": "ip_address"}
TEMPLATES = [t.strip() for t in open(os.path.join(GEN, "templates.txt"), encoding="utf-8", errors="replace") if t.strip()]
BARE = ("%s", "it's %s thanks", "%s - can you check?", "my %s", "use %s instead of the old one", "(%s)", "please note: %s.", "%s, as I said", "hi\n\n%s\n\nregards")
OTHERS = {"person": person, "address": address, "organization": lambda: "Acme", "city": lambda: R.choice(PEOPLE)["City"], "date_time": lambda: "yesterday"}


def sentence(kind, value):
    """A presidio template whose only slot of the five kinds is this kind; one time in three no more than a few words."""
    fitting = [t for t in TEMPLATES if "{{%s}}" % SLOTS[kind] in t and not any("{{%s}}" % s in t for k, s in SLOTS.items() if k != kind)]
    if R.random() < 1 / 3 or not fitting:
        return R.choice(BARE) % value
    text = R.choice(fitting)
    return re.sub(r"\{\{(\w+)\}\}", lambda m: value if m[1] == SLOTS[kind] else OTHERS.get(m[1], lambda: "some")(), text)


def spelled(text):
    words = "zero one two three four five six seven eight nine".split()
    return " ".join(words[int(c)] if c in D else c for c in text if c in D or c == "+")


OBFUSCATED = {
    "e-mail with (at) and (dot)": lambda: email().replace("@", R.choice((" (at) ", " [at] ", " AT "))).replace(".", R.choice((" dot ", "[dot]", "(dot)"))),
    "e-mail with spaces": lambda: " ".join("%s@%s.com" % (R.choice(NAMES), R.choice(HOSTS))),
    "phone in words": lambda: spelled(fill("07dddddddddd")),
    "phone with a sign after each digit": lambda: ".".join(fill("07ddddddddd")),
    "phone as at home, any of 37 countries": home_phone,
    "card with letters for digits (O, l)": lambda: card().replace("0", "O").replace("1", "l"),
    "card split in two": lambda: (lambda c: c[:8] + " and then " + c[8:])(luhn("4" + digits(14))),
    "IP in words": lambda: " dot ".join(str(R.randrange(1, 256)) for _ in range(4)),
    "a name": person, "a street address": address}

heard = set()


class Upstream(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        heard.update(re.findall(r"#(\d+)#", json.dumps(body["messages"])))
        out = json.dumps({"choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "ok"}}],
                          "usage": {"prompt_tokens": 1, "completion_tokens": 1}}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(out)))
        self.end_headers()
        self.wfile.write(out)

    def log_message(self, *args):
        pass


def leaving(texts):
    """Which of the texts reach the upstream.  A tag of letters and a number of three digits in brackets tells them apart."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    out = []
    with tempfile.TemporaryDirectory() as home:
        with open(os.path.join(home, "grid.yaml"), "w") as f:
            f.write("embedded: false\npolicy: {privacy: {pii: local}}\ncache: {exact: 0}\nupstreams: [{name: up, model: m, base_url: \"http://127.0.0.1:%d/v1\"}]\n" % server.server_port)
        for i in range(0, len(texts), 900):
            part = texts[i:i + 900]
            heard.clear()
            lines = "\n".join(" ".join(t.split("\n")) + " #%d#" % k for k, t in enumerate(part))
            subprocess.run([os.environ["NANOGRID"], "run", "--task", "generate", "--lines", "--json"], input=lines + "\n", capture_output=True, text=True,
                           env=dict(os.environ, NANOGRID_HOME=home))
            out += [str(k) in heard for k in range(len(part))]
    server.shutdown()
    return out


def main():
    control = [l.rstrip("\n").split("\t")[-1] for l in open(os.path.join(DATA, "tagmynews", "test.tsv"), encoding="utf-8")][1:901]
    control += [l.rstrip("\n").split("\t")[-1] for l in open(os.path.join(DATA, "clinc150", "test.tsv"), encoding="utf-8")][1:901]
    sums = [json.loads(l)["question"] for l in open(os.path.join(DATA, "gsm8k", "test.jsonl"), encoding="utf-8")][:900]
    for name, texts in (("headlines and requests", control), ("sums in words (GSM8K)", sums)):
        arrived = leaving(texts)
        print("control: %d of %d %s left" % (sum(arrived), len(arrived), name))
        if os.environ.get("SHOW"):
            print([t for t, a in zip(texts, arrived) if not a][:20])
    print("\n| kind | texts | left |\n|---|--:|--:|")
    total = 0
    for kind in KINDS:
        texts = [sentence(kind, KINDS[kind]()) for _ in range(N // 5)]
        left = leaving(texts)
        total += sum(left)
        print("| %s | %d | %d |" % (kind, len(left), sum(left)), flush=True)
        if os.environ.get("SHOW"):
            for t in [t for t, l in zip(texts, left) if l][:int(os.environ["SHOW"])]:
                print("   ", t)
    print("| all | %d | %d |\n\n| form | left, of 500 |\n|---|--:|" % (N // 5 * 5, total))
    for name, make in OBFUSCATED.items():
        left = leaving([R.choice(BARE) % make() for _ in range(500)])
        print("| %s | %.1f %% |" % (name, 100 * sum(left) / len(left)), flush=True)
    return total > 0


if __name__ == "__main__":
    sys.exit(main())
