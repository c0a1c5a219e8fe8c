"""`audit` recomputes what a package's own scores say, and sees a contract that is broken on purpose."""
import json
import os
import struct
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
from checks import attempt, check  # noqa: E402
from gguf_read import read_gguf  # noqa: E402


def write_scores(path, sets):
    """A scores.gguf: {set: [(confidence, correct)]}."""
    keys = [("general.architecture", "nanogrid-scores")]
    for name, rows in sets.items():
        keys += [(f"nanogrid.{name}.confidence", ("f", [c for c, _ in rows])),
                 (f"nanogrid.{name}.correct", ("B", [r for _, r in rows]))]
    out = b"GGUF" + struct.pack("<IQQ", 3, 0, len(keys))
    for key, value in keys:
        out += struct.pack("<Q", len(key)) + key.encode()
        if isinstance(value, str):
            out += struct.pack("<IQ", 8, len(value)) + value.encode()
        else:
            fmt, items = value
            out += struct.pack("<IIQ", 9, {"f": 6, "B": 0}[fmt], len(items))
            out += struct.pack(f"<{len(items)}{fmt}", *items)
    with open(path, "wb") as f:
        f.write(out)


def audit(home, contract, model=None, name="nanogrid/intent"):
    grid = os.path.join(home, "grid.yaml")
    name = "m" if model else name
    with open(grid, "w") as f:
        f.write(f"models: {{m: {{path: {model}}}}}\n" if model else "")
        f.write(f"experts:\n  - {{name: intent, task: classify, model: {name}, contract: {{max_error: {contract}}}}}\n")
    p = attempt("audit", "--json", "--grid", grid, NANOGRID_HOME=home)
    out = json.loads(p.stdout) if p.stdout else {}
    rows = {r["source"]: r for r in out.get("routes", []) if r["route"] == "intent"}
    opens = attempt("route", "--grid", grid, "freeze my card", NANOGRID_HOME=home)
    return p.returncode, out, rows, opens


def shipped(home):
    code, out, rows, opens = audit(home, 0.02)
    check("the shipped contract holds", code == 0 and out["held"] and rows["test"]["holds"], out)
    keys, _ = read_gguf(os.path.join(ROOT, "models", "intent", "scores.gguf"))
    t = rows["test"]["threshold"]
    for name in ("calibration", "test"):
        conf, right = keys[f"nanogrid.{name}.confidence"], keys[f"nanogrid.{name}.correct"]
        answered = [r for c, r in zip(conf, right) if c >= t]
        row = rows[name]
        check(f"{name}: n", row["n"] == len(answered), row)
        check(f"{name}: risk", abs(row["risk"] - (1 - sum(answered) / len(answered))) < 1e-6, row)
        check(f"{name}: coverage", abs(row["coverage"] - len(answered) / len(conf)) < 1e-6, row)
        check(f"{name}: the bound is above the risk", row["risk"] < row["upper95"] <= 0.02, row)
    code, out, rows, opens = audit(home, 0.001)
    check("a promise that nothing can keep is exit 1", code == 1 and not out["held"], out)
    check("and says what could be promised", "at best" in rows["test"]["why"], rows)
    check("a grid with it does not open", opens.returncode and "grid.yaml:2:" in opens.stderr, opens.stderr)


def heads(home):
    """Each head of an encoder is judged by its own scores."""
    model = "nanogrid/encoder-en, head: intent"
    code, out, rows, opens = audit(home, 0.1, name=model)
    keys, _ = read_gguf(os.path.join(ROOT, "models", "encoder-en", "intent.scores.gguf"))
    answered = sum(c >= rows["test"]["threshold"] for c in keys["nanogrid.test.confidence"])
    check("the head's contract holds by its own scores", code == 0 and rows["test"]["judged"] and rows["test"]["n"] == answered, out)
    check("a grid with it opens", opens.returncode == 0, opens.stderr)
    code, out, rows, opens = audit(home, 0.1, name="nanogrid/encoder-en") # no head is named, so no scores are found
    check("without them a contract has no evidence", code == 1, out)


