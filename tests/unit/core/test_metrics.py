"""Each metric by an example whose arithmetic can be checked by eye, and each way to be undefined."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.core.request_rows import request_row

from agentdyno.core.metrics import METRICS
from agentdyno.core.records import Request

ROW = request_row(
    latency_ms=2000.0,
    ttft_ms=250.0,
    input_tokens=80,
    output_tokens=4,
    cache_read_tokens=60,
    cache_write_tokens=0,
    reasoning_tokens=1,
    tool_calls=2,
    cost_usd=0.5,
    provider_latency_ms=1900.0,
    proxy_overhead_ms=100.0,
    request_bytes=11,
    response_bytes=12,
)
EXPECTED = {
    "latency_ms": 2000.0,
    "ttft_ms": 250.0,
    "output_tokens_per_s": 2.0,  # 4 tokens in 2 s
    "input_tokens": 80,
    "output_tokens": 4,
    "cache_read_tokens": 60,
    "cache_write_tokens": 0,
    "reasoning_tokens": 1,
    "cache_share": 0.75,  # 60 of 80
    "cost_usd": 0.5,
    "tool_calls": 2,
    "provider_latency_ms": 1900.0,
    "proxy_overhead_ms": 100.0,
    "request_bytes": 11,
    "requests": 1,
    "response_bytes": 12,
}


def test_every_metric_of_one_request() -> None:
    assert {name: metric.value(ROW) for name, metric in METRICS.items()} == EXPECTED


def test_a_metric_is_filed_under_its_name_and_explained() -> None:
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.unit
        assert metric.formula
        assert metric.undefined_when


@pytest.mark.parametrize("name", sorted(set(EXPECTED) - {"requests", "request_bytes", "response_bytes"}))
def test_unknown_stays_unknown(name: str) -> None:
    assert METRICS[name].value(request_row()) is None


@pytest.mark.parametrize(
    ("metric", "changes"),
    [
        ("output_tokens_per_s", {"latency_ms": 0.0}),
        ("output_tokens_per_s", {"output_tokens": None}),
        ("cache_share", {"input_tokens": 0, "cache_read_tokens": 0}),
        ("cache_share", {"cache_read_tokens": None}),
    ],
)
def test_what_cannot_be_divided_is_undefined(metric: str, changes: dict[str, int | None]) -> None:
    assert METRICS[metric].value(dataclasses.replace(ROW, **changes)) is None  # type: ignore[arg-type]  # one field each


@given(st.none() | st.integers(0, 10), st.none() | st.floats(0, 10), st.none() | st.integers(0, 10))
def test_no_request_breaks_a_metric(output: int | None, latency_ms: float | None, cached: int | None) -> None:
    row: Request = request_row(
        output_tokens=output, latency_ms=latency_ms, input_tokens=output, cache_read_tokens=cached
    )
    for metric in METRICS.values():
        value = metric.value(row)
        assert value is None or value >= 0
