"""What tests of training on made-up texts share.

    from made_up import check, texts, write
    write(path, text)
    check(ok, "what was expected")        prints and counts what failed
    sys.exit(check.done())"""
import random


class Check:
    def __init__(self):
        self.failures = 0

    def __call__(self, ok, what):
        if not ok:
            self.failures += 1
            print("FAILED:", what)

    def done(self):
        return 1 if self.failures else 0


check = Check()


def write(path, text):
    with open(path, "w") as f:
        f.write(text)


def texts(n, seed):
    """Words of letters; the label is which of a, b, c begins the text."""
    rng = random.Random(seed)
    rows = []
    for _ in range(n):
        first = rng.choice("abc")
        rows.append((first + "".join(rng.choice("defgh ") for _ in range(rng.randint(3, 20))), {"a": "x", "b": "y", "c": "z"}[first]))
    return rows
