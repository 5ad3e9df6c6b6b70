"""From a spend log to its row: whose, how it ended, whose figures, and nothing that was said."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentdyno.core.dialects.reading import UNREADABLE
from agentdyno.core.fields import fields_of
from agentdyno.core.ids import digest_bytes
from agentdyno.core.records import Request, Session
from agentdyno.core.spend_logs import Holder, read_spend_log, request_row

KEY = "ab" * 32
SESSION = Session(
    session_id="ses_1",
    phase="launched",
    variant="plain",
    task_card="sums",
    harness_profile="llm",
    provider="team",
    model="large",
    variant_fingerprint="sha256:0",
    task_card_digest="sha256:0",
    created_at_us=0,
    expires_at_us=1,
    experiment="trial",
    small_model="small",
)
HOLDER = Holder(SESSION, KEY, "plain/sums/ses_1")
USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
    "completion_tokens_details": {"reasoning_tokens": 5},
}
LOG: dict[str, Any] = {
    "request_id": "chatcmpl-1",
    "call_type": "acompletion",
    "api_key": KEY,
    "spend": 0.5,
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "startTime": "2026-11-20T12:00:00.000Z",
    "completionStartTime": "2026-11-20T12:00:00.250Z",
    "endTime": "2026-11-20T12:00:00.250Z",
    "model": "gpt-large",
    "model_group": "large",
    "metadata": {"status": "success", "usage_object": USAGE, "litellm_call_id": "call-1"},
    "status": "success",
    "cache_hit": "False",
}
STREAMED = {"completionStartTime": "2026-11-20T12:00:00.100Z"}
WORD = "planted"


def row(**changes: Any) -> Request:
    encoded = json.dumps({**LOG, **changes}).encode()
    return Request(*request_row(read_spend_log(encoded), encoded, HOLDER))


def failure(error_class: str | None, code: str | None, **changes: Any) -> Request:
    error = {"error_class": error_class, "error_code": code, "error_message": WORD, "traceback": WORD}
    metadata = {"status": "failure", "error_information": error}
    return row(**{"status": "failure", "metadata": metadata, "spend": 0.0, "prompt_tokens": 0, **changes})


def tokens(made: Request) -> tuple[int | None, ...]:
    names = ("input", "output", "cache_read", "cache_write", "reasoning")
    return tuple(getattr(made, f"{name}_tokens") for name in names)


def test_a_plain_answer() -> None:
    encoded = json.dumps(LOG).encode()
    made = dataclasses.asdict(row())

    known = {name: value for name, value in made.items() if value is not None}
    request_key = known.pop("request_key")
    assert request_key.startswith("log_")
    assert known == {
        "session_id": "ses_1",
        "experiment": "trial",
        "variant": "plain",
        "task_card": "sums",
        "key_hash": KEY,
        "key_alias": "plain/sums/ses_1",
        "surface": "openai_chat",
        "purpose": "work",
        "streamed": False,
        "model_requested": "large",
        "model_served": "gpt-large",
        "provider": "team",
        "litellm_call_id": "call-1",
        "response_id": "chatcmpl-1",
        "started_at_us": 1_795_176_000_000_000,
        "ended_at_us": 1_795_176_000_250_000,
        "latency_ms": 250.0,
        "status": "ok",
        "input_tokens": 100,
        "output_tokens": 20,
        "cache_read_tokens": 60,
        "cache_write_tokens": 10,
        "reasoning_tokens": 5,
        "usage_source": "proxy",
        "cost_usd": 0.5,
        "price_table_version": "deployment:team",
        "tags": '["session:ses_1","experiment:trial","variant:plain","task_card:sums"]',
        "harness_ids": "{}",
        "discrepancies": '[{"field":"record","cause":"went_round_meter","provider":0,"proxy":1,"harness":0}]',
        "gateway_id": "litellm:team",
        "records": 1,
        "late": False,
        "normalizer_version": 1,
        "record_digest": digest_bytes(encoded),
    }


# ── whose ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_key_is_the_logs_own_and_the_same_each_time() -> None:
    assert row().request_key == row(spend=0.7).request_key
    assert row().request_key != row(request_id="chatcmpl-2").request_key
    other = Holder(SESSION, "cd" * 32, "other")
    encoded = json.dumps({**LOG, "api_key": other.key_hash}).encode()
    assert row().request_key != Request(*request_row(read_spend_log(encoded), encoded, other)).request_key


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"api_key": "cd" * 32}, "it is of another key"),
        ({"api_key": None}, "it is of another key"),
        ({"request_id": ""}, "it has no request_id"),
        ({"request_id": 7}, "it has no request_id"),
        ({"startTime": None}, "it does not tell when it began and ended"),
        ({"endTime": "soon"}, "it does not tell when it began and ended"),
        ({"endTime": "2026-11-20T11:59:59Z"}, "it does not tell when it began and ended"),
    ],
)
def test_no_row(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        row(**changes)


# ── what it was ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("call_type", "surface", "purpose"),
    [
        ("acompletion", "openai_chat", "work"),
        ("aresponses", "openai_responses", "work"),
        ("anthropic_messages", "anthropic_messages", "work"),
        ("agenerate_content_stream", "gemini", "work"),
        ("", None, "work"),
        ("aembedding", None, "other"),
        ("call_mcp_tool", None, "other"),
    ],
)
def test_surface_and_purpose(call_type: str, surface: str | None, purpose: str) -> None:
    made = row(call_type=call_type)
    assert (made.surface, made.purpose) == (surface, purpose)
    assert (made.input_tokens is None, made.cost_usd is None) == (purpose == "other", purpose == "other")


def test_the_small_model_is_a_side_call() -> None:
    assert row(model_group="small").purpose == "small_model"


@pytest.mark.parametrize(
    "written", ["2026-11-20T12:00:00", "2026-11-20 12:00:00+00:00", "2026-11-20T13:00:00+01:00", "2026-11-20T12:00:00Z"]
)
def test_times_as_any_version_writes_them(written: str) -> None:
    assert row(startTime=written).started_at_us == 1_795_176_000_000_000


def test_a_stream_is_known_by_its_first_piece() -> None:
    assert (row(**STREAMED).streamed, row(**STREAMED).ttft_ms) == (True, None)
    assert (row().streamed, row(completionStartTime=None).streamed) == (False, False)


def test_metadata_as_text() -> None:
    assert row(metadata=json.dumps(LOG["metadata"])).cache_read_tokens == 60
    assert row(metadata="no JSON").cache_read_tokens is None


# ── whose figures ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_without_a_usage_object_the_columns_and_the_further_values_tell() -> None:
    made = row(metadata={"additional_usage_values": {"cache_read_input_tokens": 60, "cache_creation_input_tokens": 10}})
    assert (tokens(made), made.usage_source) == ((100, 20, 60, 10, None), "proxy")


@pytest.mark.parametrize(("details", "source"), [(USAGE["prompt_tokens_details"], "proxy"), (None, "estimated")])
def test_a_streams_figures_may_be_a_count_of_its_text(details: object, source: str) -> None:
    usage = {**USAGE, "prompt_tokens_details": details}
    assert row(**STREAMED, metadata={"usage_object": usage}).usage_source == source


def test_zeros_throughout_are_no_figures() -> None:
    made = row(prompt_tokens=0, completion_tokens=0, metadata={})
    assert (tokens(made), made.usage_source) == ((None,) * 5, None)


def test_zeros_that_a_message_did_not_tell() -> None:
    usage = {**USAGE, "prompt_tokens_details": {"cached_tokens": 0, "cache_creation_tokens": 0}}
    assert tokens(row(call_type="anthropic_messages", metadata={"usage_object": usage}))[2:4] == (None, None)
    assert tokens(row(metadata={"usage_object": usage}))[2:4] == (0, 0)


@pytest.mark.parametrize(
    ("spend", "cache_hit", "cost_usd"),
    [
        (0.25, "False", 0.25),
        (2, "False", 2.0),
        (0.0, "False", None),
        (0.0, "True", 0.0),
        (-1, "", None),
        (True, "", None),
    ],
)
def test_no_price_is_not_a_price_of_0(spend: object, cache_hit: str, cost_usd: float | None) -> None:
    made = row(spend=spend, cache_hit=cache_hit)
    assert made.cost_usd == cost_usd
    assert made.price_table_version == (None if cost_usd is None else "deployment:team")


def test_an_answer_from_litellms_own_cache_has_the_id_of_the_first() -> None:
    again = row(request_id="chatcmpl-1_cache_hit1795176000.1", cache_hit="True")
    assert (again.response_id, again.request_key != row().request_key) == ("chatcmpl-1", True)


# ── how it ended ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("error_class", "code", "verdict"),
    [
        ("RateLimitError", "429", ("provider_error", "429", "rate_limit")),
        ("litellm.exceptions.ContextWindowExceededError", "400", ("provider_error", "400", "context_length")),
        ("AuthenticationError", "401", ("provider_error", "401", "authentication")),
        ("InternalServerError", "529", ("provider_error", "529", "overloaded")),
        ("Timeout", "408", ("timeout", "408", "timeout")),
        ("ProxyException", "401", ("rejected", "401", "authentication")),
        ("ModelAccessDeniedProxyException", "403", ("rejected", "403", "permission")),
        ("BudgetExceededError", "400", ("rejected", "400", "budget")),
        ("ProxyModelNotFoundError", "400", ("rejected", "400", "not_found")),
        ("HTTPException", "400", ("proxy_error", "400", "invalid_request")),
        ("KeyError", None, ("proxy_error", None, "internal")),
        (None, None, ("proxy_error", None, "internal")),
        ("ClientDisconnected", "499", ("client_disconnect", None, None)),
    ],
)
def test_failures(error_class: str | None, code: str | None, verdict: tuple[str | None, ...]) -> None:
    made = failure(error_class, code)
    assert (made.status, made.error_code, made.error_class) == verdict
    assert (tokens(made), made.usage_source, made.cost_usd) == ((None,) * 5, None, None)
    assert (made.model_served, made.response_id, made.http_status) == (None, None, None)


def test_what_was_refused_before_it_was_routed() -> None:
    made = failure("ProxyException", "403", call_type="", model="huge", model_group="")
    assert (made.model_requested, made.purpose, made.surface) == ("huge", "work", None)


def test_a_stream_that_failed_in_its_midst_was_counted_by_litellm() -> None:
    metadata = {"status": "failure", "error_information": {"error_class": "APIError"}, "usage_object": USAGE}
    made = row(**STREAMED, status="failure", metadata=metadata, spend=0.1)
    assert (made.status, made.usage_source, made.input_tokens, made.cost_usd) == (
        "provider_error",
        "estimated",
        100,
        0.1,
    )


# ── whatever it holds ────────────────────────────────────────────────────────────────────────────────────────────────


def test_no_text_reaches_the_row() -> None:
    content = {"content": f"{WORD} words"}
    made = failure("ProxyException", f"{WORD} code", messages=[content], response=content, proxy_server_request=content)
    assert WORD not in repr(made)


ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([KEY, "failure", "0", "acompletion"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*LOG, *USAGE, *LOG["metadata"]]), inner)
    ),
    max_leaves=8,
)
COUNT = st.integers(-1, 200) | st.integers(2**53 - 1, 2**70)
DETAILS = st.none() | st.fixed_dictionaries({}, optional={"cached_tokens": COUNT, "cache_write_tokens": COUNT})
USAGES = st.fixed_dictionaries(
    {"prompt_tokens": COUNT, "completion_tokens": COUNT},
    optional={
        "prompt_tokens_details": DETAILS,
        "cache_read_input_tokens": COUNT,
        "cache_creation_input_tokens": COUNT,
        "completion_tokens_details": st.none() | st.fixed_dictionaries({"reasoning_tokens": COUNT}),
    },
)


@given(st.dictionaries(st.sampled_from(list(LOG)), ANY))
def test_a_log_makes_a_row_or_says_why_not(changes: dict[str, Any]) -> None:
    try:
        made = row(**changes)
    except UNREADABLE:
        return
    must = [spec.name for spec in fields_of(Request) if not spec.optional]
    assert [name for name in must if getattr(made, name) is None] == []
    assert made.session_id == "ses_1"
    assert json.dumps(dataclasses.asdict(made), allow_nan=False)


@given(USAGES, st.booleans(), st.sampled_from(["acompletion", "anthropic_messages"]))
def test_parts_fit_their_whole(usage: dict[str, Any], streamed: bool, call_type: str) -> None:
    made = row(call_type=call_type, metadata={"usage_object": usage}, **(STREAMED if streamed else {}))
    whole, written, read, write, reasoning = tokens(made)
    if whole is None:
        assert made.usage_source is None
        return
    assert 0 < whole <= 2**53
    assert (read or 0) + (write or 0) <= whole
    assert written is None or reasoning is None or reasoning <= written


@given(st.binary())
def test_what_is_no_log(encoded: bytes) -> None:
    with pytest.raises(UNREADABLE):
        request_row(read_spend_log(encoded), encoded, HOLDER)
