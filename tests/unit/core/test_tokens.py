"""Tokens from usage objects: parts fit into their wholes, zero is a value, absence is none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.core.chat_corpus import chat_chunk, chat_usage
from tests.unit.core.gemini_corpus import gemini_usage
from tests.unit.core.messages_corpus import messages_end, messages_event, messages_start, messages_usage
from tests.unit.core.recorded import WORD, read, to_json, tokens_of

from agentdyno.core.dialects import anthropic_messages, gemini, openai_chat, openai_responses
from agentdyno.core.dialects.wire import Tokens

absurd = (
    st.none()
    | st.booleans()
    | st.floats(-9, 9)
    | st.text()
    | st.lists(st.integers())
    | st.sampled_from([-1, 2**53 + 1, 2**70])
)
counts = st.none() | st.integers(-2, 12) | st.booleans() | st.sampled_from([2**53, 2**53 + 1, 2**63, 1.0, "5", {}])


CHAT = chat_usage(0, 0)
MEMBERS = {
    anthropic_messages: {**messages_usage(0, 0), "output_tokens_details": {"thinking_tokens": 0}},
    openai_chat: CHAT,
    openai_responses: {name.replace("prompt", "input").replace("completion", "output"): CHAT[name] for name in CHAT},
    gemini: gemini_usage(0, 0, thoughts=0),
}
GEMINI_FIGURES = (
    *("promptTokenCount", "toolUsePromptTokenCount", "cachedContentTokenCount"),
    *("candidatesTokenCount", "thoughtsTokenCount", "totalTokenCount"),
)


@given(
    st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(messages_usage(0, 0), counts)), max_size=3), st.booleans()
)
def test_anthropic_tokens_fit(usages: list[dict[str, Any]], streamed: bool) -> None:
    assert_fitting(tokens_of(anthropic_messages, usages, streamed=streamed))


@given(counts, counts, counts, counts, counts)
def test_openai_tokens_fit(prompt: Any, completion: Any, cached: Any, written: Any, reasoning: Any) -> None:
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    assert_fitting(tokens_of(openai_chat, [usage], streamed=False))
    assert_fitting(litellm_tokens_of(usage))


@given(counts, counts, counts, counts, counts)
def test_responses_tokens_fit(read: Any, written: Any, cached: Any, kept: Any, reasoning: Any) -> None:
    usage = {
        "input_tokens": read,
        "output_tokens": written,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": kept},
        "output_tokens_details": {"reasoning_tokens": reasoning},
    }
    assert_fitting(tokens_of(openai_responses, [usage], streamed=True))


@st.composite
def partly_absurd(draw: st.DrawFn, members: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A usage object, and the same without the members that are not of their type."""
    whole: dict[str, Any] = {}
    sane: dict[str, Any] = {}
    for name, member in members.items():
        if draw(st.booleans()):
            whole[name] = draw(absurd if isinstance(member, dict) else absurd | st.just({}))
        elif isinstance(member, dict):
            whole[name], sane[name] = draw(partly_absurd(member))
        else:
            whole[name] = sane[name] = draw(st.integers(0, 30))
    return whole, sane


@given(st.data(), st.sampled_from(list(MEMBERS)), st.booleans())
def test_what_is_of_another_type_is_as_if_it_were_absent(data: st.DataObject, dialect: Any, streamed: bool) -> None:
    pairs = data.draw(st.lists(partly_absurd(MEMBERS[dialect]), max_size=2))
    whole, sane = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    assert tokens_of(dialect, whole, streamed=streamed) == tokens_of(dialect, sane, streamed=streamed)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(GEMINI_FIGURES, counts)))
def test_gemini_tokens_fit(usage: dict[str, Any]) -> None:
    assert_fitting(tokens_of(gemini, [usage], streamed=True))


def litellm_tokens_of(usage: dict[str, Any]) -> Tokens:
    [read] = openai_chat.read_litellm_usages(to_json([usage]))
    return openai_chat.litellm_tokens(read)


def assert_fitting(tokens: Tokens) -> None:
    assert all(figure is None or (type(figure) is int and 0 <= figure <= 2**53) for figure in tokens)
    if tokens.input is not None:
        cached = [figure for figure in (tokens.cache_read, tokens.cache_write) if figure is not None]
        assert sum(cached) <= tokens.input
    if tokens.output is not None and tokens.reasoning is not None:
        assert tokens.reasoning <= tokens.output


