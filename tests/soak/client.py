"""The soak's client: so many connections, each with one request at a time, and an account of its own of every one."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from tests.integration.gateway.lab import path_of
from tests.soak.errands import NUMBER_HEADER, Errand, errand, own_of

Ending = Literal["answered", "broken_off", "lost", "cut"]
"""How a request ended for the client: a whole HTTP answer; its end before that, or before its head; a hang-up."""
_ANSWER_TIMEOUT_S = 120.0
_RETRY_S = 0.1


class Asked(NamedTuple):
    """One request, as the client knows it."""

    number: int
    ending: Ending
    status: int | None = None
    request_key: str | None = None
    """The call id in the answer's head."""


class Address(NamedTuple):
    """Where the gateway is."""

    host: str
    port: int


@dataclass
class Account:
    """What the client counts, while it goes on."""

    asked: list[Asked] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    """Connections that could not be made, by the exception."""

    @property
    def endings(self) -> Counter[Ending]:
        """How many requests ended how."""
        return Counter(asked.ending for asked in self.asked)


class Client:
    """Asks one request after the other, over all connections, until there are as many as wanted."""

    def __init__(self, address: Address, keys: Mapping[str, Sequence[str]], seed: int, requests: int) -> None:
        self.account = Account()
        self._address = address
        self._keys = keys
        self._seed = seed
        self._numbers: Iterator[int] = iter(range(requests))
        self._stopped = False

    def run(self, connections: int, deadline_s: float) -> None:
        """Ask until all is asked. Raises TimeoutError when that takes longer than the deadline."""
        asyncio.run(self._run(connections, deadline_s))

    def stop(self) -> None:
        """Ask for nothing more. May be called from another thread."""
        self._stopped = True

    async def _run(self, connections: int, deadline_s: float) -> None:
        async with asyncio.timeout(deadline_s), asyncio.TaskGroup() as group:
            for _ in range(connections):
                group.create_task(self._work())

    async def _work(self) -> None:
        """One connection, made anew whenever it was lost."""
        connection: _Connection | None = None
        for number in self._numbers:
            if self._stopped:
                return
            asked = errand(self._seed, number)
            if connection is None or connection.is_over:
                connection = await self._connect()
            request = _request(self._address, asked, own_of(self._keys, asked))
            self.account.asked.append(await connection.ask(asked, request))
        if connection is not None:
            connection.hang_up()

    async def _connect(self) -> _Connection:
        while True:
            if self._stopped:
                raise ConnectionAbortedError("the soak was given up")
            try:
                return _Connection(*await asyncio.open_connection(*self._address))
            except OSError as error:
                self.account.refused[type(error).__name__] += 1
                await asyncio.sleep(_RETRY_S)


class _Head(NamedTuple):
    status: int
    request_key: str | None
    length: int | None
    """Bytes of the body; None where it comes in chunks."""


class _Connection:
    """A kept-alive connection to the gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be asked over it."""
        return self._reader.at_eof() or self._writer.is_closing()

    def hang_up(self) -> None:
        """Close it at once."""
        self._writer.transport.abort()

    async def ask(self, asked: Errand, request: bytes) -> Asked:
        """Send a request; read its answer, or hang up on it. Raises TimeoutError when none comes."""
        head: _Head | None = None
        self._writer.write(request)
        try:
            async with asyncio.timeout(asked.cut_after_s if asked.cut == "before_the_head" else _ANSWER_TIMEOUT_S):
                head = await self._read_head()
            await self._read_body(asked, head)
        except _HungUp:
            ending: Ending = "cut"
        except TimeoutError:
            if asked.cut is None:
                raise
            ending = "cut"
        except (asyncio.IncompleteReadError, ConnectionError):
            ending = "lost" if head is None else "broken_off"
        else:
            return Asked(asked.number, "answered", head.status, head.request_key)
        self.hang_up()
        return Asked(asked.number, ending, *((None, None) if head is None else head[:2]))

    async def _read_head(self) -> _Head:
        line, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (header.partition(":") for header in lines)}
        length = headers.get("content-length")
        key = headers.get("x-litellm-call-id")
        return _Head(int(line.split(" ")[1]), key, None if length is None else int(length))

    async def _read_body(self, asked: Errand, head: _Head) -> None:
        if head.length is not None:
            await self._reader.readexactly(head.length)
            return
        await self._read_chunk()
        if asked.cut == "after_the_first_chunk":
            raise _HungUp
        async with asyncio.timeout(asked.cut_after_s if asked.cut == "mid_stream" else _ANSWER_TIMEOUT_S):
            while await self._read_chunk():
                pass

    async def _read_chunk(self) -> bytes:
        """The next chunk of a body; empty at its end."""
        size = int((await self._reader.readuntil(b"\r\n")).partition(b";")[0], 16)
        return (await self._reader.readexactly(size + 2))[:-2]


class _HungUp(Exception):
    """The client has what it wanted of an answer."""


def _request(address: Address, asked: Errand, key: str) -> bytes:
    """The bytes of a request."""
    body = json.dumps(_body(asked)).encode()
    lines = (
        f"POST {path_of(asked.surface, asked.model, stream=asked.streamed)} HTTP/1.1",
        f"host: {address.host}:{address.port}",
        f"authorization: Bearer {key}",
        f"{NUMBER_HEADER}: {asked.number}",
        "content-type: application/json",
        f"content-length: {len(body)}",
    )
    return "\r\n".join([*lines, "", ""]).encode() + body


def _body(asked: Errand) -> dict[str, Any]:
    text = f"soak request {asked.number}"
    if asked.surface == "gemini":
        return {"contents": [{"role": "user", "parts": [{"text": text}]}]}
    head = {"model": asked.model, "stream": asked.streamed}
    if asked.surface == "openai_responses":
        return {**head, "input": text}
    return {**head, "max_tokens": 200, "messages": [{"role": "user", "content": text}]}
