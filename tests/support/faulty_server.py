"""A scripted OpenAI endpoint for tests: each request takes the next behaviour of the script (the last one stays).

    with FaultyServer(["500", "hang", "reset", "nonsense", "slow:0.2:text", "text:hello"]) as s:
        s.url         "http://127.0.0.1:PORT/v1"
        s.requests    the JSON bodies seen so far
"""
import http.server, json, socket, struct, threading, time


class FaultyServer:
    def __init__(self, script):
        self.script, self.requests, self.headers, self.lock = list(script), [], [], threading.Lock()
        self.stopping = threading.Event()

    def __enter__(self):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                with outer.lock:
                    outer.requests.append(json.loads(body))
                    outer.headers.append(dict(self.headers))
                    what = outer.script.pop(0) if len(outer.script) > 1 else outer.script[0]
                outer.behave(self, what, outer.requests[-1])

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *args):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = "http://127.0.0.1:%d/v1" % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *args):
        self.stopping.set()
        self.server.shutdown()
        self.server.server_close()

    def behave(self, h, what, request):
        kind, _, rest = what.partition(":")
        if kind == "hang":
            self.stopping.wait(60)
            h.close_connection = True
        elif kind == "reset":
            h.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            h.close_connection = True
            h.connection.close()
        elif kind == "500":
            self.reply(h, 500, json.dumps({"error": {"message": "broken on purpose"}}))
        elif kind == "nonsense":
            self.reply(h, 200, "<html>this is not JSON</html>")
        elif kind == "slow":
            seconds, _, text = rest.partition(":")
            time.sleep(float(seconds))
            self.say(h, text, request)
        else:
            self.say(h, rest, request)

    def say(self, h, text, request):
        usage = {"prompt_tokens": 20, "completion_tokens": len(text.split()), "total_tokens": 20 + len(text.split())}
        if not request.get("stream"):
            self.reply(h, 200, json.dumps({"id": "x", "object": "chat.completion", "model": "scripted", "choices": [
                {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}], "usage": usage}))
            return
        chunks = [{"choices": [{"index": 0, "delta": {"content": " " * (i > 0) + w}}]} for i, w in enumerate(text.split())]
        chunks += [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, {"choices": [], "usage": usage}]
        self.reply(h, 200, "".join("data: %s\n\n" % json.dumps(c) for c in chunks) + "data: [DONE]\n\n", "text/event-stream")

    def reply(self, h, status, body, kind="application/json"):
        data = body.encode()
        h.send_response(status)
        h.send_header("Content-Type", kind)
        h.send_header("Content-Length", str(len(data)))
        h.end_headers()
        h.wfile.write(data)