def test_impossible_parts_are_dropped_and_wholes_kept() -> None:
    assert tokens_of(openai_chat, [chat_usage(10, 5, cached=11, reasoning=6)], streamed=False) == Tokens(
        10, 5, None, 0, None
    )
    # 6 + 6 > 10, though each would fit: neither can be believed.
    assert tokens_of(openai_chat, [chat_usage(10, 5, cached=6, written=6)], streamed=False) == Tokens(
        10, 5, None, None, 0
    )


def test_zero_is_a_value_and_absence_is_none() -> None:
    assert tokens_of(openai_chat, [{"prompt_tokens": 0, "completion_tokens": 0}], streamed=False) == Tokens(
        0, 0, None, None, None
    )
    assert tokens_of(anthropic_messages, [{"input_tokens": 7}], streamed=False) == Tokens(7, None, None, None, None)
    assert tokens_of(anthropic_messages, [], streamed=True) == tokens_of(openai_chat, [], streamed=False) == Tokens()


def test_a_sum_beyond_all_sense_is_unknown() -> None:
    huge = messages_usage(2**53, 6, read=2**53)  # each could be, 2**54 could not
    assert tokens_of(anthropic_messages, [huge], streamed=False) == Tokens(None, 6, None, None, None)
    assert tokens_of(anthropic_messages, [messages_usage(2**63 - 1, 6)], streamed=False) == Tokens(None, 6, 0, 0, None)


@pytest.mark.parametrize("usage", [None, {}, {"output_tokens": -6}, {"output_tokens": 6.5}, "six"])
def test_what_the_start_of_a_message_says_of_the_output_is_no_figure(usage: Any) -> None:
    wire = messages_start(messages_usage(12, 1)) + messages_end("end_turn", usage)
    answer = read(anthropic_messages.stream_reader(), wire)
    assert tokens_of(anthropic_messages, answer.usages, streamed=True) == Tokens(12, None, 0, 0, None)


def test_a_message_whose_start_says_nothing_has_the_figures_of_its_end() -> None:
    wire = messages_event("message_start") + messages_end("end_turn", messages_usage(12, 6))
    answer = read(anthropic_messages.stream_reader(), wire)
    assert tokens_of(anthropic_messages, answer.usages, streamed=True) == Tokens(12, 6, 0, 0, None)


def test_running_totals_of_a_stream_leave_the_last() -> None:
    stream = chat_chunk({"content": WORD}, usage=chat_usage(9, 1)) + chat_chunk(
        {"content": WORD}, usage=chat_usage(9, 2)
    )
    assert read(openai_chat.stream_reader(), stream).usages == [chat_usage(9, 2)]


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        (chat_usage(100, 20, cached=60, written=30, reasoning=5), Tokens(100, 20, 60, 30, 5)),
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 20,
                "prompt_tokens_details": {"cached_tokens": 60, "cache_creation_tokens": 30},
                "completion_tokens_details": None,
            },
            Tokens(100, 20, 60, 30, None),
        ),
        (
            {
                "prompt_tokens": 100,  # what was cached is inside already
                "completion_tokens": 20,
                "prompt_tokens_details": None,
                "cache_read_input_tokens": 60,
                "cache_creation_input_tokens": 0,
            },
            Tokens(100, 20, 60, 0, None),
        ),
    ],
    ids=["openai_names", "litellm_names", "anthropic_names"],
)
def test_litellm_usage(usage: dict[str, Any], tokens: Tokens) -> None:
    assert litellm_tokens_of(usage) == tokens


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        (gemini_usage(9, 30, thoughts=70), Tokens(9, 100, reasoning=70)),
        (gemini_usage(9, thoughts=70), Tokens(9, 70, reasoning=70)),  # nothing was said after the thinking
        # 9 + 100 make the total: these candidates hold the thoughts already.
        (gemini_usage(9, 100) | {"thoughtsTokenCount": 70}, Tokens(9, 100, reasoning=70)),
        (gemini_usage(9, 0, thoughts=0), Tokens(9, 0, reasoning=0)),
        ({"toolUsePromptTokenCount": 8, "candidatesTokenCount": 3}, Tokens(None, 3)),
    ],
)
def test_geminis_thoughts_are_output_and_are_counted_once(usage: dict[str, Any], tokens: Tokens) -> None:
    assert tokens_of(gemini, [usage], streamed=False) == tokens
