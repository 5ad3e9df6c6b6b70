"""What every dialect gives: facts of a request, an incremental reader of its answer, tokens from usage objects.

No text of a prompt or an answer leaves a dialect: only kinds, times, sizes, counts, ids and usage objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import msgspec

EventKind = str
"""`start`, `content`, `tool`, `reasoning`, `usage`, `finish`, `ping`, `error`, `done`, `other` or `malformed`."""
CONTENT_KINDS = frozenset({"content", "tool", "reasoning"})
"""Kinds that count as a content delta: the first of them ends the time to the first token."""


class RequestFacts(NamedTuple):
    """What a request's body says about itself."""

    model: str | None
    """None too where the surface names it in the path."""
    streamed: bool
    offers_tools: bool = False
    output_limit_tokens: int | None = None
    """How long an answer it takes at most."""


class Event(NamedTuple):
    """One event of a streamed answer, without its text."""

    kind: EventKind
    offset_us: int
    """Since the first byte of the request."""
    size_bytes: int


class Tokens(NamedTuple):
    """Token counts by the definitions of docs/accounting.md; None is unknown.

    Where all are known: cache_read + cache_write <= input, reasoning <= output.
    """

    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None


@dataclass
class Answer:
    """What was read of an answer so far."""

    events: list[Event]
    """Of a stream, in order; empty when not streamed."""
    usages: list[dict[str, Any]]
    """Usage objects in the order they came: verbatim, less texts that are no words. Running totals leave the last."""
    response_id: str | None = None
    model: str | None = None
    finish_reason: str | None = None
    tool_calls: int = 0
    error_code: str | None = None
    """The `code` (or else `type`) of an error object, wherever it stood: body or stream."""
    complete: bool = False
    """The stream came to its end as its surface marks it, or the whole JSON document could be read."""


class AnswerReader(Protocol):
    """Takes the answer's bytes in any chunking. Never raises on what the wire brings."""

    answer: Answer

    def feed(self, data: bytes, offset_us: int) -> None:
        """Take the next bytes, which came `offset_us` after the request's first byte."""
        ...

    def finish(self) -> None:
        """No more bytes will come: read what is left."""
        ...


class Dialect(Protocol):
    """One wire surface. A module that has these functions, without `self`, is a dialect."""

    def read_request(self, body: bytes) -> RequestFacts:
        """Facts of a request's body; `RequestFacts(None, False)` when it is not the expected JSON."""
        ...

    def stream_reader(self) -> AnswerReader:
        """A reader for a streamed (server-sent events) answer."""
        ...

    def document_reader(self) -> AnswerReader:
        """A reader for an answer that is one JSON document, an error's included."""
        ...

    def read_usages(self, encoded: bytes | msgspec.Raw) -> Sequence[Any]:
        """The usage objects of one answer, from a JSON array of them, as `tokens` takes them.

        A member that is not of its type is as if it were absent. Raises ValueError for what is no array of objects.
        """
        ...

    def tokens(self, usages: Sequence[Any], *, streamed: bool) -> Tokens:
        """Tokens from the usage objects of one answer, in the order its reader left them."""
        ...

    def error_body(self, code: str, message: str) -> dict[str, Any]:
        """The JSON document in which this surface reports an error."""
        ...
