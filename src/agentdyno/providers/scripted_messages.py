"""Anthropic messages, as `POST /v1/messages` answers. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, assert_never

from agentdyno.providers.reply import ArgumentsPiece, Ask, CallStart, Piece, Reply, TextPiece, Usage
from agentdyno.providers.script import Failure
from agentdyno.providers.scripted_wire import AskError, Frame, Stamp, ask_of, offered_tool, server_sent

REQUEST_ID_HEADER = "request-id"
_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def read_ask(body: dict[str, Any]) -> Ask:
    """What the body asks for. Raises AskError."""
    if not isinstance(body.get("max_tokens"), int):
        raise AskError("max_tokens must be an integer")
    tools = body.get("tools") if body.get("tool_choice") != {"type": "none"} else None
    offered = [offered_tool(tool, "input_schema") for tool in tools] if isinstance(tools, list) else []
    return ask_of(body, offered)


def read_count(body: dict[str, Any]) -> Ask:
    """What the body of a token count asks about. Raises AskError."""
    return ask_of(body)


def count_document(tokens: int) -> dict[str, Any]:
    """The answer to a token count."""
    return {"input_tokens": tokens}


def document(reply: Reply, stamp: Stamp) -> dict[str, Any]:
    """The whole answer as one JSON document."""
    content: list[dict[str, Any]] = []
    if reply.text:
        content.append({"type": "text", "text": reply.text})
    if reply.call is not None:
        content.append(_tool_use(reply.call.name, stamp) | {"input": reply.call.arguments})
    usage = _input_usage(reply.usage) | _output_usage(reply.usage)
    return _message(reply, stamp) | {"content": content, "stop_reason": _stop_reason(reply), "usage": usage}


def frames(reply: Reply, stamp: Stamp) -> Iterator[Frame]:
    """The message with its input usage, the blocks with a delta for each piece, the stop with its output usage.

    This surface always streams the usage.
    """
    usage = _input_usage(reply.usage) | {"output_tokens": min(1, reply.usage.output)}
    yield _frame("message_start", message=_message(reply, stamp) | {"usage": usage})
    yield _frame("ping")
    block = -1
    for piece in reply.pieces:
        if block < 0 or isinstance(piece, CallStart):
            if block >= 0:
                yield _frame("content_block_stop", index=block)
            block += 1
            if isinstance(piece, TextPiece):
                yield _frame("content_block_start", index=block, content_block={"type": "text", "text": ""})
        yield _piece_frame(piece, block, stamp)
    if block >= 0:
        yield _frame("content_block_stop", index=block)
    yield _frame(
        "message_delta",
        delta={"stop_reason": _stop_reason(reply), "stop_sequence": None},
        usage=_input_usage(reply.usage) | _output_usage(reply.usage),
    )
    yield _frame("message_stop")


def error_document(failure: Failure, request_id: str) -> dict[str, Any]:
    """The error as one JSON document. The surface has types, which follow from the status, but no codes."""
    error_type = _ERROR_TYPES.get(failure.status, "api_error" if failure.status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": error_type, "message": failure.message}, "request_id": request_id}


def error_event(failure: Failure, reply: Reply, stamp: Stamp, sent: int) -> bytes:
    """An event named `error` with the error's document; nothing follows it."""
    return server_sent(error_document(failure, stamp.request_id), "error")


def _frame(event: str, **fields: Any) -> Frame:
    return Frame(server_sent({"type": event} | fields, event))


def _piece_frame(piece: Piece, block: int, stamp: Stamp) -> Frame:
    match piece:
        case TextPiece(text):
            frame = _frame("content_block_delta", index=block, delta={"type": "text_delta", "text": text})
        case CallStart(name):
            frame = _frame("content_block_start", index=block, content_block=_tool_use(name, stamp))
        case ArgumentsPiece(json):
            frame = _frame("content_block_delta", index=block, delta={"type": "input_json_delta", "partial_json": json})
        case _:
            assert_never(piece)
    return frame._replace(pieces=1)


def _message(reply: Reply, stamp: Stamp) -> dict[str, Any]:
    return {
        "id": f"msg_{stamp.serial}",
        "type": "message",
        "role": "assistant",
        "model": reply.ask.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _tool_use(name: str, stamp: Stamp) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_{stamp.serial}", "name": name, "input": {}}


def _stop_reason(reply: Reply) -> str:
    return "end_turn" if reply.call is None else "tool_use"


def _input_usage(usage: Usage) -> dict[str, int]:
    """This surface's input tokens leave out what was read from the cache or written to it."""
    return {
        "input_tokens": usage.input - usage.cache_read - usage.cache_write,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
    }


def _output_usage(usage: Usage) -> dict[str, Any]:
    return {"output_tokens": usage.output, "output_tokens_details": {"thinking_tokens": usage.reasoning}}
