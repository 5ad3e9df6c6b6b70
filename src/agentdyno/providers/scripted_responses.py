"""OpenAI responses, as `POST /v1/responses` answers. Pure.

A response's id ends in the number of answers that the conversation holds with it, so that a client may go on from it by
`previous_response_id`, although nothing is stored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

from agentdyno.providers.reply import (
    ArgumentsPiece,
    Ask,
    Reply,
    TextPiece,
    Usage,
    arguments_json,
    count_input_tokens,
    prompt_of,
)
from agentdyno.providers.script import Failure
from agentdyno.providers.scripted_chat import error_document as error_document  # one vendor, one form
from agentdyno.providers.scripted_wire import (
    AskError,
    Frame,
    Stamp,
    count_answers,
    model_of,
    objects_of,
    offered_tool,
    server_sent,
)

REQUEST_ID_HEADER = "x-request-id"
_RESPONSE_ID = re.compile(r"resp_[0-9a-z]+_(\d+)", re.ASCII)
_EventFrame = Callable[..., Frame]


def read_ask(body: dict[str, Any]) -> Ask:
    """What the body asks for. Raises AskError."""
    tools = body.get("tools") if body.get("tool_choice") != "none" else None
    functions = [tool for tool in tools if _is_function(tool)] if isinstance(tools, list) else []
    offered = [offered_tool(function, "parameters") for function in functions]
    items = [] if isinstance(body.get("input"), str) else objects_of(body, "input")
    return Ask(
        model=model_of(body),
        streamed=body.get("stream") is True,
        turn=_earlier_answers(body.get("previous_response_id")) + count_answers(_is_models(item) for item in items),
        tools=tuple(tool for tool in offered if tool is not None),
        input_tokens=count_input_tokens(body),
        prompt=prompt_of(body),
    )


def count_document(tokens: int) -> dict[str, Any]:
    """The answer to a token count."""
    return {"object": "response.input_tokens", "input_tokens": tokens}


def document(reply: Reply, stamp: Stamp) -> dict[str, Any]:
    """The whole answer as one JSON document."""
    return _response(reply, stamp, "completed") | {"output": _output(reply, stamp), "usage": _usage(reply.usage)}


def frames(reply: Reply, stamp: Stamp) -> Iterator[Frame]:
    """The response as it begins, its items with a delta for each piece, and the whole response.

    The start of a tool call is the event that adds its item.
    """
    event = _numbered()
    started = _response(reply, stamp, "in_progress")
    yield event("response.created", response=started)
    yield event("response.in_progress", response=started)
    for index, item in enumerate(_output(reply, stamp)):
        is_message = item["type"] == "message"
        begun: dict[str, Any] = {"status": "in_progress", **({"content": []} if is_message else {"arguments": ""})}
        yield event("response.output_item.added", 0 if is_message else 1, output_index=index, item=item | begun)
        place = {"item_id": item["id"], "output_index": index}
        yield from (_text_frames if is_message else _call_frames)(event, reply, item, place)
        yield event("response.output_item.done", output_index=index, item=item)
    yield event("response.completed", response=document(reply, stamp))


def error_event(failure: Failure, reply: Reply, stamp: Stamp, sent: int) -> bytes:
    """The response as it failed; nothing follows it."""
    error = {"code": failure.code or "server_error", "message": failure.message}
    failed = _response(reply, stamp, "failed") | {"error": error}
    return _event("response.failed", sent, {"response": failed})


def _is_function(tool: Any) -> bool:
    """Whether it is a tool with a schema: free-form and built-in ones have none."""
    return isinstance(tool, dict) and tool.get("type") == "function"


def _is_models(item: Mapping[str, Any]) -> bool:
    kind = item.get("type", "message")
    if kind == "message":
        return item.get("role") == "assistant"
    return kind in ("reasoning", "item_reference") or str(kind).endswith("_call")


def _earlier_answers(response_id: Any) -> int:
    if response_id is None:
        return 0
    named = _RESPONSE_ID.fullmatch(str(response_id))
    if named is None:
        raise AskError(f"there is no response {response_id}", code="previous_response_not_found")
    return int(named[1])


def _numbered() -> _EventFrame:
    """Makes events that carry their place in the stream."""
    places = count()

    def frame(kind: str, pieces: int = 0, **fields: Any) -> Frame:
        return Frame(_event(kind, next(places), fields), pieces)

    return frame


def _event(kind: str, place: int, fields: Mapping[str, Any]) -> bytes:
    return server_sent({"type": kind, "sequence_number": place, **fields}, kind)


def _text_frames(
    event: _EventFrame, reply: Reply, item: Mapping[str, Any], place: Mapping[str, Any]
) -> Iterator[Frame]:
    [part] = item["content"]
    place = {**place, "content_index": 0}
    yield event("response.content_part.added", **place, part=part | {"text": ""})
    for piece in reply.pieces:
        if isinstance(piece, TextPiece):
            yield event("response.output_text.delta", 1, **place, delta=piece.text, logprobs=[])
    yield event("response.output_text.done", **place, text=part["text"], logprobs=[])
    yield event("response.content_part.done", **place, part=part)


def _call_frames(
    event: _EventFrame, reply: Reply, item: Mapping[str, Any], place: Mapping[str, Any]
) -> Iterator[Frame]:
    for piece in reply.pieces:
        if isinstance(piece, ArgumentsPiece):
            yield event("response.function_call_arguments.delta", 1, **place, delta=piece.json)
    yield event("response.function_call_arguments.done", **place, name=item["name"], arguments=item["arguments"])


def _response(reply: Reply, stamp: Stamp, status: str) -> dict[str, Any]:
    return {
        "id": f"resp_{stamp.serial}_{reply.ask.turn + 1}",
        "object": "response",
        "created_at": stamp.created_s,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "metadata": {},
        "model": reply.ask.model,
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
        "user": None,
    }


def _output(reply: Reply, stamp: Stamp) -> Sequence[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if reply.text:
        part = {"type": "output_text", "text": reply.text, "annotations": [], "logprobs": []}
        message = {"id": f"msg_{stamp.serial}", "type": "message", "status": "completed", "role": "assistant"}
        items.append(message | {"content": [part]})
    if reply.call is not None:
        call = {"id": f"fc_{stamp.serial}", "type": "function_call", "status": "completed"}
        arguments = arguments_json(reply.call)
        items.append(call | {"call_id": f"call_{stamp.serial}", "name": reply.call.name, "arguments": arguments})
    return items


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input,
        "input_tokens_details": {"cached_tokens": usage.cache_read, "cache_write_tokens": usage.cache_write},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input + usage.output,
    }
