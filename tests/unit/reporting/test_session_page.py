from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from rich.console import Console, RenderableType

from agentdyno.core.fields import fields_of
from agentdyno.core.records import Request, Session
from agentdyno.core.rollups import summarize
from agentdyno.reporting.session_page import (
    is_fruitless,
    render_requests,
    render_session,
    render_sessions,
    request_document,
    session_line,
)
from agentdyno.reporting.traces import SessionTrace, TracedMetric
from agentdyno.store.accounts import Uncounted
from agentdyno.store.queries import SessionTotals
from agentdyno.store.traces import StepCounts

OPEN = Session(
    session_id="ses_1",
    phase="rendered",
    variant="plain",
    task_card="sums",
    harness_profile="llm",
    provider="scripted",
    model="m",
    variant_fingerprint="sha256:0",
    task_card_digest="sha256:1",
    created_at_us=0,
    expires_at_us=3_600_000_000,
)
OVER = dataclasses.replace(
    OPEN,
    phase="finalized",
    outcome="completed",
    label="mine",
    ended_at_us=61_000_000,
    checks_passed=1,
    checks_total=2,
    command_exit_code=0,
    repository_root="/src/thing",
    repository_branch=None,
    repository_commit="abc",
    repository_dirty=False,
    os="Debian",
    cpu_cores=2,
    memory_bytes=8 * 1024**3,
)
TOTALS = SessionTotals(
    "ses_1", requests=1200, ok=1199, work_ok=1198, input_tokens=10, output_tokens=None, cost_usd=None
)


