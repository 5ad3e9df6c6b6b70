"""From evidence to rows: the corpus, whose figures are taken, and one row for the same evidence."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest
from tests.unit.core.chat_corpus import CHAT, chat_usage
from tests.unit.core.evidence import ANSWERED, ENTERED, STREAMED, answered, failure, heard, routed, row, tried
from tests.unit.core.gemini_corpus import GEMINI, gemini_usage
from tests.unit.core.messages_corpus import MESSAGES, messages_usage
from tests.unit.core.recorded import WORD, Recorded, reader_of
from tests.unit.core.responses_corpus import RESPONSES, responses_usage

from agentdyno.core.exchange import Anatomy, Answered, Price, PriceTier
from agentdyno.core.normalize import NORMALIZER_VERSION, normalize
from agentdyno.core.records import Request

PRICE = Price("2026-01", [PriceTier(input_usd=0.5, output_usd=2.0)])
CORPUS = CHAT + RESPONSES + MESSAGES + GEMINI


def answered_from(recorded: Recorded) -> Answered:
    """What a gateway that stays to the end would write of a recorded answer, 1 ms after the request."""
    reader = reader_of(recorded)
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
    figures = (made.input_tokens, made.cache_read_tokens, made.cache_write_tokens)
    assert figures == (recorded.tokens.input, recorded.tokens.cache_read, recorded.tokens.cache_write)
    over = recorded.complete or recorded.finish_reason is not None
    written = (recorded.tokens.output, recorded.tokens.reasoning) if over else (None, None)
    assert (made.output_tokens, made.reasoning_tokens) == written
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


def test_a_stream_of_responses_without_a_providers_details_is_litellms_own_count() -> None:
    entered = msgspec.structs.replace(STREAMED, surface="openai_responses")
    events = [("content", 900, 10), ("done", 950, 6)]
    own_count = {"input_tokens": 9, "output_tokens": 1, "total_tokens": 10}
    counted = answered(entered=entered, events=events, usages=[own_count])
    assert figures(row(counted)) == (9, 1, None, "estimated")
    told = answered(entered=entered, events=events, usages=[responses_usage(9, 1)])
    assert figures(row(told, routed(usage=LITELLMS))) == (9, 1, 0, "proxy")
    document = msgspec.structs.replace(entered, streamed=False)
    assert figures(row(answered(entered=document, usages=[own_count]))) == (9, 1, None, "proxy")


def test_a_gemini_stream_of_which_litellm_translated_the_usage_to_zeros() -> None:
    entered = msgspec.structs.replace(STREAMED, surface="gemini")
    events = [("content", 900, 10), ("finish", 950, 6)]
    zeros = answered(entered=entered, events=events, finish_reason="STOP", usages=[gemini_usage(0, 0)])
    assert figures(row(zeros)) == (None, None, None, None)
    assert figures(row(zeros, routed(usage=LITELLMS))) == (100, 20, 60, "proxy")
    told = answered(entered=entered, events=events, finish_reason="STOP", usages=[gemini_usage(9, 3, cached=4)])
    assert figures(row(told, routed(usage=LITELLMS))) == (9, 3, 4, "proxy")


@pytest.mark.parametrize("purpose", ["token_count", "model_list"])
def test_what_no_model_answers_has_no_tokens_no_first_token_and_no_cost(purpose: str) -> None:
    entered = msgspec.structs.replace(STREAMED, surface="anthropic_messages", purpose=purpose)
    answer = answered(entered=entered, usages=[messages_usage(9, 3)], events=[("content", 900, 10)], tool_calls=1)
    answer = msgspec.structs.replace(answer, price=PRICE)
    made = row(answer, routed(usage=LITELLMS))
    assert figures(made) == (None, None, None, None)
    assert (made.ttft_ms, made.tool_calls, made.cost_usd, made.price_table_version) == (None, None, None, None)
    assert (made.purpose, made.status, made.latency_ms) == (purpose, "ok", 1.5)


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
    told = [chat_usage(10, 4)]
    priced = row(answered(usages=told, price=PRICE), routed(cost_usd=99.0))
    assert (priced.cost_usd, priced.price_table_version) == (10 * 0.5 + 4 * 2.0, "2026-01")
    unpriced = row(answered(usages=told), routed(cost_usd=99.0))
    assert (unpriced.cost_usd, unpriced.price_table_version) == (None, None)
    uncounted = row(answered(price=PRICE), routed(cost_usd=99.0))
    assert (uncounted.cost_usd, uncounted.price_table_version) == (None, None)
    free = Price("2026-01", [PriceTier(0.0, 0.0)])
    assert row(answered(usages=told, price=free)).cost_usd == 0.0


# ── the provider's own wire ──────────────────────────────────────────────────────────────────────────────────────────


def test_the_providers_wire_is_believed_before_the_others() -> None:
    attempt = tried(usages=[chat_usage(10, 4, cached=6)])
    made = row(answered(usages=[chat_usage(7, 7)], price=PRICE), routed(usage=LITELLMS), attempt)
    assert figures(made) == (10, 4, 6, "provider")
    assert made.cost_usd is None  # the price says nothing of what is read from a cache


def test_attempts_are_summed_and_each_is_priced() -> None:
    first = tried(1, usages=[chat_usage(10, 1)], finish_reason="stop")
    second = tried(2, usages=[chat_usage(20, 5)], begun_offset_us=1_500, ended_offset_us=3_500)
    made = row(answered(attempts=2, ended_offset_us=4_000, price=PRICE), routed(), first, second)
    assert (made.attempts, made.input_tokens, made.output_tokens) == (2, 30, 6)
    assert made.cost_usd == 30 * 0.5 + 6 * 2.0
    assert (made.latency_ms, made.provider_latency_ms, made.proxy_overhead_ms) == (4.0, 3.0, 1.0)  # 1 ms and 2 ms


def test_a_refused_attempt_has_no_tokens_to_be_summed() -> None:
    refused = tried(1, http_status=429, error_code="rate_limit_exceeded")
    made = row(answered(attempts=2, price=PRICE), routed(), refused, tried(2, usages=[chat_usage(10, 4)]))
    assert (made.attempts, made.status, figures(made)) == (2, "ok", (10, 4, 0, "provider"))
    assert made.cost_usd == 10 * 0.5 + 4 * 2.0


def test_what_a_cut_attempt_wrote_is_unknown_and_so_is_the_sum() -> None:
    cut = tried(1, surface="anthropic_messages", streamed=True, complete=False, usages=[messages_usage(8, 1)])
    whole = tried(2, surface="anthropic_messages", usages=[messages_usage(8, 5)])
    made = row(answered(attempts=2, price=PRICE), routed(), cut, whole)
    assert (made.input_tokens, made.output_tokens, made.usage_source, made.cost_usd) == (16, None, "provider", None)


@pytest.mark.parametrize("usages", [[chat_usage(10, 4)], []])
def test_of_attempts_one_of_which_told_nothing_nobody_knows_the_sum(usages: list[dict[str, int]]) -> None:
    cut = tried(1, complete=False, failure="ReadError")
    # Whoever else counted saw the last attempt alone.
    answer = answered(attempts=2, price=PRICE, usages=[chat_usage(10, 4)])
    made = row(answer, failure("ReadError"), routed(usage=LITELLMS, at_us=2), cut, tried(2, usages=usages))
    assert (made.status, made.attempts, figures(made), made.cost_usd) == ("ok", 2, (None, None, None, None), None)


def test_an_attempt_that_was_sent_on_elsewhere_used_nothing() -> None:
    pointed = tried(1, http_status=307, complete=False)
    made = row(answered(attempts=2, price=PRICE), routed(), pointed, tried(2, usages=[chat_usage(10, 4)]))
    assert (made.attempts, made.status, figures(made)) == (2, "ok", (10, 4, 0, "provider"))
    assert made.cost_usd == 10 * 0.5 + 4 * 2.0


def test_what_litellm_counted_where_the_provider_told_nothing_is_an_estimate() -> None:
    # Of what a cache served it cannot tell anything.
    assert figures(row(answered(usages=[chat_usage(7, 7)]), routed(), tried())) == (7, 7, None, "estimated")
    assert figures(row(ANSWERED, routed(usage=LITELLMS), tried())) == (100, 20, None, "estimated")


def test_an_input_of_0_that_a_translated_stream_began_with_is_none() -> None:
    begun = answered(complete=False, disconnected=True, events=[("content", 5, 1)], usages=[chat_usage(0, 0)])
    assert figures(row(begun, routed(usage=LITELLMS), tried(complete=False)))[0] == 100


def test_of_a_protocol_that_no_dialect_reads_litellms_figures_are_taken() -> None:
    binary = tried(surface=None, complete=False)
    made = row(answered(usages=[chat_usage(7, 7)]), routed(), binary)
    assert (figures(made), made.attempts, made.status) == ((7, 7, 0, "proxy"), 1, "ok")


def test_attempts_where_there_was_no_meter_and_where_the_request_went_round_it() -> None:
    assert row(ANSWERED, routed()).attempts is None
    assert row(answered(attempts=0), routed()).attempts is None
    assert row(answered(attempts=0, http_status=400), failure("BadRequestError")).attempts == 0
    assert row(answered(attempts=0, http_status=401, refusal="unknown_key", forwarded=False)).attempts == 0
    lost = row(None, tried())
    assert (lost.attempts, lost.error_class) == (1, "gateway_lost")


def test_what_the_provider_served_and_called_is_read_from_its_own_wire() -> None:
    attempt = tried(model="gpt-4.1-2025-04-14", tool_calls=2, provider_request_id="req_p")
    made = row(answered(model="gpt-4.1", tool_calls=1, provider_request_id="req_h"), routed(), attempt)
    assert (made.model_served, made.tool_calls, made.provider_request_id) == ("gpt-4.1-2025-04-14", 2, "req_p")


def test_the_providers_own_time_to_the_first_token() -> None:
    attempt = tried(streamed=True, first_content_offset_us=700)
    assert row(answered(attempts=1), routed(), attempt).provider_ttft_ms == 0.5  # 700 less 200 µs
    assert row(answered(attempts=1), routed(), tried(first_content_offset_us=700)).provider_ttft_ms is None


def test_a_latency_of_which_an_attempt_is_missing_is_unknown() -> None:
    made = row(answered(attempts=2), routed(), tried())
    assert (made.attempts, made.provider_latency_ms, made.proxy_overhead_ms) == (2, None, None)


def test_what_the_harness_sent_by_part() -> None:
    anatomy = Anatomy(10, 2, 30, 40, 5, 0, 3, [("system", 10, "abc")])
    made = row(answered(anatomy=anatomy))
    assert (made.system_bytes, made.tools, made.tools_bytes, made.history_bytes) == (10, 2, 30, 40)
    assert (made.tool_results_bytes, made.media_bytes, made.messages) == (5, 0, 3)
    assert made.prefix == '[["system",10,"abc"]]'
    assert row(ANSWERED).system_bytes is None


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
        normalize(heard(routed()), "gw_1")


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
