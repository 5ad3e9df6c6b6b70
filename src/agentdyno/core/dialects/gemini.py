"""Google's Gemini: `generateContent`, `streamGenerateContent` and their like.

The path names the model and whether the answer is streamed. A stream has no terminal event: it is complete when its
bytes have ended and a reason to finish was seen, or a reason why the prompt was blocked. Events after it still count,
for usage may follow. Usage comes on many chunks as running totals, of which each may lack figures: one object is kept,
with the last that was said of each. Without `alt=sse` a stream is one JSON array of its chunks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from agentdyno.core.dialects import reading
from agentdyno.core.dialects.reading import (
    Count,
    Encoded,
    decode_answer,
    error_code,
    identifier,
    items,
    members,
    name,
    number,
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
)
from agentdyno.core.dialects.wire import Answer, AnswerReader, EventKind, Part, PartKind, RequestFacts, Tokens

_FUNCTIONS = ("functionDeclarations", "function_declarations")

_MEDIA = frozenset({"inlineData", "inline_data", "fileData", "file_data"})
_RESULTS = frozenset({"functionResponse", "function_response", "codeExecutionResult", "code_execution_result"})


class _Thing(msgspec.Struct):
    """What is of interest only for being there."""


class _FunctionCall(msgspec.Struct):
    name: Any = None


class _Part(msgspec.Struct, rename="camel"):
    text: Any = None
    thought: Any = None
    function_call: _FunctionCall | None = None
    inline_data: _Thing | None = None
    executable_code: _Thing | None = None
    tool_call: _Thing | None = None


class _Content(msgspec.Struct):
    parts: list[_Part] | None = None


class _Candidate(msgspec.Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: Any = None


class _PromptFeedback(msgspec.Struct, rename="camel"):
    block_reason: Any = None


class _Chunk(msgspec.Struct, rename="camel"):
    """A whole answer, a part of a streamed one, or an error's document."""

    candidates: list[_Candidate] | None = None
    prompt_feedback: _PromptFeedback | None = None
    usage_metadata: Any = None
    response_id: Any = None
    model_version: Any = None
    error: Any = None


class Usage(msgspec.Struct, rename="camel", gc=False):
    """What a usage object says."""

    prompt_token_count: Count = None
    tool_use_prompt_token_count: Count = None
    cached_content_token_count: Count = None
    candidates_token_count: Count = None
    thoughts_token_count: Count = None
    total_token_count: Count = None


_chunk = msgspec.json.Decoder(_Chunk)
_document = msgspec.json.Decoder(_Chunk | list[_Chunk])
_usages = msgspec.json.Decoder(list[Usage])


class _Stream(reading.StreamReader):
    """Reads a stream whose end is that of its bytes."""

    def finish(self) -> None:
        """No more bytes will come: now it can be told whether the answer is whole."""
        self.answer.complete = self.answer.finish_reason is not None


def _read_event(answer: Answer, data: bytes) -> EventKind:
    return _read_chunk(answer, decode_answer(data, _chunk))


def _read_chunk(answer: Answer, chunk: _Chunk) -> EventKind:
    answer.response_id = answer.response_id or identifier(chunk.response_id)
    answer.model = answer.model or name(chunk.model_version)
    counted = _keep_usage(answer, chunk.usage_metadata)
    if chunk.error:
        answer.error_code = error_code(chunk.error, ("status", "code"))
        return "error"
    kind = _read_parts(answer, chunk.candidates or [])
    if _read_finish(answer, chunk) and kind == "other":
        return "finish"
    return "usage" if counted and kind == "other" else kind


def _read_parts(answer: Answer, candidates: list[_Candidate]) -> EventKind:
    """Count the calls that begin here; the kind of the first part that has one."""
    parts = [
        part for candidate in candidates if candidate.content is not None for part in candidate.content.parts or ()
    ]
    # A call whose arguments come in pieces has its name in the first one only.
    answer.tool_calls += sum(part.function_call is not None and bool(text(part.function_call.name)) for part in parts)
    return next((kind for kind in map(_kind_of, parts) if kind != "other"), "other")


def _read_finish(answer: Answer, chunk: _Chunk) -> bool:
    """Take the reason why the answer ended, or why there is none; whether there is one here."""
    reasons = [candidate.finish_reason for candidate in chunk.candidates or ()]
    if chunk.prompt_feedback is not None:
        reasons.append(chunk.prompt_feedback.block_reason)
    found = next((reason for reason in map(name, reasons) if reason is not None), None)
    answer.finish_reason = found or answer.finish_reason
    return found is not None


