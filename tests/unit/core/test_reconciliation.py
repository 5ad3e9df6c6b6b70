"""Each cause for which the witnesses of a request may differ, by evidence written by hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from tests.unit.core.chat_corpus import chat_usage
from tests.unit.core.evidence import ENTERED, STREAMED, answered, failure, routed, row, tried
from tests.unit.core.messages_corpus import messages_usage

from agentdyno.core.discrepancies import CAUSES, Discrepancy, decode
from agentdyno.core.exchange import Answered, Price, PriceTier, Routed, Tried

USAGE = chat_usage(100, 20, cached=60, written=10, reasoning=8)
PLAIN = chat_usage(100, 20)
UNENDED = {"entered": STREAMED, "events": [("content", 900, 10)], "complete": False, "finish_reason": "stop"}
"""A stream that told why it ends, and lacks the event that ends it."""
MESSAGE = messages_usage(30, 20, read=60, written=10)
"""100 tokens in."""


class Case(NamedTuple):
    """Records of one request, and what of them does not agree."""

    name: str
    answer: Answered | None
    records: tuple[Routed | Tried, ...]
    found: tuple[Discrepancy, ...]


def told(*usages: dict[str, Any], **changes: Any) -> Answered:
    """An answer, after one attempt, that told of its usage."""
    return answered(**{"attempts": 1, "usages": list(usages), **changes})


def attempt(*usages: dict[str, Any], number: int = 1, **changes: Any) -> Tried:
    return tried(number, usages=list(usages), **changes)


def as_messages(answer: Answered) -> Answered:
    """The answer to a harness that speaks messages."""
    entered = msgspec.structs.replace(answer.entered, surface="anthropic_messages")
    return msgspec.structs.replace(answer, entered=entered)


def cut(**changes: Any) -> Answered:
    """A stream that the harness left in its midst."""
    left = {"entered": STREAMED, "events": [("content", 900, 10)], "complete": False, "disconnected": True}
    return answered(**{"attempts": 1, **left, **changes})


def abandoned(**changes: Any) -> Tried:
    """An attempt that nobody wanted to the end."""
    return tried(streamed=True, complete=False, abandoned=True, **changes)


def record(cause: Any, provider: int, proxy: int, harness: int) -> Discrepancy:
    return Discrepancy("record", cause, provider, proxy, harness)


ALL_TOLD = (
    Discrepancy("input_tokens", "harness_not_told", 100, 100, None),
    Discrepancy("output_tokens", "harness_not_told", 20, 20, None),
    Discrepancy("cache_read_tokens", "harness_not_told", 60, 60, None),
    Discrepancy("cache_write_tokens", "harness_not_told", 10, 10, None),
    Discrepancy("reasoning_tokens", "harness_not_told", 8, 8, None),
)
CASES = (
    Case(
        "the gateway died under it",
        None,
        (attempt(PLAIN),),
        (record("gateway_lost", 1, 0, 0), Discrepancy("status", "gateway_lost", "ok")),
    ),
    Case(
        "the gateway was stopped under it",
        answered(attempts=1, http_status=503, error_code="gateway_stopped"),
        (tried(http_status=None, complete=False, abandoned=True),),
        (record("gateway_lost", 1, 0, 1),),
    ),
    Case("no meter saw it", told(PLAIN, attempts=0), (routed(usage=PLAIN),), (record("went_round_meter", 0, 1, 1),)),
    Case(
        "there was no meter", told(PLAIN, attempts=None), (routed(usage=PLAIN),), (record("went_round_meter", 0, 1, 1),)
    ),
    Case(
        "a protocol that no dialect reads",
        told(PLAIN),
        (routed(usage=PLAIN), tried(surface=None, complete=False)),
        (
            Discrepancy("input_tokens", "provider_unread", None, 100, 100),
            Discrepancy("output_tokens", "provider_unread", None, 20, 20),
        ),
    ),
    Case(
        "LiteLLM made an end of what broke off",
        answered(entered=STREAMED, attempts=1, events=[("content", 900, 10)]),
        (routed(), tried(streamed=True, complete=False)),
        (Discrepancy("status", "provider_cut", "failed", "ok", "ok"),),
    ),
    Case(
        "LiteLLM made a stream of nothing",
        answered(entered=STREAMED, attempts=None, events=[("done", 900, 10)], finish_reason="stop"),
        (routed(),),
        (record("went_round_meter", 0, 1, 1), Discrepancy("status", "provider_cut", None, "ok", "ok")),
    ),
    Case(
        "two attempts that both used tokens",
        told(PLAIN, attempts=2, provider_request_id="b"),
        (
            failure("APIConnectionError"),
            routed(usage=PLAIN, at_us=2),
            attempt(chat_usage(100, 5), provider_request_id="a", finish_reason="stop"),
            attempt(PLAIN, number=2, provider_request_id="b"),
        ),
        (
            record("retried", 2, 2, 1),
            Discrepancy("provider_request_id", "retried", "a b", None, "b"),
            Discrepancy("input_tokens", "retried", 200, 100, 100),
            Discrepancy("output_tokens", "retried", 25, 20, 20),
        ),
    ),
    Case(
        "two attempts, of which one broke off and told nothing",
        told(PLAIN, attempts=2),
        (
            failure("ReadError"),
            routed(usage=PLAIN, at_us=2),
            tried(1, complete=False, failure="ReadError"),
            attempt(PLAIN, number=2),
        ),
        (
            record("retried", 2, 2, 1),
            Discrepancy("input_tokens", "retried", None, 100, 100),
            Discrepancy("output_tokens", "retried", None, 20, 20),
        ),
    ),
    Case(
        "two attempts that told nothing, of which LiteLLM counted the last",
        told(PLAIN, attempts=2),
        (
            failure("ReadError"),
            routed(usage=PLAIN, at_us=2),
            tried(1, complete=False, failure="ReadError"),
            tried(2),
        ),
        (
            record("retried", 2, 2, 1),
            Discrepancy("input_tokens", "retried", None, 100, 100),
            Discrepancy("output_tokens", "retried", None, 20, 20),
        ),
    ),
    Case(
        "a stream without the event that ends it",
        told(PLAIN, **UNENDED),
        (routed(usage=PLAIN), attempt(PLAIN, streamed=True, complete=False, finish_reason="stop")),
        (Discrepancy("status", "provider_cut", "ok", "ok", "failed"),),
    ),
    Case(
        "a translated stream without the event that ends it, which is LiteLLM's to make",
        as_messages(told(messages_usage(100, 1), {"output_tokens": 20}, **UNENDED)),
        (routed(usage=PLAIN), attempt(PLAIN, streamed=True, complete=False, finish_reason="stop")),
        (Discrepancy("status", "unexplained", "ok", "ok", "failed"),),
    ),
    Case(
        "a first attempt that was sent on elsewhere",
        told(PLAIN, attempts=2),
        (routed(usage=PLAIN), tried(1, http_status=307, complete=False), attempt(PLAIN, number=2)),
        (),
    ),
    Case(
        "a first attempt that was refused",
        told(PLAIN, attempts=2),
        (failure("RateLimitError"), routed(usage=PLAIN, at_us=2), tried(1, http_status=429), attempt(PLAIN, number=2)),
        (record("retried", 2, 2, 1),),
    ),
    Case(
        "a translation that lost the reasoning",
        as_messages(told(messages_usage(30, 20, read=60, written=10))),
        (routed(usage=USAGE), attempt(USAGE)),
        (Discrepancy("reasoning_tokens", "translated", 8, 8, None),),
    ),
    Case(
        "a translation that lost the usage",
        as_messages(told()),
        (routed(usage=PLAIN), attempt(PLAIN)),
        (
            Discrepancy("input_tokens", "translated", 100, 100, None),
            Discrepancy("output_tokens", "translated", 20, 20, None),
        ),
    ),
    Case(
        "a translation that lost what was cached, and its part of the input",
        told(chat_usage(30, 20)),
        (
            routed(usage=chat_usage(100, 20, cached=60, written=10)),
            attempt(MESSAGE, surface="anthropic_messages"),
        ),
        (
            Discrepancy("input_tokens", "translated", 100, 100, 30),
            Discrepancy("cache_read_tokens", "translated", 60, 60, 0),
            Discrepancy("cache_write_tokens", "translated", 10, 10, 0),
        ),
    ),
    Case(
        "a translation that lost the end of the stream, and counted what it had",
        told(chat_usage(100, 3), entered=STREAMED, events=[("content", 900, 10)]),
        (
            routed(usage=chat_usage(100, 3)),
            attempt(messages_usage(100, 3), {"output_tokens": 20}, surface="anthropic_messages", streamed=True),
        ),
        (Discrepancy("output_tokens", "translated", 20, 3, 3),),
    ),
    Case(
        "a translation that lost the output altogether",
        told(chat_usage(100, 0), entered=STREAMED, events=[("content", 900, 10)]),
        (
            routed(usage=chat_usage(100, 0)),
            attempt(messages_usage(100, 3), {"output_tokens": 20}, surface="anthropic_messages", streamed=True),
        ),
        (Discrepancy("output_tokens", "translated", 20, 0, 0),),
    ),
    Case(
        "less of the output, though LiteLLM has read it all",
        told(chat_usage(100, 3), entered=STREAMED, events=[("content", 900, 10)]),
        (
            routed(usage=chat_usage(100, 20)),
            attempt(messages_usage(100, 3), {"output_tokens": 20}, surface="anthropic_messages", streamed=True),
        ),
        (Discrepancy("output_tokens", "unexplained", 20, 20, 3),),
    ),
    Case(
        "less of the output without a translation",
        as_messages(told(messages_usage(100, 3), {"output_tokens": 20}, events=[("content", 900, 10)])),
        (
            routed(usage=chat_usage(100, 3)),
            attempt(messages_usage(100, 3), {"output_tokens": 20}, surface="anthropic_messages", streamed=True),
        ),
        (Discrepancy("output_tokens", "unexplained", 20, 3, 20),),
    ),
    Case(
        "a translation that merged two tool calls",
        as_messages(told(messages_usage(100, 20), tool_calls=1)),
        (routed(usage=PLAIN), attempt(PLAIN, tool_calls=2)),
        (Discrepancy("tool_calls", "translated", 2, None, 1),),
    ),
    Case(
        "a harness that left while the provider answered to the end",
        answered(attempts=1, http_status=None, complete=False, disconnected=True),
        (routed(usage=PLAIN), attempt(PLAIN)),
        (
            Discrepancy("status", "harness_left", "ok", "ok", "failed"),
            Discrepancy("input_tokens", "harness_left", 100, 100, None),
            Discrepancy("output_tokens", "harness_left", 20, 20, None),
        ),
    ),
    Case(
        "LiteLLM went on after the harness had left",
        cut(),
        (failure("X"), failure("X"), abandoned(), tried(2, http_status=500)),
        (record("retried", 2, 2, 1), Discrepancy("attempts", "harness_left", provider=2, harness=1)),
    ),
    Case("a wire without usage", told(), (routed(usage=USAGE), attempt(USAGE)), ALL_TOLD),
    Case("a cut that LiteLLM does not report", cut(), (abandoned(),), (record("no_proxy_record", 1, 0, 1),)),
    Case(
        "a harness that hung up behind the last event, of which LiteLLM does not report",
        answered(entered=STREAMED, attempts=1, events=[("content", 900, 10)], disconnected=True),
        (tried(streamed=True),),
        (record("no_proxy_record", 1, 0, 1),),
    ),
    Case(
        "an error of the provider that LiteLLM does not report",
        answered(attempts=1, http_status=500, error_code="500"),
        (tried(http_status=500, error_code="INTERNAL"),),
        (record("no_proxy_record", 1, 0, 1),),
    ),
    Case(
        "a refusal of LiteLLM's own that it does not report",
        answered(attempts=0, http_status=400, error_code="400"),
        (),
        (record("no_proxy_record", 0, 0, 1),),
    ),
    Case(
        "one failure, reported twice",
        answered(attempts=1, http_status=500, error_code="500"),
        (failure("InternalServerError"), failure("APIConnectionError"), tried(http_status=500)),
        (record("proxy_record_twice", 1, 2, 1),),
    ),
    Case(
        "a failure, and then the harness's leaving, each reported by itself",
        cut(),
        (
            failure("ReadError"),
            routed(error_class="ClientDisconnected", error_code="499", at_us=2),
            tried(streamed=True, complete=False, failure="ReadError"),
        ),
        (
            record("proxy_record_twice", 1, 2, 1),
            Discrepancy("status", "provider_cut", "failed", "ok", "failed"),
        ),
    ),
    Case(
        "a whole answer of which LiteLLM made an error",
        answered(attempts=1, http_status=500, error_code="500"),
        (failure("InternalServerError"), attempt(PLAIN)),
        (
            Discrepancy("status", "proxy_failed", "ok", "failed", "failed"),
            Discrepancy("input_tokens", "harness_not_told", 100, None, None),
            Discrepancy("output_tokens", "harness_not_told", 20, None, None),
        ),
    ),
    Case(
        "LiteLLM itself failed",
        answered(attempts=0, http_status=500, error_code="gateway_failed"),
        (),
        (record("proxy_failed", 0, 0, 1),),
    ),
    Case(
        "a stream that was cut, which LiteLLM calls a success and counts by itself",
        cut(),
        (routed(usage={"prompt_tokens": 98, "completion_tokens": 3}), abandoned()),
        (
            Discrepancy("status", "proxy_calls_cut_success", None, "ok", "failed"),
            Discrepancy("input_tokens", "proxy_estimated", None, 98, None),
            Discrepancy("output_tokens", "proxy_estimated", None, 3, None),
        ),
    ),
    Case(
        "an error inside a stream, which LiteLLM calls a success",
        answered(entered=STREAMED, attempts=1, events=[("error", 900, 10)], complete=False, error_code="api_error"),
        (routed(), tried(streamed=True, complete=False, error_code="api_error")),
        (Discrepancy("status", "proxy_calls_error_success", "failed", "ok", "failed"),),
    ),
    Case(
        "a failure, of which LiteLLM counts nothing",
        as_messages(cut(disconnected=False, error_code="500", usages=[MESSAGE])),
        (
            failure("ReadError"),
            attempt(MESSAGE, surface="anthropic_messages", streamed=True, complete=False, failure="ReadError"),
        ),
        (
            Discrepancy("input_tokens", "proxy_counts_no_failure", 100, None, 100),
            Discrepancy("cache_read_tokens", "proxy_counts_no_failure", 60, None, 60),
            Discrepancy("cache_write_tokens", "proxy_counts_no_failure", 10, None, 10),
        ),
    ),
    Case(
        "figures that the provider never told",
        told({"prompt_tokens": 98, "completion_tokens": 19}),
        (routed(usage={"prompt_tokens": 98, "completion_tokens": 19}), attempt()),
        (
            Discrepancy("input_tokens", "proxy_estimated", None, 98, 98),
            Discrepancy("output_tokens", "proxy_estimated", None, 19, 19),
        ),
    ),
    Case(
        "zeros in the place of figures",
        told(PLAIN),
        (routed(usage=chat_usage(0, 0)), attempt(PLAIN)),
        (
            Discrepancy("input_tokens", "proxy_filled_zeros", 100, None, 100),
            Discrepancy("output_tokens", "proxy_filled_zeros", 20, None, 20),
        ),
    ),
    Case(
        "a report without what was cached",
        told(chat_usage(100, 20, cached=60)),
        (routed(usage=PLAIN), attempt(chat_usage(100, 20, cached=60))),
        (Discrepancy("cache_read_tokens", "proxy_dropped_cache", 60, 0, 60),),
    ),
    Case(
        "a report whose input is without what was cached",
        told(chat_usage(100, 20, cached=60)),
        (routed(usage=chat_usage(40, 20)), attempt(chat_usage(100, 20, cached=60))),
        (
            Discrepancy("input_tokens", "proxy_dropped_cache", 100, 40, 100),
            Discrepancy("cache_read_tokens", "proxy_dropped_cache", 60, 0, 60),
        ),
    ),
    Case(
        "a report without the reasoning",
        told(chat_usage(100, 20, reasoning=8)),
        (routed(usage=chat_usage(100, 12)), attempt(chat_usage(100, 20, reasoning=8))),
        (
            Discrepancy("output_tokens", "proxy_dropped_reasoning", 20, 12, 20),
            Discrepancy("reasoning_tokens", "proxy_dropped_reasoning", 8, 0, 8),
        ),
    ),
    Case(
        "another price for the same tokens",
        told(PLAIN, price=Price("litellm-1.0", [PriceTier(0.5, 1.0)])),
        (routed(usage=PLAIN, cost_usd=90.0), attempt(PLAIN)),  # 100 · 0.5 + 20 · 1 = 70
        (Discrepancy("cost_usd", "priced_otherwise", proxy=90.0),),
    ),
    Case("a report that is missing", told(PLAIN), (attempt(PLAIN),), (record("unexplained", 1, 0, 1),)),
    Case("an attempt that is missing", told(PLAIN), (routed(usage=PLAIN),), (record("unexplained", 0, 1, 1),)),
    Case(
        "one of two attempts is missing",
        told(PLAIN, attempts=2),
        (routed(usage=PLAIN), attempt(PLAIN)),
        (Discrepancy("attempts", "unexplained", provider=1, harness=2),),
    ),
    Case(
        "two reports of one success",
        told(PLAIN),
        (routed(usage=PLAIN), routed(usage=PLAIN, at_us=2), attempt(PLAIN)),
        (record("unexplained", 1, 2, 1),),
    ),
    Case(
        "a figure that nothing accounts for",
        told(chat_usage(100, 21)),
        (routed(usage=chat_usage(99, 20)), attempt(PLAIN)),
        (
            Discrepancy("input_tokens", "unexplained", 100, 99, 100),
            Discrepancy("output_tokens", "unexplained", 20, 20, 21),
        ),
    ),
    Case(
        "a report that has lost a cache, and a harness with a figure of its own",
        told(chat_usage(100, 20, cached=61)),
        (routed(usage=PLAIN), attempt(chat_usage(100, 20, cached=60))),
        (Discrepancy("cache_read_tokens", "unexplained", 60, 0, 61),),
    ),
    Case(
        "a success that the harness was not given",
        answered(attempts=1, complete=False),
        (routed(), attempt()),
        (Discrepancy("status", "unexplained", "ok", "ok", "failed"),),
    ),
    Case(
        "more tool calls than the provider made",
        told(PLAIN, tool_calls=2),
        (routed(usage=PLAIN), attempt(PLAIN, tool_calls=1)),
        (Discrepancy("tool_calls", "unexplained", 1, None, 2),),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_what_differs_and_why(case: Case) -> None:
    assert decode(row(case.answer, *case.records).discrepancies) == case.found


def test_every_cause_has_a_case() -> None:
    by_reports = {"awaited"}  # which know the time
    assert {found.cause for case in CASES for found in case.found} == set(CAUSES) - by_reports


@pytest.mark.parametrize(
    ("answer", "records"),
    [
        (told(USAGE), (routed(usage=USAGE), attempt(USAGE))),
        (told(USAGE, entered=STREAMED, events=[("content", 900, 10)]), (routed(usage=USAGE), attempt(USAGE))),
        # A part of which nothing is said is none.
        (
            told({"prompt_tokens": 9, "completion_tokens": 2}),
            (routed(usage=chat_usage(9, 2)), attempt(chat_usage(9, 2))),
        ),
        (answered(attempts=0, http_status=401, refusal="unknown_key", forwarded=False), ()),
        (answered(attempts=0, http_status=None, complete=False, disconnected=True, forwarded=False), ()),
        # LiteLLM asked nobody.
        (answered(attempts=0, http_status=400, error_code="400"), (failure("BadRequestError"),)),
        (answered(attempts=1, http_status=429, error_code="429"), (failure("RateLimitError"), tried(http_status=429))),
        (
            answered(attempts=1, http_status=500, error_code="500"),
            (failure("ConnectError"), tried(http_status=None, complete=False, failure="ConnectError")),
        ),
        # LiteLLM prices by another table, or knows no price.
        (
            told(PLAIN, price=Price("own-1", [PriceTier(0.5, 1.0)])),
            (routed(usage=PLAIN, cost_usd=90.0), attempt(PLAIN)),
        ),
        (
            told(PLAIN, price=Price("litellm-1.0", [PriceTier(0.5, 1.0)])),
            (routed(usage=PLAIN, cost_usd=0.0), attempt(PLAIN)),
        ),
        (
            answered(entered=msgspec.structs.replace(ENTERED, purpose="token_count"), forwarded=False),
            (),
        ),
    ],
)
def test_where_the_witnesses_agree(answer: Answered, records: tuple[Routed | Tried, ...]) -> None:
    assert row(answer, *records).discrepancies == "[]"


def test_every_cause_is_documented_in_its_place() -> None:
    page = Path(__file__).parents[3] / "docs" / "reconciliation.md"
    section = page.read_text().partition("## Causes")[2].partition("\n## ")[0]
    assert tuple(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == CAUSES
