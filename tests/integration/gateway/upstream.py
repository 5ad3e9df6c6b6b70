"""A provider of the test's own that keeps the headers it got, and one that has no discretion at all."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WORDS = "planted words of an answer"
_ANSWER: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 0,
    "model": "discreet",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": WORDS}}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
}

_CHUNKS: list[dict[str, Any]] = [
    {
        **{name: _ANSWER[name] for name in ("id", "created", "model")},
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": {"role": "assistant", "content": WORDS}, "finish_reason": "stop"}],
    },
    {
        **{name: _ANSWER[name] for name in ("id", "created", "model", "usage")},
        "object": "chat.completion.chunk",
        "choices": [],
    },
]
_MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "discreet",
    "content": [{"type": "text", "text": WORDS}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 5, "output_tokens": 2},
}


_RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 0,
    "status": "completed",
    "model": "discreet",
    "output": [],
    "parallel_tool_calls": False,
    "tool_choice": "auto",
    "tools": [],
    "usage": {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7},
}
_GENERATED: dict[str, Any] = {
    "candidates": [{"finishReason": "STOP", "content": {"role": "model", "parts": [{"text": WORDS}]}}],
    "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 2, "totalTokenCount": 7},
}
_DOCUMENTS = {"/responses": _RESPONSE, "/messages": _MESSAGE, ":generateContent": _GENERATED}


class Upstream:
    """A server on loopback that speaks all surfaces, and streams chats.

    `indiscreet` fails and quotes what it was told, `silent` does not say what it used, every other model answers.
    """

    models = ("discreet", "indiscreet")

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []
        self.bodies: list[dict[str, Any]] = []
        seen, read = self.headers, self.bodies

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                seen.append({name.lower(): value for name, value in self.headers.items()})
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
                read.append(asked)
                if asked["model"] == "indiscreet":
                    told = f"{self.headers['authorization']} is no key of mine; you said {asked['messages']}"
                    error = {"message": told, "type": "invalid_request_error", "code": told}
                    self.answer(asked.get("status", 401), {"error": error})
                elif asked["model"] == "silent":
                    self.answer(200, {name: value for name, value in _ANSWER.items() if name != "usage"})
                elif asked.get("stream"):
                    chunks = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in _CHUNKS)
                    self.send(200, "text/event-stream", chunks + "data: [DONE]\n\n")
                else:
                    found = (answer for ending, answer in _DOCUMENTS.items() if self.path.endswith(ending))
                    self.answer(200, next(found, _ANSWER))

            def do_GET(self) -> None:
                self.answer(200, {"object": "list", "data": []})

            def answer(self, status: int, document: dict[str, Any]) -> None:
                self.send(status, "application/json", json.dumps(document))

            def send(self, status: int, content_type: str, text: str) -> None:
                sent = text.encode()
                self.send_response(status)
                self.send_header("content-type", content_type)
                self.send_header("content-length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)

    def forget(self) -> None:
        """Let what it keeps begin anew."""
        self.headers.clear()
        self.bodies.clear()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Upstream:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
