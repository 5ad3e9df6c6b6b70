"""A provider of the soak's own, as a process: four surfaces over raw sockets, and a log of what it served.

    python -m tests.soak.provider --seed 1 --log FILE

It prints its port, and ends when its standard input does. The log has one JSON line for each request for an answer,
written as soon as that is over. Tokens are counted as served: those of a stream that was cut are of what had been sent.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from tests.soak.answers import REQUEST_ID_HEADERS, document_bytes, refusal_bytes, stream_pieces
from tests.soak.errands import Errand, errand

_NUMBER = re.compile(rb"soak request (\d+)")
_STREAM_HEAD = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
_JSON_HEAD = "HTTP/1.1 {} {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n"
_NO_MODELS = b'{"object": "list", "data": []}'


@dataclass
class Served:
    """One request as the provider saw it: a line of its log."""

    request_id: str
    number: int
    surface: str
    model: str
    streamed: bool
    at_us: int
    """When it came in."""
    ended_at_us: int = 0
    status: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    whole: bool = False
    """All of the answer was handed to the network."""
    left: bool = False
    """The other side went away before the answer was over."""


class Log(Protocol):
    """Where lines go."""

    def write(self, line: bytes, /) -> object:
        """Write one."""
        ...


class Answering(asyncio.Protocol):
    """One connection, with one request at a time."""

    _transport: asyncio.Transport

    def __init__(self, seed: int, log: Log, new_id: Callable[[], str]) -> None:
        self._seed = seed
        self._log = log
        self._new_id = new_id
        self._unread = b""
        self._serving: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep where answers go."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer a request as soon as it is all there."""
        self._unread += data
        end = self._unread.find(b"\r\n\r\n")
        if end < 0:
            return
        _, _, length = self._unread[:end].lower().partition(b"content-length:")
        whole = end + 4 + int(length.partition(b"\r\n")[0] or 0)
        if len(self._unread) < whole:
            return
        body, self._unread = self._unread[end + 4 : whole], self._unread[whole:]
        asked = _NUMBER.search(body)
        if asked is None:
            self._transport.write(_head(_JSON_HEAD.format(200, "OK", len(_NO_MODELS))) + _NO_MODELS)
        else:
            self._begin(errand(self._seed, int(asked[1])))

    def connection_lost(self, error: Exception | None) -> None:
        """Stop what nobody reads any more."""
        if self._serving is not None:
            self._serving.cancel()

    def _begin(self, asked: Errand) -> None:
        served = Served(self._new_id(), asked.number, asked.surface, asked.model, asked.streamed, _now_us())
        self._serving = asyncio.get_running_loop().create_task(self._answer(asked, served))
        self._serving.add_done_callback(partial(self._end, served))

    def _end(self, served: Served, serving: asyncio.Task[None]) -> None:
        served.left = serving.cancelled()
        served.ended_at_us = _now_us()
        self._log.write(json.dumps(asdict(served)).encode() + b"\n")
        if not serving.cancelled():
            serving.result()

    async def _answer(self, asked: Errand, served: Served) -> None:
        await asyncio.sleep(asked.first_byte_s)
        if asked.fate == "refused":
            self._refuse(asked, served)
        elif asked.streamed:
            await self._stream(asked, served)
        else:
            self._send_document(asked, served)
        if asked.fate == "breaks_off":
            self._transport.close()

    def _refuse(self, asked: Errand, served: Served) -> None:
        body = refusal_bytes(asked.surface, asked.refusal)
        self._begin_answer(asked, served, _JSON_HEAD.format(asked.refusal, "No", len(body)), asked.refusal)
        self._transport.write(body)
        served.whole = True

    def _send_document(self, asked: Errand, served: Served) -> None:
        body = document_bytes(asked)
        served.whole = asked.fate != "breaks_off"
        self._begin_answer(asked, served, _JSON_HEAD.format(200, "OK", len(body)))
        self._transport.write(body if served.whole else body[: len(body) // 2])
        _count(asked, served, asked.words)

    async def _stream(self, asked: Errand, served: Served) -> None:
        opening, *words, closing = stream_pieces(asked)
        self._begin_answer(asked, served, _STREAM_HEAD)
        self._transport.write(_chunk(opening))
        for sent, word in enumerate(words if asked.fate != "breaks_off" else words[: len(words) // 2]):
            _count(asked, served, sent)
            await asyncio.sleep(asked.gap_s)
            self._transport.write(_chunk(word))
        await asyncio.sleep(asked.gap_s)
        _count(asked, served, asked.words)
        if asked.fate != "breaks_off":
            self._transport.write(_chunk(closing) + b"0\r\n\r\n")
            served.whole = True

    def _begin_answer(self, asked: Errand, served: Served, head: str, status: int = 200) -> None:
        self._transport.write(_head(f"{head}{REQUEST_ID_HEADERS[asked.surface]}: {served.request_id}\r\n"))
        served.status = status


def _count(asked: Errand, served: Served, words: int) -> None:
    """Count the tokens of a request of which so many words were sent: reasoning comes before them."""
    usage = asked.usage
    served.input_tokens = usage.input_tokens
    served.output_tokens = usage.output_tokens - asked.words + words
    served.cache_read_tokens = usage.cache_read_tokens
    served.cache_write_tokens = usage.cache_write_tokens
    served.reasoning_tokens = usage.reasoning_tokens


def _head(lines: str) -> bytes:
    return f"{lines}\r\n".encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _now_us() -> int:
    return time.time_ns() // 1000


async def _serve(seed: int, log: Log) -> None:
    numbers = itertools.count(1)
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin, over.set)
    server = await loop.create_server(
        lambda: Answering(seed, log, lambda: f"prov-{next(numbers):06d}"), "127.0.0.1", 0, backlog=1024
    )
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await over.wait()
    loop.remove_reader(sys.stdin)
    server.close()


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--log", type=Path, required=True)
    arguments = parser.parse_args()
    with arguments.log.open("ab", buffering=0) as log:
        asyncio.run(_serve(arguments.seed, log))


if __name__ == "__main__":
    main()
