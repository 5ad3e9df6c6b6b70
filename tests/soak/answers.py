"""What a provider says in each of the four surfaces: a document, the pieces of a stream, a refusal. Pure."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from tests.soak.errands import Errand, Usage

from agentdyno.core.records import Surface

REQUEST_ID_HEADERS: dict[Surface, str] = {
    "openai_chat": "x-request-id",
    "openai_responses": "x-request-id",
    "anthropic_messages": "request-id",
    "gemini": "x-goog-request-id",
}
_WORD = "word "
_KINDS = {429: "rate_limit_error", 500: "api_error", 503: "overloaded_error", 529: "overloaded_error"}


class Spoken(NamedTuple):
    """An answer in the words of its surface."""

    document: dict[str, Any]
    opening: list[dict[str, Any]]
    """Events of a stream before its first text."""
    word: dict[str, Any]
    """The event of one word, of which there are as many as words."""
    closing: list[dict[str, Any]]
    """The events behind it, the last of which has the usage."""
    terminal: bytes = b""


def document_bytes(errand: Errand) -> bytes:
    """The whole answer as one document."""
    return json.dumps(_spoken(errand).document).encode()


def stream_pieces(errand: Errand) -> list[bytes]:
    """The whole answer as a stream: its opening, each word, and its closing. There are two more pieces than words."""
    spoken = _spoken(errand)
    opening, closing = (b"".join(map(_event, events)) for events in (spoken.opening, spoken.closing))
    return [opening, *[_event(spoken.word)] * errand.words, closing + spoken.terminal]


def refusal_bytes(surface: Surface, status: int) -> bytes:
    """An error, as the surface wraps it."""
    kind, words = _KINDS[status], "not now"
    match surface:
        case "anthropic_messages":
            document = {"type": "error", "error": {"type": kind, "message": words}}
        case "gemini":
            document = {"error": {"code": status, "message": words, "status": kind.upper()}}
        case _:
            document = {"error": {"type": kind, "code": kind, "message": words}}
    return json.dumps(document).encode()


def _event(event: dict[str, Any]) -> bytes:
    named = f"event: {event['type']}\n" if "type" in event else ""
    return f"{named}data: {json.dumps(event)}\n\n".encode()


def _spoken(errand: Errand) -> Spoken:
    text = _WORD * errand.words
    match errand.surface:
        case "openai_chat":
            return _chat(errand, text)
        case "openai_responses":
            return _responses(errand, text)
        case "anthropic_messages":
            return _messages(errand, text)
        case "gemini":
            return _gemini(errand, text)


def _chat(errand: Errand, text: str) -> Spoken:
    usage = _openai_usage(errand.usage, "prompt", "completion")
    head = {"id": f"chatcmpl-{errand.number}", "created": 0, "model": errand.model}

    def chunk(delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return {**head, "object": "chat.completion.chunk", "choices": [choice]}

    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    return Spoken(
        {**head, "object": "chat.completion", "choices": [choice], "usage": usage},
        [chunk({"role": "assistant", "content": ""})],
        chunk({"content": _WORD}),
        [chunk({}, "stop"), {**chunk({}), "choices": [], "usage": usage}],
        b"data: [DONE]\n\n",
    )


def _responses(errand: Errand, text: str) -> Spoken:
    usage = _openai_usage(errand.usage, "input", "output")
    content = {"type": "output_text", "text": text, "annotations": []}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [content]}
    settings = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
    head = {"id": f"resp_{errand.number}", "object": "response", "created_at": 0, "model": errand.model, **settings}
    whole = {**head, "status": "completed", "output": [item], "usage": usage}
    begun = {**head, "status": "in_progress", "output": [], "usage": None}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "sequence_number": 1, "logprobs": []}
    return Spoken(
        whole,
        [{"type": "response.created", "sequence_number": 0, "response": begun}],
        {"type": "response.output_text.delta", **place, "delta": _WORD},
        [{"type": "response.completed", "sequence_number": 2, "response": whole}],
    )


def _messages(errand: Errand, text: str) -> Spoken:
    told = errand.usage
    cache_write = told.cache_write_tokens or 0
    usage = {
        "input_tokens": told.input_tokens - told.cache_read_tokens - cache_write,
        "cache_read_input_tokens": told.cache_read_tokens,
        "cache_creation_input_tokens": cache_write,
        "output_tokens": told.output_tokens,
    }
    head = {"id": f"msg_{errand.number}", "type": "message", "role": "assistant", "model": errand.model}
    nothing: list[dict[str, str]] = []
    begun = {"content": nothing, "stop_reason": None, "stop_sequence": None, "usage": {**usage, "output_tokens": 1}}
    content = [{"type": "text", "text": text}]
    return Spoken(
        {**head, "content": content, "stop_reason": "end_turn", "stop_sequence": None, "usage": usage},
        [
            {"type": "message_start", "message": {**head, **begun}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        ],
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": _WORD}},
        [
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": usage},
            {"type": "message_stop"},
        ],
    )


def _gemini(errand: Errand, text: str) -> Spoken:
    told = errand.usage
    reasoning = told.reasoning_tokens or 0
    usage = {
        "promptTokenCount": told.input_tokens,
        "candidatesTokenCount": told.output_tokens - reasoning,
        "thoughtsTokenCount": reasoning,
        "totalTokenCount": told.input_tokens + told.output_tokens,
        "cachedContentTokenCount": told.cache_read_tokens,
    }
    identity = {"modelVersion": errand.model, "responseId": f"gen-{errand.number}"}

    def said(text: str, **more: str) -> dict[str, Any]:
        candidate = {"index": 0, "content": {"role": "model", "parts": [{"text": text}]}, **more}
        return {"candidates": [candidate], **identity}

    return Spoken(
        {**said(text, finishReason="STOP"), "usageMetadata": usage},
        [said("")],
        said(_WORD),
        [{**said("", finishReason="STOP"), "usageMetadata": usage}],
    )


def _openai_usage(told: Usage, of_input: str, of_output: str) -> dict[str, Any]:
    return {
        f"{of_input}_tokens": told.input_tokens,
        f"{of_output}_tokens": told.output_tokens,
        "total_tokens": told.input_tokens + told.output_tokens,
        f"{of_input}_tokens_details": {"cached_tokens": told.cache_read_tokens},
        f"{of_output}_tokens_details": {"reasoning_tokens": told.reasoning_tokens or 0},
    }
