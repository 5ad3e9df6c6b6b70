"""The table of metrics of one request: name, unit, formula in words and code, when undefined, which way is better.

An undefined metric is None and is left out of every rollup; it is never 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from agentdyno.core.records import Request

Direction = Literal["lower", "higher"]


@dataclass(frozen=True)
class Metric:
    """One figure of a request."""

    name: str
    unit: str
    better: Direction | None
    """None where more is neither good nor bad in itself."""
    formula: str
    undefined_when: str
    value: Callable[[Request], float | None]


def _output_tokens_per_s(request: Request) -> float | None:
    if request.output_tokens is None or request.latency_ms is None or request.latency_ms <= 0:
        return None
    return request.output_tokens * 1000 / request.latency_ms


def cache_share(request: Request) -> float | None:
    """cache_read_tokens ÷ input_tokens; None where either is unknown, or there is no input."""
    if request.cache_read_tokens is None or request.input_tokens is None or request.input_tokens == 0:
        return None
    return request.cache_read_tokens / request.input_tokens


_ALL = (
    Metric(
        "requests",
        "requests",
        None,
        "1 for each request",
        "never",
        lambda request: 1,
    ),
    Metric(
        "latency_ms",
        "ms",
        "lower",
        "last byte of the response out less first byte of the request in",
        "no answer was recorded",
        lambda request: request.latency_ms,
    ),
    Metric(
        "ttft_ms",
        "ms",
        "lower",
        "first content delta out less first byte of the request in",
        "the answer was not streamed, or held no content delta",
        lambda request: request.ttft_ms,
    ),
    Metric(
        "output_tokens_per_s",
        "tokens/s",
        "higher",
        "output_tokens / (latency_ms / 1000)",
        "output_tokens or latency_ms is unknown, or latency_ms is 0",
        _output_tokens_per_s,
    ),
    Metric(
        "input_tokens",
        "tokens",
        "lower",
        "prompt tokens, cached ones included",
        "nobody counted them",
        lambda request: request.input_tokens,
    ),
    Metric(
        "output_tokens",
        "tokens",
        "lower",
        "generated tokens, reasoning included",
        "nobody counted them, or the stream was cut before its end",
        lambda request: request.output_tokens,
    ),
    Metric(
        "cache_read_tokens",
        "tokens",
        "higher",
        "part of input_tokens read from the provider's cache",
        "the provider did not say",
        lambda request: request.cache_read_tokens,
    ),
    Metric(
        "cache_write_tokens",
        "tokens",
        None,
        "part of input_tokens written to the provider's cache",
        "the provider did not say",
        lambda request: request.cache_write_tokens,
    ),
    Metric(
        "reasoning_tokens",
        "tokens",
        None,
        "part of output_tokens that was reasoning",
        "the provider did not say, or the stream was cut before its end",
        lambda request: request.reasoning_tokens,
    ),
    Metric(
        "cache_share",
        "ratio",
        "higher",
        "cache_read_tokens / input_tokens",
        "either is unknown, or input_tokens is 0",
        cache_share,
    ),
    Metric(
        "cost_usd",
        "usd",
        "lower",
        "price of the tokens by the price table that the row names",
        "the price or the tokens are unknown",
        lambda request: request.cost_usd,
    ),
    Metric(
        "tool_calls",
        "calls",
        None,
        "tool calls in the answer",
        "there was no answer of a model",
        lambda request: request.tool_calls,
    ),
    Metric(
        "provider_latency_ms",
        "ms",
        "lower",
        "last byte from the provider less first byte of the request to it",
        "the provider's side was not measured",
        lambda request: request.provider_latency_ms,
    ),
    Metric(
        "proxy_overhead_ms",
        "ms",
        "lower",
        "latency_ms - provider_latency_ms",
        "the provider's side was not measured",
        lambda request: request.proxy_overhead_ms,
    ),
    Metric(
        "request_bytes",
        "bytes",
        "lower",
        "size of the request's body",
        "only a log tells of the request",
        lambda request: request.request_bytes,
    ),
    Metric(
        "response_bytes",
        "bytes",
        None,
        "size of the response's body",
        "no answer was recorded, or only a log tells of the request",
        lambda request: request.response_bytes,
    ),
)
METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _ALL})
