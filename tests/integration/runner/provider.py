"""A provider on loopback that outlives every stand: it logs what it was asked, and is ill when a test says so."""

from __future__ import annotations

import itertools
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

INPUT_TOKENS, OUTPUT_TOKENS = 7, 3
"""Of every answer."""


class Served(NamedTuple):
    """One request that came in."""

    call: str
    """What the harness called it: its session's id and a number."""
    model: str
    request_id: str
    status: int


class Provider:
    """OpenAI chat. The call of a request is the text of its last message."""

    def __init__(self) -> None:
        self.log: list[Served] = []
        self.ill: int | None = None
        """The status that every request is refused with from now on; None while it is well."""
        self.ill_turns: list[int] = []
        """Statuses that the next requests are refused with, and no others."""
        self.pause_s = 0.0
        """Before each answer."""
        self._numbers = itertools.count(1)
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                provider._answer(self)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["content-length"])))
        status = self.ill_turns.pop(0) if self.ill_turns else self.ill or 200
        request_id = f"prov-{next(self._numbers)}"
        self.log.append(Served(body["messages"][-1]["content"], body["model"], request_id, status))
        time.sleep(self.pause_s)
        answer = json.dumps(_answer(body["model"]) if status == 200 else _REFUSAL).encode()
        handler.send_response(status)
        for name, value in (
            ("content-type", "application/json"),
            ("content-length", str(len(answer))),
            ("x-request-id", request_id),
        ):
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(answer)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


_REFUSAL = {"error": {"message": "not now", "type": "server_error", "code": "overloaded"}}


def _answer(model: str) -> dict[str, Any]:
    usage = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS}
    message = {"role": "assistant", "content": "Well."}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {**usage, "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS},
    }
