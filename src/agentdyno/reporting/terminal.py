"""The variant table for a terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agentdyno.core.rollups import Summary
from agentdyno.reporting.variants import VariantSummary, VariantTable
from agentdyno.reporting.wording import UNKNOWN, number, plural

_HEADINGS = (
    "sessions",
    "requests",
    "right",
    "latency ms\nmedian/worst",
    "ttft ms\nmedian/worst",
    "output\ntokens/s",
    "tokens\nin/out",
)


def render_variant_table(table: VariantTable) -> RenderableType:
    """The table, with a line for everything that a reader must know beside it."""
    shown = Table(
        box=SIMPLE_HEAD,
        padding=(0, 1),
        title=f"experiment {table.experiment}" if table.experiment else "all sessions",
        title_justify="left",
    )
    priced = any("cost_usd" in variant.metrics for variant in table.variants)
    shown.add_column("variant", no_wrap=True)
    for heading in (*_HEADINGS, "cost\nusd") if priced else _HEADINGS:
        shown.add_column(heading, justify="right", no_wrap=True)
    for variant in table.variants:
        cells = _cells(variant)
        shown.add_row(*cells, _cost(variant)) if priced else shown.add_row(*cells)
    return Group(shown, *(Text(line, style="yellow") for line in _remarks(table)))


def _cells(variant: VariantSummary) -> tuple[str, ...]:
    metrics = variant.metrics
    requests = number(variant.requests)
    if variant.failed_requests:
        requests += f" ({number(variant.failed_requests)} failed)"
    return (
        variant.variant,
        number(variant.sessions),
        requests,
        f"{variant.succeeded} of {variant.judged}" if variant.judged else UNKNOWN,
        _median_and_worst(metrics.get("latency_ms")),
        _median_and_worst(metrics.get("ttft_ms")),
        number(metrics["output_tokens_per_s"].median, 1) if "output_tokens_per_s" in metrics else UNKNOWN,
        f"{_total(metrics.get('input_tokens'))}/{_total(metrics.get('output_tokens'))}",
    )


def _median_and_worst(summary: Summary | None) -> str:
    return UNKNOWN if summary is None else f"{number(summary.median)}/{number(summary.maximum)}"


def _total(summary: Summary | None) -> str:
    return UNKNOWN if summary is None else number(summary.total)


def _cost(variant: VariantSummary) -> str:
    """The sum of what is known, marked where some requests have no price."""
    cost = variant.metrics.get("cost_usd")
    if cost is None:
        return UNKNOWN
    return (
        number(cost.total, 4) if cost.n == variant.requests - variant.failed_requests else f"≥ {number(cost.total, 4)}"
    )


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
    lines += [
        f"{variant.variant}: the tokens of {plural(variant.estimated_requests, 'request')} are estimated"
        for variant in table.variants
        if variant.estimated_requests
    ]
    lines += [
        f"{variant.variant} is not one thing: its sessions differ in {', '.join(variant.differing)}"
        for variant in table.variants
        if variant.differing
    ]
    return lines
