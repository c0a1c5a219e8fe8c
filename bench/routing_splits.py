"""routing_splits.py: learned escalation on RouteLLM's outcome tables (data set `routing`), over random halves of MMLU's subjects.

    NANOGRID=build/nanogrid NANOGRID_DATA=.. python3 bench/routing_splits.py [SPLITS] [FIRST_SEED]

Each split trains recipes/routing.yaml's model on half of the 57 subjects and tests it on the other half, then the other way
round; prints a line each with APGR (random: 0.5), the share that must go to the strong model for half and for 80 % of the gap,
and the same for GSM8K, of which nothing was trained on; last the means."""
import json, os, random, re, subprocess, sys, tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WEAK, STRONG = "mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"
VALUES = (("fix", "False", "True"), ("harm", "True", "False"), ("both", "True", "True"), ("neither", "False", "False"))


def sources(file, subjects, hash_keep=""):
    where = ', "subject=%s"' % "|".join(subjects) if subjects else ""
    return "\n".join('    - {file: routing/%s, text: prompt, value: %s, where: ["%s=%s", "%s=%s"%s]%s}'
                     % (file, v, WEAK, w, STRONG, s, where, hash_keep) for v, w, s in VALUES)


def recipe(train, test):
    with open(os.path.join(ROOT, "recipes", "routing.yaml")) as f:
        text = f.read()
    tail = text[text.index("\nfeatures:"):]
    return ("name: routing\ntask: classify\nduplicates: drop\nlabels: [both, fix, harm, neither]\ndata:\n  train:\n"
            + sources("mmlu_outcomes.tsv", train, ", hash: {of: 10, keep: [1, 2, 3, 4, 5, 6, 7, 8, 9]}") + "\n  dev:\n"
            + sources("mmlu_outcomes.tsv", train, ", hash: {of: 10, keep: [0]}") + "\n  test:\n" + test + tail)


def main():
    splits, first = int((sys.argv + ["10"])[1]), int((sys.argv + ["", "100"])[2] or 100)
    with open(os.path.join(os.environ["NANOGRID_DATA"], "routing", "mmlu_outcomes.tsv")) as f:
        subjects = sorted({line.split("\t")[0] for line in f if not line.startswith("subject\t")})
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        def run(*args):
            return subprocess.run([os.environ["NANOGRID"], *args], capture_output=True, text=True, check=True).stdout

        def measure(train, test):
            path = os.path.join(folder, "r.yaml")
            with open(path, "w") as f:
                f.write(recipe(train, test))
            return path
        for seed in range(first, first + splits):
            order = list(subjects)
            random.Random(seed).shuffle(order)
            for half in (0, 1):
                train, test = sorted(order[half::2]), sorted(order[1 - half::2])
                run("train", measure(train, sources("mmlu_outcomes.tsv", test)), "--out", folder)
                e = json.loads(run("eval", os.path.join(folder, "r.yaml"), "--dir", folder, "--json"))
                g = json.loads(run("eval", measure(train, sources("gsm8k_outcomes.jsonl", None)), "--dir", folder, "--json"))
                row = [e["escalation"][k] for k in ("apgr", "cpt50", "cpt80", "small", "large", "at_30", "random_at_30")]
                rows.append(row + [g["escalation"]["apgr"], e["latency_ms"]["p99"]])
                print("seed %d.%d  " % (seed, half) + "  ".join("%.3f" % x for x in rows[-1]), flush=True)
    print("columns: MMLU apgr, cpt50, cpt80, weak, strong, at 30 %, random at 30 %; GSM8K apgr; p99 ms")
    print("mean       " + "  ".join("%.3f" % (sum(c) / len(c)) for c in zip(*rows)))
    print("halves with apgr > 0.603: %d of %d" % (sum(r[0] > 0.603 for r in rows), len(rows)))


main()
