"""The variant table for a terminal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from agentdyno.core.rollups import Summary
from agentdyno.reporting.tables import Column, plain_table
from agentdyno.reporting.traces import figure
from agentdyno.reporting.variants import VariantSummary, VariantTable
from agentdyno.reporting.wording import UNKNOWN, at_least, number, plural, usd, whose_tokens

_COLUMNS = (
    Column("variant"),
    Column("sessions", "right"),
    Column("requests", "right"),
    Column("right", "right", optional=True),
    Column("latency ms\nmedian/worst", "right"),
    Column("ttft ms\nmedian/worst", "right", optional=True),
    Column("output\ntokens/s", "right"),
    Column("tokens\nin/out", "right"),
    Column("cost\nusd", "right", optional=True),
)


_TRACED_COLUMNS = (
    Column("metric"),
    Column("unit"),
    Column("variant"),
    Column("n", "right"),
    Column("median", "right"),
    Column("lowest", "right"),
    Column("highest", "right"),
)


def render_variant_table(table: VariantTable) -> RenderableType:
    """The table, with one for what traces measured, and a line for everything that a reader must know beside it."""
    title = f"experiment {table.experiment}" if table.experiment else "all sessions"
    lines = [Text(line, style="yellow") for line in _remarks(table)]
    if not table.variants:
        return Group(*lines)
    shown = plain_table(_COLUMNS, [_cells(variant) for variant in table.variants], title)
    traced = _traced_rows(table)
    beside: list[RenderableType] = []
    if traced:
        beside = [Text(), plain_table(_TRACED_COLUMNS, traced, "by their traces")]
    return Group(shown, *beside, *([Text(), *lines] if lines else []))


def _traced_rows(table: VariantTable) -> list[tuple[str, ...]]:
    """A row for each metric, unit and variant, in this order: what may be compared stands together."""
    found = sorted(
        (metric.name, metric.unit, variant.variant, metric.summary)
        for variant in table.variants
        for metric in variant.traced
    )
    return [
        (name, unit, variant, number(s.n), figure(s.median), figure(s.minimum), figure(s.maximum))
        for name, unit, variant, s in found
    ]


def _cells(variant: VariantSummary) -> tuple[str | None, ...]:
    metrics, ok = variant.metrics, variant.requests - variant.failed_requests
    requests = number(variant.requests)
    if variant.failed_requests:
        requests += f" ({number(variant.failed_requests)} failed)"
    return (
        variant.variant,
        number(variant.sessions),
        requests,
        f"{variant.succeeded} of {variant.judged}" if variant.judged else None,
        _median_and_worst(metrics.get("latency_ms")) or UNKNOWN,
        _median_and_worst(metrics.get("ttft_ms")),
        number(metrics["output_tokens_per_s"].median, 1) if "output_tokens_per_s" in metrics else UNKNOWN,
        f"{_total(metrics.get('input_tokens'), ok)}/{_total(metrics.get('output_tokens'), ok)}",
        _cost(metrics.get("cost_usd"), ok),
    )


def _median_and_worst(summary: Summary | None) -> str | None:
    return None if summary is None else f"{number(summary.median)}/{number(summary.maximum)}"


def _total(summary: Summary | None, ok: int) -> str:
    """The sum of what is known, marked where some of so many `ok` requests have no figure."""
    return UNKNOWN if summary is None else at_least(number(summary.total), ok - summary.n)


def _cost(summary: Summary | None, ok: int) -> str | None:
    """Likewise, of prices."""
    return None if summary is None else at_least(usd(summary.total), ok - summary.n)


def _remarks(table: VariantTable) -> list[str]:
    left_out = (
        (sum(variant.aborted for variant in table.variants), "aborted"),
        (table.open_sessions, "still open"),
        (table.invalid_sessions, "called invalid"),
    )
    lines = [] if table.variants else ["no session is finalized yet"]
    lines += [f"not in the figures: {plural(count, 'session')} {how}" for count, how in left_out if count]
    if table.differing:
        lines.append(f"not comparable without care: sessions differ in {', '.join(table.differing)}")
    units: defaultdict[str, set[str]] = defaultdict(set)
    for metric in (metric for variant in table.variants for metric in variant.traced):
        units[metric.name].add(metric.unit)
    lines += [
        f"{name} is in more than one unit, which are not compared: {', '.join(sorted(units[name]))}"
        for name in sorted(units)
        if len(units[name]) > 1
    ]
    lines += [f"{variant.variant}: {remark}" for variant in table.variants for remark in _doubts(variant)]
    lines += [
        f"{variant.variant} is not one thing: its sessions differ in {', '.join(variant.differing)}"
        for variant in table.variants
        if variant.differing
    ]
    return lines


def _doubts(variant: VariantSummary) -> Iterator[str]:
    """What makes a variant's figures less than certain."""
    marks = ", ".join(whose_tokens(variant.proxy_requests, variant.estimated_requests, "ok request"))
    if marks:
        yield f"tokens {marks}"
    if variant.unexplained_sessions:
        holds = "holds" if variant.unexplained_sessions == 1 else "hold"
        sessions = plural(variant.unexplained_sessions, "session")
        yield f"{sessions} {holds} unexplained discrepancies; `dyno reconcile` shows them"
