"""What a script answers to a request, before it takes a surface's form. Pure.

Tokens are counted by two rules that anyone can check:
- input: a quarter of the bytes, rounded up, of the canonical JSON of the request's `messages`, `tools` and `system`, as
  far as it has them;
- output: the pieces of the answer. A piece is a word with the white space before it, the start of a tool call, or up to
  8 characters of the call's arguments.
A turn may override them. `max_tokens` and stop sequences are not heeded.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from agentdyno.core.ids import canonical_json
from agentdyno.providers.script import Failure, Latency, Script, ScriptedUsage
from agentdyno.providers.tool_choice import OfferedTool, ToolCall, choose_call

NO_TOOL = "No tool was offered that could do what the script asks for."
_ARGUMENT_PIECE_CHARS = 8
_BYTES_PER_TOKEN = 4
_COUNTED = ("messages", "tools", "system")


@dataclass(frozen=True)
class Ask:
    """What a request asks for, whatever its surface."""

    model: str
    streamed: bool
    turn: int
    """Answers that the conversation already holds: its assistant messages."""
    tools: tuple[OfferedTool, ...]
    input_tokens: int
    stream_usage: bool = True
    """Whether a stream is to end with the usage."""


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


@dataclass(frozen=True)
class Reply:
    """An answer that is not an error."""

    model: str
    text: str | None
    call: ToolCall | None
    pieces: tuple[Piece, ...]
    usage: Usage


def count_input_tokens(body: Mapping[str, Any]) -> int:
    """The input tokens of a request's body."""
    counted = canonical_json({name: body[name] for name in _COUNTED if name in body})
    size_bytes = len(counted.encode("utf-8", "surrogatepass"))
    return -(-size_bytes // _BYTES_PER_TOKEN)


def perform(script: Script, ask: Ask) -> Reply | Failure:
    """The script's answer to the request."""
    turn = script.turn(ask.turn)
    if turn.error is not None:
        return turn.error
    text = turn.text
    call = None if turn.tool is None else choose_call(turn.tool, ask.tools)
    if turn.tool is not None and call is None:
        text = NO_TOOL if text is None else f"{text}\n{NO_TOOL}"
    pieces = (*text_pieces(text), *call_pieces(call))
    return Reply(ask.model, text, call, pieces, _usage(turn.usage, ask.input_tokens, len(pieces)))


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


def _usage(override: ScriptedUsage, input_tokens: int, output_tokens: int) -> Usage:
    return Usage(
        input=input_tokens if override.input is None else override.input,
        output=output_tokens if override.output is None else override.output,
        cache_read=override.cache_read,
        cache_write=override.cache_write,
        reasoning=override.reasoning,
    )
