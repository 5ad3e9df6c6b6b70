"""A provider on loopback that serves the corpus byte by byte, and keeps its own count of what it served."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.corpus.case import Answer, Case
from tests.corpus.compression import Compressor, compressor
from tests.corpus.counting import Counted, counted
from tests.corpus.steps import Cut, Pause, Send, Silence, is_stream, steps

_ASK = re.compile(rb"corpus:(([a-z_-]+)(?:/[a-z_-]+)?)")
"""How a prompt names its case, and perhaps what tells this asker for it from others."""
_PATIENCE_S = 30.0
"""How long a silence lasts, should nobody leave."""


class Asked(NamedTuple):
    """A request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Served:
    """One request, filled in while it is answered: what has not gone out yet is not counted yet."""

    ask: str
    """What the prompt named: a case, and perhaps more behind a slash."""
    path: str
    body: bytes
    """As it was asked."""
    accepted: str
    """The compressions that the client says it takes."""
    encoding: str | None = None
    status: int | None = None
    body_bytes: int = 0
    """On the wire, compressed if it was compressed."""
    usages: list[Mapping[str, Any]] = field(default_factory=list)
    whole: bool = False
    """All of the answer went out."""
    left: bool = False
    """The client went away before that."""
    over: bool = False
    """Nothing more will be counted."""


class CorpusProvider:
    """Answers each request by the case that its prompt names, on a thread of its own while the context lasts."""

    def __init__(self, corpus: Mapping[str, Case]) -> None:
        self.served: list[Served] = []
        self._corpus = corpus
        self._met: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        self._serving: set[asyncio.Task[None]] = set()
        self._up = threading.Event()
        self._down = asyncio.Event()
        self._thread = threading.Thread(target=self._run)
        self.url = ""

    def __enter__(self) -> CorpusProvider:
        self._thread.start()
        self._up.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._down.set)
        self._thread.join()

    def served_of(self, ask: str) -> list[Served]:
        """What was served of one ask, in order, once all of it is counted: a client may know the end before that."""
        found = [served for served in self.served if served.ask == ask]
        deadline = time.monotonic() + _PATIENCE_S
        while not all(served.over for served in found):
            assert time.monotonic() < deadline, f"{ask} is still being served"
            time.sleep(0.005)
        return found

    def counted(self, served: Served) -> Counted:
        """The tokens that the provider told."""
        case = self._corpus[served.ask.partition("/")[0]]
        return counted(case.surface, served.usages, whole=served.whole)

    def forget(self) -> None:
        """Let every count begin anew."""
        self.served.clear()
        self._met.clear()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = "http://{}:{}".format(*server.sockets[0].getsockname())
        self._up.set()
        await self._down.wait()
        server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            while (asked := await read_request(reader)) is not None:
                if not await self._answer(asked, reader, writer):
                    break
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client left between requests, or the provider is going down
        finally:
            self._serving.discard(task)
            writer.close()

    async def _answer(self, asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether the connection may go on."""
        named = _ASK.findall(asked.body)
        ask, name = (word.decode() for word in named[-1]) if named else ("", "")
        case = self._corpus.get(name)
        if case is None:
            writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
            return True
        accepted = asked.headers.get("accept-encoding", "")
        served = Served(ask, asked.path, asked.body, accepted)
        self.served.append(served)
        answer = case.answers[self._met[ask] % len(case.answers)]
        self._met[ask] += 1
        if answer.encoding is not None and answer.encoding in re.split(r"[ ,;]+", accepted):
            served.encoding = answer.encoding
        try:
            return await _Sending(case, answer, served, reader, writer).all()
        except ConnectionError:
            served.left = not served.whole
            return False
        finally:
            served.over = True


class _Sending:
    """One answer on its way out."""

    def __init__(
        self, case: Case, answer: Answer, served: Served, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._streamed = is_stream(case, answer)
        self._steps = steps(case, answer)
        self._answer, self._served = answer, served
        self._reader, self._writer = reader, writer
        self._compressor: Compressor = compressor(answer.encoding if served.encoding else None)

    async def all(self) -> bool:
        """Take every step; whether the connection may go on."""
        pieces = self._compressed()
        length = None if self._streamed else sum(map(len, pieces)) + self._missing()
        for step, data in zip(self._steps, pieces, strict=True):
            match step:
                case Send():
                    await self._send(step, data, length)
                case Pause():
                    await asyncio.sleep(step.ms / 1000)
                case Silence():
                    await self._be_silent()
                    return False
                case Cut():
                    return False
        if self._streamed:
            self._writer.write(b"0\r\n\r\n")
            await self._writer.drain()
        return True

    def _compressed(self) -> list[bytes]:
        """What goes out at each step; the last bytes hold what ends the body."""
        pieces = [self._compressor.piece(step.data) if isinstance(step, Send) else b"" for step in self._steps]
        if isinstance(self._steps[-1], Send):
            pieces[-1] += self._compressor.end()
        return pieces

    def _missing(self) -> int:
        """How much longer a document claims to be than it will get."""
        return 0 if isinstance(self._steps[-1], Send) else 1

    async def _send(self, step: Send, data: bytes, length: int | None) -> None:
        if self._served.status is None:
            self._served.status = self._answer.status
            self._writer.write(self._head(length))
        self._writer.write(data if length is not None else b"%x\r\n%b\r\n" % (len(data), data))
        await self._writer.drain()
        self._served.body_bytes += len(data)
        if step.usage is not None:
            self._served.usages.append(step.usage)
        self._served.whole = self._served.whole or step.terminal

    def _head(self, length: int | None) -> bytes:
        headers = {
            "content-type": "text/event-stream; charset=utf-8" if self._streamed else "application/json",
            **self._answer.headers,
            **({} if self._served.encoding is None else {"content-encoding": self._served.encoding}),
            **({"transfer-encoding": "chunked"} if length is None else {"content-length": str(length)}),
        }
        lines = [f"HTTP/1.1 {self._answer.status} Corpus", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode()

    async def _be_silent(self) -> None:
        """Wait until the client hangs up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                self._served.left = await self._reader.read(1) == b""


async def read_request(reader: asyncio.StreamReader) -> Asked | None:
    """The next request of a connection; None when there is none."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    request_line, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    method, path, _ = request_line.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(method, path, headers, body)
