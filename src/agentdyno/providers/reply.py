"""What a script answers to a request, before it takes a surface's form. Pure.

Tokens are counted by two rules that anyone can check:
- input: a quarter of the bytes, rounded up, of the canonical JSON of the request's messages, tools and system text, by
  whichever of the names in `_COUNTED` it has them;
- output: the pieces of the answer. A piece is a word with the white space before it, the start of a tool call, or up to
  8 characters of the call's arguments.
A turn may override them. Limits of the output and stop sequences are not heeded.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from agentdyno.core.ids import canonical_json
from agentdyno.providers.script import Cut, Failure, Latency, Script, ScriptedUsage
from agentdyno.providers.tool_choice import OfferedTool, ToolCall, choose_call, working_folder

NO_TOOL = "No tool was offered that could do what the script asks for."
_ARGUMENT_PIECE_CHARS = 8
_BYTES_PER_TOKEN = 4
_COUNTED = (
    *("messages", "input", "contents"),
    "tools",
    *("system", "instructions", "systemInstruction", "system_instruction"),
)


@dataclass(frozen=True)
class Ask:
    """What a request asks for, whatever its surface."""

    model: str
    streamed: bool
    turn: int
    """Answers that the conversation already holds."""
    tools: tuple[OfferedTool, ...]
    input_tokens: int
    prompt: Mapping[str, Any] = field(default_factory=dict)
    """The counted part of the body, as it came."""
    stream_usage: bool = True
    """Whether a stream is to end with the usage."""
    stream_array: bool = False
    """Whether a stream is to be a JSON array, element by element, and not server-sent events."""
    knows_cache_writes: bool = True
    """Whether the surface can say how much was written to the cache."""


class Usage(NamedTuple):
    """Tokens of one answer. Input includes what the cache gave and took, output includes reasoning."""

    input: int
    output: int
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0


class TextPiece(NamedTuple):
    """Some of the text."""

    text: str


class CallStart(NamedTuple):
    """The beginning of a tool call, with its name."""

    name: str


class ArgumentsPiece(NamedTuple):
    """Some of the JSON text of a tool call's arguments."""

    json: str


Piece = TextPiece | CallStart | ArgumentsPiece


class Break(NamedTuple):
    """Where an answer ends before its end."""

    after_pieces: int
    error: Failure | None
    """What the client is told; without one the connection is closed."""


@dataclass(frozen=True)
class Reply:
    """An answer that is not an error, or not at once."""

    ask: Ask
    text: str | None
    call: ToolCall | None
    pieces: tuple[Piece, ...]
    usage: Usage
    breaks: Break | None = None


def prompt_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a request's body that is counted as input."""
    return {name: body[name] for name in _COUNTED if name in body}


def count_input_tokens(body: Mapping[str, Any]) -> int:
    """The input tokens of a request's body."""
    size_bytes = len(canonical_json(prompt_of(body)).encode("utf-8", "surrogatepass"))
    return -(-size_bytes // _BYTES_PER_TOKEN)


def perform(script: Script, ask: Ask, *, strikes: bool = True) -> Reply | Failure:
    """The script's answer to the request; `strikes` says whether the turn's fault befalls it this time."""
    turn = script.turn(ask.turn)
    fault = turn.fault if strikes else None
    if isinstance(fault, Failure) and (fault.after_pieces is None or not ask.streamed):
        return fault
    text = turn.text
    call = None if turn.tool is None else choose_call(turn.tool, ask.tools, working_folder(ask.prompt))
    if turn.tool is not None and call is None:
        text = NO_TOOL if text is None else f"{text}\n{NO_TOOL}"
    pieces = (*text_pieces(text), *call_pieces(call))
    return Reply(ask, text, call, pieces, _usage(turn.usage, ask, len(pieces)), _break(fault, len(pieces)))


def _break(fault: Failure | Cut | None, pieces: int) -> Break | None:
    if fault is None or fault.after_pieces is None:
        return None
    return Break(min(fault.after_pieces, pieces), fault if isinstance(fault, Failure) else None)


def text_pieces(text: str | None) -> Iterator[TextPiece]:
    """The words, each with the white space before it; joined they are the text."""
    for piece in re.findall(r"\s*\S+|\s+", text or ""):
        yield TextPiece(piece)


def call_pieces(call: ToolCall | None) -> Iterator[CallStart | ArgumentsPiece]:
    """The start of the call and the fragments of its arguments; joined they are the JSON."""
    if call is None:
        return
    yield CallStart(call.name)
    text = arguments_json(call)
    for start in range(0, len(text), _ARGUMENT_PIECE_CHARS):
        yield ArgumentsPiece(text[start : start + _ARGUMENT_PIECE_CHARS])


def arguments_json(call: ToolCall) -> str:
    """The call's arguments as JSON text, in the order that they were put."""
    return json.dumps(call.arguments, ensure_ascii=False)


def piece_delays_ms(latency: Latency, pieces: int, seed: Sequence[object]) -> list[float]:
    """How long each piece takes after the one before it. The same seed gives the same delays."""
    # An instrument's reproducible jitter, not a secret. Text seeds are hashed by `random`, alike in every process.
    draw = random.Random(json.dumps([str(each) for each in seed]))  # noqa: S311
    plain_ms = (latency.first_token_ms if index == 0 else latency.per_token_ms for index in range(pieces))
    return [delay_ms * draw.uniform(1 - latency.jitter, 1 + latency.jitter) for delay_ms in plain_ms]


def _usage(override: ScriptedUsage, ask: Ask, output_tokens: int) -> Usage:
    return Usage(
        input=ask.input_tokens if override.input is None else override.input,
        output=output_tokens if override.output is None else override.output,
        cache_read=override.cache_read,
        cache_write=override.cache_write if ask.knows_cache_writes else 0,
        reasoning=override.reasoning,
    )
