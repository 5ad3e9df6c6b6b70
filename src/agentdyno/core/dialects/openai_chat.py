"""OpenAI's chat completions, as the vendor and the many that copy it send them.

A stream is complete when `[DONE]` came, and only then: a finish reason alone may still lack the usage that follows it.
Several usage objects in one stream are running totals, so that the last one that counts anything stands for all and is
the one that is kept.
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
    first_told,
    identifier,
    members,
    name,
    natural,
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
    tools_parts,
    word,
)
from agentdyno.core.dialects.wire import Answer, AnswerReader, EventKind, Part, RequestFacts, Tokens

_MEDIA = frozenset({b'"image_url"', b'"input_audio"', b'"file"', b'"video_url"'})


class _Function(msgspec.Struct):
    name: Any = None


class _ToolCall(msgspec.Struct):
    index: Any = None
    id: Any = None
    function: _Function | None = None


class _Delta(msgspec.Struct):
    role: Any = None
    content: Any = None
    refusal: Any = None
    audio: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    tool_calls: list[_ToolCall] | None = None


class _ChunkChoice(msgspec.Struct):
    index: Any = None
    delta: _Delta | None = None
    finish_reason: Any = None


class _Chunk(msgspec.Struct):
    choices: list[_ChunkChoice] | None = None
    id: Any = None
    model: Any = None
    usage: Any = None
    error: Any = None


class _Message(msgspec.Struct):
    tool_calls: list[_ToolCall] | None = None


class _DocumentChoice(msgspec.Struct):
    message: _Message | None = None
    finish_reason: Any = None


class _Document(msgspec.Struct):
    choices: list[_DocumentChoice] | None = None
    id: Any = None
    model: Any = None
    usage: Any = None
    error: Any = None


class Details(msgspec.Struct, gc=False):
    """The parts of an input or an output."""

    cached_tokens: Count = None
    cache_write_tokens: Count = None
    cache_creation_tokens: Count = None
    """LiteLLM's name for what was written."""
    reasoning_tokens: Count = None


class Usage(msgspec.Struct, gc=False):
    """What a usage object says."""

    prompt_tokens: Count = None
    completion_tokens: Count = None
    prompt_tokens_details: Details | None = None
    completion_tokens_details: Details | None = None


class LitellmUsage(Usage, gc=False):
    """What LiteLLM's own usage object says."""

    cache_creation_input_tokens: Count = None
    cache_read_input_tokens: Count = None


_chunk = msgspec.json.Decoder(_Chunk)
_document = msgspec.json.Decoder(_Document)
_usages = msgspec.json.Decoder(list[Usage])
_litellm_usages = msgspec.json.Decoder(list[LitellmUsage])
_UNTOLD = Details()


class _ChatEvents:
    """Reads events one by one, and remembers which tool calls have begun."""

    def __init__(self) -> None:
        self._positions: set[str] = set()
        self._ids: set[str] = set()

    def read(self, answer: Answer, data: bytes) -> EventKind:
        if data == b"[DONE]":
            answer.complete = True
            return "done"
        chunk = decode_answer(data, _chunk)
        if answer.response_id is None:
            answer.response_id = identifier(chunk.id)
        if answer.model is None:
            answer.model = name(chunk.model)
        if chunk.error:
            answer.error_code = error_code(chunk.error)
            return "error"
        kind = self._read_choices(answer, chunk.choices) if chunk.choices else "other"
        if chunk.usage is not None and (usage := usage_object(chunk.usage)):
            if not answer.usages or _counts(usage):
                answer.usages[:] = [usage]
            if kind in ("other", "start"):
                return "usage"
        return kind

    def _read_choices(self, answer: Answer, choices: list[_ChunkChoice]) -> EventKind:
        kind = "other"
        for choice in choices:
            if choice.delta is not None:
                found = _kind_of(choice.delta)
                if choice.delta.tool_calls:
                    self._count_calls(answer, choice.index, choice.delta.tool_calls)
                if kind in ("other", "start"):
                    kind = found
            if choice.finish_reason is not None:
                answer.finish_reason = answer.finish_reason or name(choice.finish_reason)
                if kind in ("other", "start"):
                    kind = "finish"
        return kind

    def _count_calls(self, answer: Answer, choice: Any, calls: list[_ToolCall]) -> None:
        """Count the calls that begin here.

        A call begins at a position not seen before. Some servers give all parallel calls one position; there a named
        function with a new id begins one.
        """
        for call in calls:
            position, call_id = f"{choice}.{call.index}", text(call.id)
            named = call.function is not None and text(call.function.name) is not None
            if position not in self._positions or (named and call_id is not None and call_id not in self._ids):
                answer.tool_calls += 1
            self._positions.add(position)
            if call_id is not None:
                self._ids.add(call_id)


