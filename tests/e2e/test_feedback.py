#!/usr/bin/env python3
"""POST /v1/feedback: what is taken, what is refused, where it shows."""
import json, os, subprocess, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import check
from served import Served



def main():
    with Served() as s:
        asked = s.post("/v1/extract", {"input": "mail bob@example.com"})
        decision = asked.headers["x-nanogrid-decision-id"]
        r = s.post("/v1/feedback", {"decision_id": decision, "correct": False, "comment": "a name is missing"})
        check("stored", r.status == 200 and r.json["stored"] and r.json["correct"] is False, r)
        one = s.get("/v1/decisions/" + decision).json
        check("one decision shows it", one["feedback"]["comment"] == "a name is missing", one)
        many = s.get("/v1/decisions?n=1").json["data"]
        check("the list shows it", many[0]["feedback"]["correct"] is False, many)
        bad = [({"decision_id": decision}, 400), ({"correct": True}, 400), ({"decision_id": decision, "correct": 1}, 400),
               ({"decision_id": decision, "correct": True, "stars": 5}, 400), ({"decision_id": "x" * 99, "correct": True}, 404),
               ({"decision_id": "01M7Y5Z4540000007F39221YGX", "correct": True}, 404),
               ({"decision_id": decision, "label": "email"}, 400), ({"decision_id": decision, "label": ""}, 400),
               ({"decision_id": decision, "correct": True, "comment": "x" * 3000}, 400), ({"decision_id": 7, "correct": True}, 400)]
        for body, status in bad:
            r = s.post("/v1/feedback", body)
            check("refused: %s" % json.dumps(body)[:60], r.status == status and r.error["message"], r)
        text = s.get("/metrics").body.decode()
        check("counted", 'nanogrid_feedback_total{verdict="wrong"} 1' in text, text[-900:])
        told = subprocess.run([s.binary, "explain", decision], capture_output=True, text=True,
                              env=dict(os.environ, NANOGRID_HOME=s.home)).stdout
        check("explain tells it", "feedback    wrong: a name is missing" in told, told)
    return check.done()


sys.exit(main())
