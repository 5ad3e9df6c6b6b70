"""A headless run, arm by arm: what was scored, what failed and whose failure it was. It draws no conclusion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.text import Text

from agentdyno.core.records import Failure, Run
from agentdyno.core.rollups import summarize
from agentdyno.reporting.tables import Column, plain_table
from agentdyno.reporting.variants import Facts, VariantSummary, read_facts, summarize_variant
from agentdyno.reporting.wording import UNKNOWN, at_least, number, plural, usd
from agentdyno.store import run_queries
from agentdyno.store.ledger import Ledger
from agentdyno.store.run_queries import RunCost, RunCounts, SameAttempts, SameCells, SameSessions


@dataclass(frozen=True)
class ArmSummary:
    """What the cells of one arm came to."""

    arm: str
    cells: int
    scored: int
    passed: int
    unjudged: int
    """Scored, though their task card has no checks."""
    open: int
    given_up: int
    failures: Mapping[Failure, int]
    """Of scored cells that did not pass: the harness's."""
    stand_failures: Mapping[Failure, int]
    """Of attempts that score nothing: the stand's."""
    command_ms: float | None
    """Median, from the harness's start to its end, over scored cells."""
    figures: VariantSummary
    """Over the sessions that scored the arm's cells."""


@dataclass(frozen=True)
class RunReport:
    """How far a run is, and what its arms did."""

    run: Run
    counts: RunCounts
    cost: RunCost
    arms: tuple[ArmSummary, ...]
    unenforced: tuple[str, ...]
    """What the sandbox could not enforce in some attempt."""


def run_report(ledger: Ledger, run: Run) -> RunReport:
    """The report of a run, as far as it is."""
    sessions = run_queries.scoring_sessions(ledger, run.run_id)
    known = _Known(
        run_queries.cells_by_arm(ledger, run.run_id),
        run_queries.attempts_by_arm(ledger, run.run_id),
        run_queries.commands_ms(ledger, run.run_id),
        sessions,
        read_facts(ledger, [same.session_id for same in sessions if same.session_id]),
    )
    return RunReport(
        run=run,
        counts=run_queries.counts(ledger, run.run_id),
        cost=run_queries.cost_so_far(ledger, run.run_id),
        arms=tuple(_arm_summary(arm, known) for arm in run.arms),
        unenforced=run_queries.unenforced(ledger, run.run_id),
    )


class _Known(NamedTuple):
    """What the ledger has of all arms of a run."""

    cells: Sequence[SameCells]
    attempts: Sequence[SameAttempts]
    commands_ms: Mapping[str, Sequence[float]]
    sessions: Sequence[SameSessions]
    facts: Facts


def _arm_summary(arm: str, known: _Known) -> ArmSummary:
    cells = [same for same in known.cells if same.arm == arm]
    attempts = [same for same in known.attempts if same.arm == arm]
    scoring = [same for same in attempts if same.scored]
    own = [session for session in known.sessions if session.arm == arm for _ in range(session.number)]
    return ArmSummary(
        arm=arm,
        cells=_sum(cells),
        scored=_sum(scoring),
        passed=_sum(same for same in scoring if same.verdict == "passed"),
        unjudged=_sum(same for same in scoring if same.verdict == "unjudged"),
        open=_sum(same for same in cells if same.state == "open"),
        given_up=_sum(same for same in cells if same.state == "given_up"),
        failures=_failures(scoring),
        stand_failures=_failures([same for same in attempts if same.verdict == "stand_failure"]),
        command_ms=summarize(known.commands_ms.get(arm, ())).median,
        figures=summarize_variant(arm, own, known.facts),
    )


def _sum(same: Iterable[SameCells | SameAttempts]) -> int:
    return sum(each.number for each in same)


def _failures(attempts: Iterable[SameAttempts]) -> dict[Failure, int]:
    found: Counter[Failure] = Counter()
    for same in attempts:
        if same.failure is not None:
            found[same.failure] += same.number
    return dict(sorted(found.items()))


_COLUMNS = (
    Column("arm"),
    Column("scored", "right"),
    Column("passed", "right"),
    Column("why not"),
    Column("harness s\nmedian", "right"),
    Column("requests", "right"),
    Column("tokens\nin/out", "right"),
    Column("cost\nusd", "right", optional=True),
)


def render_run(report: RunReport) -> RenderableType:
    """The report, for a terminal: a row for each arm, and a line for everything that must be known beside it."""
    run = report.run
    title = f"experiment {run.experiment}, run {run.run_id}, {run.sandbox}"
    lines = [Text(line, style="yellow") for line in _remarks(report)]
    table = plain_table(_COLUMNS, [_row(arm) for arm in report.arms], title)
    return Group(table, *([Text(), *lines] if lines else []))


def _row(arm: ArmSummary) -> tuple[str | None, ...]:
    figures = arm.figures
    ok = figures.requests - figures.failed_requests
    tokens = [figures.metrics.get(name) for name in ("input_tokens", "output_tokens")]
    shown = ["–" if each is None else at_least(number(each.total), ok - each.n) for each in tokens]
    cost = figures.metrics.get("cost_usd")
    judged = arm.scored - arm.unjudged
    return (
        arm.arm,
        f"{arm.scored} of {arm.cells}",
        f"{arm.passed} of {judged}" if judged else UNKNOWN,
        ", ".join(f"{count} {failure}" for failure, count in arm.failures.items()) or UNKNOWN,
        UNKNOWN if arm.command_ms is None else number(arm.command_ms / 1000, 2),
        number(figures.requests),
        "/".join(shown),
        None if cost is None else at_least(usd(cost.total), ok - cost.n),
    )


def _remarks(report: RunReport) -> list[str]:
    cells, lines = report.counts.cells, []
    if cells.open:
        lines.append(f"{plural(cells.open, 'cell')} not scored yet: `dyno run {report.run.experiment} --resume`")
    if cells.given_up:
        lines.append(f"{plural(cells.given_up, 'cell')} given up, because the stand failed them every time")
    for arm in report.arms:
        if arm.stand_failures:
            told = ", ".join(f"{count} {failure}" for failure, count in arm.stand_failures.items())
            lines.append(f"{arm.arm}: attempts that the stand failed, which score nothing: {told}")
    if report.cost.unpriced:
        lines.append(f"the cost of {plural(report.cost.unpriced, 'request')} is unknown")
    if report.unenforced:
        lines.append(f"not enforced by {report.run.sandbox}: {'; '.join(report.unenforced)}")
    return lines
