"""The dialects over the corpus: what is read, that chunking is all one, that no text is kept, that nothing raises."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.core.chat_corpus import CHAT, CHAT_DONE, CHAT_ROLE, CHAT_TEXT, chat_chunk, chat_usage
from tests.unit.core.gemini_corpus import GEMINI, gemini_chunk, gemini_stream
from tests.unit.core.messages_corpus import MESSAGES, messages_event
from tests.unit.core.recorded import WORD, Recorded, read, reader_of, tokens_of
from tests.unit.core.responses_corpus import RESPONSES, response, responses_event

from agentdyno.core.dialects import anthropic_messages, gemini, openai_chat, openai_responses
from agentdyno.core.dialects.table import DIALECTS
from agentdyno.core.dialects.wire import Answer
from agentdyno.core.records import Surface

CORPUS = CHAT + RESPONSES + MESSAGES + GEMINI
SURFACES: tuple[Surface, ...] = tuple(DIALECTS)
surfaces = st.sampled_from(SURFACES)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def without_times(answer: Answer) -> Answer:
    return dataclasses.replace(answer, events=[event._replace(offset_us=0) for event in answer.events])


@pytest.mark.parametrize("recorded", CORPUS, ids=str)
def test_corpus(recorded: Recorded) -> None:
    answer = read(reader_of(recorded), recorded.wire)
    assert tuple(event.kind for event in answer.events) == recorded.kinds
    assert tokens_of(DIALECTS[recorded.surface], answer.usages, streamed=bool(answer.events)) == recorded.tokens
    assert answer.finish_reason == recorded.finish_reason
    assert answer.tool_calls == recorded.tool_calls
    assert answer.error_code == recorded.error_code
    assert answer.complete == recorded.complete


@pytest.mark.parametrize("recorded", CORPUS, ids=str)
def test_no_text_is_kept(recorded: Recorded) -> None:
    assert WORD in recorded.wire.decode()
    assert WORD not in repr(read(reader_of(recorded), recorded.wire))


@given(st.sampled_from(CORPUS), st.lists(st.integers(0, 5000), max_size=20))
def test_any_chunking_gives_the_same_answer(recorded: Recorded, places: list[int]) -> None:
    ends = sorted({place % len(recorded.wire) for place in places} | {len(recorded.wire)})
    chunks = [recorded.wire[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    whole = read(reader_of(recorded), recorded.wire)
    assert without_times(read(reader_of(recorded), *chunks)) == without_times(whole)


@pytest.mark.parametrize("surface", SURFACES)
def test_ids_and_models(surface: Surface) -> None:
    plain = next(r for r in CORPUS if r.surface == surface and r.streamed and r.name == "plain")
    answer = read(reader_of(plain), plain.wire)
    expected = {
        "openai_chat": ("chatcmpl-1", "gpt-4.1"),
        "openai_responses": ("resp_1", "gpt-5"),
        "anthropic_messages": ("msg_1", "claude-4"),
        "gemini": ("mAITaLjkMZ", "gemini-3-pro"),
    }
    assert (answer.response_id, answer.model) == expected[surface]


def test_events_carry_the_time_and_size_of_their_data() -> None:
    reader = openai_chat.stream_reader()
    reader.feed(CHAT_ROLE + CHAT_TEXT[:30], 100)
    reader.feed(CHAT_TEXT[30:], 200)
    # The second event began in the first chunk; `data: ` and the blank line are 8 bytes.
    assert reader.answer.events == [("start", 100, len(CHAT_ROLE) - 8), ("content", 100, len(CHAT_TEXT) - 8)]


# ── hostile bytes ────────────────────────────────────────────────────────────────────────────────────────────────────


@given(surfaces, st.binary())
def test_arbitrary_bytes_never_raise(surface: Surface, data: bytes) -> None:
    dialect = DIALECTS[surface]
    dialect.read_request(data)
    read(dialect.stream_reader(), data)
    read(dialect.stream_reader(), b"data: " + data + b"\n\n")
    read(dialect.document_reader(), data)


FIELDS = (
    *("type", "id", "model", "choices", "usage", "error", "delta", "message", "content_block", "content"),
    *("stop_reason", "response", "item", "output_index", "output", "status", "code", "incomplete_details"),
    *("candidates", "usageMetadata", "promptFeedback", "modelVersion", "responseId"),
)
TYPES = (
    *("message_start", "message_delta", "content_block_start", "content_block_delta", "error", "x"),
    *("response.created", "response.output_item.added", "response.output_text.delta"),
)


@given(surfaces, st.dictionaries(st.sampled_from(FIELDS), json_values | st.sampled_from(TYPES)))
def test_arbitrary_json_never_raises(surface: Surface, value: dict[str, Any]) -> None:
    dialect, data = DIALECTS[surface], json.dumps(value).encode()
    dialect.read_request(data)
    [event] = read(dialect.stream_reader(), b"data: " + data + b"\n\n").events
    assert event.kind != "done"
    assert read(dialect.document_reader(), data).complete


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"{", "malformed"),
        (b'{"a":' + b"[" * 100_000, "malformed"),
        (b'{"a":"\xff"', "malformed"),
        (b"[]", "other"),
        (b"{}", "other"),
    ],
    ids=["torn", "deep", "not_utf8", "array", "empty"],
)
def test_events_of_no_known_shape(surface: Surface, data: bytes, kind: str) -> None:
    [event] = read(DIALECTS[surface].stream_reader(), b"data: " + data + b"\n\n").events
    assert event.kind == kind


def test_after_a_malformed_event_reading_goes_on() -> None:
    answer = read(openai_chat.stream_reader(), CHAT_TEXT + b"data: {\n\n" + CHAT_DONE)
    assert [event.kind for event in answer.events] == ["content", "malformed", "done"]
    assert answer.complete


def test_half_an_emoji_hides_nothing() -> None:
    # JavaScript writes a lone surrogate for half a character pair: no valid Unicode, and yet it is sent.
    request = b'{"model": "m", "messages": ["\\ud83d"], "stream": true}'
    facts = openai_chat.read_request(request)
    assert (facts.model, facts.streamed) == ("m", True)
    document = b'{"choices": [{"message": {"content": "\\ud83d"}}], "usage": {"prompt_tokens": 3}}'
    assert read(openai_chat.document_reader(), document).usages == [{"prompt_tokens": 3}]


def test_a_usage_object_of_absurd_size_or_depth_is_not_kept() -> None:
    deep: dict[str, Any] = {}
    for _ in range(70):
        deep = {"deeper": deep}
    large = {"prompt_tokens": 1, "note": "x" * 20_000}
    unusable: tuple[Any, ...] = (deep, large, [], "many", 7)
    for usage in unusable:
        assert read(openai_chat.stream_reader(), chat_chunk(usage=usage)).usages == []


SESSION_KEY = "sk-dyno-" + "aB3" * 14
RANDOM = "q7Xk2mP9vR4tL8wZ3nB6yC1d"


@pytest.mark.parametrize(
    "name", ["x" * 2000, "a sentence", "一つの文である", "two\nlines", "a\u2028b", "nul\0", "", SESSION_KEY, 7]
)
def test_what_is_no_name_is_not_kept(name: Any) -> None:
    chat = json.dumps({"id": name, "model": name, "choices": [{"finish_reason": name}]}).encode()
    message = {"id": name, "model": name, "stop_reason": name}
    whole = response(name, id=name, model=name)
    chunk = {**gemini_chunk(finish=name), "responseId": name, "modelVersion": name}
    answers = (
        read(openai_responses.stream_reader(), responses_event("response.completed", response=whole)),
        read(openai_responses.document_reader(), json.dumps(whole).encode()),
        read(gemini.stream_reader(), gemini_stream(chunk)),
        read(gemini.document_reader(), json.dumps(chunk).encode()),
        read(openai_chat.stream_reader(), b"data: " + chat + b"\n\n"),
        read(openai_chat.document_reader(), chat),
        read(anthropic_messages.document_reader(), json.dumps(message).encode()),
        read(anthropic_messages.stream_reader(), messages_event("message_start", message=message)),
        read(anthropic_messages.stream_reader(), messages_event("message_delta", delta=message)),
    )
    assert {(answer.response_id, answer.model, answer.finish_reason) for answer in answers} == {(None, None, None)}
    for dialect in DIALECTS.values():
        assert dialect.read_request(json.dumps({"model": name}).encode()).model is None


@pytest.mark.parametrize("model", ["accounts/a/models/llama-v3p1-405b", "qwen3:8b@q4", "ft:gpt-4.1:org::x", "modèle"])
def test_names_of_models_are_kept(model: str) -> None:
    assert openai_chat.read_request(json.dumps({"model": model}).encode()).model == model


def test_an_id_may_be_random_and_a_model_may_not() -> None:
    answer = read(openai_chat.document_reader(), json.dumps({"id": RANDOM, "model": RANDOM}).encode())
    assert (answer.response_id, answer.model) == (RANDOM, None)


def test_usage_objects_lose_what_is_no_word_and_nothing_else() -> None:
    words = {"service_tier": "standard", "flag": True, "none": None, "cost": 0.5, "list": [1, "word", []], "empty": ""}
    told: dict[str, Any] = {**chat_usage(9, 3), **words}
    prose = {"note": f"the {WORD}", "long": "x" * 65, "line": "a\nb", "key": SESSION_KEY, f"a {WORD}": 1, RANDOM: 2}
    sent = {**told, **prose, "nested": {"count": 1, **prose}, "list": [*told["list"], f"the {WORD}", [prose]]}
    kept = {**told, "nested": {"count": 1}, "list": [*told["list"], [{}]]}
    assert read(openai_chat.stream_reader(), chat_chunk(usage=sent)).usages == [kept]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"code": "rate_limit_exceeded", "type": "requests"}, "rate_limit_exceeded"),
        ({"code": 503, "type": "server_error"}, "503"),
        ({"code": None, "type": "server_error"}, "server_error"),
        ({"code": "None", "type": "None"}, "error"),
        ({"code": f"no {WORD} left"}, "error"),
        (f"no {WORD} left", "error"),
        (None, None),
    ],
)
def test_error_codes_are_words(error: Any, code: str | None) -> None:
    assert read(openai_chat.document_reader(), json.dumps({"error": error}).encode()).error_code == code
    assert read(anthropic_messages.stream_reader(), messages_event("error", error=error)).error_code in (code, "error")
