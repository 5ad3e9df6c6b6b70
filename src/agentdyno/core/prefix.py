"""Which requests of a session are turns of one conversation, and where a turn was not what the last one was. Pure.

A provider's cache serves what a request has in common with an earlier one, from its first byte on. So each request is
compared with the one that it continues, part by part, by digests. Which one that is:

- the one that it holds whole, or else that with which it has the longest beginning in common, messages included;
- where not even the first message is the same, the one that holds the latest of its messages, and else the one with
  which it has the tools and the system prompt in common.

A request in which the model has not spoken yet continues none, unless it holds one whole. It begins a conversation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import msgspec

from agentdyno.core.records import Request

BreakKind = Literal["changed", "rewritten", "cut", "inserted"]
"""Tools and system blocks change, messages are rewritten. Parts may be cut out of a place, or put in there."""
_FRAME = frozenset({"tools", "system"})
"""What is no message."""
_OF_THE_MODEL = frozenset({"assistant", "reasoning", "tool_call", "tool_result"})
"""What is there only after the model has spoken."""


class SentPart(NamedTuple):
    """One part of a request as its row keeps it."""

    kind: str
    size_bytes: int
    digest: str


class Break(NamedTuple):
    """The first part that is not what it was in the request before."""

    part: int
    """Its place among all parts; the first is 0."""
    kind: str
    what: BreakKind
    number: int
    """Its place among the system blocks, or among the messages; the first is 1. Tools have 1."""
    parts: int
    """How many are gone from there on, or were put in there."""


class EstimatedTokens(NamedTuple):
    """The input tokens of a request, divided by the bytes of its parts. Files are in none of them."""

    system: int
    tools: int
    history: int
    tool_results: int


class Turn(NamedTuple):
    """One request of a conversation."""

    request: Request
    parts: tuple[SentPart, ...]
    after: str | None = None
    """The request that it continues; None for a conversation's first."""
    shared_parts: int = 0
    """How many parts, from the first on, are the same as in the request that it continues.

    Of a conversation's first: as in that earlier request with which it has most in common.
    """
    broken: Break | None = None
    """None where all that was sent before was sent again."""

    @property
    def sent_bytes(self) -> int:
        """Of all parts."""
        return sum(part.size_bytes for part in self.parts)

    @property
    def shared_bytes(self) -> int:
        """Of the parts that are the same, from the first on."""
        return sum(part.size_bytes for part in self.parts[: self.shared_parts])

    @property
    def kept_share(self) -> float | None:
        """shared_bytes ÷ sent_bytes; None where there was nothing earlier to be compared with."""
        if not self.sent_bytes or (self.after is None and not self.shared_parts):
            return None
        return self.shared_bytes / self.sent_bytes


class Conversation(NamedTuple):
    """Requests of which each continues an earlier one, in the order they came in."""

    surface: str | None
    model: str | None
    purpose: str
    turns: tuple[Turn, ...]


def estimated_tokens(request: Request) -> EstimatedTokens | None:
    """input_tokens × bytes of a part ÷ bytes of all; None where the tokens are unknown or nothing was measured.

    Files count in no bytes, while their tokens are in the input: beside files every figure is too high.
    """
    told = (request.system_bytes, request.tools_bytes, request.history_bytes, request.tool_results_bytes)
    sizes = [size for size in told if size is not None]
    if request.input_tokens is None or len(sizes) < len(told) or not sum(sizes):
        return None
    return EstimatedTokens(*(round(request.input_tokens * size / sum(sizes)) for size in sizes))


def conversations(requests: Iterable[Request]) -> tuple[Conversation, ...]:
    """The conversations of requests that came in this order, by their first; those without an anatomy are left out."""
    by_route: dict[tuple[str | None, ...], _Route] = {}
    for request in requests:
        if request.prefix is not None:
            route = (request.surface, request.model_requested, request.purpose, request.key_hash)
            by_route.setdefault(route, _Route()).take(request, _decoder.decode(request.prefix))
    found = [turns for route in by_route.values() for turns in route.conversations]
    found.sort(key=lambda turns: (turns[0].request.started_at_us, turns[0].request.request_key))
    return tuple(
        Conversation(first.surface, first.model_requested, first.purpose, tuple(turns))
        for turns in found
        for first in [turns[0].request]
    )


