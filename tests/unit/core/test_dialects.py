"""Both dialects over the corpus: what is read, that chunking is all one, that no text is kept, that nothing raises."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.core.chat_corpus import CHAT, CHAT_DONE, CHAT_ROLE, CHAT_TEXT, chat_chunk, chat_usage
from tests.unit.core.messages_corpus import MESSAGES, messages_end, messages_event, messages_start, messages_usage
from tests.unit.core.recorded import WORD, Recorded

from agentdyno.core.dialects import anthropic_messages, openai_chat
from agentdyno.core.dialects.table import DIALECTS, Call, call_of
from agentdyno.core.dialects.wire import Answer, AnswerReader, RequestFacts, Tokens
from agentdyno.core.records import Surface

CORPUS = CHAT + MESSAGES
SURFACES: tuple[Surface, ...] = tuple(DIALECTS)
surfaces = st.sampled_from(SURFACES)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def reader_of(recorded: Recorded) -> AnswerReader:
    dialect = DIALECTS[recorded.surface]
    return dialect.stream_reader() if recorded.kinds else dialect.document_reader()


def read(reader: AnswerReader, *chunks: bytes) -> Answer:
    for number, chunk in enumerate(chunks):
        reader.feed(chunk, number * 1000)
    reader.finish()
    return reader.answer


def without_times(answer: Answer) -> Answer:
    return dataclasses.replace(answer, events=[event._replace(offset_us=0) for event in answer.events])


@pytest.mark.parametrize("recorded", CORPUS, ids=str)
def test_corpus(recorded: Recorded) -> None:
    answer = read(reader_of(recorded), recorded.wire)
    assert tuple(event.kind for event in answer.events) == recorded.kinds
    assert DIALECTS[recorded.surface].tokens(answer.usages, streamed=bool(answer.events)) == recorded.tokens
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
    expected = {"openai_chat": ("chatcmpl-1", "gpt-4.1"), "anthropic_messages": ("msg_1", "claude-4")}
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
    "type",
    "id",
    "model",
    "choices",
    "usage",
    "error",
    "delta",
    "message",
    "content_block",
    "content",
    "stop_reason",
)
TYPES = ("message_start", "message_delta", "content_block_start", "content_block_delta", "error", "x")


@given(surfaces, st.dictionaries(st.sampled_from(FIELDS), json_values | st.sampled_from(TYPES)))
def test_arbitrary_json_never_raises(surface: Surface, value: dict[str, Any]) -> None:
    dialect, data = DIALECTS[surface], json.dumps(value).encode()
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


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (messages_event("error"), "error"),
        (messages_event("message_start"), "start"),
        (messages_event("message_delta", usage={"output_tokens": 3}), "usage"),
        (messages_event("content_block_delta"), "other"),
        (messages_event("content_block_start", content_block={"type": "redacted_thinking", "data": WORD}), "reasoning"),
        (messages_event("content_block_start", content_block={"type": "server_tool_use", "name": "search"}), "tool"),
        (messages_event("something_new"), "other"),
    ],
)
def test_rarer_events_of_messages(event: bytes, kind: str) -> None:
    answer = read(anthropic_messages.stream_reader(), event)
    assert [event.kind for event in answer.events] == [kind]
    assert (answer.error_code is not None) == (kind == "error")
    assert answer.tool_calls == 0  # what the server runs by itself is not asked of the harness


def test_after_a_malformed_event_reading_goes_on() -> None:
    answer = read(openai_chat.stream_reader(), CHAT_TEXT + b"data: {\n\n" + CHAT_DONE)
    assert [event.kind for event in answer.events] == ["content", "malformed", "done"]
    assert answer.complete


def test_half_an_emoji_hides_nothing() -> None:
    # JavaScript writes a lone surrogate for half a character pair: no valid Unicode, and yet it is sent.
    request = b'{"model": "m", "messages": ["\\ud83d"], "stream": true}'
    assert openai_chat.read_request(request) == RequestFacts("m", True)
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


@pytest.mark.parametrize("name", ["x" * 300, "a sentence", "two\nlines", "a\u2028b", "nul\0", "", SESSION_KEY, 7])
def test_what_is_no_name_is_not_kept(name: Any) -> None:
    chat = json.dumps({"id": name, "model": name, "choices": [{"finish_reason": name}]}).encode()
    message = {"id": name, "model": name, "stop_reason": name}
    answers = (
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


# ── requests and paths ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize(
    ("body", "facts"),
    [
        (
            b'{"model": "m", "stream": true, "messages": [{"role": "user", "content": "marmalade"}]}',
            RequestFacts("m", True),
        ),
        (b'{"model": "m"}', RequestFacts("m", False)),
        (b'{"model": 7, "stream": "true"}', RequestFacts(None, False)),
        (b'["model"]', RequestFacts(None, False)),
        (b"", RequestFacts(None, False)),
    ],
)
def test_facts_of_a_request(surface: Surface, body: bytes, facts: RequestFacts) -> None:
    assert DIALECTS[surface].read_request(body) == facts


@pytest.mark.parametrize(
    ("method", "path", "call"),
    [
        ("POST", "/v1/chat/completions", Call("openai_chat")),
        ("POST", "/chat/completions", Call("openai_chat")),
        ("POST", "/v1/responses", Call("openai_responses")),
        ("POST", "/v1/messages", Call("anthropic_messages")),
        ("POST", "/v1/messages/count_tokens", Call("anthropic_messages", counts_tokens=True)),
        ("POST", "/v1beta/models/m-1:generateContent", Call("gemini", model="m-1", streamed=False)),
        ("POST", "/v1beta/models/m-1:streamGenerateContent", Call("gemini", model="m-1", streamed=True)),
        ("POST", "/v1beta/models/m-1:countTokens", Call("gemini", model="m-1", streamed=False, counts_tokens=True)),
        ("POST", "/v1beta/models/m-1:embedContent", None),
        ("POST", "/v1beta/models/two words:generateContent", Call("gemini", model=None, streamed=False)),
        ("GET", "/v1/messages", None),
        ("POST", "/v1/embeddings", None),
    ],
)
def test_what_a_path_asks_for(method: str, path: str, call: Call | None) -> None:
    assert call_of(method, path) == call


@pytest.mark.parametrize("surface", SURFACES)
def test_an_error_body_reads_back(surface: Surface) -> None:
    dialect = DIALECTS[surface]
    body = json.dumps(dialect.error_body("expired_key", f"the key has {WORD}")).encode()
    assert read(dialect.document_reader(), body).error_code == "expired_key"


# ── tokens ───────────────────────────────────────────────────────────────────────────────────────────────────────────

counts = st.none() | st.integers(-2, 12) | st.booleans() | st.sampled_from([2**53, 2**53 + 1, 2**63, 1.0, "5", {}])


@given(
    st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(messages_usage(0, 0), counts)), max_size=3), st.booleans()
)
def test_anthropic_tokens_fit(usages: list[dict[str, Any]], streamed: bool) -> None:
    assert_fitting(anthropic_messages.tokens(usages, streamed=streamed))


@given(counts, counts, counts, counts, counts)
def test_openai_tokens_fit(prompt: Any, completion: Any, cached: Any, written: Any, reasoning: Any) -> None:
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    assert_fitting(openai_chat.tokens([usage], streamed=False))
    assert_fitting(openai_chat.litellm_tokens(usage))


def assert_fitting(tokens: Tokens) -> None:
    assert all(figure is None or (type(figure) is int and 0 <= figure <= 2**53) for figure in tokens)
    if tokens.input is not None:
        cached = [figure for figure in (tokens.cache_read, tokens.cache_write) if figure is not None]
        assert sum(cached) <= tokens.input
    if tokens.output is not None and tokens.reasoning is not None:
        assert tokens.reasoning <= tokens.output


def test_impossible_parts_are_dropped_and_wholes_kept() -> None:
    assert openai_chat.tokens([chat_usage(10, 5, cached=11, reasoning=6)], streamed=False) == Tokens(
        10, 5, None, 0, None
    )
    # 6 + 6 > 10, though each would fit: neither can be believed.
    assert openai_chat.tokens([chat_usage(10, 5, cached=6, written=6)], streamed=False) == Tokens(10, 5, None, None, 0)


def test_zero_is_a_value_and_absence_is_none() -> None:
    assert openai_chat.tokens([{"prompt_tokens": 0, "completion_tokens": 0}], streamed=False) == Tokens(
        0, 0, None, None, None
    )
    assert anthropic_messages.tokens([{"input_tokens": 7}], streamed=False) == Tokens(7, None, None, None, None)
    assert anthropic_messages.tokens([], streamed=True) == openai_chat.tokens([], streamed=False) == Tokens()


def test_a_sum_beyond_all_sense_is_unknown() -> None:
    huge = messages_usage(2**53, 6, read=2**53)  # each could be, 2**54 could not
    assert anthropic_messages.tokens([huge], streamed=False) == Tokens(None, 6, None, None, None)
    assert anthropic_messages.tokens([messages_usage(2**63 - 1, 6)], streamed=False) == Tokens(None, 6, 0, 0, None)


@pytest.mark.parametrize("usage", [None, {}, {"output_tokens": -6}, {"output_tokens": 6.5}, "six"])
def test_what_the_start_of_a_message_says_of_the_output_is_no_figure(usage: Any) -> None:
    wire = messages_start(messages_usage(12, 1)) + messages_end("end_turn", usage)
    answer = read(anthropic_messages.stream_reader(), wire)
    assert anthropic_messages.tokens(answer.usages, streamed=True) == Tokens(12, None, 0, 0, None)


def test_a_message_whose_start_says_nothing_has_the_figures_of_its_end() -> None:
    wire = messages_event("message_start") + messages_end("end_turn", messages_usage(12, 6))
    answer = read(anthropic_messages.stream_reader(), wire)
    assert anthropic_messages.tokens(answer.usages, streamed=True) == Tokens(12, 6, 0, 0, None)


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
    assert openai_chat.litellm_tokens(usage) == tokens
