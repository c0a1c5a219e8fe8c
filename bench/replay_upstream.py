"""replay_upstream.py: a higher tier that answers from what it is told, with a declared latency; for benches.

    with Replay(lambda request: "the answer", seconds=0.3) as up:
        up.url, up.prompt_tokens, up.completion_tokens      four tokens to three words"""
import os, sys, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "support"))
from faulty_server import FaultyServer
import json


class Replay(FaultyServer):
    def __init__(self, answer, seconds=0.0):
        super().__init__(["replay"])
        self.answer, self.seconds, self.prompt_tokens, self.completion_tokens = answer, seconds, 0, 0

    def behave(self, h, what, request):
        time.sleep(self.seconds)
        self.say(h, self.answer(request), request)

    def say(self, h, text, request):
        words = sum(len(m["content"].split()) for m in request["messages"])
        usage = {"prompt_tokens": -(-words * 4 // 3), "completion_tokens": -(-len(text.split()) * 4 // 3)}
        usage["total_tokens"] = sum(usage.values())
        with self.lock:
            self.prompt_tokens += usage["prompt_tokens"]
            self.completion_tokens += usage["completion_tokens"]
        if not request.get("stream"):
            self.reply(h, 200, json.dumps({"id": "x", "object": "chat.completion", "model": "replay", "choices": [
                {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}], "usage": usage}))
            return
        chunks = [{"choices": [{"index": 0, "delta": {"content": text}}]}, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
                  {"choices": [], "usage": usage}]
        self.reply(h, 200, "".join("data: %s\n\n" % json.dumps(c) for c in chunks) + "data: [DONE]\n\n", "text/event-stream")
