"""Rollups hold the values themselves: in any order the same bytes, merged by concatenation, quantiles as NumPy's."""

from __future__ import annotations

import math
import struct
from array import array

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.unit.core.request_rows import request_row

from agentdyno.core.ids import digest_bytes
from agentdyno.core.records import MetricRollup, Request, TraceMetric
from agentdyno.core.rollups import Summary, merge, quantile, rollup_session, rollup_trace, summarize

values = st.floats(-1e12, 1e12, allow_subnormal=False)
samples = st.lists(values, min_size=1, max_size=60).map(sorted)
requests = st.lists(
    st.builds(
        request_row,
        model_requested=st.sampled_from([None, "a", "b"]),
        status=st.sampled_from(["ok", "timeout"]),
        latency_ms=st.none() | st.sampled_from([0.0, -0.0, 1.5, 0.1, 1e12]),
        output_tokens=st.none() | st.integers(0, 9),
    ),
    max_size=12,
)


def rollup_of(rollups: tuple[MetricRollup, ...], metric: str, model: str = "m", status: str = "ok") -> MetricRollup:
    [found] = [r for r in rollups if (r.metric, r.model, r.status) == (metric, model, status)]
    return found


def test_one_rollup_by_model_status_and_metric() -> None:
    rollups = rollup_session(
        [
            request_row(latency_ms=3.0),
            request_row(latency_ms=1.0),
            request_row(latency_ms=9.0, status="timeout"),
            request_row(latency_ms=7.0, model_requested=None),
        ]
    )
    latency = rollup_of(rollups, "latency_ms")
    assert latency.values == struct.pack("<2d", 1.0, 3.0)
    assert (latency.session_id, latency.n, latency.total) == ("ses_1", 2, 4.0)  # 1 + 3
    assert latency.digest == digest_bytes(latency.values)
    assert rollup_of(rollups, "latency_ms", status="timeout").total == 9.0
    assert rollup_of(rollups, "latency_ms", model="").total == 7.0
    keys = [(r.model, r.status, r.metric) for r in rollups]
    assert keys == sorted(set(keys))


def test_an_undefined_metric_has_no_rollup() -> None:
    assert {r.metric for r in rollup_session([request_row()])} == {"requests", "request_bytes", "response_bytes"}


def test_what_no_model_answers_is_in_no_rollup() -> None:
    counts = [request_row(purpose=purpose, latency_ms=2.0) for purpose in ("token_count", "model_list")]
    asked = [request_row(latency_ms=1.0), request_row(purpose="title", latency_ms=3.0)]
    assert rollup_session(asked + counts) == rollup_session(asked)
    assert rollup_of(rollup_session(asked), "latency_ms").n == 2  # a title is a model's answer
    assert rollup_session(counts) == ()


def test_zero_is_a_value() -> None:
    assert rollup_of(rollup_session([request_row(output_tokens=0)]), "output_tokens").n == 1


def test_sums_are_exact() -> None:
    rollups = rollup_session([request_row(cost_usd=cost) for cost in (1e16, 1.0, 1.0)])
    assert rollup_of(rollups, "cost_usd").total == 1e16 + 2  # added one by one, the ones would vanish


def test_no_requests_no_rollups() -> None:
    assert rollup_session([]) == ()


@pytest.mark.parametrize("session_ids", [("ses_1", "ses_2"), (None,)])
def test_requests_of_one_session_only(session_ids: tuple[str | None, ...]) -> None:
    with pytest.raises(ValueError, match="one session"):
        rollup_session([request_row(session_id=session_id) for session_id in session_ids])


def traced(name: str, value: float, session_id: str = "ses_1") -> TraceMetric:
    return TraceMetric(session_id, 1, 0, name, "ms", value)


def test_metrics_of_a_trace_are_rolled_up_by_name() -> None:
    paint, render = rollup_trace([traced("render_ms", 3.0), traced("paint_ms", 0.0), traced("render_ms", 1.0)])

    assert (paint.metric, paint.n, paint.total) == ("paint_ms", 1, 0.0)
    assert (render.session_id, render.model, render.status, render.metric) == ("ses_1", "", "ok", "render_ms")
    assert (render.n, render.total, render.values) == (2, 4.0, struct.pack("<2d", 1.0, 3.0))  # 1 + 3
    assert render.digest == digest_bytes(render.values)
    assert rollup_trace([]) == ()
    with pytest.raises(ValueError, match="one session"):
        rollup_trace([traced("a", 1.0), traced("a", 1.0, "ses_2")])


@given(st.lists(values, min_size=1).flatmap(lambda sample: st.tuples(st.just(sample), st.permutations(sample))))
def test_the_order_of_a_trace_is_all_one(orders: tuple[list[float], list[float]]) -> None:
    sample, permuted = ([traced("a", value) for value in order] for order in orders)
    assert rollup_trace(permuted) == rollup_trace(sample)


@given(requests.flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(rows))))
@example(
    (
        [request_row(latency_ms=0.0), request_row(latency_ms=-0.0)],
        [request_row(latency_ms=-0.0), request_row(latency_ms=0.0)],
    )
)
def test_the_order_of_requests_is_all_one(orders: tuple[list[Request], list[Request]]) -> None:
    rows, permuted = orders
    assert rollup_session(permuted) == rollup_session(rows)


@given(st.lists(samples, max_size=4))
def test_merging_is_sorting_everything(parts: list[list[float]]) -> None:
    rollups = [
        MetricRollup("s", "m", "ok", "x", len(part), math.fsum(part), struct.pack(f"<{len(part)}d", *part), "")
        for part in parts
    ]
    assert list(merge(rollups)) == sorted(value for part in parts for value in part)


@given(samples, st.floats(0, 1))
@example([1.0, 2.0, 4.0], 0.25)
@example([1.0, 2.0, 4.0], 0.5)
@example([5.0], 1.0)
def test_quantiles_are_numpys_to_the_last_bit(sample: list[float], q: float) -> None:
    assert quantile(array("d", sample), q) == float(np.quantile(np.array(sample), q))


def test_a_quantile_by_hand() -> None:
    assert quantile([10.0, 20.0, 40.0], 0.75) == 30.0  # position 2 x 0.75 = 1.5: halfway from 20 to 40


@pytest.mark.parametrize("q", [-0.1, 1.1, math.nan])
def test_a_quantile_lies_between_0_and_1(q: float) -> None:
    with pytest.raises(ValueError, match="quantile"):
        quantile([1.0], q)


def test_a_summary_by_hand() -> None:
    summary = summarize([1.0, 2.0, 6.0])
    assert summary.p95 == pytest.approx(5.6)  # at position 2 x 0.95 = 1.9: 2 + 0.9 x 4
    # mean 9 / 3
    assert summary == Summary(n=3, total=9.0, mean=3.0, minimum=1.0, median=2.0, p95=summary.p95, maximum=6.0)


def test_an_empty_sample_says_nothing() -> None:
    assert summarize([]) == Summary(0, None, None, None, None, None, None)
    assert quantile([], 0.5) is None
