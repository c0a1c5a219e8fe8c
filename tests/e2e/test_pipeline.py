"""A pipeline over HTTP and the command line: the same answers, its steps on record, told by explain, counted, and left
to their own decisions by replay and usage."""
import json, os, subprocess, sys, tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
from checks import check
from served import Served

GRID = """pipelines:
  - name: triage
    steps:
      - {name: language, task: detect-language, tier: nano}
      - {name: clean, task: extract, redact: true, tier: nano}
      - {name: kind, task: classify, expert: intent, min_confidence: 0.6, fallback: other, when: {step: language, in: [en]}}
      - {name: gist, task: summarize, input: clean, fallback: input}
"""
TEXTS = ["please freeze my bank account, mail bob.smith@example.com", "Wo ist der Bahnhof, bitte? Ich suche ihn seit einer Stunde.",
         "the old hall has tall windows and a stone floor"]


def main():
    if not os.path.exists(os.path.join(ROOT, "models", "intent", "model.gguf")):
        print("SKIP: no packages in models/")
        return 77
    home = tempfile.mkdtemp(prefix="ng-pipeline-")
    env = dict(os.environ, NANOGRID_HOME=home)

    def run(*args):
        return subprocess.run([os.environ["NANOGRID"], *args], capture_output=True, text=True, env=env)
    with Served(GRID, home=home) as s:
        r = s.post("/v1/pipelines/triage", {"input": TEXTS})
        check("all are answered", r.status == 200 and len(r.json["results"]) == 3, r)
        steps = [{x["step"]: x for x in p["steps"]} for p in r.json["results"]]
        check("labels", [x["language"]["label"] for x in steps] == ["en", "de", "en"], r)
        check("redacted", "[email]" in steps[0]["clean"]["text"] and "example.com" not in steps[0]["gist"]["text"], steps[0])
        check("intent", steps[0]["kind"]["label"] == "freeze_account" and steps[0]["kind"]["status"] == "answered", steps[0])
        check("condition", steps[1]["kind"]["status"] == "skipped" and not r.json["results"][1]["degraded"], steps[1])
        check("fallback", steps[2]["kind"]["label"] == "other" and r.json["results"][2]["degraded"], steps[2])
        check("counted", s.metric("nanogrid_pipelines_total") == 3 and s.metric("nanogrid_pipelines_degraded_total") == 1)
        one = s.post("/v1/pipelines/triage", {"input": TEXTS[0]})
        check("one text has a header", one.headers.get("x-nanogrid-decision-id") == one.json["results"][0]["decision_id"], one)
        check("unknown pipeline", s.post("/v1/pipelines/none", {"input": "x"}).status == 404)
        check("unknown field", s.post("/v1/pipelines/triage", {"input": "x", "model": "intent"}).status == 400)
        s.get("/v1/decisions?n=1")  # waits for the records
        told = run("explain", r.json["results"][0]["decision_id"])
        check("explain names the steps' decisions", "pipeline    triage" in told.stdout and
              steps[0]["kind"]["answer"]["decision_id"] in told.stdout, told)
        step = json.loads(run("explain", "--json", steps[0]["kind"]["answer"]["decision_id"]).stdout)
        check("and a step its pipeline", step["pipeline"] == {"name": "triage", "step": "kind",
              "decision_id": r.json["results"][0]["decision_id"]} and step["asked"]["min_confidence"] == 0.6, step)
        check("feedback is for steps", s.post("/v1/feedback", {"decision_id": r.json["results"][0]["decision_id"], "correct": True}).status == 400
              and s.post("/v1/feedback", {"decision_id": steps[0]["kind"]["answer"]["decision_id"], "correct": True}).status == 200)
    p = run("run", "--pipeline", "triage", "--json", TEXTS[0])
    said = {x["step"]: x for x in json.loads(p.stdout)["steps"]}
    check("the command line says the same", all(said[k].get(f) == steps[0][k].get(f) for k in said for f in ("status", "label", "text")), p)
    check("text for people", "clean        please freeze my bank account, mail [email]" in run("run", "--pipeline", "triage", TEXTS[0]).stdout)
    check("lines", len(run("run", "--pipeline", "triage", "--lines", "--json", "a b\nc d").stdout.splitlines()) == 2)
    check("a task beside it is refused", run("run", "--pipeline", "triage", "--task", "classify", "x").returncode == 2)
    check("unknown pipeline", run("run", "--pipeline", "none", "x").returncode == 1)
    again = json.loads(run("replay", "--json").stdout)
    check("replay takes the steps", again["changed"] == 0 and again["replayed"] > 10, again)
    used = json.loads(run("usage", "--json").stdout)
    check("usage counts steps, not pipelines", all(e["expert"] for e in used["experts"]), used)
    subprocess.run(["rm", "-r", home])
    return check.done()


sys.exit(main())
