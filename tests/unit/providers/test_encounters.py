"""Errors that a conversation meets so often, and then no more."""

from __future__ import annotations

from typing import Any

from agentdyno.providers.encounters import Encounters
from agentdyno.providers.reply import Ask
from agentdyno.providers.script import Cut, Failure, Script, Turn

TWICE = Script("s", (Turn("Hi", error=Failure(429, "Later.", times=2)), Turn("Bye", cut=Cut(1, times=1))))


def ask(turn: int = 0, **prompt: Any) -> Ask:
    return Ask("s", streamed=False, turn=turn, tools=(), input_tokens=1, prompt=prompt)


def test_a_conversation_meets_an_error_so_often_and_then_again() -> None:
    encounters = Encounters()

    assert [encounters.strikes(TWICE, ask(messages=["a"])) for _ in range(6)] == [True, True, False, True, True, False]


def test_conversations_are_counted_apart_and_turns_too() -> None:
    encounters = Encounters()

    assert [encounters.strikes(TWICE, ask(contents=[each])) for each in "abab"] == [True] * 4
    assert [encounters.strikes(TWICE, ask(turn=1, contents=["a"])) for _ in range(2)] == [True, False]
    assert not encounters.strikes(TWICE, ask(contents=["a"]))


def test_an_attempt_with_other_tools_or_system_texts_is_the_same_conversation() -> None:
    encounters = Encounters()

    attempts = [ask(input="\ud800", tools=[each], instructions=each) for each in "abc"]

    assert [encounters.strikes(TWICE, attempt) for attempt in attempts] == [True, True, False]


def test_a_fault_without_a_number_of_times_always_strikes_and_no_fault_never() -> None:
    encounters = Encounters()
    script = Script("s", (Turn(error=Failure(500, "No.")), Turn("Hi")))

    assert [encounters.strikes(script, ask()) for _ in range(3)] == [True] * 3
    assert not encounters.strikes(script, ask(turn=1))


def test_what_was_met_can_be_forgotten() -> None:
    encounters = Encounters()
    met = [encounters.strikes(TWICE, ask(messages=["a"])) for _ in range(2)]

    encounters.forget()

    assert met == [True, True]
    assert encounters.strikes(TWICE, ask(messages=["a"]))