def broken(home):
    """A package whose calibration set says 0.5 % and whose test set says 5 %."""
    model = os.path.join(home, "model.gguf")
    with open(os.path.join(ROOT, "models", "intent", "model.gguf"), "rb") as f:
        data = f.read()
    with open(model, "wb") as f:
        f.write(data)
    scores = os.path.join(home, "scores.gguf")
    good = [(0.99, int(i % 200 > 0)) for i in range(2000)]
    bad = [(0.99, int(i % 20 > 0)) for i in range(2000)]
    write_scores(scores, {"calibration": good, "test": good})
    check("the forged package holds", audit(home, 0.02, model)[0] == 0)
    write_scores(scores, {"calibration": good, "test": bad})
    code, out, rows, _ = audit(home, 0.02, model)
    check("a contract broken on the test set is exit 1", code == 1 and not rows["test"]["holds"], out)
    check("and says how", "may be 0.0" in rows["test"]["why"] and rows["test"]["risk"] == 0.05, rows)
    write_scores(scores, {"calibration": good, "test": good[:299]})
    code, out, rows, _ = audit(home, 0.05, model)
    check("299 answers are too few", code == 1 and "too few" in rows["test"]["why"], out)
    write_scores(scores, {"calibration": good})
    code, out, rows, _ = audit(home, 0.02, model)
    check("without a test set the calibration set judges", code == 0 and rows["calibration"]["judged"], out)
    os.unlink(scores)
    code, out, rows, opens = audit(home, 0.02, model)
    check("a contract without evidence is exit 1", code == 1 and rows[None]["n"] == 0, out)
    check("a grid with it does not open", opens.returncode and "grid.yaml:3:" in opens.stderr, opens.stderr)


def misfits(home):
    """Routers and labels that do not belong to the grid are refused with line and reason."""
    def package(name, task, expert):
        folder = os.path.join(home, "packages", name)
        os.makedirs(folder)
        for file, source in (("task.gguf", task), ("expert.gguf", expert)):
            os.symlink(os.path.join(ROOT, "models", source), os.path.join(folder, file))

    def opens(text):
        grid = os.path.join(home, "grid.yaml")
        with open(grid, "w") as f:
            f.write(text)
        return attempt("route", "--grid", grid, "freeze my card", NANOGRID_HOME=home)

    package("no-tasks", "topic/model.gguf", "router-en/expert.gguf")
    package("no-experts", "router-en/task.gguf", "topic/model.gguf")
    package("fits", "router-en/task.gguf", "router-en/expert.gguf")
    p = opens("cache: {exact: 0}\nrouter: {model: no-tasks}\n")
    check("a router of other tasks", p.returncode and "grid.yaml:2: the router 'no-tasks' does not fit" in p.stderr, p.stderr)
    p = opens("router: {model: no-experts}\n")
    check("a router of other experts", p.returncode and "grid.yaml:1: the router 'no-experts' does not fit" in p.stderr, p.stderr)
    check("a router that fits", opens("router: {model: fits}\n").returncode == 0)
    expert = "experts:\n  - {name: topic, task: classify, model: nanogrid/topic, contract: {deadline: {p999_ms: 50, on_miss: %s}}}\n"
    p = opens(expert % "weather")
    check("a safe label that the model lacks", p.returncode and "grid.yaml:2:" in p.stderr and "no label 'weather'" in p.stderr, p.stderr)
    check("one that it has", opens(expert % "world").returncode == 0)


def main():
    if not os.path.exists(os.path.join(ROOT, "models", "intent", "scores.gguf")):
        print("SKIP: no package models/intent")
        return 77
    with tempfile.TemporaryDirectory() as home:
        shipped(home)
    with tempfile.TemporaryDirectory() as home:
        broken(home)
    if os.path.exists(os.path.join(ROOT, "models", "encoder-en", "intent.scores.gguf")):
        with tempfile.TemporaryDirectory() as home:
            heads(home)
    if os.path.exists(os.path.join(ROOT, "models", "router-en", "expert.gguf")):
        with tempfile.TemporaryDirectory() as home:
            misfits(home)
    return check.done()


sys.exit(main())
