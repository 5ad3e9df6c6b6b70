"""What a hand-written answer of the wire and the facts that must be read from it are written down in.

Every text that a model, a person or an error would say contains `marmalade`, so that a test can look for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentdyno.core.dialects.table import DIALECTS
from agentdyno.core.dialects.wire import Answer, AnswerReader, Dialect, Tokens
from agentdyno.core.records import Status, Surface

WORD = "marmalade"


@dataclass(frozen=True)
class Recorded:
    """One answer: its bytes, and the facts that must come out."""

    name: str
    surface: Surface
    streamed: bool
    wire: bytes
    kinds: Sequence[str] = ()
    tokens: Tokens = field(default_factory=Tokens)
    """By the dialect's own rules, from the usage objects alone."""
    finish_reason: str | None = None
    tool_calls: int = 0
    error_code: str | None = None
    complete: bool = True
    http_status: int = 200
    status: Status = "ok"
    error_class: str | None = None

    def __str__(self) -> str:
        return f"{self.surface}-{'streamed' if self.streamed else 'document'}-{self.name}"


def to_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def tokens_of(dialect: Dialect, usages: Sequence[Mapping[str, Any]], *, streamed: bool) -> Tokens:
    """Tokens of usage objects as a line of the spool has them."""
    return dialect.tokens(dialect.read_usages(to_json(usages)), streamed=streamed)


def reader_of(recorded: Recorded) -> AnswerReader:
    dialect = DIALECTS[recorded.surface]
    return dialect.stream_reader() if recorded.kinds else dialect.document_reader()


def read(reader: AnswerReader, *chunks: bytes) -> Answer:
    """What is read of bytes that come in these chunks, 1 ms apart."""
    for number, chunk in enumerate(chunks):
        reader.feed(chunk, number * 1000)
    reader.finish()
    return reader.answer
