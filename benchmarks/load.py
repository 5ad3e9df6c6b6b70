"""A client that costs little: chat completions over raw sockets, timed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import NamedTuple

from stub_upstream import FIRST_TOKEN

_FIRST_TOKEN = FIRST_TOKEN.encode()


class Target(NamedTuple):
    """A gateway to ask."""

    host: str
    port: int
    key: str
    model: str

    def request(self, *, streamed: bool) -> bytes:
        """The bytes of one chat completion request."""
        message = {"role": "user", "content": "How fast is it? " * 20}
        body = json.dumps({"model": self.model, "messages": [message], "stream": streamed}).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: {self.host}:{self.port}\r\n"
            f"authorization: Bearer {self.key}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


class Timing(NamedTuple):
    """One answer: when its first token came, and its last byte."""

    first_token_ms: float
    end_ms: float


class _Seen(NamedTuple):
    """When the client saw what, on its own clock."""

    first_token_ns: int | None
    end_ns: int


class GaveNoAnswer(Exception):
    """A gateway died under load, or answered with something else than 200."""


class _Connection(asyncio.Protocol):
    """One kept-alive connection with one request at a time."""

    _first_token_ns: int | None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    async def ask(self, request: bytes) -> Timing:
        """Send a request and wait for the whole answer. Raises GaveNoAnswer unless it is a 200."""
        self._received = bytearray()
        self._first_token_ns = None
        self._answered: asyncio.Future[_Seen] = asyncio.get_running_loop().create_future()
        started_ns = time.perf_counter_ns()
        self._transport.write(request)
        try:
            seen = await self._answered
        except ConnectionError as error:
            raise GaveNoAnswer(str(error)) from error
        if not self._received.startswith(b"HTTP/1.1 200") or seen.first_token_ns is None:
            raise GaveNoAnswer(f"{bytes(self._received[:200])!r}")
        return Timing((seen.first_token_ns - started_ns) / 1e6, (seen.end_ns - started_ns) / 1e6)

    def data_received(self, data: bytes) -> None:
        self._received += data
        now_ns = time.perf_counter_ns()
        if self._first_token_ns is None and _FIRST_TOKEN in self._received:
            self._first_token_ns = now_ns
        if not self._answered.done() and self._is_whole():
            self._answered.set_result(_Seen(self._first_token_ns, now_ns))

    def _is_whole(self) -> bool:
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator:
            return False
        _, found, length = head.lower().partition(b"content-length:")
        return len(body) >= int(length.partition(b"\r\n")[0]) if found else body.endswith(b"0\r\n\r\n")

    def connection_lost(self, error: Exception | None) -> None:
        if not self._answered.done():
            self._answered.set_exception(error or ConnectionResetError("the gateway closed the connection"))

    def close(self) -> None:
        """Hang up."""
        self._transport.close()


class Block(NamedTuple):
    """A number of answers in a row, over so many connections at once."""

    timings: list[Timing]
    requests_per_s: float


@contextlib.asynccontextmanager
async def _connected(target: Target, connections: int) -> AsyncIterator[list[_Connection]]:
    loop = asyncio.get_running_loop()
    opened = [(await loop.create_connection(_Connection, target.host, target.port))[1] for _ in range(connections)]
    try:
        yield opened
    finally:
        for connection in opened:
            connection.close()


async def ask_block(target: Target, requests: int, connections: int = 1, *, streamed: bool = False) -> Block:
    """Send `requests`, each connection its next one when the last is answered."""
    request = target.request(streamed=streamed)
    left = iter(range(requests))
    timings: list[Timing] = []

    async def work(connection: _Connection) -> None:
        timings.extend([await connection.ask(request) for _ in left])

    async with _connected(target, connections) as opened:
        started = time.perf_counter()
        await asyncio.gather(*(work(connection) for connection in opened))
        elapsed_s = time.perf_counter() - started
    return Block(timings, requests / elapsed_s)
