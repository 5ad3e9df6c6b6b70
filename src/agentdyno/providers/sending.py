"""How answers go out: paced, counted as they go, and broken off where the script says so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Send

from agentdyno.providers.reply import Break, Reply
from agentdyno.providers.script import Failure
from agentdyno.providers.scripted_wire import Frame, Stamp, Wire
from agentdyno.providers.served import ServedRequest


@dataclass(frozen=True)
class Answer:
    """A reply on its way out, and the entry that counts it."""

    wire: Wire
    reply: Reply
    stamp: Stamp
    entry: ServedRequest
    delays_ms: Sequence[float]
    """Of each piece, after the one before it."""


class Unfinished(StreamingResponse):
    """A response after whose bytes the connection is closed, as if more had been to come."""

    async def stream_response(self, send: Send) -> None:
        """Never says that the body ends, upon which the server closes the connection."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for chunk in self.body_iterator:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})


def send_failure(wire: Wire, entry: ServedRequest, failure: Failure) -> Response:
    """An error in place of an answer."""
    headers = {} if failure.retry_after_s is None else {"retry-after": f"{failure.retry_after_s:g}"}
    return send_whole(wire, entry, wire.error_document(failure, entry.request_id), failure.status, headers)


def send_whole(
    wire: Wire,
    entry: ServedRequest,
    document: Mapping[str, Any],
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A document that uses no tokens."""
    entry.status, entry.complete = status, True
    return JSONResponse(document, status, headers={wire.REQUEST_ID_HEADER: entry.request_id, **(headers or {})})


async def send_document(answer: Answer, request: Request) -> Response:
    """The answer as one document, once all of it was made; half of its bytes, where the script cuts it."""
    entry, reply, breaks = answer.entry, answer.reply, answer.reply.breaks
    headers = {answer.wire.REQUEST_ID_HEADER: entry.request_id}
    document = answer.wire.document(reply, answer.stamp)
    if breaks is not None:
        await asyncio.sleep(sum(answer.delays_ms[: breaks.after_pieces]) / 1000)
        entry.status, entry.broken_off, entry.output_tokens = 200, "cut", breaks.after_pieces
        whole = JSONResponse(document, headers=headers)
        half = _only(bytes(whole.body[: len(whole.body) // 2]))
        return Unfinished(half, headers=whole.headers)
    await asyncio.sleep(sum(answer.delays_ms) / 1000)
    entry.count_output(reply.usage)
    entry.status, entry.complete = 200, not await request.is_disconnected()
    return JSONResponse(document, headers=headers)


def send_stream(answer: Answer) -> Response:
    """The answer as a stream, each piece when it is due."""
    answer.entry.status = 200
    breaks = answer.reply.breaks
    kind = Unfinished if breaks is not None and breaks.error is None else StreamingResponse
    headers = {answer.wire.REQUEST_ID_HEADER: answer.entry.request_id, "cache-control": "no-cache"}
    media_type = "application/json" if answer.reply.ask.stream_array else "text/event-stream"
    return kind(_events(answer), headers=headers, media_type=media_type)


def frames_before(frames: Sequence[Frame], breaks: Break) -> Sequence[Frame]:
    """The frames that go out before a stream breaks: those that bring so many pieces, and what leads to the next."""
    brought = 0
    for index, frame in enumerate(frames):
        brought += frame.pieces
        if brought > breaks.after_pieces:
            return frames[:index]
    return frames[: max((index for index, frame in enumerate(frames) if frame.pieces), default=0) + 1]


async def _events(answer: Answer) -> AsyncIterator[bytes]:
    """The stream's bytes. Code after a `yield` runs once those bytes are with the connection."""
    entry, reply, breaks = answer.entry, answer.reply, answer.reply.breaks
    frames: Sequence[Frame] = list(answer.wire.frames(reply, answer.stamp))
    if breaks is not None:
        frames = frames_before(frames, breaks)
    last = max((index for index, frame in enumerate(frames) if not frame.trailer), default=0)
    due_s, delays_ms = time.monotonic(), iter(answer.delays_ms)
    for index, frame in enumerate(frames):
        if frame.pieces:
            due_s += sum(next(delays_ms) for _ in range(frame.pieces)) / 1000
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        yield frame.data
        entry.output_tokens += frame.pieces
        if index == last and breaks is None:
            entry.count_output(reply.usage)
            entry.complete = True
    if breaks is not None:
        entry.broken_off = "cut" if breaks.error is None else "error"
    if breaks is not None and breaks.error is not None:
        await asyncio.sleep(next(delays_ms, 0) / 1000)
        yield answer.wire.error_event(breaks.error, reply, answer.stamp, len(frames))


async def _only(data: bytes) -> AsyncIterator[bytes]:
    yield data
