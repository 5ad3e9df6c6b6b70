"""One attempt at the provider, read from the provider's own bytes as they pass. None of them is kept."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Protocol

from agentdyno.core.dialects.reading import identifier
from agentdyno.core.dialects.sse import begins_events, is_blank
from agentdyno.core.dialects.table import DIALECTS, upstream_surface
from agentdyno.core.dialects.wire import CONTENT_KINDS, Answer, AnswerReader, Dialect, facts_of
from agentdyno.core.exchange import Tried
from agentdyno.gateway.content_encoding import BrokenEncoding, Decoder, decoder_of
from agentdyno.gateway.exchange import Exchange
from agentdyno.gateway.recording import note
from agentdyno.store.spool import SpoolWriter

_REQUEST_ID_HEADERS = ("x-request-id", "request-id", "x-amzn-requestid", "apim-request-id", "x-goog-request-id")
_FROM_THIS_SIDE = (asyncio.CancelledError, GeneratorExit)
"""What ends the reading of an answer that nobody wants any more."""


class Headers(Protocol):
    """Headers of an HTTP message, in any case of their letters."""

    def get(self, name: str, otherwise: str, /) -> str:
        """The value of a header."""
        ...


class AttemptMeter:
    """Reads one attempt, and notes it once, when it is over. Use it as a context: what is raised within ends it."""

    def __init__(
        self, spool: SpoolWriter, exchange: Exchange, path: str, request_bytes: int, running: set[AttemptMeter]
    ) -> None:
        """`running`: the attempts that are not over. This one joins them, and leaves them at its end."""
        exchange.attempts += 1
        self._spool = spool
        self._exchange = exchange
        self._number = exchange.attempts
        self._surface = upstream_surface(path)
        self._request_bytes = request_bytes
        self._begun_us = exchange.offset_us()
        self._open = True
        self._running = running
        running.add(self)
        self._http_status: int | None = None
        self._request_id: str | None = None
        self._streamed = False
        self._reader: AnswerReader | None = None
        self._decoder: Decoder | None = None
        self._unreadable: str | None = None
        self._response_bytes = 0
        self._head_us: int | None = None
        self._first_content_us: int | None = None
        self._last_byte_us: int | None = None

    @property
    def unwanted(self) -> bool:
        """Whether the harness has left."""
        return self._exchange.disconnected

    def begin_answer(self, http_status: int, headers: Headers) -> None:
        """The answer's head has come."""
        self._head_us = self._exchange.offset_us()
        self._http_status = http_status
        told = (identifier(headers.get(name, "")) for name in _REQUEST_ID_HEADERS)
        self._request_id = next((found for found in told if found is not None), None)
        self._streamed = headers.get("content-type", "").lower().startswith("text/event-stream")
        self._decoder = decoder_of(headers.get("content-encoding", ""))

    def take(self, chunk: bytes) -> None:
        """Read the next bytes of the answer. Behind a stream's terminal event there is nothing more to be read."""
        if not self._open:
            return
        self._last_byte_us = self._exchange.offset_us()
        self._response_bytes += len(chunk)
        if self._surface is not None and self._unreadable is None:
            self._read(DIALECTS[self._surface], chunk, self._last_byte_us)

    def _read(self, dialect: Dialect, chunk: bytes, offset_us: int) -> None:
        try:
            data = chunk if self._decoder is None else self._decoder(chunk)
        except BrokenEncoding as broken:
            self._unreadable = type(broken).__name__
            return
        if self._reader is None:
            if not self._streamed and is_blank(data):
                return  # it does not tell yet what it is
            self._streamed = self._streamed or begins_events(data)
            self._reader = dialect.stream_reader() if self._streamed else dialect.document_reader()
        self._reader.feed(data, offset_us)
        answer = self._reader.answer
        if answer.events:
            if self._first_content_us is None:
                content = (event.offset_us for event in answer.events if event.kind in CONTENT_KINDS)
                self._first_content_us = next(content, None)
            answer.events.clear()  # a stream may be long, and one of its times is all that is wanted
        # LiteLLM reads no further than an error inside a stream, and hangs up when its garbage is collected.
        if answer.complete or (self._streamed and answer.error_code is not None):
            self.end()

    def __enter__(self) -> AttemptMeter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            abandoned = issubclass(kind, _FROM_THIS_SIDE)
            self.end(abandoned=abandoned, failure=None if abandoned else kind.__name__)

    def end(self, *, abandoned: bool = False, failure: str | None = None) -> None:
        """Note the attempt, the first time that it is said to be over.

        By itself, or because nobody here wants more of the answer, or by an exception of that name.
        """
        if not self._open:
            return
        self._open = False
        self._running.discard(self)
        note(self._spool, self._exchange, self._tried(abandoned=abandoned, failure=failure))

    def _tried(self, *, abandoned: bool, failure: str | None) -> Tried:
        exchange, answer = self._exchange, Answer([], [])
        if self._reader is not None:
            self._reader.finish()
            answer = self._reader.answer
        # Whoever hangs up does so some time behind the last byte, which is when the attempt was over.
        last_us = self._last_byte_us
        ended_us = exchange.offset_us() if last_us is None or failure is not None else last_us
        return Tried(
            request_key=exchange.entered.request_key,
            attempt=self._number,
            at_us=exchange.entered.at_us + ended_us,
            begun_offset_us=self._begun_us,
            ended_offset_us=ended_us,
            request_bytes=self._request_bytes,
            response_bytes=self._response_bytes,
            surface=self._surface,
            head_offset_us=self._head_us,
            first_content_offset_us=self._first_content_us,
            http_status=self._http_status,
            provider_request_id=self._request_id,
            streamed=self._streamed,
            abandoned=abandoned and not answer.complete,
            failure=self._unreadable if failure is None else failure,
            **facts_of(answer),
        )
