"""The expert router learns from feedback: a version is made when it is better on what was held out, it moves decisions
that were torn and none that were sure, a restart keeps it, replay sees it, and feedback that turns round takes it back."""
import os, sys, tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
import json, subprocess
from checks import check
from served import Served

GRID = "router: {model: nanogrid/router-en, learn: true}\ncache: {exact: 0}\n"
THINGS = ["printer", "coffee machine", "lift", "kettle", "scanner", "door", "heater", "shredder", "lamp", "fan", "projector", "copier",
          "phone line", "monitor", "keyboard", "parking gate", "fridge", "window", "desk", "tap", "radiator", "camera", "router", "boiler",
          "table", "chair", "sink", "oven", "toaster", "alarm", "elevator", "ceiling", "carpet", "toilet", "freezer", "vending machine",
          "wall clock", "bookshelf", "mirror", "cable", "battery", "speaker", "microphone", "tablet", "stairs", "balcony", "curtain", "water cooler"]
PLAIN = ["stocks fall as oil prices rise", "yankees win again in the ninth", "please freeze my card", "how do i change my pin",
         "a gorgeous, witty, seductive movie", "what is the capital of peru", "play some jazz", "set a timer for ten minutes",
         "the film is dull and far too long", "who wrote hamlet", "book a flight to rome", "new chip doubles battery life"]
LABEL = "report_fraud"  # of the expert intent alone


def texts(pattern):
    return [pattern % x for x in THINGS]


def experts(s, lines):
    r = s.post("/v1/route", {"input": lines, "task": "classify"})
    return [x["expert"] for x in r.json["results"]]


def teach(s, ids, how):
    for i in ids:
        r = s.post("/v1/feedback", dict(how, decision_id=i))
        check("feedback is stored", r.status == 200, r)


def main():
    if not os.path.exists(os.path.join(ROOT, "models", "router-en", "expert.gguf")):
        print("SKIP: no package models/router-en")
        return 77
    home = tempfile.mkdtemp(prefix="ng-learn-")
    taught, unseen = texts("regarding the %s on floor two"), texts("again regarding the %s, on floor seven")
    with Served(GRID, home=home) as s:
        plain = experts(s, PLAIN)
        before = experts(s, unseen).count("intent")
        for _ in range(10):
            s.post("/v1/classify", {"input": PLAIN * 4})
        ids = [x["decision_id"] for x in s.post("/v1/classify", {"input": taught}).json["results"]]
        check("no version yet", s.metric("nanogrid_router_version") == 0)
        teach(s, ids, {"label": LABEL})
        made = s.metric("nanogrid_router_versions_total")
        version = s.metric("nanogrid_router_version")
        check("a version was made", made >= 1 and version >= 1, (made, version))
        after = experts(s, unseen).count("intent")
        check("texts of the kind go where people said", after >= before + 4, (before, after))
        check("the others stay", experts(s, PLAIN) == plain)
        told = s.post("/v1/classify", {"input": unseen[0]}, {"x-nanogrid-debug": "true"}).json["results"][0]
        s.get("/v1/decisions?n=1")  # waits for the records
        said = subprocess.run([s.binary, "explain", "--json", told["decision_id"]], capture_output=True, text=True,
                              env=dict(os.environ, NANOGRID_HOME=home)).stdout
        check("explain names the version", json.loads(said)["router_version"] == version, said)
    with Served(GRID, home=home) as s:
        check("a restart keeps it", s.metric("nanogrid_router_version") == version)
        check("and what it does", experts(s, unseen).count("intent") == after)
        s.get("/v1/decisions?n=1")  # waits for the records
        replay = [subprocess.run([s.binary, "replay", "--json"], capture_output=True, env=dict(os.environ, NANOGRID_HOME=home)).stdout
                  for _ in range(2)]
        check("replay is the same bytes twice and names the version", replay[0] == replay[1] and
              json.loads(replay[0])["router_version"] == version, replay[0][:300])
        teach(s, ids, {"correct": True})  # the last word: the first answers were right after all
        check("it is taken back", s.metric("nanogrid_router_rollbacks_total") >= 1 and experts(s, unseen).count("intent") <= before + 1,
              (s.metric("nanogrid_router_version"), experts(s, unseen).count("intent")))
        check("the versions stay", os.path.exists(os.path.join(home, "router", "delta-%d.gguf" % version)))
    with open(os.path.join(home, "router", "current"), "w") as f:
        f.write("%d\n" % version)
    with open(os.path.join(home, "router", "delta-%d.gguf" % version), "r+b") as f:
        f.truncate(100)
    with Served(GRID, home=home) as s:
        check("a damaged version is left out", s.metric("nanogrid_router_version") == 0 and experts(s, PLAIN) == plain)
    subprocess.run(["rm", "-r", home])
    return check.done()


sys.exit(main())
