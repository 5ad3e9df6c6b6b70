"""OpenAI's chat completions on the wire: https://platform.openai.com/docs/api-reference/chat."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.corpus.case import Answer, Call, Part
from tests.corpus.events import Event

_CREATED_S = 1_793_100_000


def events(answer: Answer) -> Iterator[Event | Part]:
    """The role, a chunk for each piece, the reason to finish, the usage where it was asked for, and `[DONE]`."""
    begun, calls = False, 0
    for part in answer.parts:
        if not begun and (part.text or part.reasoning or part.call):
            begun = True
            yield _chunk(answer, {"role": "assistant", "content": "", "refusal": None})
        if part.call is not None:
            yield from _call_chunks(answer, calls, part.call)
            calls += 1
        elif part.error is not None:
            yield Event({"error": part.error})
            return
        else:
            yield from _plain_chunks(answer, part)
    yield _chunk(answer, {}, answer.finish)
    if answer.usage is not None:
        yield _event(answer, choices=[], usage=answer.usage)
    yield Event("[DONE]", terminal=True)


def document(answer: Answer) -> dict[str, Any]:
    """One `chat.completion`."""
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None, "annotations": []}
    for part in answer.parts:
        if part.text is not None:
            message["content"] = "".join(part.text)
        elif part.reasoning is not None:
            message["reasoning_content"] = "".join(part.reasoning)
        elif part.call is not None:
            message.setdefault("tool_calls", []).append(_tool_call(part.call, "".join(part.call.arguments)))
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish}
    return {**_about(answer, "chat.completion"), "choices": [choice], "usage": answer.usage}


def _plain_chunks(answer: Answer, part: Part) -> Iterator[Event | Part]:
    if part.text is not None:
        yield from (_chunk(answer, {"content": piece}) for piece in part.text)
    elif part.reasoning is not None:
        yield from (_chunk(answer, {"reasoning_content": piece}) for piece in part.reasoning)
    elif part.keep_alive:
        yield Event("keep-alive", comment=True)
    elif part.unknown is not None:
        yield _event(answer, choices=[], **part.unknown)
    else:
        yield part


def _call_chunks(answer: Answer, index: int, call: Call) -> Iterator[Event]:
    yield _chunk(answer, {"tool_calls": [{"index": index, **_tool_call(call, "")}]})
    for piece in call.arguments:
        yield _chunk(answer, {"tool_calls": [{"index": index, "function": {"arguments": piece}}]})


def _tool_call(call: Call, arguments: str) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _chunk(answer: Answer, delta: dict[str, Any], finish: str | None = None) -> Event:
    return _event(answer, choices=[{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}])


def _event(answer: Answer, **more: Any) -> Event:
    return Event({**_about(answer, "chat.completion.chunk"), **more}, usage=more.get("usage"))


def _about(answer: Answer, kind: str) -> dict[str, Any]:
    return {
        "id": answer.id,
        "object": kind,
        "created": _CREATED_S,
        "model": answer.model,
        "service_tier": "default",
        "system_fingerprint": "fp_c0ffee1234",
    }
