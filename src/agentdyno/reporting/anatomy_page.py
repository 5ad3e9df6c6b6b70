"""What the harness of a session sent, part by part over the turns, and where the prefix that a cache reads broke."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, assert_never

from rich.markup import escape
from rich.text import Text

from agentdyno.core.metrics import cache_share
from agentdyno.core.prefix import (
    Break,
    Conversation,
    Turn,
    conversations,
    estimated_tokens,
)
from agentdyno.core.records import Request
from agentdyno.core.side_calls import is_inference
from agentdyno.reporting.tables import Column, PlainTable, plain_table
from agentdyno.reporting.wording import UNKNOWN, harmless, number, plural

ESTIMATED = "estimated: tokens of a part, the request's input tokens in proportion to the bytes of its parts"
_BESIDE_MEDIA = "; beside media, whose bytes tell no tokens, they are too high"
_PARTS = ("system", "tools", "history", "tool_results")
_COLUMNS = (
    Column("turn", "right"),
    Column("status", optional=True),
    Column("messages", "right"),
    Column("tools", "right"),
    *(Column(f"{name}\nbytes/estimated", "right") for name in ("system", "tools", "history", "tool results")),
    Column("media\nbytes", "right", optional=True),
    Column("input\ntokens", "right"),
    Column("cache\nread", "right"),
    Column("prefix\nkept", "right"),
    Column("where the prefix broke", optional=True),
)


class SessionAnatomy(NamedTuple):
    """What a session's harness sent."""

    session_id: str
    conversations: tuple[Conversation, ...]
    unmeasured: int
    """Inference requests whose parts nobody measured."""


def session_anatomy(session_id: str, requests: Sequence[Request]) -> SessionAnatomy:
    """The anatomy of a session's requests, in the order they came in."""
    unmeasured = sum(request.prefix is None and is_inference(request.purpose) for request in requests)
    return SessionAnatomy(session_id, conversations(requests), unmeasured)


def document(anatomy: SessionAnatomy) -> dict[str, Any]:
    """The same for machines."""
    return {
        "session_id": anatomy.session_id,
        "unmeasured_requests": anatomy.unmeasured,
        "conversations": [
            {
                "surface": conversation.surface,
                "model": conversation.model,
                "purpose": conversation.purpose,
                "turns": [_turn_document(turn) for turn in conversation.turns],
            }
            for conversation in anatomy.conversations
        ],
    }


def _turn_document(turn: Turn) -> dict[str, Any]:
    request, estimated, broken = turn.request, estimated_tokens(turn.request), turn.broken
    return {
        "request_key": request.request_key,
        "continues": turn.after,
        "status": request.status,
        "messages": request.messages,
        "tools": request.tools,
        "bytes": {name: getattr(request, f"{name}_bytes") for name in (*_PARTS, "media")},
        "estimated_tokens": None if estimated is None else estimated._asdict(),
        "input_tokens": request.input_tokens,
        "cache_read_tokens": request.cache_read_tokens,
        "cache_write_tokens": request.cache_write_tokens,
        "cache_share": cache_share(request),
        "parts": len(turn.parts),
        "prefix_bytes": turn.sent_bytes,
        "kept_parts": turn.shared_parts,
        "kept_bytes": turn.shared_bytes,
        "kept_share": turn.kept_share,
        "broken": None if broken is None else {**broken._asdict(), "said": said(broken)},
    }


def render_anatomy(anatomy: SessionAnatomy) -> Iterator[PlainTable | Text]:
    """A table for each conversation, and what must be said of them."""
    turns = [turn for conversation in anatomy.conversations for turn in conversation.turns]
    for place, conversation in enumerate(anatomy.conversations, start=1):
        yield _table(f"conversation {place}: {_of(conversation)}", conversation.turns)
    if turns:
        beside_media = any(turn.request.media_bytes for turn in turns)
        yield Text("\n".join([*_summary(turns), f"{ESTIMATED}{_BESIDE_MEDIA if beside_media else ''}"]))
    if anatomy.unmeasured:
        has = "has" if anatomy.unmeasured == 1 else "have"
        yield Text(
            f"{plural(anatomy.unmeasured, 'request')} {has} no anatomy: refused by the stand, not forwarded, or of an "
            "agentdyno that did not measure it"
        )


def _of(conversation: Conversation) -> str:
    what = f"{conversation.model or UNKNOWN} over {conversation.surface or UNKNOWN}"
    purpose = "" if conversation.purpose == "work" else f", {conversation.purpose}"
    return f"{what}{purpose}, {plural(len(conversation.turns), 'turn')}"


def _table(title: str, turns: Sequence[Turn]) -> PlainTable:
    numbers = {turn.request.request_key: place for place, turn in enumerate(turns, start=1)}
    rows = (_row(turn, numbers) for turn in turns)
    return plain_table(_COLUMNS, rows, title=escape(harmless(title)))


def _row(turn: Turn, numbers: dict[str, int]) -> tuple[str | None, ...]:
    request, estimated = turn.request, estimated_tokens(turn.request)
    place, before = numbers[request.request_key], None if turn.after is None else numbers[turn.after]
    remarks = [] if before in (None, place - 1) else [f"after turn {before}"]
    remarks += [] if turn.broken is None else [said(turn.broken)]
    return (
        number(place),
        None if request.status == "ok" else request.status,
        number(request.messages),
        number(request.tools),
        *(f"{number(getattr(request, f'{name}_bytes'))}/{number(getattr(estimated, name, None))}" for name in _PARTS),
        number(request.media_bytes) if request.media_bytes else None,
        number(request.input_tokens),
        _percent(cache_share(request)),
        _percent(turn.kept_share),
        ": ".join(remarks) or None,
    )


def _percent(share: float | None) -> str:
    return UNKNOWN if share is None else f"{share:.0%}"


def _summary(turns: Sequence[Turn]) -> Iterator[str]:
    """What became of the prefix, and what the provider says that its cache served of it."""
    following = [turn for turn in turns if turn.after is not None]
    if not following:
        return
    broken = sum(turn.broken is not None for turn in following)
    counts = [(turn.request.cache_read_tokens, turn.request.input_tokens) for turn in following]
    known = [(read, sent) for read, sent in counts if read is not None and sent is not None]
    read, sent = sum(read for read, _ in known), sum(sent for _, sent in known)
    told = f"the provider's cache served {read / sent:.0%} of their input" if sent else "of its cache nobody told"
    yield f"{plural(len(following), 'turn')} went on from an earlier one; the prefix broke in {number(broken)}; {told}"


def said(broken: Break) -> str:
    """Where and how a prefix broke, in words."""
    is_message = broken.kind not in ("tools", "system")
    speaker = broken.kind.replace("_", " ")
    part = f"message {broken.number} ({speaker})" if is_message else f"system block {broken.number}"
    part = "tools" if broken.kind == "tools" else part
    parts = plural(broken.parts, "message" if is_message else "part")
    match broken.what:
        case "changed":
            return f"{part} changed"
        case "rewritten":
            return f"{part} was rewritten" + (f", {parts} fewer than before" if broken.parts else "")
        case "cut":
            return f"{'history was cut: ' if is_message else ''}{parts} gone from {part} on"
        case "inserted":
            return f"{parts} put in at {part}"
        case _:
            assert_never(broken.what)
