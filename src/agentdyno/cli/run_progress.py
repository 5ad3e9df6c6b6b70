"""What is told while an experiment runs: a bar or lines for people, one JSON object a line for machines."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from agentdyno.cli.printing import print_json

if TYPE_CHECKING:
    from rich.progress import Progress

    from agentdyno.core.records import Run
    from agentdyno.runner.experiment import RunObserver
    from agentdyno.runner.settlement import Settled
    from agentdyno.store.ledger import Ledger
    from agentdyno.store.run_queries import RunCounts
    from agentdyno.store.runs import Claim

_ASK_EVERY_S = 1.0


@contextlib.contextmanager
def progress(ledger: Ledger, *, as_json: bool) -> Iterator[RunObserver]:
    """What tells how far a run is: events on standard output, or, for people, on standard error."""
    if as_json:
        yield Events()
    elif sys.stderr.isatty():
        with _bar() as bar:
            yield Live(ledger, bar)
    else:
        yield Lines(ledger)


class Tally:
    """How many cells are done, since when, and what they cost. For any thread."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._began_s = self._asked_s = time.monotonic()
        self._run: Run | None = None
        self.total, self.done, self._done_before = 0, 0, 0
        self._cost_usd, self._unpriced = 0.0, 0

    def begin(self, run: Run, counts: RunCounts) -> None:
        """Before the first cell, or where a run goes on."""
        from agentdyno.store.run_queries import cost_so_far

        cost = cost_so_far(self._ledger, run.run_id)
        self._run = run
        self._cost_usd, self._unpriced = cost.cost_usd or 0.0, cost.unpriced
        self.total = counts.cells.total
        self.done = self._done_before = counts.cells.scored + counts.cells.given_up
        self._began_s = self._asked_s = time.monotonic()

    def count(self, settled: Settled) -> None:
        """An attempt is over."""
        from agentdyno.core.side_calls import is_inference

        with self._lock:
            self.done += settled.attempt.scored or self._given_up(settled)
            # Asked between two, the ledger would have counted already what is told only afterwards.
            if settled.last and time.monotonic() >= self._asked_s + _ASK_EVERY_S:
                self._ask()
            for request in settled.requests:
                if not is_inference(request.purpose):
                    continue
                if request.cost_usd is not None:
                    self._cost_usd += request.cost_usd
                elif request.status == "ok":
                    self._unpriced += 1

    def _given_up(self, settled: Settled) -> bool:
        """Whether it was the last that the stand may fail of its cell."""
        if self._run is None or settled.attempt.verdict != "stand_failure" or not settled.stood:
            return False
        return settled.claim.cell.failures + 1 >= self._run.max_attempts

    def _ask(self) -> None:
        """Count what other runners have done, too."""
        from agentdyno.store.run_queries import counts

        if self._run is not None:
            cells = counts(self._ledger, self._run.run_id).cells
            self.done = cells.scored + cells.given_up
        self._asked_s = time.monotonic()

    def rate_per_min(self) -> float:
        """Cells done in a minute, since it began."""
        elapsed_s = time.monotonic() - self._began_s
        return (self.done - self._done_before) * 60 / elapsed_s if elapsed_s > 0 else 0.0

    def left_s(self) -> float | None:
        """Time until the last cell at this rate; None before there is one."""
        rate = self.rate_per_min()
        return (self.total - self.done) * 60 / rate if rate else None

    def cost(self) -> str:
        """What it cost so far, marked where some of it is unknown."""
        from agentdyno.reporting.wording import UNKNOWN, at_least, usd

        if self._unpriced and not self._cost_usd:
            return f"cost {UNKNOWN}"
        return f"cost {at_least(usd(self._cost_usd), self._unpriced)} USD"


