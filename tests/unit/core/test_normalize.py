"""From evidence to rows: the corpus, whose figures are taken, and one row for the same evidence."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest
from tests.unit.core.chat_corpus import CHAT, chat_usage
from tests.unit.core.evidence import ANSWERED, ENTERED, STREAMED, answered, failure, heard, routed, row
from tests.unit.core.gemini_corpus import GEMINI, gemini_usage
from tests.unit.core.messages_corpus import MESSAGES, messages_usage
from tests.unit.core.recorded import WORD, Recorded, reader_of
from tests.unit.core.responses_corpus import RESPONSES, responses_usage

from agentdyno.core.exchange import Answered
from agentdyno.core.normalize import NORMALIZER_VERSION, normalize
from agentdyno.core.records import Request

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
    made = row(answer, routed(usage=LITELLMS, cost_usd=0.5, price_table_version="2026-01"))
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
