"""OpenAI's responses on the wire: https://platform.openai.com/docs/api-reference/responses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from tests.corpus.case import Answer, Part
from tests.corpus.events import Event

_CREATED_S = 1_793_100_000
_MakeEvent = Callable[..., Event]


def events(answer: Answer) -> Iterator[Event | Part]:
    """The response as it begins, each output item from its beginning to its end, and the whole response."""
    event = _numbered()
    begun = _response(answer, "in_progress")
    if not answer.parts[0].silent:
        yield event("response.created", response=begun)
        yield event("response.in_progress", response=begun)
    index = 0
    for part in answer.parts:
        item = _item(answer, part, index)
        if item is not None:
            yield event("response.output_item.added", output_index=index, item=item | _unfinished(item))
            yield from _pieces(event, part, item, index)
            yield event("response.output_item.done", output_index=index, item=item)
            index += 1
        elif part.error is not None:
            yield from _error(event, answer, part.error)
            return
        elif part.keep_alive:
            yield Event("keep-alive", comment=True)
        elif part.unknown is not None:
            yield event("response.corpus.progress", **part.unknown)
        else:
            yield part
    whole = document(answer)
    yield event(f"response.{whole['status']}", terminal=True, usage=answer.usage, response=whole)


def document(answer: Answer) -> dict[str, Any]:
    """One response. A reason to finish other than `completed` says why it is incomplete."""
    items = (_item(answer, part, index) for index, part in enumerate(_said(answer)))
    output = [item for item in items if item is not None]
    if answer.finish in (None, "completed"):
        return _response(answer, "completed") | {"output": output, "usage": answer.usage}
    details = {"incomplete_details": {"reason": answer.finish}}
    return _response(answer, "incomplete") | details | {"output": output, "usage": answer.usage}


def _said(answer: Answer) -> list[Part]:
    return [part for part in answer.parts if part.text or part.reasoning or part.call]


def _error(event: _MakeEvent, answer: Answer, error: dict[str, Any]) -> Iterator[Event]:
    """The response as it failed; an error that is marked as an event of its own comes as one."""
    if error.get("type") == "error":
        yield event("error", **{name: value for name, value in error.items() if name != "type"})
    else:
        yield event("response.failed", response=_response(answer, "failed") | {"error": error})


def _numbered() -> _MakeEvent:
    """Makes events that carry their place in the stream."""
    places = count()

    def event(kind: str, *, terminal: bool = False, usage: dict[str, Any] | None = None, **members: Any) -> Event:
        return Event({"type": kind, "sequence_number": next(places), **members}, kind, usage, terminal)

    return event


def _item(answer: Answer, part: Part, index: int) -> dict[str, Any] | None:
    """The output item of a part, where it is one."""
    serial = f"{answer.id}_{index}"
    if part.text is not None:
        content = {"type": "output_text", "text": "".join(part.text), "annotations": [], "logprobs": []}
        about = {"id": f"msg_{serial}", "type": "message", "status": "completed", "role": "assistant"}
        return {**about, "content": [content]}
    if part.reasoning is not None:
        summary = [{"type": "summary_text", "text": "".join(part.reasoning)}]
        return {"id": f"rs_{serial}", "type": "reasoning", "summary": summary}
    if part.call is not None:
        about = {"id": f"fc_{serial}", "type": "function_call", "status": "completed"}
        arguments = "".join(part.call.arguments)
        return {**about, "arguments": arguments, "call_id": part.call.id, "name": part.call.name}
    return None


def _unfinished(item: dict[str, Any]) -> dict[str, Any]:
    """What of an item is otherwise while it is made."""
    match item["type"]:
        case "message":
            return {"status": "in_progress", "content": []}
        case "reasoning":
            return {"summary": []}
        case _:
            return {"status": "in_progress", "arguments": ""}


def _pieces(event: _MakeEvent, part: Part, item: dict[str, Any], index: int) -> Iterator[Event]:
    place = {"item_id": item["id"], "output_index": index}
    if part.text is not None:
        place["content_index"] = 0
        [content] = item["content"]
        yield event("response.content_part.added", **place, part=content | {"text": ""})
        for piece in part.text:
            yield event("response.output_text.delta", **place, delta=piece, logprobs=[], obfuscation="b7Qx")
        yield event("response.output_text.done", **place, text=content["text"], logprobs=[])
        yield event("response.content_part.done", **place, part=content)
    elif part.reasoning is not None:
        place["summary_index"] = 0
        [summary] = item["summary"]
        yield event("response.reasoning_summary_part.added", **place, part=summary | {"text": ""})
        for piece in part.reasoning:
            yield event("response.reasoning_summary_text.delta", **place, delta=piece)
        yield event("response.reasoning_summary_text.done", **place, text=summary["text"])
        yield event("response.reasoning_summary_part.done", **place, part=summary)
    elif part.call is not None:
        for piece in part.call.arguments:
            yield event("response.function_call_arguments.delta", **place, delta=piece)
        yield event("response.function_call_arguments.done", **place, name=item["name"], arguments=item["arguments"])


def _response(answer: Answer, status: str) -> dict[str, Any]:
    return {
        "id": answer.id,
        "object": "response",
        "created_at": _CREATED_S,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "metadata": {},
        "model": answer.model,
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
