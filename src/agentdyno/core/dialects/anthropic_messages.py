"""Anthropic's messages.

A stream is complete when `message_stop` came. Its usage is split: `message_start` has the input, `message_delta` the
final figures. Both objects are kept; where both name a figure the later one holds, since they are running totals. What
the start says of the output is none of the answer's figures, whatever follows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from agentdyno.core.dialects import reading
from agentdyno.core.dialects.reading import (
    Count,
    Encoded,
    decode_answer,
    error_code,
    identifier,
    members,
    name,
    possible,
    usage_object,
)
from agentdyno.core.dialects.request_parts import (
    NOTHING,
    Held,
    Members,
    Shape,
    message_part,
    objects,
    role_kind,
    system_parts,
    tools_parts,
    word,
)
from agentdyno.core.dialects.wire import Answer, AnswerReader, EventKind, Part, RequestFacts, Tokens

_MEDIA = frozenset({b'"image"', b'"document"', b'"container_upload"'})


class _Block(msgspec.Struct):
    type: Any = None
    text: Any = None
    thinking: Any = None
    partial_json: Any = None


class _Delta(_Block):
    stop_reason: Any = None


class _Message(msgspec.Struct):
    id: Any = None
    model: Any = None
    usage: Any = None


class _Event(msgspec.Struct):
    type: Any = None
    delta: _Delta | None = None
    content_block: _Block | None = None
    message: _Message | None = None
    usage: Any = None
    error: Any = None


class _BlockType(msgspec.Struct):
    type: Any = None


class _Document(msgspec.Struct):
    id: Any = None
    model: Any = None
    stop_reason: Any = None
    usage: Any = None
    error: Any = None
    content: list[_BlockType] | None = None


class OutputDetails(msgspec.Struct, gc=False):
    """The parts of an output."""

    thinking_tokens: Count = None


class CacheCreation(msgspec.Struct, gc=False):
    """The parts of what was written to the cache."""

    ephemeral_1h_input_tokens: Count = None


class Usage(msgspec.Struct, gc=False):
    """What a usage object says."""

    input_tokens: Count = None
    cache_creation_input_tokens: Count = None
    cache_read_input_tokens: Count = None
    output_tokens: Count = None
    output_tokens_details: OutputDetails | None = None
    cache_creation: CacheCreation | None = None


_event = msgspec.json.Decoder(_Event)
_document = msgspec.json.Decoder(_Document)
_usages = msgspec.json.Decoder(list[Usage])


def _read_event(answer: Answer, data: bytes) -> EventKind:
    event = decode_answer(data, _event)
    if event.error:
        answer.error_code = error_code(event.error)
        return "error"
    match event.type:
        case "content_block_delta":
            return _kind_of(event.delta)
        case "content_block_start":
            if event.content_block is not None and event.content_block.type == "tool_use":
                answer.tool_calls += 1
            return _kind_of(event.content_block)
        case "message_start":
            _read_start(answer, event.message)
            return "start"
        case "message_delta":
            return _read_end(answer, event)
        case "message_stop":
            answer.complete = True
            return "done"
        case "ping":
            return "ping"
        case "error":
            answer.error_code = "error"
            return "error"
        case _:
            return "other"


def _kind_of(block: _Block | None) -> EventKind:
    """The kind of a block's beginning or of a delta in it. Without anything of the answer in it, it is `other`."""
    if block is None:
        return "other"
    match block.type:
        case "text_delta" | "text" if block.text:
            return "content"
        case "thinking_delta" | "thinking" if block.thinking:
            return "reasoning"
        case "redacted_thinking":
            return "reasoning"
        case "input_json_delta" if block.partial_json:
            return "tool"
        case "tool_use" | "server_tool_use" | "mcp_tool_use":
            return "tool"
        case _:
            return "other"


def _read_start(answer: Answer, message: _Message | None) -> None:
    if message is not None:
        answer.response_id, answer.model = identifier(message.id), name(message.model)
        _keep_usage(answer, message.usage)


def _read_end(answer: Answer, event: _Event) -> EventKind:
    if not answer.usages:
        answer.usages.append({})  # the first place is the start's, also where it said nothing
    _keep_usage(answer, event.usage)
    if event.delta is None or event.delta.stop_reason is None:
        return "usage"
    answer.finish_reason = name(event.delta.stop_reason)
    return "finish"


def _keep_usage(answer: Answer, value: Any) -> None:
    if value is not None and (usage := usage_object(value)):
        answer.usages.append(usage)


def _read_document(answer: Answer, body: bytes) -> None:
    document = decode_answer(body, _document)
    answer.response_id, answer.model = identifier(document.id), name(document.model)
    answer.finish_reason, answer.error_code = name(document.stop_reason), error_code(document.error)
    answer.tool_calls = sum(block.type == "tool_use" for block in document.content or ())
    _keep_usage(answer, document.usage)


def read_request(body: bytes) -> RequestFacts:
    """Facts of a messages request."""
    return reading.read_request(body, "max_tokens")


def _held(block: Members) -> Held:
    kind = word(block, "type")
    if kind in _MEDIA:
        return "media"
    return "tool_result" if kind.endswith(b'tool_result"') else "said"


_SHAPE = Shape(_held, nested=("content", "source"), marks=("cache_control",))


def request_parts(body: bytes) -> list[Part] | None:
    """The parts of a messages request: tools, system prompt, messages."""
    request = members(body)
    if not request:
        return None
    return [
        *tools_parts(request.get("tools", NOTHING), _SHAPE),
        *system_parts(request.get("system", NOTHING), _SHAPE),
        *(message_part(message, role_kind(message), _SHAPE) for message in objects(request.get("messages", NOTHING))),
    ]


def stream_reader() -> AnswerReader:
    """A reader for the events of a streamed message."""
    return reading.StreamReader(_read_event)


def document_reader() -> AnswerReader:
    """A reader for one message, or an error's document."""
    return reading.DocumentReader(_read_document)


def read_usages(encoded: Encoded) -> list[Usage]:
    """The usage objects of one answer, from a JSON array of them."""
    return reading.read_usages(encoded, _usages)


def tokens(usages: Sequence[Usage], *, streamed: bool) -> Tokens:
    """Tokens of all usage objects together, of which a stream's first is that of its start.

    The wire's input leaves out cache reads and writes, which are added here. Where it names none of them, the input is
    what it says and they are unknown.
    """
    uncached = output = read = write = hour = reasoning = None
    for usage in usages:
        uncached = uncached if usage.input_tokens is None else usage.input_tokens
        read = read if usage.cache_read_input_tokens is None else usage.cache_read_input_tokens
        write = write if usage.cache_creation_input_tokens is None else usage.cache_creation_input_tokens
        told = None if usage.cache_creation is None else usage.cache_creation.ephemeral_1h_input_tokens
        hour = hour if told is None else told
    for usage in usages[1:] if streamed else usages:
        details = usage.output_tokens_details
        output = output if usage.output_tokens is None else usage.output_tokens
        reasoning = reasoning if details is None or details.thinking_tokens is None else details.thinking_tokens
    cached = (0 if read is None else read) + (0 if write is None else write)
    return possible(Tokens(None if uncached is None else uncached + cached, output, read, write, reasoning, hour))


def error_body(code: str, message: str) -> dict[str, Any]:
    """An error in this surface's shape."""
    return {"type": "error", "error": {"type": code, "message": message}}
