"""Google's Gemini on the wire: https://ai.google.dev/api/generate-content."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from tests.corpus.case import Answer, Part
from tests.corpus.events import Event


def events(answer: Answer) -> Iterator[Event | Part]:
    """A chunk for each piece with the usage so far, and a last one with the reason to finish and the final usage.

    Calls come whole, and those that stand together in one chunk.
    """
    for together, parts in groupby(answer.parts, lambda part: part.call is not None):
        if together:
            calls = [content for part in parts for content in _contents(part)]
            yield _event(_chunk(answer, calls, answer.start_usage))
        else:
            yield from _plain_events(answer, parts)
    if answer.parts[-1].error is None:
        yield _event(_chunk(answer, [{"text": ""}], answer.usage, answer.finish), terminal=True)


def _plain_events(answer: Answer, parts: Iterable[Part]) -> Iterator[Event | Part]:
    for part in parts:
        if part.error is not None:
            yield _event({"error": part.error})
        elif part.keep_alive or part.unknown is not None:
            yield _event({**_about(answer), **(part.unknown or {})})
        elif made := list(_contents(part)):
            yield from (_event(_chunk(answer, [content], answer.start_usage)) for content in made)
        else:
            yield part


def document(answer: Answer) -> dict[str, Any]:
    """One `GenerateContentResponse`."""
    parts = [content for part in answer.parts for content in _contents(_whole(part))]
    return _chunk(answer, parts, answer.usage, answer.finish)


def _whole(part: Part) -> Part:
    """A part in one piece."""
    if part.text is not None:
        return Part(text=("".join(part.text),))
    return part if part.reasoning is None else Part(reasoning=("".join(part.reasoning),))


def _event(data: dict[str, Any], *, terminal: bool = False) -> Event:
    return Event(data, None, data.get("usageMetadata"), terminal, escapes_line_separators=True)


def _contents(part: Part) -> Iterator[dict[str, Any]]:
    """The vendor's own parts. A call comes whole."""
    if part.text is not None:
        yield from ({"text": piece} for piece in part.text)
    elif part.reasoning is not None:
        yield from ({"text": piece, "thought": True} for piece in part.reasoning)
    elif part.call is not None:
        arguments = json.loads("".join(part.call.arguments))
        call = {"id": part.call.id, "name": part.call.name, "args": arguments}
        yield {"functionCall": call, "thoughtSignature": "Y29ycHVz"}


def _chunk(
    answer: Answer, parts: list[dict[str, Any]], usage: dict[str, Any] | None, finish: str | None = None
) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    told = {} if usage is None else {"usageMetadata": usage}
    return {"candidates": [candidate], **told, **_about(answer)}


def _about(answer: Answer) -> dict[str, Any]:
    return {"modelVersion": answer.model, "responseId": answer.id}
