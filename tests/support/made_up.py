"""made_up.py: texts for tests of training.

    from made_up import texts
    rows = texts(300, seed=1)          [(text, label), ..]"""
import random


def texts(n, seed):
    """Words of letters; the label is which of a, b, c begins the text."""
    rng = random.Random(seed)
    rows = []
    for _ in range(n):
        first = rng.choice("abc")
        rows.append((first + "".join(rng.choice("defgh ") for _ in range(rng.randint(3, 20))), {"a": "x", "b": "y", "c": "z"}[first]))
    return rows
