"""What a script answers, and how its tokens are counted."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentdyno.providers.reply import (
    NO_TOOL,
    ArgumentsPiece,
    Ask,
    Break,
    CallStart,
    Reply,
    TextPiece,
    Usage,
    call_pieces,
    count_input_tokens,
    perform,
    piece_delays_ms,
    text_pieces,
)
from agentdyno.providers.script import Cut, Failure, Latency, Script, ScriptedUsage, ToolUse, Turn
from agentdyno.providers.tool_choice import OfferedTool, ToolCall

SHELL = OfferedTool("bash", {"properties": {"command": {"type": "string"}}})


def ask(turn: int = 0, tools: tuple[OfferedTool, ...] = (), *, streamed: bool = False) -> Ask:
    return Ask("s", streamed=streamed, turn=turn, tools=tools, input_tokens=7)


def reply(script: Script, asked: Ask) -> Reply:
    outcome = perform(script, asked)
    assert isinstance(outcome, Reply)
    return outcome


def test_text_is_counted_in_words() -> None:
    answer = reply(Script("s", (Turn("Hello from  the stand.\n"),)), ask())

    assert [piece.text for piece in answer.pieces if isinstance(piece, TextPiece)] == [
        "Hello",
        " from",
        "  the",
        " stand.",
        "\n",
    ]
    assert answer.usage == Usage(input=7, output=5)


def test_a_tool_call_counts_its_start_and_eight_characters_each_of_its_arguments() -> None:
    answer = reply(Script("s", (Turn("Now:", ToolUse(shell="ls -l")),)), ask(tools=(SHELL,)))

    # {"command": "ls -l"} is 20 characters: 8 + 8 + 4
    assert answer.pieces == (
        TextPiece("Now:"),
        CallStart("bash"),
        ArgumentsPiece('{"comman'),
        ArgumentsPiece('d": "ls '),
        ArgumentsPiece('-l"}'),
    )
    assert answer.call == ToolCall("bash", {"command": "ls -l"})
    assert answer.usage.output == 5


def test_without_a_suitable_tool_it_says_so() -> None:
    bare, talking = (reply(Script("s", (Turn(text, ToolUse(shell="ls")),)), ask()) for text in (None, "Now:"))

    assert (bare.text, bare.call) == (NO_TOOL, None)
    assert (talking.text, talking.call) == (f"Now:\n{NO_TOOL}", None)


def test_the_turn_follows_from_the_conversation() -> None:
    script = Script("s", (Turn("one"), Turn(error=Failure(500, "two")), Turn("three")))

    assert reply(script, ask(0)).text == "one"
    assert perform(script, ask(1)) == Failure(500, "two")
    assert reply(script, ask(2)).text == reply(script, ask(9)).text == "three"


def test_a_turn_may_override_its_usage_in_part_or_whole() -> None:
    whole = ScriptedUsage(input=100, output=20, cache_read=60, cache_write=40, reasoning=20)

    assert reply(Script("s", (Turn("a b", usage=whole),)), ask()).usage == Usage(100, 20, 60, 40, 20)
    assert reply(Script("s", (Turn("a b", usage=ScriptedUsage(output=0)),)), ask()).usage == Usage(7, 0)
    assert reply(Script("s", (Turn("a b", usage=ScriptedUsage(input=0)),)), ask()).usage == Usage(0, 2)


def test_a_surface_without_cache_writes_does_not_report_them() -> None:
    script = Script("s", (Turn("a", usage=ScriptedUsage(input=100, cache_read=60, cache_write=40)),))

    answer = reply(script, replace(ask(), knows_cache_writes=False))

    assert answer.usage == Usage(input=100, output=1, cache_read=60, cache_write=0)


def test_an_error_that_spares_this_attempt_leaves_the_answer() -> None:
    limit = Failure(429, "Later.", times=1)
    script = Script("s", (Turn("Hi", error=limit),))

    assert perform(script, ask(), strikes=True) == limit
    spared = perform(script, ask(), strikes=False)
    assert isinstance(spared, Reply)
    assert (spared.text, spared.breaks) == ("Hi", None)


def test_an_error_in_the_midst_needs_a_stream() -> None:
    midway = Failure(500, "No.", after_pieces=1)
    script = Script("s", (Turn("Hi you", error=midway),))

    assert perform(script, ask()) == midway
    assert reply(script, ask(streamed=True)).breaks == Break(1, midway)


@pytest.mark.parametrize("streamed", [True, False])
def test_a_cut_lies_within_the_answer(streamed: bool) -> None:
    early, late = (Script("s", (Turn("Hi you", cut=Cut(pieces)),)) for pieces in (0, 9))

    assert reply(early, ask(streamed=streamed)).breaks == Break(0, None)
    assert reply(late, ask(streamed=streamed)).breaks == Break(2, None)  # it has two words


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        ({"messages": []}, 4),  # {"messages":[]} is 15 bytes
        ({"messages": [], "model": "m", "temperature": 1}, 4),  # other fields do not count
        ({"messages": ["é"]}, 5),  # 19 bytes: é takes two
        ({"messages": ["ab"], "tools": [], "system": "s"}, 11),  # {"messages":["ab"],"system":"s","tools":[]}: 42 bytes
        ({"input": "hi", "instructions": "s"}, 9),  # {"input":"hi","instructions":"s"} is 33 bytes
        ({"contents": [], "systemInstruction": {}}, 10),  # {"contents":[],"systemInstruction":{}} is 38 bytes
        ({"messages": ["\ud800"]}, 5),  # half a surrogate pair, 3 bytes: 20
    ],
)
def test_input_is_a_quarter_of_the_bytes_rounded_up(body: dict[str, Any], tokens: int) -> None:
    assert count_input_tokens(body) == tokens


@given(st.text())
def test_the_pieces_of_a_text_are_the_text(text: str) -> None:
    pieces = list(text_pieces(text))

    assert "".join(piece.text for piece in pieces) == text
    assert all(piece.text for piece in pieces)


@given(st.dictionaries(st.text(), st.text()))
def test_the_pieces_of_a_call_are_its_arguments(arguments: dict[str, str]) -> None:
    start, *fragments = call_pieces(ToolCall("bash", arguments))

    assert start == CallStart("bash")
    assert json.loads("".join(each.json for each in fragments if isinstance(each, ArgumentsPiece))) == arguments


def test_latency_is_first_and_then_per_piece() -> None:
    assert piece_delays_ms(Latency(100, 10), 3, ("s", 0, 1)) == [100, 10, 10]
    assert piece_delays_ms(Latency(100, 10), 0, ("s", 0, 1)) == []


def test_the_same_seed_draws_the_same_jitter_and_another_seed_another() -> None:
    shaky = Latency(100, 10, 0.5)

    first = piece_delays_ms(shaky, 5, ("s", 0, 1))

    assert first == piece_delays_ms(shaky, 5, ("s", 0, 1))
    assert (
        len({tuple(piece_delays_ms(shaky, 5, seed)) for seed in [("s", 0, 1), ("s", 0, 2), ("s", 1, 1), ("t", 0, 1)]})
        == 4
    )
    assert 50 <= first[0] <= 150
    assert all(5 <= delay_ms <= 15 for delay_ms in first[1:])
