"""Anthropic's messages on the wire: https://docs.anthropic.com/en/api/messages-streaming."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.corpus.case import Answer, Part
from tests.corpus.events import Event


def events(answer: Answer) -> Iterator[Event | Part]:
    """The message with the usage of its beginning, each block with its deltas, the stop with the final usage."""
    if not answer.parts[0].silent:
        yield _event("message_start", answer.start_usage, message=_message(answer) | {"usage": answer.start_usage})
    index = 0
    for part in answer.parts:
        block = _block(part)
        if block is not None:
            yield _event("content_block_start", index=index, content_block=block | _empty(part))
            for delta in _deltas(part):
                yield _event("content_block_delta", index=index, delta=delta)
            yield _event("content_block_stop", index=index)
            index += 1
        elif part.error is not None:
            yield _event("error", error=part.error, request_id=answer.headers.get("request-id"))
            return
        elif part.keep_alive:
            yield _event("ping")
        elif part.unknown is not None:
            yield _event("corpus_progress", **part.unknown)
        else:
            yield part
    stop = {"stop_reason": answer.finish, "stop_sequence": None}
    yield _event("message_delta", answer.usage, delta=stop, usage=answer.usage)
    yield Event({"type": "message_stop"}, "message_stop", terminal=True)


def document(answer: Answer) -> dict[str, Any]:
    """One message."""
    content = [block for block in map(_block, answer.parts) if block is not None]
    return _message(answer) | {"content": content, "stop_reason": answer.finish, "usage": answer.usage}


def _event(kind: str, told: dict[str, Any] | None = None, **members: Any) -> Event:
    return Event({"type": kind, **members}, kind, told)


def _message(answer: Answer) -> dict[str, Any]:
    return {
        "id": answer.id,
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": None,
    }


def _block(part: Part) -> dict[str, Any] | None:
    """The content block of a part, where it is one."""
    if part.text is not None:
        return {"type": "text", "text": "".join(part.text)}
    if part.reasoning is not None:
        return {"type": "thinking", "thinking": "".join(part.reasoning), "signature": "Y29ycHVz"}
    if part.call is not None:
        arguments = json.loads("".join(part.call.arguments))
        return {"type": "tool_use", "id": part.call.id, "name": part.call.name, "input": arguments}
    return None


def _empty(part: Part) -> dict[str, Any]:
    """What of a block is otherwise before its deltas came."""
    if part.text is not None:
        return {"text": ""}
    return {"thinking": "", "signature": ""} if part.reasoning is not None else {"input": {}}


def _deltas(part: Part) -> Iterator[dict[str, Any]]:
    if part.text is not None:
        yield from ({"type": "text_delta", "text": piece} for piece in part.text)
    elif part.reasoning is not None:
        yield from ({"type": "thinking_delta", "thinking": piece} for piece in part.reasoning)
        yield {"type": "signature_delta", "signature": "Y29ycHVz"}
    elif part.call is not None:
        yield from ({"type": "input_json_delta", "partial_json": piece} for piece in ("", *part.call.arguments))
