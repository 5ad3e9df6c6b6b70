"""OpenAI's responses.

A stream is complete when its response was said to be completed, incomplete or failed. That event brings the whole
response along, with its usage. The `[DONE]` behind it is LiteLLM's and not the vendor's: it says nothing.
Tool calls are those that are asked of the harness: what the server runs by itself is an event `tool`, and no call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
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
    text,
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
from agentdyno.core.dialects.wire import Answer, AnswerReader, EventKind, Part, PartKind, RequestFacts, Tokens

_DELTAS: Mapping[str | None, EventKind] = MappingProxyType(
    {
        "response.output_text.delta": "content",
        "response.refusal.delta": "content",
        "response.audio.delta": "content",
        "response.audio.transcript.delta": "content",
        "response.reasoning_text.delta": "reasoning",
        "response.reasoning_summary_text.delta": "reasoning",
        "response.function_call_arguments.delta": "tool",
        "response.custom_tool_call_input.delta": "tool",
        "response.mcp_call_arguments.delta": "tool",
        "response.code_interpreter_call_code.delta": "tool",
    }
)
_ASKED_OF_THE_HARNESS = frozenset(
    {
        "function_call",
        "custom_tool_call",
        "local_shell_call",
        "shell_call",
        "apply_patch_call",
        "computer_call",
    }
)

_MEDIA = frozenset(
    {b'"input_image"', b'"input_file"', b'"input_audio"', b'"computer_screenshot"', b'"image_generation_call"'}
)
_TOOL_LISTS = frozenset({b'"additional_tools"', b'"mcp_list_tools"'})
"""Items that offer tools in the midst of a conversation."""


class _Item(msgspec.Struct):
    type: Any = None
    id: Any = None


class _IncompleteDetails(msgspec.Struct):
    reason: Any = None


class _Response(msgspec.Struct):
    """A response, or an error's document."""

    id: Any = None
    model: Any = None
    status: Any = None
    incomplete_details: _IncompleteDetails | None = None
    output: list[_Item] | None = None
    usage: Any = None
    error: Any = None


class _Event(msgspec.Struct):
    type: Any = None
    delta: Any = None
    item: _Item | None = None
    output_index: Any = None
    response: _Response | None = None
    error: Any = None
    code: Any = None


class Details(msgspec.Struct, gc=False):
    """The parts of an input or an output."""

    cached_tokens: Count = None
    cache_write_tokens: Count = None
    reasoning_tokens: Count = None


class Usage(msgspec.Struct, gc=False):
    """What a usage object says."""

    input_tokens: Count = None
    output_tokens: Count = None
    input_tokens_details: Details | None = None
    output_tokens_details: Details | None = None


_event = msgspec.json.Decoder(_Event)
_document = msgspec.json.Decoder(_Response)
_usages = msgspec.json.Decoder(list[Usage])
_UNTOLD = Details()


class _ResponseEvents:
    """Reads events one by one, and remembers which output items have begun."""

    def __init__(self) -> None:
        self._begun: set[str] = set()

    def read(self, answer: Answer, data: bytes) -> EventKind:
        if data == b"[DONE]":
            return "other"
        event = decode_answer(data, _event)
        if event.type == "error" or event.error:
            # The vendor's reference has the error's members in the event itself, its servers send an object.
            answer.error_code = error_code(event.error or {"code": event.code})
            return "error"
        match event.type:
            case "response.created":
                _read_identity(answer, event.response)
                return "start"
            case "response.completed" | "response.incomplete" | "response.failed":
                return _read_end(answer, event)
            case "response.output_item.added" | "response.output_item.done" if event.item is not None:
                return self._read_item(answer, event.item, event.output_index)
            case _:
                return _DELTAS.get(text(event.type), "other") if event.delta else "other"

    def _read_item(self, answer: Answer, item: _Item, index: Any) -> EventKind:
        """The first event of an output item begins it: some servers leave `added` out, and send `done` alone."""
        kind = text(item.type)
        position = str(index) if type(index) is int else text(item.id)
        if kind is None or not kind.endswith("_call") or position in self._begun:
            return "other"
        if position is not None:
            self._begun.add(position)
        answer.tool_calls += kind in _ASKED_OF_THE_HARNESS
        return "tool"


