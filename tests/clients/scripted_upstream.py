"""A scripted OpenAI-compatible server: the model's name picks what it does. Standard library only.

GET /_log answers what was asked of it: path, headers, the body's bytes, and when a client left early.
"""

import base64
import json
import select
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOG: list[dict] = []
LOCK = threading.Lock()

USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
TOOL_CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Graz"}'}}


def whole(model, message=None, finish="stop"):
    message = message or {"role": "assistant", "content": "one two three"}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    answer = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice]}
    if model != "mute":
        answer["usage"] = USAGE
    return odd(answer)


def chunk(model, delta, finish=None):
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return odd({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [choice]})


def odd(answer):
    """With a number as no parser would write it again, in a field that nobody knows."""
    return json.dumps(answer)[:-1] + ', "x_price": 1.50}'


def vectors(request):
    inputs = [request["input"]] if isinstance(request["input"], str) else request["input"]
    data = []
    for index in range(len(inputs)):
        vector = [index + 1.0, -2.0]
        if request.get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack("<2f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": vector})
    return {"object": "list", "model": request["model"], "data": data, "usage": {"prompt_tokens": 6, "total_tokens": 6}}


def error(message, kind="server_error", code=None):
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


class Upstream(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def send_json(self, status, text, headers=()):
        body = text.encode() if isinstance(text, str) else json.dumps(text).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/_log":
            with LOCK:
                return self.send_json(200, LOG)
        if self.path == "/v1/models":
            data = [{"id": m, "object": "model", "created": 1, "owned_by": "script"} for m in ("words", "tools")]
            return self.send_json(200, {"object": "list", "data": data})
        return self.send_json(404, error("no such path"))

    def do_POST(self):
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        entry = {"path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}, "body": raw.decode(), "left_at": None}
        with LOCK:
            LOG.append(entry)
        request = json.loads(raw)
        if self.path == "/v1/embeddings":
            return self.send_json(200, vectors(request))
        model, streamed = request["model"], request.get("stream", False)
        try:
            self.play(model, streamed, request, entry)
        except (BrokenPipeError, ConnectionResetError):
            entry["left_at"] = time.time()
            self.close_connection = True

    def play(self, model, streamed, request, entry):
        if model == "busy":
            return self.send_json(429, error("slow down", "rate_limit_error"), [("retry-after", "7")])
        if model == "locked":
            return self.send_json(401, error("Incorrect API key provided: " + self.headers.get("authorization", "")))
        if model == "slow":
            time.sleep(1)
        if model == "agent":
            # Asks for the weather, and talks when it was told.
            model = "words" if request["messages"][-1]["role"] == "tool" else "tools"
        if model == "broken":
            return self.send_json(500, "<html>not even JSON</html>")
        if model == "picky":
            message = "temperature is too high, says " + self.headers.get("authorization", "")
            return self.send_json(400, error(message, "invalid_request_error", "bad_temperature"))
        if not streamed:
            if model == "tools":
                return self.send_json(200, whole(model, {"role": "assistant", "content": None, "tool_calls": [TOOL_CALL]}, "tool_calls"))
            if model == "silent":
                return self.hang(entry)
            if model == "schema":
                return self.send_json(200, whole(model, {"role": "assistant", "content": '{"city":"Graz"}'}))
            return self.send_json(200, whole(model))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        if model == "tools":
            first = {**TOOL_CALL, "index": 0, "function": {"name": "weather", "arguments": ""}}
            self.event(chunk(model, {"role": "assistant", "tool_calls": [first]}))
            for part in ('{"city":', '"Graz"}'):
                self.event(chunk(model, {"tool_calls": [{"index": 0, "function": {"arguments": part}}]}))
            self.event(chunk(model, {}, "tool_calls"))
            return self.close_stream(request)
        for word in ("one ", "two ", "three"):
            self.event(chunk(model, {"content": word}))
            time.sleep(0.15)
        if model == "snaps":
            self.event(error("the GPU is on fire, says " + self.headers.get("authorization", "")))
            return self.end()
        if model == "endless":
            while True:
                # Whoever leaves is noticed by the next write at the latest.
                self.event(chunk(model, {"content": "more "}))
                time.sleep(0.05)
        if model == "cut":
            return self.end()
        if model == "silent":
            return self.hang(entry)
        self.event(chunk(model, {}, "stop"))
        return self.close_stream(request)

    def event(self, data):
        text = f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()
        self.wfile.write(f"{len(text):x}\r\n".encode() + text + b"\r\n")
        self.wfile.flush()

    def close_stream(self, request):
        if (request.get("stream_options") or {}).get("include_usage") and request["model"] != "mute":
            self.event({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": request["model"], "choices": [], "usage": USAGE})
        self.event("[DONE]")
        self.end()

    def end(self):
        self.wfile.write(b"0\r\n\r\n")

    def hang(self, entry):
        """Says nothing more until the client leaves; notes when that was."""
        self.close_connection = True
        until = time.time() + 30
        while time.time() < until:
            if select.select([self.connection], [], [], 0.02)[0] and not self.connection.recv(1):
                entry["left_at"] = time.time()
                return


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Upstream)
    server.daemon_threads = True
    server.serve_forever()