def _counts(usage: dict[str, Any]) -> bool:
    """Whether a usage object tells of any token: zeros throughout, or nothing, undo no count that was told."""
    return any(natural(usage.get(figure)) for figure in ("prompt_tokens", "completion_tokens"))


def _kind_of(delta: _Delta) -> EventKind:
    if delta.content or delta.refusal or delta.audio:
        return "content"
    if delta.reasoning_content or delta.reasoning:
        return "reasoning"
    if delta.tool_calls:
        return "tool"
    return "start" if delta.role is not None else "other"


def _read_document(answer: Answer, body: bytes) -> None:
    document = decode_answer(body, _document)
    answer.response_id, answer.model = identifier(document.id), name(document.model)
    answer.error_code = error_code(document.error)
    if usage := usage_object(document.usage):
        answer.usages.append(usage)
    for choice in document.choices or ():
        answer.finish_reason = answer.finish_reason or name(choice.finish_reason)
        if choice.message is not None and choice.message.tool_calls:
            answer.tool_calls += len(choice.message.tool_calls)


def read_request(body: bytes) -> RequestFacts:
    """Facts of a chat completion request."""
    return reading.read_request(body, "max_completion_tokens", "max_tokens")


def _held(block: Members) -> Held:
    return "media" if word(block, "type") in _MEDIA else "said"


# The first mark is of those that copy the vendor, and of LiteLLM: for models of Anthropic's behind this surface.
_SHAPE = Shape(_held, nested=("content", "function"), marks=("cache_control", "prompt_cache_breakpoint"))


def request_parts(body: bytes) -> list[Part] | None:
    """The parts of a chat completion request: tools, and then the messages, the system's among them."""
    request = members(body)
    if not request:
        return None
    tools = request.get("tools", request.get("functions", NOTHING))
    messages = objects(request.get("messages", NOTHING))
    return [
        *tools_parts(tools, _SHAPE),
        *(message_part(message, role_kind(message), _SHAPE) for message in messages),
    ]


def stream_reader() -> AnswerReader:
    """A reader for `chat.completion.chunk` events."""
    return reading.StreamReader(_ChatEvents().read)


def document_reader() -> AnswerReader:
    """A reader for one `chat.completion`, or an error's document."""
    return reading.DocumentReader(_read_document)


def read_usages(encoded: Encoded) -> list[Usage]:
    """The usage objects of one answer, from a JSON array of them."""
    return reading.read_usages(encoded, _usages)


def tokens(usages: Sequence[Usage], *, streamed: bool) -> Tokens:
    """Tokens of the last usage object: its input includes what was cached, its output the reasoning."""
    if not usages:
        return Tokens()
    usage = usages[-1]
    prompt, completion = usage.prompt_tokens_details or _UNTOLD, usage.completion_tokens_details or _UNTOLD
    return possible(
        Tokens(
            usage.prompt_tokens,
            usage.completion_tokens,
            prompt.cached_tokens,
            prompt.cache_write_tokens,
            completion.reasoning_tokens,
        )
    )


def read_litellm_usages(encoded: Encoded) -> list[LitellmUsage]:
    """LiteLLM's own usage objects, from a JSON array of them."""
    return reading.read_usages(encoded, _litellm_usages)


def litellm_tokens(usage: LitellmUsage) -> Tokens:
    """Tokens of LiteLLM's own usage object.

    It has this surface's shape whatever the upstream speaks. Cache reads and writes are inside `prompt_tokens` already,
    and have Anthropic's names beside or instead of OpenAI's.
    """
    prompt, completion = usage.prompt_tokens_details or _UNTOLD, usage.completion_tokens_details or _UNTOLD
    reads = (prompt.cached_tokens, usage.cache_read_input_tokens)
    writes = (prompt.cache_write_tokens, prompt.cache_creation_tokens, usage.cache_creation_input_tokens)
    return possible(
        Tokens(
            input=usage.prompt_tokens,
            output=usage.completion_tokens,
            cache_read=first_told(reads),
            cache_write=first_told(writes),
            reasoning=completion.reasoning_tokens,
        )
    )


def error_body(code: str, message: str) -> dict[str, Any]:
    """An error in this surface's shape."""
    return {"error": {"message": message, "type": code, "param": None, "code": code}}
