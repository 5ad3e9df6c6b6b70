"""What a provider does to answer, step by step: bytes to send, pauses, and how it falls silent or hangs up."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from tests.corpus import anthropic_messages, gemini, openai_chat, openai_responses
from tests.corpus.case import Answer, Case, Part
from tests.corpus.events import Event

from agentdyno.core.records import Surface


class Send(NamedTuple):
    """Bytes of the body, not compressed yet."""

    data: bytes
    usage: Mapping[str, Any] | None = None
    """The usage object in them."""
    terminal: bool = False
    """With these bytes the answer is whole."""


class Pause(NamedTuple):
    """Wait, so that what follows comes by itself."""

    ms: int


class Silence(NamedTuple):
    """Send nothing more until the other side leaves."""


class Cut(NamedTuple):
    """Hang up, with the answer unfinished."""


Step = Send | Pause | Silence | Cut


class Framing(Protocol):
    """How a surface puts an answer into words. A module that has these functions, without `self`, is a framing."""

    def events(self, answer: Answer) -> Iterator[Event | Part]:
        """The events of a stream; parts that are no event come as they are."""
        ...

    def document(self, answer: Answer) -> dict[str, Any]:
        """The answer as one JSON document."""
        ...


_FRAMINGS: Mapping[Surface, Framing] = MappingProxyType(
    {
        "openai_chat": openai_chat,
        "openai_responses": openai_responses,
        "anthropic_messages": anthropic_messages,
        "gemini": gemini,
    }
)
_LINE_ENDS = MappingProxyType({"lf": "\n", "crlf": "\r\n", "cr": "\r"})


def is_stream(case: Case, answer: Answer) -> bool:
    """Whether an answer comes as events: an error in place of an answer never does."""
    return case.streamed and answer.error is None


def steps(case: Case, answer: Answer) -> list[Step]:
    """What the provider does to give an answer of a case."""
    if is_stream(case, answer):
        return list(_streamed(case, answer))
    return list(_unstreamed(case, answer))


def body(steps: Iterable[Step]) -> bytes:
    """All the bytes that steps send."""
    return b"".join(step.data for step in steps if isinstance(step, Send))


def usages_of(steps: Iterable[Step]) -> list[Mapping[str, Any]]:
    """The usage objects that steps send, in order."""
    return [step.usage for step in steps if isinstance(step, Send) and step.usage is not None]


def _streamed(case: Case, answer: Answer) -> Iterator[Step]:
    for event in _FRAMINGS[case.surface].events(answer):
        if isinstance(event, Event):
            yield Send(event.encoded(_LINE_ENDS[answer.lines]), event.usage, event.terminal)
        else:
            yield _pause_or_end(event)
            if event.pause_ms is None:
                return


def _unstreamed(case: Case, answer: Answer) -> Iterator[Step]:
    document = answer.error if answer.error is not None else _FRAMINGS[case.surface].document(answer)
    data = json.dumps(document, ensure_ascii=False, indent=2).encode()
    waits = [part for part in answer.parts if part.pause_ms is not None or part.silent or part.cut]
    if not waits:
        yield Send(data, answer.usage, terminal=True)
        return
    [wait] = waits
    if wait is not answer.parts[0]:
        yield Send(data[: len(data) // 2])
    yield _pause_or_end(wait)
    if wait.pause_ms is not None:
        yield Send(data[len(data) // 2 :], answer.usage, terminal=True)


def _pause_or_end(part: Part) -> Step:
    if part.pause_ms is not None:
        return Pause(part.pause_ms)
    return Cut() if part.cut else Silence()