def _read_identity(answer: Answer, response: _Response | None) -> None:
    if response is not None:
        answer.response_id = answer.response_id or identifier(response.id)
        answer.model = answer.model or name(response.model)


def _read_end(answer: Answer, event: _Event) -> EventKind:
    answer.complete = True
    if event.response is not None:
        _read_response(answer, event.response)
    if event.type == "response.failed" and answer.error_code is None:
        answer.error_code = "error"
    return "done" if answer.error_code is None else "error"


def _read_response(answer: Answer, response: _Response) -> None:
    _read_identity(answer, response)
    reason = name(response.incomplete_details.reason) if response.incomplete_details is not None else None
    answer.finish_reason = reason or name(response.status)
    answer.error_code = answer.error_code or error_code(response.error)
    calls = sum(text(item.type) in _ASKED_OF_THE_HARNESS for item in response.output or ())
    answer.tool_calls = max(answer.tool_calls, calls)  # some servers leave the output out at a stream's end
    if usage := usage_object(response.usage):
        answer.usages.append(usage)


def _read_document(answer: Answer, body: bytes) -> None:
    _read_response(answer, decode_answer(body, _document))


def read_request(body: bytes) -> RequestFacts:
    """Facts of a request for a response."""
    return reading.read_request(body, "max_output_tokens")


def _held(block: Members) -> Held:
    return "media" if word(block, "type") in _MEDIA else "said"


_SHAPE = Shape(_held, nested=("content", "output"), marks=("prompt_cache_breakpoint",))


def _item_kind(item: Members) -> PartKind:
    kind = word(item, "type")
    if kind in (b"", b'"message"'):
        return role_kind(item)
    if kind == b'"reasoning"':
        return "reasoning"
    if kind.endswith(b'_call"'):
        return "tool_call"
    return "tool_result" if kind.endswith(b'_output"') else "other"


def _item_part(item: Members) -> Part:
    if word(item, "type") not in _TOOL_LISTS:
        return message_part(item, _item_kind(item), _SHAPE)
    offered = objects(item.get("tools", NOTHING))
    return message_part(item, "tools", _SHAPE)._replace(tools=len(offered))


def request_parts(body: bytes) -> list[Part] | None:
    """The parts of a request for a response: tools, instructions, input items. What the server keeps is not seen."""
    request = members(body)
    if not request:
        return None
    sent = request.get("input", NOTHING)
    text = bytes(sent)
    return [
        *tools_parts(request.get("tools", NOTHING), _SHAPE),
        *system_parts(request.get("instructions", NOTHING), _SHAPE),
        *([Part("user", text)] if text.startswith(b'"') else map(_item_part, objects(sent))),
    ]


def stream_reader() -> AnswerReader:
    """A reader for the events of a streamed response."""
    return reading.StreamReader(_ResponseEvents().read)


def document_reader() -> AnswerReader:
    """A reader for one response, or an error's document."""
    return reading.DocumentReader(_read_document)


def read_usages(encoded: Encoded) -> list[Usage]:
    """The usage objects of one answer, from a JSON array of them."""
    return reading.read_usages(encoded, _usages)


def tokens(usages: Sequence[Usage], *, streamed: bool) -> Tokens:
    """Tokens of the last usage object: its input includes what was cached, its output the reasoning."""
    if not usages:
        return Tokens()
    usage = usages[-1]
    read, written = usage.input_tokens_details or _UNTOLD, usage.output_tokens_details or _UNTOLD
    return possible(
        Tokens(
            usage.input_tokens,
            usage.output_tokens,
            read.cached_tokens,
            read.cache_write_tokens,
            written.reasoning_tokens,
        )
    )


def error_body(code: str, message: str) -> dict[str, Any]:
    """An error in this surface's shape."""
    return {"error": {"message": message, "type": code, "param": None, "code": code}}
