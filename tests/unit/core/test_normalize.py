"""From evidence to rows: how a request can end, whose figures are taken, and one row for the same evidence."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import msgspec
import pytest
from tests.unit.core.chat_corpus import CHAT, chat_usage
from tests.unit.core.messages_corpus import MESSAGES, messages_usage
from tests.unit.core.recorded import WORD, Recorded

from agentdyno.core.dialects.table import DIALECTS
from agentdyno.core.exchange import Answered, Entered, Identity, Routed
from agentdyno.core.normalize import NORMALIZER_VERSION, Evidence, normalize
from agentdyno.core.records import Request

CORPUS = CHAT + MESSAGES
IDENTITY = Identity(
    session_id="ses_1",
    variant="fast",
    task_card="capitals",
    provider="scripted",
    key_hash="ab12",
    key_alias="ses_1-1",
    experiment="schema",
)
ENTERED = Entered(
    request_key="req_1",
    at_us=1_700_000_000_000_000,
    path="/v1/chat/completions",
    request_bytes=200,
    surface="openai_chat",
    model="gpt-4.1",
    identity=IDENTITY,
)
STREAMED = msgspec.structs.replace(ENTERED, streamed=True)
ANSWERED = Answered(
    entered=ENTERED, ended_offset_us=1_500, response_bytes=80, http_status=200, complete=True, forwarded=True
)


def answered(**changes: Any) -> Answered:
    return msgspec.structs.replace(ANSWERED, **changes)


def routed(**changes: Any) -> Routed:
    return msgspec.structs.replace(Routed(request_key="req_1", at_us=1, status="success"), **changes)


def failure(error_class: str | None = None, **changes: Any) -> Routed:
    return routed(status="failure", error_class=error_class, **changes)


def row(answer: Answered | None, *reports: Routed, entered: Entered | None = ENTERED) -> Request:
    return normalize(Evidence(entered, answer, reports), "gw_1")


def ending(answer: Answered | None, *reports: Routed) -> tuple[str, str | None, str | None]:
    made = row(answer, *reports)
    return made.status, made.error_code, made.error_class


def answered_from(recorded: Recorded) -> Answered:
    """What a gateway that stays to the end would write of a recorded answer, 1 ms after the request."""
    dialect = DIALECTS[recorded.surface]
    reader = dialect.stream_reader() if recorded.kinds else dialect.document_reader()
    reader.feed(recorded.wire, 1_000)
    reader.finish()
    answer = reader.answer
    return answered(
        entered=msgspec.structs.replace(ENTERED, surface=recorded.surface, streamed=recorded.streamed),
        http_status=recorded.http_status,
        complete=answer.complete,
        events=answer.events,
        usages=answer.usages,
        response_id=answer.response_id,
        model=answer.model,
        finish_reason=answer.finish_reason,
        tool_calls=answer.tool_calls,
        error_code=answer.error_code,
    )


# ── the corpus ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("recorded", CORPUS, ids=str)
def test_corpus(recorded: Recorded) -> None:
    made = row(answered_from(recorded))
    assert (made.status, made.error_code, made.error_class) == (
        recorded.status,
        recorded.error_code,
        recorded.error_class,
    )
    assert (made.input_tokens, made.cache_read_tokens) == (recorded.tokens.input, recorded.tokens.cache_read)
    over = recorded.complete or recorded.finish_reason is not None
    assert made.output_tokens == (recorded.tokens.output if over else None)
    assert made.finish_reason == recorded.finish_reason
    assert made.tool_calls == (recorded.tool_calls if recorded.http_status == 200 else None)
    has_content = bool({"content", "tool", "reasoning"} & set(recorded.kinds))
    assert made.ttft_ms == (1.0 if has_content else None)


@pytest.mark.parametrize("recorded", CORPUS, ids=str)
def test_no_text_reaches_the_spool_or_the_row(recorded: Recorded) -> None:
    answer = answered_from(recorded)
    assert WORD in recorded.wire.decode()
    assert WORD.encode() not in msgspec.json.encode(answer)
    assert WORD not in repr(row(answer))


# ── how it ended ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_whole_answer_is_ok() -> None:
    assert ending(ANSWERED, routed()) == ("ok", None, None)


def test_a_harness_that_hangs_up_after_the_end_has_a_whole_answer() -> None:
    assert ending(answered(disconnected=True)) == ("ok", None, None)


def test_a_cut_by_the_harness_is_no_success_whatever_litellm_says() -> None:
    assert ending(answered(complete=False, disconnected=True), routed()) == ("client_disconnect", None, None)


def test_a_harness_that_leaves_before_an_answer() -> None:
    assert ending(answered(http_status=None, complete=False, disconnected=True)) == ("client_disconnect", None, None)


def test_a_gateway_that_died() -> None:
    made = row(None)
    assert (made.status, made.error_class) == ("proxy_error", "gateway_lost")
    assert (made.latency_ms, made.ended_at_us) == (None, made.started_at_us)
    assert (made.response_bytes, made.tool_calls, made.records) == (0, None, 1)


@pytest.mark.parametrize(
    ("http_status", "refusal", "status", "error_class"),
    [
        (401, "expired_key", "rejected", "authentication"),
        (403, "model_not_allowed", "rejected", "permission"),
        (413, "body_too_large", "rejected", "invalid_request"),
        (503, "ledger_unreachable", "proxy_error", "internal"),
    ],
)
def test_refusals_of_the_stand(http_status: int, refusal: str, status: str, error_class: str) -> None:
    refused = answered(http_status=http_status, refusal=refusal, error_code=refusal, forwarded=False)
    assert ending(refused) == (status, refusal, error_class)


@pytest.mark.parametrize(
    ("http_status", "exception", "status", "error_class"),
    [
        (401, "AuthenticationError", "provider_error", "authentication"),
        (403, "PermissionDeniedError", "provider_error", "permission"),
        (429, "litellm.RateLimitError", "provider_error", "rate_limit"),
        (400, "BadRequestError", "provider_error", "invalid_request"),
        (400, "ContextWindowExceededError", "provider_error", "context_length"),
        (400, "ContentPolicyViolationError", "provider_error", "content_policy"),
        (404, "NotFoundError", "provider_error", "not_found"),
        (500, "InternalServerError", "provider_error", "server_error"),
        (503, "ServiceUnavailableError", "provider_error", "overloaded"),
        (500, "APIConnectionError", "provider_error", "connection"),
        (408, "Timeout", "timeout", "timeout"),
        (500, "httpx.ReadError", "provider_error", "connection"),
        (500, "RemoteProtocolError", "provider_error", "connection"),
        (500, "ConnectError", "provider_error", "connection"),
        (500, "ClientPayloadError", "provider_error", "connection"),
        (500, "ServerDisconnectedError", "provider_error", "connection"),
        (500, "ReadTimeout", "timeout", "timeout"),
        (500, "ServerTimeoutError", "timeout", "timeout"),
        (400, "BudgetExceededError", "rejected", "budget"),
        (400, "UnsupportedParamsError", "proxy_error", "invalid_request"),
        (500, "KeyError", "proxy_error", "internal"),
    ],
)
def test_litellm_tells_whose_error_it_was(http_status: int, exception: str, status: str, error_class: str) -> None:
    told = answered(http_status=http_status, error_code=str(http_status))
    assert ending(told, failure(exception)) == (status, str(http_status), error_class)


@pytest.mark.parametrize(
    ("http_status", "provider_request_id", "status", "error_class"),
    [
        (500, None, "proxy_error", "server_error"),
        (422, None, "proxy_error", "invalid_request"),
        (429, "req_provider_9", "provider_error", "rate_limit"),
        (504, None, "timeout", "timeout"),
    ],
)
def test_http_errors_without_a_record(
    http_status: int, provider_request_id: str | None, status: str, error_class: str
) -> None:
    told = answered(http_status=http_status, provider_request_id=provider_request_id)
    assert ending(told) == (status, None, error_class)


def test_a_provider_that_gave_its_request_id_was_asked() -> None:
    assert ending(answered(http_status=500), failure(provider_request_id="req_9"))[0] == "provider_error"
    assert ending(answered(http_status=500), failure())[0] == "proxy_error"


def test_the_wires_code_is_more_specific_than_a_bad_request() -> None:
    told = answered(http_status=400, error_code="context_length_exceeded")
    assert ending(told, failure("BadRequestError"))[2] == "context_length"


def test_without_a_code_on_the_wire_litellms_speaks() -> None:
    assert ending(answered(http_status=429), failure("RateLimitError", error_code="429"))[1] == "429"


def test_an_error_inside_a_200_is_the_providers() -> None:
    told = answered(complete=False, error_code="overloaded_error")
    assert ending(told, routed()) == ("provider_error", "overloaded_error", "overloaded")
    assert ending(answered(error_code="error")) == ("provider_error", "error", None)
    assert ending(answered(error_code="408")) == ("timeout", "408", "timeout")


def test_an_answer_that_stops_without_a_word() -> None:
    silent = answered(entered=STREAMED, complete=False)
    assert ending(silent, routed()) == ("proxy_error", None, "incomplete_stream")
    assert ending(silent, failure("Timeout", error_code="408")) == ("timeout", "408", "timeout")
    assert ending(silent, failure("ReadError")) == ("provider_error", None, "connection")
    assert ending(answered(complete=False)) == ("proxy_error", None, "unreadable_answer")
    assert ending(answered(complete=False, http_status=None)) == ("proxy_error", None, "internal")


HOLLOW = answered(entered=STREAMED, events=[("finish", 1, 9), ("done", 2, 6)], finish_reason="stop")


def test_a_chat_stream_that_litellm_made_of_no_answer() -> None:
    nothing = ("provider_error", None, "unreadable_answer")
    assert ending(HOLLOW) == ending(HOLLOW, routed()) == nothing
    assert ending(HOLLOW, routed(usage=chat_usage(0, 0))) == nothing  # zeros throughout are no count
    assert ending(HOLLOW, failure("ReadError", error_code="500")) == ("provider_error", "500", "connection")


@pytest.mark.parametrize(
    "changes",
    [
        {"usages": [chat_usage(9, 0)]},
        {"events": [("content", 1, 9), ("done", 2, 6)]},
        {"events": [("tool", 1, 9), ("done", 2, 6)]},
        {"finish_reason": "content_filter"},
    ],
)
def test_a_chat_stream_in_which_a_provider_said_anything_is_an_answer(changes: dict[str, Any]) -> None:
    assert ending(msgspec.structs.replace(HOLLOW, **changes)) == ("ok", None, None)


def test_an_empty_answer_whose_tokens_litellm_reports_is_one() -> None:
    assert ending(HOLLOW, routed(usage=chat_usage(9, 0))) == ("ok", None, None)


def test_a_path_that_is_not_inference_needs_no_terminal_event() -> None:
    other = answered(entered=msgspec.structs.replace(ENTERED, surface=None), complete=False)
    assert ending(other) == ("ok", None, None)
    assert row(other).tool_calls is None


def test_a_success_beats_failures_in_any_order() -> None:
    reports = (
        failure("RateLimitError", litellm_call_id="a", at_us=5),
        routed(litellm_call_id="b", at_us=3),
        failure("Timeout", at_us=9),
    )
    rows = {row(ANSWERED, *order) for order in itertools.permutations(reports)}
    [made] = rows
    assert (made.status, made.litellm_call_id, made.records) == ("ok", "b", 5)  # entered, answered, 3 reports


def test_of_failures_the_last_one_speaks() -> None:
    told = answered(http_status=500)
    assert ending(told, failure("Timeout", at_us=2), failure("RateLimitError", at_us=1))[0] == "timeout"


# ── whose figures ────────────────────────────────────────────────────────────────────────────────────────────────────

LITELLMS = chat_usage(100, 20, cached=60)


def figures(made: Request) -> tuple[int | None, int | None, int | None, str | None]:
    return made.input_tokens, made.output_tokens, made.cache_read_tokens, made.usage_source


def test_the_wire_is_preferred_to_litellms_record() -> None:
    assert figures(row(answered(usages=[chat_usage(9, 3)]), routed(usage=LITELLMS))) == (9, 3, 0, "proxy")


def test_zero_on_the_wire_is_a_figure() -> None:
    assert figures(row(answered(usages=[chat_usage(7, 0)]), routed(usage=LITELLMS))) == (7, 0, 0, "proxy")


def test_zeros_throughout_are_no_count() -> None:
    assert figures(row(answered(usages=[chat_usage(0, 0)]))) == (None, None, None, None)
    assert figures(row(answered(usages=[chat_usage(0, 0)]), routed(usage=LITELLMS))) == (100, 20, 60, "proxy")


def test_litellms_record_where_the_wire_has_none() -> None:
    gone = answered(complete=False, disconnected=True)
    assert figures(row(gone, routed(usage=LITELLMS))) == (100, 20, 60, "proxy")
    cut = answered(entered=STREAMED, complete=False, disconnected=True, events=[("content", 900, 10)])
    assert figures(row(cut, routed(usage=LITELLMS))) == (100, 20, 60, "estimated")


@pytest.mark.parametrize("asked", [True, False])
def test_a_chat_stream_without_a_providers_details_is_estimated_whoever_counted(asked: bool) -> None:
    counted = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
    events = [("content", 900, 10), ("done", 950, 6)]
    answer = answered(entered=STREAMED, events=events, usages=[counted] if asked else [])
    assert figures(row(answer, routed(usage=counted))) == (9, 3, None, "estimated")
    told = answered(entered=STREAMED, events=events, usages=[chat_usage(9, 3)])
    assert figures(row(told)) == (9, 3, 0, "proxy")
    assert figures(row(answered(usages=[counted]))) == (9, 3, None, "proxy")  # a document is the provider's


def test_cache_figures_that_nobody_told_are_unknown() -> None:
    message = msgspec.structs.replace(ENTERED, surface="anthropic_messages")
    # Nothing on the wire is a count, and LiteLLM's report of it has zeros where the message names no cache.
    unusable = answered(entered=message, usages=[{"input_tokens": -1, "output_tokens": -1}])
    assert figures(row(unusable, routed(usage=chat_usage(9, 3)))) == (9, 3, None, "proxy")
    assert figures(row(unusable, routed(usage=chat_usage(9, 3, cached=5)))) == (9, 3, 5, "proxy")


def test_a_message_without_final_figures_has_no_output() -> None:
    entered = msgspec.structs.replace(STREAMED, surface="anthropic_messages")
    whole = answered(entered=entered, events=[("start", 1, 9), ("done", 2, 9)], usages=[messages_usage(12, 1)])
    assert figures(row(whole)) == (12, None, 0, "proxy")


def test_nobody_counted() -> None:
    assert figures(row(ANSWERED)) == (None, None, None, None)
    assert figures(row(answered(http_status=500), failure("APIError", usage=chat_usage(0, 0)))) == (
        None,
        None,
        None,
        None,
    )


def test_a_cut_stream_has_no_output_figure() -> None:
    entered = msgspec.structs.replace(STREAMED, surface="anthropic_messages")
    cut = answered(entered=entered, complete=False, events=[("start", 1, 9)], usages=[messages_usage(12, 1, read=2000)])
    # 12 uncached + 2000 read; the 1 was a foretaste of an output that went on
    assert figures(row(cut)) == (2012, None, 2000, "proxy")


def test_cost_and_its_price_table() -> None:
    priced = row(ANSWERED, routed(cost_usd=0.25, price_table_version="2026-01"))
    assert (priced.cost_usd, priced.price_table_version) == (0.25, "2026-01")
    unknown = row(ANSWERED, routed(price_table_version="2026-01"))
    assert (unknown.cost_usd, unknown.price_table_version) == (None, None)
    assert row(ANSWERED, routed(cost_usd=0.0)).cost_usd == 0.0
    assert row(answered(http_status=500), failure("APIError", cost_usd=0.0)).cost_usd is None


# ── the row itself ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_times() -> None:
    made = row(answered(events=[("start", 300, 9), ("ping", 350, 9), ("tool", 400, 9), ("content", 900, 9)]))
    assert (made.ended_at_us - made.started_at_us, made.latency_ms, made.ttft_ms) == (1_500, 1.5, 0.4)
    assert row(ANSWERED).ttft_ms is None


def test_attribution() -> None:
    made = row(ANSWERED, routed(litellm_call_id="call_7", response_id="chatcmpl-7"))
    assert (made.session_id, made.experiment, made.variant, made.task_card) == ("ses_1", "schema", "fast", "capitals")
    assert (made.provider, made.key_hash, made.key_alias) == ("scripted", "ab12", "ses_1-1")
    assert made.tags == '["session:ses_1","experiment:schema","variant:fast","task_card:capitals"]'
    assert (made.litellm_call_id, made.response_id, made.gateway_id) == ("call_7", "chatcmpl-7", "gw_1")


def test_the_providers_request_id_by_either_witness() -> None:
    told = routed(provider_request_id="req_by_litellm")
    assert row(answered(provider_request_id="req_on_the_wire"), told).provider_request_id == "req_on_the_wire"
    assert row(ANSWERED, told).provider_request_id == "req_by_litellm"
    assert row(ANSWERED).provider_request_id is None


def test_an_unknown_key_belongs_to_nobody() -> None:
    made = row(
        answered(entered=msgspec.structs.replace(ENTERED, identity=None), http_status=401, refusal="unknown_key")
    )
    assert (made.session_id, made.provider, made.key_hash, made.tags) == (None, None, None, "[]")


def test_what_is_not_measured_here_is_unknown() -> None:
    made = row(ANSWERED, routed())
    assert (made.provider_latency_ms, made.proxy_overhead_ms, made.attempts) == (None, None, None)
    assert (made.late, made.normalizer_version) == (False, NORMALIZER_VERSION)


def test_an_answer_brings_its_request_along() -> None:
    alone = row(ANSWERED, entered=None)
    assert alone.records == 1
    assert dataclasses.replace(alone, records=2) == row(ANSWERED)


def test_a_report_alone_is_no_request() -> None:
    with pytest.raises(ValueError, match="no request"):
        normalize(Evidence(None, None, (routed(),)), "gw_1")


def test_the_digest_tells_evidence_apart() -> None:
    rows = [row(None), row(ANSWERED), row(ANSWERED, routed()), row(answered(tool_calls=1))]
    assert len({made.record_digest for made in rows}) == 4


def test_litellms_own_count_of_a_text_knows_no_prompt_of_0_tokens_and_no_reasoning() -> None:
    stream = answered(entered=STREAMED, events=[("content", 900, 10), ("done", 990, 6)])
    own_count = {"prompt_tokens": 8, "completion_tokens": 3, "completion_tokens_details": {"reasoning_tokens": 0}}
    counted = row(stream, routed(usage=own_count))
    assert (counted.input_tokens, counted.output_tokens, counted.reasoning_tokens) == (8, 3, None)
    assert counted.usage_source == "estimated"
    without_prompt = row(stream, routed(usage={**own_count, "prompt_tokens": 0}))
    assert (without_prompt.input_tokens, without_prompt.output_tokens, without_prompt.usage_source) == (
        None,
        None,
        None,
    )
