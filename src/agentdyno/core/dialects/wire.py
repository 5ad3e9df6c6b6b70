"""What every dialect gives: facts of a request, an incremental reader of its answer, tokens from usage objects.

No text of a prompt or an answer leaves a dialect: only kinds, times, sizes, counts, ids and usage objects. The one
exception are the bytes of a request's parts, which go to `core/anatomy.py` to be digested, and no further.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

EventKind = str
"""`start`, `content`, `tool`, `reasoning`, `usage`, `finish`, `ping`, `error`, `done`, `other` or `malformed`."""
CONTENT_KINDS = frozenset({"content", "tool", "reasoning"})
"""Kinds that count as a content delta: the first of them ends the time to the first token."""
PartKind = Literal["tools", "system", "user", "assistant", "reasoning", "tool_call", "tool_result", "other"]
"""What a part is: all tools, a block of the system prompt, or a message by whoever speaks in it.

A message of the user's that holds tool results and nothing else is a `tool_result`. Reasoning and tool calls are parts
of their own only where a surface has them as items of their own.
"""


class RequestFacts(NamedTuple):
    """What a request's body says about itself."""

    model: str | None
    """None too where the surface names it in the path."""
    streamed: bool
    offers_tools: bool = False
    output_limit_tokens: int | None = None
    """How long an answer it takes at most."""


class Part(NamedTuple):
    """One part of a request. Its bytes are text: they are measured and digested, and go nowhere."""

    kind: PartKind
    encoded: bytes
    tool_results_bytes: int = 0
    media_bytes: int = 0
    """Of the files in it, also of those in its tool results, which do not count them."""
    tools: int = 0
    """How many it offers."""


class Event(NamedTuple):
    """One event of a streamed answer, without its text."""

    kind: EventKind
    offset_us: int
    """Since the first byte of the request."""
    size_bytes: int


class Tokens(NamedTuple):
    """Token counts by the definitions of docs/accounting.md; None is unknown.

    Where all are known: cache_read + cache_write <= input, cache_write_1h <= cache_write, reasoning <= output.
    """

    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None
    cache_write_1h: int | None = None
    """What of cache_write is to stay an hour, which has a price of its own. Not in a row."""


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


def facts_of(answer: Answer) -> dict[str, Any]:
    """What a record keeps of an answer, by the names that it has there; of its events, none."""
    return {
        "complete": answer.complete,
        "usages": answer.usages,
        "response_id": answer.response_id,
        "model": answer.model,
        "finish_reason": answer.finish_reason,
        "tool_calls": answer.tool_calls,
        "error_code": answer.error_code,
    }


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

    def request_parts(self, body: bytes) -> Sequence[Part] | None:
        """What a request's body is made of, as the provider's cache reads it; None when it is no JSON object."""
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