def lines(page: RenderableType, width: int = 120) -> list[str]:
    console = Console(width=width, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(page)
    return [line.rstrip() for line in capture.get().splitlines()]


def test_an_open_session() -> None:
    shown = lines(render_session(OPEN, None))

    assert "state      open: rendered, until 1970-01-01 01:00:00Z" in shown
    assert "requests   none" in shown
    assert not any(line.startswith(("ended", "tokens", "checks", "command", "machine")) for line in shown)


def test_what_a_trace_told() -> None:
    metrics = (
        TracedMetric("render_ms", "ms", summarize([0.00012345, 2.0, 12345.6])),
        TracedMetric("reward", "points", summarize([-1.0])),
    )
    shown = lines(render_session(OVER, TOTALS, trace=SessionTrace(StepCounts(1200, 1), metrics)))

    assert [line for line in shown if line.startswith(("steps", "metric"))] == [
        "steps       1,200 (1 failed)",
        "metric      render_ms 2 ms (median of 3, from 0.0001234 to 12,346)",
        "metric      reward -1 points",
    ]
    assert not any(line.startswith(("steps", "metric")) for line in lines(render_session(OVER, TOTALS)))


def test_a_session_that_is_over() -> None:
    shown = lines(render_session(OVER, TOTALS))

    assert [line for line in shown if line.split("  ")[0] in ("state", "label", "ended", "command")] == [
        "state       completed",
        "label       mine",
        "ended       1970-01-01 00:01:01Z",
        "command     ended with exit code 0",
    ]
    assert "requests    1,200 (1 failed)" in shown
    assert "tokens      10 in, – out" in shown
    assert "repository  /src/thing (detached, abc, clean)" in shown
    assert "machine     Debian, 2 cores, 8.0 GiB" in shown


def test_a_session_in_one_line() -> None:
    assert session_line(OPEN, None) == "session ses_1 is open (rendered), no request yet"
    assert session_line(OVER, TOTALS) == (
        "session ses_1 completed, 1,200 requests (1 failed), tokens 10 in, – out, 1 of 2 checks held"
    )


def request(**known: Any) -> Request:
    """A request of which no more is known than this, and where it came in."""
    unknown: dict[str, Any] = {spec.name: None for spec in fields_of(Request)}
    return Request(**{**unknown, "path": "/v1/messages", "purpose": "work", "started_at_us": 0, "late": False, **known})


@pytest.mark.parametrize(
    ("exit_code", "said"),
    [(0, ""), (3, ", the command ended with exit code 3"), (-15, ", the command ended with signal 15")],
)
def test_an_exit_code_that_is_not_0_is_named(exit_code: int, said: str) -> None:
    session = dataclasses.replace(OVER, command_exit_code=exit_code, checks_total=None)

    assert session_line(session, TOTALS).endswith(f"– out{said}")


def test_tokens_that_nobody_counted() -> None:
    totals = TOTALS._replace(input_tokens=None)

    assert "tokens unknown" in session_line(OVER, totals)
    assert "tokens      unknown" in lines(render_session(OVER, totals))


REFUSED = request(status="provider_error", error_class="authentication", http_status=401)
FRUITLESS = SessionTotals("ses_1", requests=2, ok=0, work_ok=0, input_tokens=None, output_tokens=None, cost_usd=None)


@pytest.mark.parametrize(
    ("first", "why"),
    [(REFUSED, "authentication (HTTP 401)"), (request(status="client_disconnect"), "client_disconnect")],
    ids=["refused", "gone"],
)
def test_without_any_good_answer_the_first_error_is_told(first: Request, why: str) -> None:
    by_hand = dataclasses.replace(OVER, command_exit_code=None)

    assert session_line(by_hand, FRUITLESS, first) == (
        "session ses_1 completed, 2 requests (2 failed), tokens unknown, 1 of 2 checks held; "
        f"no request succeeded: {why}"
    )


@pytest.mark.parametrize(
    ("requests", "remark"),
    [
        (1200, "exit code 0, though none of its 1,200 requests succeeded"),
        (1, "exit code 0, though its only request failed"),
    ],
)
def test_an_exit_code_of_0_is_no_success_where_every_request_failed(requests: int, remark: str) -> None:
    totals = FRUITLESS._replace(requests=requests)

    assert session_line(OVER, totals, REFUSED).endswith(f"; {remark}: authentication (HTTP 401)")
    assert f"command     ended with {remark}" in lines(render_session(OVER, totals))


@pytest.mark.parametrize("totals", [None, FRUITLESS._replace(requests=0)])
def test_an_exit_code_of_0_is_no_success_where_there_was_no_request(totals: SessionTotals | None) -> None:
    remark = "exit code 0, though it made no request to a model through the gateway"

    assert session_line(OVER, totals).endswith(f"; {remark}: was the harness pointed at it?")
    assert f"command     ended with {remark}" in lines(render_session(OVER, totals))


def test_one_good_answer_is_an_answer() -> None:
    assert is_fruitless(None)
    assert is_fruitless(FRUITLESS)
    assert not is_fruitless(FRUITLESS._replace(ok=1, work_ok=1))


def test_a_title_is_no_fruit() -> None:
    totals = FRUITLESS._replace(requests=3, ok=1)

    assert is_fruitless(totals)
    assert session_line(OVER, totals, REFUSED).endswith(
        "; exit code 0, though none of its work succeeded, only side calls: authentication (HTTP 401)"
    )


def test_without_any_request_the_person_is_asked_about_the_harness() -> None:
    by_hand = dataclasses.replace(OVER, command_exit_code=None)

    assert session_line(by_hand, None) == (
        "session ses_1 completed, 1 of 2 checks held; "
        "no request to a model came through the gateway: was the harness pointed at it?"
    )


def test_side_calls_are_shown_apart_from_work() -> None:
    work, title = request(status="ok"), request(status="ok", purpose="title")

    heading, _, first, second = lines(render_requests([work, title]))[-4:]
    assert "purpose" in heading
    assert "work" in first
    assert "title" in second
    assert "purpose" not in lines(render_requests([work]))[-3]


def test_the_harness_is_named_once() -> None:
    session = dataclasses.replace(OPEN, harness_binary="/opt/llm", harness_version="llm, version 0.32.1")

    shown = lines(render_session(session, None))

    assert [line for line in shown if "llm" in line] == [
        "harness      llm",
        "program      /opt/llm",
        "its version  llm, version 0.32.1",
    ]


def test_words_of_people_are_taken_literally() -> None:
    session = dataclasses.replace(OVER, notes="[/] and [red]")

    assert "notes       [/] and [red]" in lines(render_session(session, TOTALS))


def test_the_list_of_sessions_leaves_out_what_none_has() -> None:
    heading, _, row = lines(render_sessions([OPEN], {}))
    assert heading.split("  ")[-1].strip() == "requests"
    assert row.endswith(" 0")

    heading, _, row, judged = lines(render_sessions([OPEN, OVER], {"ses_1": TOTALS}))
    assert heading.split()[-3:] == ["requests", "checks", "label"]
    assert row.endswith(" 1,200 (1 failed)")
    assert judged.split()[-5:] == ["1,200", "(1", "failed)", "1/2", "mine"]


def test_what_makes_a_sessions_figures_less_than_certain() -> None:
    totals = TOTALS._replace(output_tokens=4, by_proxy=2, estimated=1)
    told = "10 in, 4 out (of 2 requests counted by proxy, of 1 request estimated)"

    page = lines(render_session(OVER, totals, unexplained=3))
    assert f"tokens       {told}" in page
    assert "unexplained  discrepancies in 3 requests; `dyno reconcile` shows them" in page
    assert f"tokens {told}, discrepancies unexplained in 3 requests, 1 of 2 checks held" in session_line(
        OVER, totals, None, 3
    )
    heading, _, marked, clean = lines(
        render_sessions([OVER, dataclasses.replace(OPEN, session_id="ses_2")], {}, {"ses_1": 3})
    )
    assert "unexplained" in heading
    assert marked.split()[-4:] == ["0", "3", "1/2", "mine"]
    assert clean.endswith(" 0")
    heading, _, row = lines(render_sessions([OVER], {"ses_1": totals}))
    assert "counted by" in heading
    assert "2 proxy, 1 estimated" in row


def test_what_a_session_cost() -> None:
    priced = TOTALS._replace(cost_usd=0.000022, price_tables=("1.106.2", "deployment:team"))
    session = dataclasses.replace(OVER, agentdyno_version="0.1.0", price_table_version="1.106.0")

    page = lines(render_session(session, priced._replace(unpriced=1)))
    assert "cost        ≥ 0.000022 usd (prices 1.106.2, prices deployment:team)" in page
    assert "stand       agentdyno 0.1.0" in page
    assert "cost        0 usd" in lines(render_session(session, TOTALS._replace(cost_usd=0.0)))
    assert "cost        unknown" in lines(render_session(session, TOTALS._replace(unpriced=1)))
    unpriced = lines(render_session(session, TOTALS))
    assert "stand       agentdyno 0.1.0, prices 1.106.0" in unpriced
    assert not any(line.startswith("cost") for line in unpriced)


def test_sums_that_lack_a_request_are_marked() -> None:
    totals = TOTALS._replace(output_tokens=4, uncounted=Uncounted(input_tokens=0, output_tokens=1))

    assert "tokens      10 in, ≥ 4 out" in lines(render_session(OVER, totals))
    assert "tokens 10 in, ≥ 4 out, " in session_line(OVER, totals)


def test_requests_tell_zero_from_unknown() -> None:
    known = {"error_class": "upstream_timeout", "latency_ms": 0.0, "input_tokens": 0}

    row = lines(render_requests([request(status="timeout", late=True, **known)]))[-1]

    assert row.split() == ["00:00:00Z", "timeout", "(late)", "0", "0/–", "upstream_timeout"]


KNOWN = {
    **{"surface": "anthropic_messages", "model_requested": "a-model-of-some-length", "usage_source": "provider"},
    **{"status": "ok", "latency_ms": 12_000.4, "provider_latency_ms": 11_990.0, "ttft_ms": 900.0},
    **{"proxy_overhead_ms": 10.4, "input_tokens": 100_000, "output_tokens": 1_000, "cost_usd": 0.0315},
}


def test_what_all_requests_have_in_common_stands_above_them() -> None:
    broken = {**KNOWN, "status": "provider_error", "error_class": "incomplete_stream"}
    shown = lines(render_requests([request(**KNOWN), request(**broken)]))

    assert " ".join(shown[: len(shown) - 5]).split(", ") == [
        *("day 1970-01-01", "surface anthropic_messages", "purpose work", "model a-model-of-some-length"),
        "counted by provider",
    ]
    assert shown[-4].split() == ["came", "in", "status", *["ms"] * 4, "in/out", "usd", "error"]
    assert shown[-2].split() == [
        *("00:00:00Z", "ok", "12,000", "11,990", "10", "900", "100,000/1,000", "0.0315"),
    ]
    assert max(map(len, shown)) <= 100


def test_what_differs_between_requests_has_a_column() -> None:
    other = {"model_requested": "m", "usage_source": "proxy", "started_at_us": 86_400_000_000}
    shown = lines(render_requests([request(**KNOWN), request(**{**KNOWN, **other})]), 200)

    assert shown[0] == "surface anthropic_messages, purpose work"
    assert shown[-1].split()[:3] == ["1970-01-02", "00:00:00Z", "m"]
    assert shown[-1].split()[-1] == "proxy"
    assert shown[-2].split()[2] == "a-model-of-some-length"


def test_words_of_a_harness_are_taken_literally_above_the_requests() -> None:
    shown = lines(render_requests([request(**{**KNOWN, "model_requested": "[/] [red]"})]))
    assert "model [/] [red]" in " ".join(shown)


def test_a_request_as_json_holds_no_json_in_texts() -> None:
    texts = {"discrepancies": '[{"field":"record"}]', "tags": '["a"]', "harness_ids": '{"x-id":"1"}'}

    document = request_document(request(**texts, prefix='[["tools",9,"d"]]'))
    assert [document[name] for name in ("discrepancies", "tags", "harness_ids", "prefix")] == [
        *([{"field": "record"}], ["a"], {"x-id": "1"}, [["tools", 9, "d"]]),
    ]
    assert request_document(request(**texts))["prefix"] is None