def _kind_of(part: _Part) -> EventKind:
    if part.function_call is not None or part.executable_code is not None or part.tool_call is not None:
        return "tool"
    if part.text or part.inline_data is not None:
        return "reasoning" if part.thought is True else "content"
    return "other"


def _keep_usage(answer: Answer, value: Any) -> bool:
    """Take the figures that are told here; whether there are any."""
    if not isinstance(value, dict):
        return False
    earlier = answer.usages[0] if answer.usages else {}
    usage = usage_object({**earlier, **{key: figure for key, figure in value.items() if figure is not None}})
    if usage is not None:
        answer.usages[:] = [usage]
    return usage is not None


def _read_document(answer: Answer, body: bytes) -> None:
    document = decode_answer(body, _document)
    for chunk in document if isinstance(document, list) else [document]:
        _read_chunk(answer, chunk)


def read_request(body: bytes) -> RequestFacts:
    """Facts of a request to generate content, of which its path has the model and whether it is streamed.

    As the vendor does, it takes the names of members with underscores too.
    """
    request = members(body)
    config = members(_one_of(request, "generationConfig", "generation_config"))
    return RequestFacts(
        model=None,
        streamed=False,
        offers_tools=any(map(_offers, items(_one_of(request, "tools")))),
        output_limit_tokens=number(_one_of(config, "maxOutputTokens", "max_output_tokens")),
    )


def _one_of(found: Mapping[str, bytes], *names: str) -> bytes:
    """The first of these members that is there; nothing when none is."""
    return next((found[name] for name in names if name in found), b"")


def _offers(tool: bytes) -> bool:
    """Whether there is anything in a tool: its list of functions may be empty."""
    return any(name not in _FUNCTIONS or items(value) for name, value in members(tool).items())


def _held(block: Members) -> Held:
    if not _MEDIA.isdisjoint(block):
        return "media"
    return "said" if _RESULTS.isdisjoint(block) else "tool_result"


_SHAPE = Shape(_held, nested=("parts", "functionResponse", "function_response"))


def _functions(tools: list[Members]) -> int:
    """How many tools are offered: each function, and each tool of the vendor's own."""
    return sum(len(items(value)) if name in _FUNCTIONS else 1 for tool in tools for name, value in tool.items())


def request_parts(body: bytes) -> list[Part] | None:
    """The parts of a request to generate content: tools, system instruction, contents."""
    request = members(body)
    if not request:
        return None
    system = members(_one_of(request, "systemInstruction", "system_instruction"))
    contents = objects(request.get("contents", NOTHING))
    return [
        *tools_parts(request.get("tools", NOTHING), _SHAPE, _functions),
        *system_parts(system.get("parts", NOTHING), _SHAPE),
        *(message_part(content, _kind_of_content(content), _SHAPE) for content in contents),
    ]


def _kind_of_content(content: Members) -> PartKind:
    """Without a role it is the user's."""
    return role_kind(content) if "role" in content else "user"


def stream_reader() -> AnswerReader:
    """A reader for the chunks of a streamed answer."""
    return _Stream(_read_event)


def document_reader() -> AnswerReader:
    """A reader for one answer, an array of a stream's chunks, or an error's document."""
    return reading.DocumentReader(_read_document)


def read_usages(encoded: Encoded) -> list[Usage]:
    """The usage objects of one answer, from a JSON array of them."""
    return reading.read_usages(encoded, _usages)


def tokens(usages: Sequence[Usage], *, streamed: bool) -> Tokens:
    """Tokens of the last usage object. Its prompt includes what was cached, but not what the server's tools added."""
    if not usages:
        return Tokens()
    usage = usages[-1]
    prompt, by_tools = usage.prompt_token_count, usage.tool_use_prompt_token_count
    return possible(
        Tokens(
            input=None if prompt is None else prompt + _or_0(by_tools),
            output=_output(usage),
            cache_read=usage.cached_content_token_count,
            reasoning=usage.thoughts_token_count,
        )
    )


def _output(usage: Usage) -> int | None:
    """Candidates and thoughts. With some models the candidates hold the thoughts: there the total shows it."""
    candidates, thoughts = usage.candidates_token_count, usage.thoughts_token_count
    if candidates is None or thoughts is None:
        return thoughts if candidates is None else candidates
    without_thoughts = candidates + _or_0(usage.prompt_token_count) + _or_0(usage.tool_use_prompt_token_count)
    return candidates if usage.total_token_count == without_thoughts else candidates + thoughts


def _or_0(count: int | None) -> int:
    """A summand, which this surface leaves out where it is 0."""
    return 0 if count is None else count


def error_body(code: str, message: str) -> dict[str, Any]:
    """An error in this surface's shape. Its number is the HTTP status, which the answer has already."""
    return {"error": {"message": message, "status": code}}
