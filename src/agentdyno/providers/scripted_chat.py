"""OpenAI chat completions, as `POST /v1/chat/completions` answers. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, assert_never

from agentdyno.providers.reply import ArgumentsPiece, Ask, CallStart, Piece, Reply, TextPiece, Usage, arguments_json
from agentdyno.providers.script import Failure
from agentdyno.providers.scripted_wire import Frame, Stamp, ask_of, offered_tool, server_sent

REQUEST_ID_HEADER = "x-request-id"


def read_ask(body: dict[str, Any]) -> Ask:
    """What the body asks for. Raises AskError."""
    tools = body.get("tools") if body.get("tool_choice") != "none" else None
    functions = [tool.get("function") for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    offered = [offered_tool(function, "parameters") for function in functions]
    options = body.get("stream_options")
    wants_usage = isinstance(options, dict) and options.get("include_usage") is True
    return ask_of(body, offered, stream_usage=wants_usage)


def document(reply: Reply, stamp: Stamp) -> dict[str, Any]:
    """The whole answer as one JSON document."""
    message: dict[str, Any] = {"role": "assistant", "content": reply.text, "refusal": None, "annotations": []}
    if reply.call is not None:
        function = {"name": reply.call.name, "arguments": arguments_json(reply.call)}
        message["tool_calls"] = [{"id": _call_id(stamp), "type": "function", "function": function}]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish_reason(reply)}
    return _answer("chat.completion", reply, stamp) | {"choices": [choice], "usage": _usage(reply.usage)}


def frames(reply: Reply, stamp: Stamp) -> Iterator[Frame]:
    """The role, a chunk for each piece, the finish, the usage if it was asked for, and the end mark."""
    stream_usage = reply.ask.stream_usage
    head = _answer("chat.completion.chunk", reply, stamp) | ({"usage": None} if stream_usage else {})

    def chunk(delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return server_sent(head | {"choices": [choice]})

    yield Frame(chunk({"role": "assistant", "content": None if reply.text is None else "", "refusal": None}))
    for piece in reply.pieces:
        yield Frame(chunk(_delta(piece, stamp)), pieces=1)
    yield Frame(chunk({}, _finish_reason(reply)))
    if stream_usage:
        yield Frame(server_sent(head | {"choices": [], "usage": _usage(reply.usage)}))
    yield Frame(server_sent("[DONE]"), trailer=True)


def error_document(failure: Failure, request_id: str) -> dict[str, Any]:
    """The error as one JSON document; the request id is in the headers only."""
    error_type = (
        "requests" if failure.status == 429 else "server_error" if failure.status >= 500 else "invalid_request_error"
    )
    return {"error": {"message": failure.message, "type": error_type, "param": None, "code": failure.code}}


def error_event(failure: Failure, reply: Reply, stamp: Stamp, sent: int) -> bytes:
    """The error in place of a chunk; nothing follows it."""
    return server_sent(error_document(failure, stamp.request_id))


def _answer(kind: str, reply: Reply, stamp: Stamp) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{stamp.serial}",
        "object": kind,
        "created": stamp.created_s,
        "model": reply.ask.model,
        "service_tier": "default",
        "system_fingerprint": None,
    }


def _call_id(stamp: Stamp) -> str:
    return f"call_{stamp.serial}"


def _finish_reason(reply: Reply) -> str:
    return "stop" if reply.call is None else "tool_calls"


def _delta(piece: Piece, stamp: Stamp) -> dict[str, Any]:
    match piece:
        case TextPiece(text):
            return {"content": text}
        case CallStart(name):
            function = {"name": name, "arguments": ""}
            return {"tool_calls": [{"index": 0, "id": _call_id(stamp), "type": "function", "function": function}]}
        case ArgumentsPiece(json):
            return {"tool_calls": [{"index": 0, "function": {"arguments": json}}]}
        case _:
            assert_never(piece)


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read,
            "cache_write_tokens": usage.cache_write,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
