from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.integration.ledgers import Ledgers, opened
from tests.integration.reporting.table_rows import add_finalized, fill

from agentdyno.core.discrepancies import Discrepancy, encode
from agentdyno.core.jsonable import to_jsonable
from agentdyno.core.records import TraceMetric
from agentdyno.core.rollups import Summary
from agentdyno.core.trace import Trace
from agentdyno.reporting.terminal import render_variant_table
from agentdyno.reporting.variants import variant_table
from agentdyno.store.ledger import Ledger

GOLDEN = Path(__file__).parent / "golden" / "variant_table.txt"


@pytest.fixture
def ledger(ledgers: Ledgers) -> Iterator[Ledger]:
    with opened(ledgers) as ledger:
        yield ledger


def printed(ledger: Ledger, experiment: str | None) -> str:
    console = Console(width=120, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(render_variant_table(variant_table(ledger, experiment)))
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def test_every_figure_of_a_row(ledger: Ledger) -> None:
    fill(ledger)

    large, small = variant_table(ledger, "trial").variants

    assert (large.variant, large.sessions, large.aborted) == ("large", 2, 0)
    assert (large.requests, large.failed_requests) == (4, 1)  # 2 + 2; the timeout
    assert (large.judged, large.succeeded) == (2, 1)  # ses_2 held 1 of 2 checks
    # The timeout's 9000 ms and 99 tokens are in no figure.
    assert large.metrics["latency_ms"] == Summary(
        n=3,
        total=7000.0,  # 1000 + 2000 + 4000
        mean=7000 / 3,
        minimum=1000.0,
        median=2000.0,
        p95=3800.0,  # h = 2 · 0.95 = 1.9: 2000 + 0.9 · (4000 - 2000)
        maximum=4000.0,
    )
    assert large.metrics["ttft_ms"].median == 200.0  # of 100 and 300
    assert large.metrics["input_tokens"].total == 60  # 10 + 20 + 30
    # 4 tokens in 2 s, 6 in 1 s, 2 in 4 s: 2, 6 and 0.5 a second.
    assert large.metrics["output_tokens_per_s"].median == 2.0
    assert (small.sessions, small.aborted, small.requests, small.judged) == (1, 1, 1, 0)
    assert "ttft_ms" not in small.metrics


def test_what_is_open_or_invalid_is_apart(ledger: Ledger) -> None:
    fill(ledger)

    table = variant_table(ledger, "trial")

    assert (table.open_sessions, table.invalid_sessions) == (1, 1)
    # The aborted session ran on another processor, but it is in no figure.
    assert table.differing == ()


def test_a_session_that_is_being_closed_is_still_open(ledger: Ledger) -> None:
    fill(ledger)
    ledger.advance("ses_6", "rendered", "launched")
    ledger.advance("ses_6", "launched", "collected", outcome="completed")

    assert variant_table(ledger, "trial").open_sessions == 1


def test_without_an_experiment_all_sessions_count(ledger: Ledger) -> None:
    fill(ledger)

    _, small = variant_table(ledger, None).variants

    assert small.sessions == 2  # ses_3 and ses_7, which belongs to no experiment


def test_the_table_as_it_is_printed(ledger: Ledger) -> None:
    fill(ledger)

    assert printed(ledger, "trial") == GOLDEN.read_text()


def test_the_table_as_json(ledger: Ledger) -> None:
    fill(ledger)

    document = to_jsonable(variant_table(ledger, "trial"))

    assert list(document) == ["experiment", "variants", "open_sessions", "invalid_sessions", "differing"]
    assert list(document["variants"][0]) == [
        *("variant", "sessions", "aborted", "requests", "failed_requests", "judged", "succeeded"),
        *("proxy_requests", "estimated_requests", "unexplained_sessions", "metrics"),
        *("traced", "differing"),
    ]
    assert document["variants"][0]["metrics"]["ttft_ms"] == {
        "n": 2,
        "total": 400.0,  # 100 + 300
        "mean": 200.0,
        "minimum": 100.0,
        "median": 200.0,
        "p95": 290.0,  # 100 + 0.95 · (300 - 100)
        "maximum": 300.0,
    }


def test_what_makes_figures_less_than_certain_is_said(ledger: Ledger) -> None:
    unexplained = encode([Discrepancy("input_tokens", "unexplained", 9, 8, 9)])
    explained = encode([Discrepancy("input_tokens", "translated", 9, 9, None)])
    add_finalized(ledger, "ses_1", "large", [{"usage_source": "proxy"}, {"usage_source": "estimated"}])
    add_finalized(ledger, "ses_2", "large", [{"usage_source": "proxy", "discrepancies": unexplained}])
    add_finalized(ledger, "ses_3", "small", [{"usage_source": "provider", "discrepancies": explained}])

    large, small = variant_table(ledger, None).variants

    assert (large.proxy_requests, large.estimated_requests, large.unexplained_sessions) == (2, 1, 1)
    assert (small.proxy_requests, small.estimated_requests, small.unexplained_sessions) == (0, 0, 0)
    assert printed(ledger, None).splitlines()[-2:] == [
        "large: tokens of 2 ok requests counted by proxy, of 1 ok request estimated",
        "large: 1 session holds unexplained discrepancies; `dyno reconcile` shows them",
    ]


def test_stands_that_differ_are_said(ledger: Ledger) -> None:
    add_finalized(ledger, "ses_1", "large", [{"latency_ms": 1.0}], gpu=None)
    add_finalized(ledger, "ses_2", "small", [{"latency_ms": 1.0}], gpu="a fast one", memory_bytes=16)

    assert variant_table(ledger, None).differing == ("memory_bytes", "gpu")
    assert "not comparable without care: sessions differ in memory_bytes, gpu\n" in printed(ledger, None)


def test_a_variant_that_was_changed_in_between_is_said(ledger: Ledger) -> None:
    add_finalized(ledger, "ses_1", "large", [{"latency_ms": 1.0}])
    add_finalized(ledger, "ses_2", "large", [{"latency_ms": 1.0}], variant_fingerprint="sha256:1", harness_version="2")
    add_finalized(ledger, "ses_3", "small", [{"latency_ms": 1.0}], harness_version="3")

    assert "large is not one thing: its sessions differ in variant_fingerprint, harness_version\n" in printed(
        ledger, None
    )
    assert "small is not one thing" not in printed(ledger, None)


def test_nothing_finalized_is_said(ledger: Ledger) -> None:
    assert printed(ledger, None).splitlines()[-1] == "no session is finalized yet"


def test_sums_of_which_some_is_unknown_are_marked(ledger: Ledger) -> None:
    known = {"latency_ms": 1.0, "input_tokens": 10, "output_tokens": 4, "cost_usd": 0.000022}
    add_finalized(ledger, "ses_1", "large", [known, {**known, "output_tokens": None, "cost_usd": None}])
    # What failed is in no sum, so that nothing of it is missing there.
    add_finalized(ledger, "ses_2", "small", [known, {"status": "timeout"}])

    *_, large, small = printed(ledger, None).splitlines()
    assert large.endswith("20/≥ 4  ≥ 0.000022")
    assert small.endswith("10/4    0.000022")


def trace_of(session_id: str, *values: float, unit: str = "ms", name: str = "render_ms") -> Trace:
    return Trace(metrics=tuple(TraceMetric(session_id, n, 0, name, unit, value) for n, value in enumerate(values)))


def test_metrics_of_traces_stand_beside_the_others(ledger: Ledger) -> None:
    add_finalized(ledger, "ses_1", "large", [{"latency_ms": 1.0}], trace=trace_of("ses_1", 12.5, 10.0))
    add_finalized(ledger, "ses_2", "large", [{"latency_ms": 1.0}], trace=trace_of("ses_2", 11.0))
    # Commands that call no model at all.
    add_finalized(ledger, "ses_3", "small", [], trace=trace_of("ses_3", 0.0, 1234.5))

    large, small = variant_table(ledger, None).variants

    [render] = large.traced
    assert (render.name, render.unit, render.summary.n, render.summary.median) == ("render_ms", "ms", 3, 11.0)
    assert [metric.name for metric in small.traced] == ["render_ms"]
    assert small.requests == 0
    assert "render_ms" not in large.metrics
    heading, _, *shown = printed(ledger, None).split("by their traces\n")[1].splitlines()
    assert [heading, *shown] == [
        "metric     unit  variant  n  median  lowest  highest",
        "render_ms  ms    large    3      11      10     12.5",
        "render_ms  ms    small    2   617.2       0    1,234",
    ]
    document = to_jsonable(variant_table(ledger, None))["variants"][0]["traced"]
    assert document[0].keys() == {"name", "unit", "summary"}
    assert (document[0]["summary"]["n"], document[0]["summary"]["maximum"]) == (3, 12.5)


def test_values_in_two_units_are_never_mixed(ledger: Ledger) -> None:
    add_finalized(ledger, "ses_1", "large", [], trace=trace_of("ses_1", 1500.0, unit="ms"))
    add_finalized(ledger, "ses_2", "large", [], trace=trace_of("ses_2", 1.5, unit="s"))
    add_finalized(ledger, "ses_3", "small", [], trace=trace_of("ses_3", 2.5, unit="s"))

    large, small = variant_table(ledger, None).variants

    assert [(metric.unit, metric.summary.total) for metric in large.traced] == [("ms", 1500.0), ("s", 1.5)]
    assert [(metric.unit, metric.summary.total) for metric in small.traced] == [("s", 2.5)]
    assert "render_ms is in more than one unit, which are not compared: ms, s\n" in printed(ledger, None)


@pytest.mark.parametrize("requests", [[], [{"purpose": "title"}], [{"status": "provider_error"}]])
def test_without_work_of_a_model_there_is_no_success(ledger: Ledger, requests: list[dict[str, Any]]) -> None:
    """Neither an exit code, nor checks that hold, nor a trace makes one."""
    held = {"checks_passed": 1, "checks_total": 1, "command_exit_code": 0}
    add_finalized(ledger, "ses_1", "large", requests, trace=trace_of("ses_1", 1.0), **held)
    add_finalized(ledger, "ses_2", "small", [*requests, {"latency_ms": 1.0}], **held)

    large, small = variant_table(ledger, None).variants

    assert (large.judged, large.succeeded) == (1, 0)
    assert (small.judged, small.succeeded) == (1, 1)
