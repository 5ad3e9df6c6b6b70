"""The ingress meter around an application of the test's own, spoken to by plain ASGI calls."""

from __future__ import annotations

import asyncio
import itertools
import json
import resource
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from tests.unit.gateway.credentials import KEY, Clock, Credentials, scope_of

from agentdyno.core.exchange import Answered, Made, SpoolRecord
from agentdyno.gateway.admission import Admission
from agentdyno.gateway.ingress import IngressMeter
from agentdyno.gateway.telemetry import Telemetry
from agentdyno.store.credentials import CredentialScope
from agentdyno.store.spool import SpoolWriter, read_blocks

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
RESPONSES = "/v1/responses"
GEMINI = "/v1beta/models/hello:generateContent"
GEMINI_STREAM = "/v1beta/models/hello:streamGenerateContent"
BEARER = (b"authorization", f"Bearer {KEY}".encode())


@dataclass
class Heard:
    """What a client got."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    records_at_end: int | None = None
    """Spool records that were written when the last byte came."""

    def json(self) -> Any:
        return json.loads(self.body)


class Bench:
    """A gateway whose LiteLLM is `app`."""

    def __init__(self, folder: Path, app: ASGIApp, credential: CredentialScope | None = None) -> None:
        self.folder = folder
        self.credentials = Credentials(scope_of(KEY) if credential is None else credential)
        self.clock = Clock()
        self.spool = SpoolWriter(folder, "gw_1")
        self.telemetry = Telemetry()
        numbers = itertools.count(1)
        self.meter = IngressMeter(
            app,
            Admission(self.credentials.look_up, self.clock),
            self.spool,
            self.telemetry,
            lambda at_us: f"req_{next(numbers)}",
            self.clock,
            frozenset({"api_base", "provider_specific_header"}),
            {},
        )

    def records(self) -> list[SpoolRecord]:
        """Everything in the spool but the rows that are made of it."""
        decoder = msgspec.json.Decoder(SpoolRecord)
        blocks = read_blocks(self.folder / "gw_1", ended=False, limit_bytes=2**30)
        records = (decoder.decode(line) for block in blocks for line in block.lines)
        return [record for record in records if not isinstance(record, Made)]

    def answered(self) -> Answered:
        """The only record of an answer."""
        (record,) = [record for record in self.records() if isinstance(record, Answered)]
        return record

    def call(
        self,
        method: str = "POST",
        path: str = CHAT,
        body: bytes | Sequence[bytes] = b'{"model":"hello"}',
        headers: Sequence[tuple[bytes, bytes]] = (BEARER,),
        query: bytes = b"",
        before_last_part: Callable[[], Awaitable[None]] | None = None,
        stays: bool = True,
    ) -> Heard:
        """One request. A client that does not stay is gone as soon as its body is sent."""
        heard = Heard()
        parts = [body] if isinstance(body, bytes) else list(body)

        async def receive() -> Message:
            if parts:
                if len(parts) == 1 and before_last_part is not None:
                    await before_last_part()
                part = parts.pop(0)
                return {"type": "http.request", "body": part, "more_body": bool(parts)}
            if stays:
                await asyncio.Event().wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                heard.status = message["status"]
                heard.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                heard.body += message.get("body", b"")
                if not message.get("more_body", False):
                    heard.records_at_end = len(self.records())

        sent = {"path": path, "raw_path": quote(path).encode(), "query_string": query, "headers": list(headers)}
        scope: Scope = {"type": "http", "method": method, **sent}
        asyncio.run(self.meter(scope, receive, send))
        return heard


class Inner:
    """An application that keeps what it was asked, and answers as it is told."""

    def __init__(self, *parts: bytes, status: int = 200, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self._parts = parts or (b"{}",)
        self._status = status
        self._headers = list(headers) or [(b"content-type", b"application/json")]
        self.scope: Scope = {}
        self.body = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope, more = scope, True
        while more:
            message = await receive()
            self.body += message.get("body", b"")
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": self._status, "headers": self._headers})
        for part in self._parts[:-1]:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": self._parts[-1], "more_body": False})


class FullDisk:
    """While entered, no file of this process may grow: the system refuses as on a disk without room."""

    def __enter__(self) -> None:
        self._limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, self._limits[1]))

    def __exit__(self, *_: object) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._limits)
