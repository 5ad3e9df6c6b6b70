"""Which requests continue which, and what is said of a prefix that broke. A letter is a part."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.core.request_rows import request_row

from agentdyno.core.metrics import cache_share
from agentdyno.core.prefix import (
    Break,
    Conversation,
    EstimatedTokens,
    conversations,
    estimated_tokens,
)
from agentdyno.core.records import Request

KINDS = {"t": "tools", "s": "system", "u": "user", "a": "assistant", "r": "tool_result"}


def sent(*requests: str, **fields: Any) -> list[Request]:
    """Requests whose parts are words: the first letter is the kind, the whole word the digest, each of 10 bytes."""
    return [
        request_row(
            request_key=f"req_{number}",
            started_at_us=number,
            prefix=json.dumps([(KINDS[word[0]], 10, word) for word in request.split()]),
            **fields,
        )
        for number, request in enumerate(requests, start=1)
    ]


def turns(found: tuple[Conversation, ...]) -> list[list[int]]:
    """Which requests each conversation has."""
    return [[turn.request.started_at_us for turn in conversation.turns] for conversation in found]


def broken(*requests: str) -> Break | None:
    """Where the last of these requests broke; all of them are one conversation."""
    [conversation] = conversations(sent(*requests))
    return conversation.turns[-1].broken


def test_a_conversation_that_grows() -> None:
    [conversation] = conversations(sent("t s u1", "t s u1 a1 r1", "t s u1 a1 r1 a2 r2"))

    assert [turn.after for turn in conversation.turns] == [None, "req_1", "req_2"]
    assert [turn.broken for turn in conversation.turns] == [None, None, None]
    assert [(turn.shared_bytes, turn.sent_bytes) for turn in conversation.turns] == [(0, 30), (30, 50), (50, 70)]
    assert [turn.kept_share for turn in conversation.turns] == [None, 30 / 50, 50 / 70]


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        (("t s u1", "t2 s u1 a1"), Break(0, "tools", "changed", 1, 1)),
        (("s u1", "t s u1 a1"), Break(0, "tools", "inserted", 1, 1)),
        (("t s u1", "s u1 a1"), Break(0, "tools", "cut", 1, 1)),
        (("t s1 s2 u1", "t s1 s3 u1 a1"), Break(2, "system", "changed", 2, 1)),
        (("t s1 s2 u1", "t s1 u1 a1"), Break(2, "system", "cut", 2, 1)),
        (("t s1 u1", "t s1 s2 u1 a1"), Break(2, "system", "inserted", 2, 1)),
        (("t s u1 a1 r1", "t s u1 a9 r1 a2"), Break(3, "assistant", "rewritten", 2, 0)),
        (("t s u1 a1 r1 a2 r2", "t s u1 a1 r9"), Break(4, "tool_result", "rewritten", 3, 2)),
        (("t s u1 a1 r1 a2 r2 a3", "t s u1 a2 r2 a3 u4"), Break(3, "assistant", "cut", 2, 2)),
        (("t s u1 a1 r1 a2", "t s u1 a1"), Break(4, "tool_result", "cut", 3, 2)),
        (("t s u1 a1", "t s u1 u7 u8 a1 r1"), Break(3, "user", "inserted", 2, 2)),
        (("t s u1", "t s u9 a1"), Break(2, "user", "rewritten", 1, 0)),
    ],
    ids=lambda value: " ".join(value[1].split()) if isinstance(value, tuple) and isinstance(value[0], str) else "",
)
def test_where_a_prefix_breaks(requests: tuple[str, str], expected: Break) -> None:
    assert broken(*requests) == expected


def test_what_was_never_sent_again_does_not_break_what_was() -> None:
    """A reminder that stood at the end of one request alone: the one before is continued, as a cache would."""
    [conversation] = conversations(sent("s u1", "s u1 u2", "s u1 a1 r1"))

    assert [turn.after for turn in conversation.turns] == [None, "req_1", "req_1"]
    assert conversation.turns[-1].broken is None


def test_the_same_again_continues_it() -> None:
    [conversation] = conversations(sent("s u1", "s u1", "s u1 a1"))

    assert [turn.after for turn in conversation.turns] == [None, "req_1", "req_2"]


def test_conversations_that_interleave() -> None:
    found = conversations(
        sent("t s u1", "t s u1 a1 r1", "t2 s2 u5", "t2 s2 u5 a5 r5", "t s u1 a1 r1 a2 r2", "t2 s2 u5 a5 r5 a6")
    )

    assert turns(found) == [[1, 2, 5], [3, 4, 6]]
    assert {turn.broken for conversation in found for turn in conversation.turns} == {None}


def test_one_that_begins_with_the_same_tools_and_system_shares_them() -> None:
    found = conversations(sent("t s u1", "t s u1 a1 r1", "t s u2", "t s u2 a7"))

    assert turns(found) == [[1, 2], [3, 4]]
    assert (found[1].turns[0].after, found[1].turns[0].shared_bytes) == (None, 20)  # tools and system of 10 bytes


def test_with_all_that_frames_it_changed_a_conversation_is_known_by_its_messages() -> None:
    found = conversations(sent("t s u1", "t s u1 a1", "t s u2", "t s u2 a2", "t9 s u1 a1 r1", "t9 s u2 a2 r2"))

    assert turns(found) == [[1, 2, 5], [3, 4, 6]]


@pytest.mark.parametrize("field", ["surface", "model_requested", "purpose", "key_hash"])
def test_what_cannot_serve_it_is_not_continued(field: str) -> None:
    values = ["title", "summary"] if field == "purpose" else ["one", "other"]
    first, second = (sent("s u1", **{field: value})[0] for value in values)

    assert len(conversations([first, second])) == 2
    assert len(conversations([first, first])) == 1


def test_requests_without_an_anatomy_are_left_out() -> None:
    assert conversations([request_row(prefix=None)]) == ()
    assert turns(conversations([request_row(prefix=None), *sent("s u1")])) == [[1]]


WORDS = st.sampled_from(["t", "s", "u1", "u2", "a1", "a2", "r1", "r2"])
SESSIONS = st.lists(st.lists(WORDS, max_size=6).map(" ".join), max_size=8)


@settings(max_examples=150, deadline=None)
@given(requests=SESSIONS)
def test_every_request_is_one_turn_and_its_prefix_is_what_it_says(requests: list[str]) -> None:
    found = conversations(sent(*requests))

    assert sorted(place for conversation in turns(found) for place in conversation) == list(range(1, len(requests) + 1))
    by_key = {turn.request.request_key: turn for conversation in found for turn in conversation.turns}
    for conversation in found:
        assert [turn.after for turn in conversation.turns].count(None) == 1
        for turn in conversation.turns[1:]:
            assert turn.after is not None
            before = by_key[turn.after]
            assert before.request.started_at_us < turn.request.started_at_us
            assert before.parts[: turn.shared_parts] == turn.parts[: turn.shared_parts]
            assert (turn.broken is None) == (turn.shared_parts == len(before.parts))
            assert turn.broken is None or turn.broken.part == turn.shared_parts


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.lists(WORDS, min_size=1, max_size=3), min_size=1, max_size=6))
def test_what_is_only_added_to_is_one_conversation_that_never_breaks(steps: list[list[str]]) -> None:
    requests = [" ".join(word for step in steps[: end + 1] for word in step) for end in range(len(steps))]

    [conversation] = conversations(sent(*requests))

    assert [turn.broken for turn in conversation.turns] == [None] * len(steps)


SIZES = {"system_bytes": 100, "tools_bytes": 200, "history_bytes": 500, "tool_results_bytes": 200}


def test_tokens_are_divided_by_bytes() -> None:
    # 1000 bytes are 250 tokens: 4 bytes a token
    assert estimated_tokens(request_row(**SIZES, input_tokens=250)) == EstimatedTokens(25, 50, 125, 50)


def test_files_are_in_no_estimate() -> None:
    request = request_row(**SIZES, media_bytes=9_000, input_tokens=250)
    assert estimated_tokens(request) == EstimatedTokens(25, 50, 125, 50)


@pytest.mark.parametrize(
    "fields",
    [
        {**SIZES, "input_tokens": None},
        {"input_tokens": 250},
        {**dict.fromkeys(SIZES, 0), "media_bytes": 10, "input_tokens": 250},
    ],
    ids=["uncounted", "unmeasured", "files alone"],
)
def test_tokens_of_which_nothing_can_be_said(fields: dict[str, Any]) -> None:
    assert estimated_tokens(request_row(**fields)) is None


@pytest.mark.parametrize(
    ("read", "input_tokens", "share"),
    [(30, 120, 0.25), (0, 120, 0.0), (None, 120, None), (0, 0, None), (5, None, None)],
)
def test_the_share_that_the_cache_served(read: int | None, input_tokens: int | None, share: float | None) -> None:
    assert cache_share(request_row(cache_read_tokens=read, input_tokens=input_tokens)) == share
