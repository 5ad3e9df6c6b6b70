"""Exact rollups: the sorted values themselves, so that every percentile of every grouping stays exact.

Merging is concatenation. There is no mean of means and no histogram.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from agentdyno.core.ids import digest_bytes
from agentdyno.core.metrics import METRICS
from agentdyno.core.records import MetricRollup, Request, Status, TraceMetric
from agentdyno.core.side_calls import is_inference


class _Group(NamedTuple):
    """Requests that are rolled up together. Tuples of these sort the way rollups are ordered."""

    model: str
    status: Status


_OF_A_TRACE = _Group("", "ok")


class Summary(NamedTuple):
    """What a sample says. Of an empty sample everything but `n` is None."""

    n: int
    total: float | None = None
    mean: float | None = None
    minimum: float | None = None
    median: float | None = None
    p95: float | None = None
    maximum: float | None = None


def rollup_session(requests: Iterable[Request]) -> tuple[MetricRollup, ...]:
    """One rollup for each model, status and metric that has a value, sorted by these. The order of requests is all one.

    What no model answers is in none of them. A metric that no request of a group defines has no rollup. Raises
    ValueError unless all requests are of one session.
    """
    groups: defaultdict[_Group, list[Request]] = defaultdict(list)
    sessions = set()
    for request in requests:
        sessions.add(request.session_id)
        if not is_inference(request.purpose):
            continue
        model = request.model_requested if request.model_requested is not None else ""
        groups[_Group(model, request.status)].append(request)
    if not sessions:
        return ()
    session_id = sessions.pop()
    if sessions or session_id is None:
        raise ValueError("a rollup is of the requests of one session")
    rollups = []
    for group in sorted(groups):
        for name in sorted(METRICS):
            values = _sorted_values(METRICS[name].value(request) for request in groups[group])
            if values:
                rollups.append(_rollup(session_id, group, name, values))
    return tuple(rollups)


def rollup_trace(metrics: Iterable[TraceMetric]) -> tuple[MetricRollup, ...]:
    """One rollup for each metric of a session's trace, sorted by name. They are of no model, and their status is ok.

    Raises ValueError unless all are of one session.
    """
    by_name: defaultdict[str, list[float]] = defaultdict(list)
    sessions = set()
    for metric in metrics:
        sessions.add(metric.session_id)
        by_name[metric.name].append(metric.value)
    if not sessions:
        return ()
    session_id = sessions.pop()
    if sessions:
        raise ValueError("a rollup is of the trace of one session")
    return tuple(_rollup(session_id, _OF_A_TRACE, name, _sorted_values(by_name[name])) for name in sorted(by_name))


def merge(rollups: Iterable[MetricRollup]) -> array[float]:
    """All values of the rollups, sorted."""
    values = array("d")
    for rollup in rollups:
        values.extend(_from_bytes(rollup.values))
    return array("d", sorted(values))


def quantile(sorted_values: Sequence[float], q: float) -> float | None:
    """The q-quantile by linear interpolation between order statistics; None of an empty sample.

    With h = (n - 1) q it lies between values ⌊h⌋ and ⌊h⌋ + 1, at the fraction h - ⌊h⌋.
    Raises ValueError unless 0 <= q <= 1.
    """
    if not 0 <= q <= 1:
        raise ValueError(f"a quantile lies between 0 and 1, not at {q}")
    if not sorted_values:
        return None
    position = (len(sorted_values) - 1) * q
    index = math.floor(position)
    fraction = position - index
    low = sorted_values[index]
    high = sorted_values[min(index + 1, len(sorted_values) - 1)]
    # From the nearer end, as NumPy does: the result is monotonic in q and exact at both ends.
    return low + (high - low) * fraction if fraction < 0.5 else high - (high - low) * (1 - fraction)


def summarize(sorted_values: Sequence[float]) -> Summary:
    """The summary of a sorted sample."""
    if not sorted_values:
        return Summary(0)
    total = math.fsum(sorted_values)
    return Summary(
        n=len(sorted_values),
        total=total,
        mean=total / len(sorted_values),
        minimum=sorted_values[0],
        median=quantile(sorted_values, 0.5),
        p95=quantile(sorted_values, 0.95),
        maximum=sorted_values[-1],
    )


def _rollup(session_id: str, group: _Group, metric: str, values: array[float]) -> MetricRollup:
    data = _to_bytes(values)
    return MetricRollup(
        session_id=session_id,
        model=group.model,
        status=group.status,
        metric=metric,
        n=len(values),
        total=math.fsum(values),
        values=data,
        digest=digest_bytes(data),
    )


def _sorted_values(values: Iterable[float | None]) -> array[float]:
    # Adding 0.0 turns -0.0 into 0.0: they are equal, so that sorting would keep them in the order of their coming.
    return array("d", sorted(value + 0.0 for value in values if value is not None))


def _to_bytes(values: array[float]) -> bytes:
    """The values as little-endian float64, on any machine."""
    if sys.byteorder == "big":
        values = array("d", values)
        values.byteswap()
    return values.tobytes()


def _from_bytes(data: bytes) -> array[float]:
    values = array("d")
    values.frombytes(data)
    if sys.byteorder == "big":
        values.byteswap()
    return values
