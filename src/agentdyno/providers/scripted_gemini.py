"""Gemini, as `POST /v1beta/models/MODEL:OPERATION` answers. Pure.

Fields that are zero are left out, as the protocol's JSON leaves them out. The vendor sends no header with a request id;
this one does, so that the id can be looked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from agentdyno.providers.reply import Ask, Reply, TextPiece, Usage, count_input_tokens, prompt_of
from agentdyno.providers.script import Failure
from agentdyno.providers.scripted_wire import (
    AskError,
    Frame,
    Stamp,
    count_answers,
    objects_of,
    offered_tool,
    server_sent,
)
from agentdyno.providers.tool_choice import OfferedTool

REQUEST_ID_HEADER = "x-request-id"
OPERATIONS = ("generateContent", "streamGenerateContent", "countTokens")
_STATUSES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def read_ask(body: dict[str, Any], *, model: str, operation: str, as_events: bool) -> Ask:
    """What the body asks for of the model and operation that the path names; `as_events`: the query has `alt=sse`.

    Raises AskError.
    """
    if operation not in OPERATIONS:
        raise AskError(f"there is no operation {operation}", status=404)
    asked = body.get("generateContentRequest") if operation == "countTokens" else None
    counted = asked if isinstance(asked, dict) else body
    contents = objects_of(counted, "contents")
    return Ask(
        model=model,
        streamed=operation == "streamGenerateContent",
        turn=count_answers(content.get("role") == "model" for content in contents),
        tools=() if _forbids_tools(counted) else tuple(_offered(counted.get("tools"))),
        input_tokens=count_input_tokens(counted),
        prompt=prompt_of(counted),
        stream_array=not as_events,
        knows_cache_writes=False,
    )


def count_document(tokens: int) -> dict[str, Any]:
    """The answer to a token count."""
    return {"totalTokens": tokens, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": tokens}]}


def document(reply: Reply, stamp: Stamp) -> dict[str, Any]:
    """The whole answer as one JSON document."""
    parts = [*([{"text": reply.text}] if reply.text else []), *_call_parts(reply, stamp)]
    return _chunk(reply, stamp, parts, _usage(reply.usage), "STOP")


def frames(reply: Reply, stamp: Stamp) -> Iterator[Frame]:
    """A chunk for each piece of text, one for a whole tool call, and one with the finish; each with the usage so far.

    As an array, its brackets and commas stand before the chunks that they precede.
    """
    as_array, told = reply.ask.stream_array, 0
    for piece in reply.pieces:
        if isinstance(piece, TextPiece):
            told += 1
            chunk = _chunk(reply, stamp, [{"text": piece.text}], _usage(reply.usage, told))
            yield Frame(_encoded(chunk, as_array=as_array, first=told == 1), 1)
    if reply.call is not None:
        chunk = _chunk(reply, stamp, _call_parts(reply, stamp), _usage(reply.usage, len(reply.pieces)))
        yield Frame(_encoded(chunk, as_array=as_array, first=told == 0), len(reply.pieces) - told)
    last = _chunk(reply, stamp, [{"text": ""}], _usage(reply.usage), "STOP")
    yield Frame(_encoded(last, as_array=as_array, first=not reply.pieces) + (b"]" if as_array else b""))


def error_document(failure: Failure, request_id: str) -> dict[str, Any]:
    """The error as one JSON document. The surface has statuses, which follow from HTTP's, but no codes of its own."""
    status = _STATUSES.get(failure.status, "INTERNAL" if failure.status >= 500 else "INVALID_ARGUMENT")
    error: dict[str, Any] = {"code": failure.status, "message": failure.message, "status": status}
    if failure.retry_after_s is not None:
        kind = "type.googleapis.com/google.rpc.RetryInfo"
        error["details"] = [{"@type": kind, "retryDelay": f"{failure.retry_after_s:g}s"}]
    return {"error": error}


def error_event(failure: Failure, reply: Reply, stamp: Stamp, sent: int) -> bytes:
    """The error in place of a chunk; nothing follows it but an array's end."""
    as_array = reply.ask.stream_array
    error = error_document(failure, stamp.request_id)
    return _encoded(error, as_array=as_array, first=sent == 0) + (b"]" if as_array else b"")


def _forbids_tools(body: Mapping[str, Any]) -> bool:
    settings: Any = body
    for names in (("toolConfig", "tool_config"), ("functionCallingConfig", "function_calling_config"), ("mode",)):
        settings = next((settings[name] for name in names if name in settings), None)
        if not isinstance(settings, dict):
            break
    return bool(settings == "NONE")


def _offered(tools: Any) -> Iterator[OfferedTool]:
    for tool in tools if isinstance(tools, list) else []:
        for name in ("functionDeclarations", "function_declarations"):
            declared = tool.get(name) if isinstance(tool, dict) else None
            for function in declared if isinstance(declared, list) else []:
                offered = offered_tool(function, "parametersJsonSchema", "parameters_json_schema", "parameters")
                if offered is not None:
                    yield offered


def _encoded(chunk: Any, *, as_array: bool, first: bool) -> bytes:
    if not as_array:
        return server_sent(chunk)
    return (b"[" if first else b"\n,\r\n") + json.dumps(chunk, ensure_ascii=False, indent=2).encode()


def _call_parts(reply: Reply, stamp: Stamp) -> list[dict[str, Any]]:
    if reply.call is None:
        return []
    call = {"id": f"call_{stamp.serial}", "name": reply.call.name, "args": reply.call.arguments}
    return [{"functionCall": call}]


def _chunk(
    reply: Reply, stamp: Stamp, parts: list[dict[str, Any]], usage: dict[str, Any], finish: str | None = None
) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    return {
        "candidates": [candidate],
        "usageMetadata": usage,
        "modelVersion": reply.ask.model,
        "responseId": stamp.serial,
    }


def _usage(usage: Usage, told: int | None = None) -> dict[str, Any]:
    """The usage when so many pieces were told, or of the whole answer. Candidates leave the thoughts out."""
    candidates = usage.output - usage.reasoning
    candidates = candidates if told is None else min(told, candidates)
    counts = {
        "promptTokenCount": usage.input,
        "cachedContentTokenCount": usage.cache_read,
        "candidatesTokenCount": candidates,
        "thoughtsTokenCount": usage.reasoning,
        "totalTokenCount": usage.input + candidates + usage.reasoning,
    }
    details = {"promptTokensDetails": [{"modality": "TEXT", "tokenCount": usage.input}]}
    return {name: count for name, count in counts.items() if count > 0} | details