class Lines:
    """A line for each attempt that is over."""

    def __init__(self, ledger: Ledger) -> None:
        self._tally = Tally(ledger)

    def said(self, line: str) -> None:
        """What is being waited for."""
        typer.echo(line, err=True)

    def planned(self, run: Run, counts: RunCounts) -> None:
        """The run, and how far it is."""
        self._tally.begin(run, counts)
        from agentdyno.reporting.wording import plural

        typer.echo(
            f"run {run.run_id}: {plural(counts.cells.total, 'cell')} in {run.sandbox}, {self._tally.done} done",
            err=True,
        )

    def begun(self, claim: Claim) -> None:
        """Nothing: its end will be told."""

    def settled(self, settled: Settled) -> None:
        """How an attempt ended, and how far the run is."""
        self._tally.count(settled)
        left_s = self._tally.left_s()
        left = "" if left_s is None else f", {left_s:.0f} s left"
        typer.echo(
            f"{self._tally.done} of {self._tally.total}, {self._tally.rate_per_min():.1f}/min, {self._tally.cost()}"
            f"{left}: {_ended(settled)}",
            err=True,
        )

    def lost(self, attempts: int) -> None:
        """Attempts whose runner died."""
        typer.echo(_lost(attempts), err=True)

    def stopping(self) -> None:
        """Somebody asked for the end."""
        typer.echo("stopping: what runs is ended", err=True)


class Live(Lines):
    """One bar on a terminal, and above it what did not pass."""

    def __init__(self, ledger: Ledger, bar: Progress) -> None:
        super().__init__(ledger)
        self._bar = bar
        self._task = bar.add_task("preparing", total=None, told="")

    def said(self, line: str) -> None:
        """What is being waited for."""
        self._bar.update(self._task, description=line)

    def planned(self, run: Run, counts: RunCounts) -> None:
        """The run, and how far it is."""
        self._tally.begin(run, counts)
        told = f"in {run.sandbox}"
        self._bar.update(
            self._task, description=run.experiment, total=self._tally.total, completed=self._tally.done, told=told
        )

    def settled(self, settled: Settled) -> None:
        """How far the run is; and what did not pass."""
        self._tally.count(settled)
        told = f"{self._tally.rate_per_min():.1f}/min, {self._tally.cost()}"
        self._bar.update(self._task, completed=self._tally.done, told=told)
        if settled.attempt.verdict != "passed":
            self._bar.console.print(_ended(settled), highlight=False, markup=False)

    def lost(self, attempts: int) -> None:
        """Attempts whose runner died."""
        self._bar.console.print(_lost(attempts), highlight=False)

    def stopping(self) -> None:
        """Somebody asked for the end."""
        self._bar.update(self._task, description="stopping")


class Events:
    """One JSON object a line; its `event` says what the others are."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def _print(self, event: str, **values: Any) -> None:
        from agentdyno.core.jsonable import to_jsonable

        with self._lock:
            print_json({"event": event, **to_jsonable(values)}, indent=None)

    def said(self, line: str) -> None:
        """What is being waited for: for people."""
        typer.echo(line, err=True)

    def planned(self, run: Run, counts: RunCounts) -> None:
        """The run, and how far it is."""
        self._print("planned", run=run, counts=counts)

    def begun(self, claim: Claim) -> None:
        """An attempt has begun."""
        cell, attempt = claim.cell, claim.attempt
        self._print(
            "begun",
            cell_id=cell.cell_id,
            arm=cell.arm,
            task_card=cell.task_card,
            repeat=cell.repeat,
            attempt=attempt.number,
            session_id=attempt.session_id,
        )

    def settled(self, settled: Settled) -> None:
        """An attempt is over."""
        cell = settled.claim.cell
        self._print(
            "settled",
            cell_id=cell.cell_id,
            arm=cell.arm,
            task_card=cell.task_card,
            repeat=cell.repeat,
            attempt=settled.attempt,
        )

    def lost(self, attempts: int) -> None:
        """Attempts whose runner died."""
        self._print("lost", attempts=attempts)

    def stopping(self) -> None:
        """Somebody asked for the end."""
        self._print("stopping")


def _ended(settled: Settled) -> str:
    cell, attempt = settled.claim.cell, settled.attempt
    again = f", attempt {attempt.number}" if attempt.number > 1 else ""
    why = f": {attempt.failure}, {attempt.reason}" if attempt.failure else ""
    return f"{cell.arm} on {cell.task_card}{again} {(attempt.verdict or '').replace('_', ' ')}{why}"


def _lost(attempts: int) -> str:
    from agentdyno.reporting.wording import plural

    return f"{plural(attempts, 'attempt')} lost: the runner died"


def _bar() -> Progress:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from agentdyno.cli.printing import people_console

    times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[told]}"))
    return Progress(*columns, *times, console=people_console(stderr=True), transient=True)