_decoder = msgspec.json.Decoder(tuple[SentPart, ...])


class _Route:
    """The requests of one credential that could serve each other: by surface, model and purpose.

    Beginnings are a tree: what two requests have in common is a path, found in as many steps as it has parts.
    """

    def __init__(self) -> None:
        self.conversations: list[list[Turn]] = []
        self._turns: list[Turn] = []
        self._conversation_of: list[int] = []
        self._branches: dict[tuple[int, str, str], int] = {}
        self._ends: dict[int, int] = {}
        """The latest turn whose last part is this node."""
        self._passes: dict[int, int] = {}
        """The latest turn that has this node."""
        self._holders: dict[str, int] = {}
        """The latest turn with a message of this digest."""

    def take(self, request: Request, parts: tuple[SentPart, ...]) -> None:
        node, shared = self._common(parts)
        place = self._continued(node, parts, shared)
        if place is None:
            self._keep(Turn(request, parts, shared_parts=shared), len(self.conversations))
            return
        before = self._turns[place]
        shared = _shared(before.parts, parts)
        broken = None if shared == len(before.parts) else _break(before.parts, parts, shared)
        self._keep(Turn(request, parts, before.request.request_key, shared, broken), self._conversation_of[place])

    def _common(self, parts: Sequence[SentPart]) -> tuple[int, int]:
        """The node up to which an earlier request had the same, and how many parts that are."""
        node = shared = 0
        for part in parts:
            following = self._branches.get((node, part.kind, part.digest))
            if following is None:
                break
            node, shared = following, shared + 1
        return node, shared

    def _continued(self, node: int, parts: Sequence[SentPart], shared: int) -> int | None:
        """Which of the earlier turns it continues."""
        if shared and node in self._ends:
            return self._ends[node]
        if not any(part.kind in _OF_THE_MODEL for part in parts):
            return None
        if any(part.kind not in _FRAME for part in parts[:shared]):
            return self._passes[node]
        held = (self._holders.get(part.digest) for part in reversed(parts) if part.kind not in _FRAME)
        latest = next((place for place in held if place is not None), None)
        return self._passes[node] if latest is None and shared else latest

    def _keep(self, turn: Turn, conversation: int) -> None:
        place, node = len(self._turns), 0
        if conversation == len(self.conversations):
            self.conversations.append([])
        self.conversations[conversation].append(turn)
        self._turns.append(turn)
        self._conversation_of.append(conversation)
        for part in turn.parts:
            node = self._branches.setdefault((node, part.kind, part.digest), len(self._branches) + 1)
            self._passes[node] = place
            if part.kind not in _FRAME:
                self._holders[part.digest] = place
        self._ends[node] = place


def _shared(before: Sequence[SentPart], now: Sequence[SentPart]) -> int:
    pairs = zip(before, now, strict=False)
    return next((place for place, (old, new) in enumerate(pairs) if old != new), min(len(before), len(now)))


def _break(before: Sequence[SentPart], now: Sequence[SentPart], place: int) -> Break:
    """What became of the first part of `before` that is not where it was."""
    old, new = before[place], now[place] if place < len(now) else None
    if new is None:
        return _named(before, place, "cut", len(before) - place)
    if old.kind == new.kind == "tools":
        return _named(now, place, "changed", 1)
    if (later := _place(new, before, place + 1)) is not None:
        return _named(before, place, "cut", later - place)
    if (later := _place(old, now, place + 1)) is not None:
        return _named(now, place, "inserted", later - place)
    if new.kind in _FRAME or old.kind in _FRAME:
        return _named(now if new.kind in _FRAME else before, place, "changed", 1)
    return _named(now, place, "rewritten", max(0, len(before) - len(now)))


def _place(part: SentPart, among: Sequence[SentPart], start: int) -> int | None:
    return next((place for place in range(start, len(among)) if among[place] == part), None)


def _named(parts: Sequence[SentPart], place: int, what: BreakKind, count: int) -> Break:
    part = parts[place]
    peers = {part.kind} if part.kind in _FRAME else {other.kind for other in parts} - _FRAME
    number = 1 if part.kind == "tools" else sum(other.kind in peers for other in parts[: place + 1])
    return Break(place, part.kind, what, number, count)
