"""What traces of sessions said, for people: metrics with their own names and units, and steps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from agentdyno.core.records import MetricRollup
from agentdyno.core.rollups import Summary, merge, summarize
from agentdyno.reporting.wording import UNKNOWN, number
from agentdyno.store import queries
from agentdyno.store.ledger import Ledger
from agentdyno.store.traces import StepCounts, step_counts, trace_units

_WHOLE_FROM = 1000
_EXACT_BELOW = 1e15


class TracedMetric(NamedTuple):
    """The values of one metric, of one or more sessions. What has another unit is another metric."""

    name: str
    unit: str
    summary: Summary


class SessionTrace(NamedTuple):
    """What the trace of one session said; of an open session, nothing yet."""

    steps: StepCounts = StepCounts()
    metrics: tuple[TracedMetric, ...] = ()


def session_trace(ledger: Ledger, session_id: str) -> SessionTrace:
    """What the trace of a session said."""
    rollups = queries.rollups_by_session(ledger, [session_id]).get(session_id, ())
    return SessionTrace(step_counts(ledger, session_id), traced_metrics(rollups, trace_units(ledger, [session_id])))


def traced_metrics(rollups: Iterable[MetricRollup], units: Mapping[str, Mapping[str, str]]) -> tuple[TracedMetric, ...]:
    """The metrics of traces among rollups, by name and unit. `units` are by session, then by the metric's name."""
    found: defaultdict[tuple[str, str], list[MetricRollup]] = defaultdict(list)
    for rollup in rollups:
        unit = units.get(rollup.session_id, {}).get(rollup.metric)
        if unit is not None:
            found[rollup.metric, unit].append(rollup)
    return tuple(TracedMetric(name, unit, summarize(merge(found[name, unit]))) for name, unit in sorted(found))


def figure(value: float | None) -> str:
    """A value of which only the unit is known: to four digits, or to all before the point."""
    if value is None:
        return UNKNOWN
    return number(value) if _WHOLE_FROM <= abs(value) < _EXACT_BELOW else f"{value:.4g}"
