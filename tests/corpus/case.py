"""A case of the accounting corpus: what a client asks, what the provider answers, and the rows that must come out.

A case is a YAML file below `cases/`, written by hand from the vendors' public references. It says what an answer means;
how a surface puts that into bytes is in the module of that surface's name. No figure other than 0 occurs in two cases,
or twice in one, so that neither swapped fields nor swapped requests can go unnoticed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

from agentdyno.core.records import Status, Surface, UsageSource

FOLDER = Path(__file__).with_name("cases")
MODEL = "corpus-1"
"""The model that every case asks for."""
SURFACES: tuple[Surface, ...] = ("openai_chat", "openai_responses", "anthropic_messages", "gemini")
SITUATIONS = (
    "plain",
    "cache_read",
    "cache_write",
    "reasoning",
    "tool_call",
    "parallel_tool_calls",
    "error_before_first_byte",
    "error_midway",
    "client_leaves_before_first_chunk",
    "client_leaves_after_first_chunk",
    "rate_limited_then_ok",
    "timeout",
)
"""What there is a case of on every surface, streamed and not. Others are further cases."""
Encoding = Literal["gzip", "deflate", "br", "zstd"]
Leave = Literal["before_first_chunk", "after_first_chunk"]


class Call(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tool call of the model."""

    id: str
    name: str
    arguments: tuple[str, ...]
    """Pieces of a JSON object."""


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of an answer, in order: one of these."""

    text: tuple[str, ...] | None = None
    """Pieces, each of which a stream sends by itself."""
    reasoning: tuple[str, ...] | None = None
    call: Call | None = None
    keep_alive: bool = False
    """A sign of life, in whatever form the surface has one."""
    unknown: dict[str, Any] | None = None
    """Members of an event that no client knows yet."""
    error: dict[str, Any] | None = None
    """The surface's error object, in the midst of a stream."""
    pause_ms: int | None = None
    silent: bool = False
    """Nothing more comes until the other side leaves. In the first place, not even the answer's head."""
    cut: bool = False
    """The connection ends here, of a document after half of its bytes."""


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the provider answers to one request."""

    status: int = 200
    headers: dict[str, str] = {}
    encoding: Encoding | None = None
    """How its body is compressed, for those who take it so."""
    lines: Literal["lf", "crlf", "cr"] = "lf"
    """How the lines of a stream end."""
    id: str | None = None
    model: str = "corpus-1-2026-11-05"
    """The model that the answer names."""
    parts: tuple[Part, ...] = ()
    finish: str | None = None
    start_usage: dict[str, Any] | None = None
    """The usage object of a stream's beginning, on surfaces that have one there."""
    usage: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    """The document of an error, in place of an answer."""


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the row of a request must say, through the gateway and on the case's own surface."""

    status: Status
    http_status: int | None
    """What the harness was told."""
    error_class: str | None
    finish_reason: str | None
    tool_calls: int | None
    attempts: int
    ttft: bool
    """Whether there is a time to the first token."""
    response_id: str | None
    provider_request_id: str | None
    usage_source: UsageSource | None
    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request, or several of the same, and what comes of it."""

    surface: Surface
    streamed: bool
    situation: str
    request: dict[str, Any]
    """The JSON body, which says the case's name in its prompt."""
    answers: tuple[Answer, ...]
    """The first request gets the first one, and so on; after the last it begins anew."""
    rows: tuple[Row, ...]
    """As many as the client makes requests."""
    meaning: str
    """What the case is about, in words."""
    realised_as: str | None = None
    """The nearest true form, where the surface cannot have the situation as it is named."""
    client_leaves: Leave | None = None
    litellm_changes: dict[str, Any] = {}
    """Members of the last row in which it is otherwise, because LiteLLM tells the harness something of its own."""
    options: dict[str, str] = {}
    """LiteLLM's parameters for the provider, where it needs some."""

    @property
    def name(self) -> str:
        """Its name, by which a request asks for it."""
        return f"{self.surface}-{'streamed' if self.streamed else 'unstreamed'}-{self.situation}"

    def __str__(self) -> str:
        return self.name

    @property
    def path(self) -> str:
        """Where the surface is asked, with the query that its clients send."""
        match self.surface:
            case "openai_chat":
                return "/v1/chat/completions"
            case "openai_responses":
                return "/v1/responses"
            case "anthropic_messages":
                return "/v1/messages"
            case "gemini":
                operation = "streamGenerateContent?alt=sse" if self.streamed else "generateContent"
                return f"/v1beta/models/{MODEL}:{operation}"

    @property
    def last(self) -> Answer:
        """The answer that the client's last request gets."""
        return self.answers[-1]


def read_case(path: Path) -> Case:
    """The case of a file. Raises ValueError on what is no case, or another than its place says."""
    case = msgspec.yaml.decode(path.read_bytes(), type=Case)
    if path != FOLDER / case.surface / ("streamed" if case.streamed else "unstreamed") / f"{case.situation}.yaml":
        raise ValueError(f"{path}: holds {case}")
    if f"corpus:{case}" not in str(case.request):
        raise ValueError(f"{path}: its request does not ask for corpus:{case}")
    return case


def read_corpus() -> dict[str, Case]:
    """Every case by its name."""
    cases = [read_case(path) for path in sorted(FOLDER.glob("*/*/*.yaml"))]
    return {case.name: case for case in cases}
