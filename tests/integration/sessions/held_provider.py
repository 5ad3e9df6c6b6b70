"""A provider on loopback that keeps every request waiting until it is told to answer."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

_WAIT_S = 60
_ANSWER = {
    "id": "chatcmpl-held",
    "object": "chat.completion",
    "created": 1,
    "model": "held",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "At last."}}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
}


class HeldProvider:
    """OpenAI chat; `arrived` is set when a request came in, `answer` lets it and all that follow go."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self.answer = threading.Event()
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                provider.arrived.set()
                provider.answer.wait(_WAIT_S)
                body = json.dumps(_ANSWER).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def hold(self) -> None:
        """Keep what comes from now on waiting."""
        self.arrived.clear()
        self.answer.clear()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.answer.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
