"""A provider of the test's own that keeps the headers it got, and one that has no discretion at all."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_ANSWER: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 0,
    "model": "discreet",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Yes."}}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
}


class Upstream:
    """An OpenAI-like server on loopback.

    `indiscreet` fails and quotes what it was told, `silent` does not say what it used, every other model answers.
    """

    models = ("discreet", "indiscreet")

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []
        seen = self.headers

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                seen.append({name.lower(): value for name, value in self.headers.items()})
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if asked["model"] == "indiscreet":
                    told = f"{self.headers['authorization']} is no key of mine; you said {asked['messages']}"
                    error = {"message": told, "type": "invalid_request_error", "code": told}
                    self.answer(asked.get("status", 401), {"error": error})
                elif asked["model"] == "silent":
                    self.answer(200, {name: value for name, value in _ANSWER.items() if name != "usage"})
                else:
                    self.answer(200, _ANSWER)

            def do_GET(self) -> None:
                self.answer(200, {"object": "list", "data": []})

            def answer(self, status: int, document: dict[str, Any]) -> None:
                sent = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)

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
