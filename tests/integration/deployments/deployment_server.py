"""The stand-in over a real socket, on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from tests.integration.deployments.canned_answers import events
from tests.integration.deployments.litellm_deployment import CALL_TYPES, MODELS, LitellmDeployment, Refused


class DeploymentServer:
    """A deployment on a port of its own, for as long as the context lasts; it can go down and come back."""

    def __init__(self, deployment: LitellmDeployment) -> None:
        self.deployment = deployment
        self.port = 0
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Answer, on the same port as before."""
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self.deployment))
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = None


def _handler(deployment: LitellmDeployment) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, query = self._asked()
            paths: dict[str, Callable[[dict[str, str]], Any]] = {
                "/key/info": deployment.info,
                "/spend/logs": deployment.spend_logs,
                **({"/spend/logs/v2": deployment.spend_log_pages} if deployment.has_pages else {}),
                "/v1/models": lambda _: {"object": "list", "data": [{"id": m, "object": "model"} for m in MODELS]},
            }
            self._answer(path, lambda: paths[path](query) if path in paths else None)

        def do_POST(self) -> None:
            path, _ = self._asked()
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if path in CALL_TYPES:
                self._answer_as_model(path, asked)
                return
            paths = {"/key/generate": deployment.generate, "/key/delete": deployment.delete}
            self._answer(path, lambda: paths[path](asked) if path in paths else None)

        def _asked(self) -> tuple[str, dict[str, str]]:
            split = urlsplit(self.path)
            deployment.asked.append(split.path)
            return split.path, {name: values[-1] for name, values in parse_qs(split.query).items()}

        def _given(self) -> dict[str, str]:
            return {name.lower(): value for name, value in self.headers.items()}

        def _answer(self, path: str, document: Callable[[], Any]) -> None:
            try:
                deployment.caller(self._given(), path)
                found = document()
            except Refused as refused:
                self._send(refused.status, "application/json", json.dumps(refused.document))
                return
            status = 404 if found is None else 200
            self._send(status, "application/json", json.dumps({"detail": "Not Found"} if found is None else found))

        def _answer_as_model(self, path: str, asked: dict[str, Any]) -> None:
            try:
                document = deployment.answer(path, self._given(), asked)
            except Refused as refused:
                self._send(refused.status, "application/json", json.dumps(refused.document))
                return
            if asked.get("stream"):
                self._send(200, "text/event-stream", events(path, document))
            else:
                self._send(200, "application/json", json.dumps(document))

        def _send(self, status: int, content_type: str, text: str) -> None:
            sent = text.encode()
            self.send_response(status)
            self.send_header("content-type", content_type)
            self.send_header("content-length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            pass

    return Handler
