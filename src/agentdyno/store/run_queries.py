"""The SELECTs of headless runs: which there are, how far they are, and what they cost."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

from agentdyno.core.records import Attempt, Cell, CellState, Failure, Outcome, Run, Verdict
from agentdyno.core.side_calls import NO_INFERENCE
from agentdyno.store.accounts import unknowns
from agentdyno.store.ledger import Ledger
from agentdyno.store.rows import record_of
from agentdyno.store.run_statements import run_statements


class CellCounts(NamedTuple):
    """How many cells of a run are in which state."""

    total: int = 0
    open: int = 0
    """Neither scored nor given up."""
    claimed: int = 0
    """Of the open ones."""
    scored: int = 0
    passed: int = 0
    """Of the scored ones."""
    given_up: int = 0
    begun_attempts: int = 0
    """Attempts that the cells know of."""


class AttemptCounts(NamedTuple):
    """How many attempts of a run came to what. Each is one of these."""

    total: int = 0
    under_way: int = 0
    scored: int = 0
    superseded: int = 0
    """Judged after their claim was lost: they score nothing."""
    stand_failure: int = 0
    interrupted: int = 0
    lost: int = 0


class RunCounts(NamedTuple):
    """How far a run is, at one moment."""

    cells: CellCounts
    attempts: AttemptCounts

    @property
    def reconciled(self) -> bool:
        """Whether the cells and the attempts tell the same story, and no attempt is missing in it."""
        cells, attempts = self.cells, self.attempts
        return (
            cells.total == cells.open + cells.scored + cells.given_up
            and attempts.total == sum(attempts[1:]) == cells.begun_attempts
            and attempts.scored == cells.scored
            and attempts.under_way == cells.claimed
        )


class SameCells(NamedTuple):
    """How many cells of an arm are in one state."""

    arm: str
    state: CellState
    number: int


class SameAttempts(NamedTuple):
    """How many attempts at the cells of an arm came to the same."""

    arm: str
    scored: bool
    verdict: Verdict | None
    failure: Failure | None
    number: int


class SameSessions(NamedTuple):
    """How many sessions that scored cells of an arm are alike; one whose figures are kept stands for itself alone."""

    arm: str
    session_id: str
    """Empty for those that have no figures."""
    outcome: Outcome | None
    checks_passed: int | None
    checks_total: int | None
    variant_fingerprint: str
    harness_binary: str | None
    harness_version: str | None
    number: int


class RunCost(NamedTuple):
    """What a run's requests cost so far, those of all attempts."""

    cost_usd: float | None
    """The sum of those that are known; None where none is."""
    unpriced: int
    """Requests that may have used tokens, and whose cost is unknown."""


def run(ledger: Ledger, run_id: str) -> Run | None:
    """The run of that id."""
    return next(iter(_runs(ledger, ledger.tables["run"].c.run_id == run_id)), None)


def runs(ledger: Ledger, experiment: str) -> tuple[Run, ...]:
    """The runs of an experiment, oldest first."""
    return _runs(ledger, ledger.tables["run"].c.experiment == experiment)[::-1]


def unfinished_run(ledger: Ledger, experiment: str) -> Run | None:
    """The newest run of an experiment that has cells without a score."""
    table, cell = ledger.tables["run"], ledger.tables["cell"]
    unscored = sa.exists().where(cell.c.run_id == table.c.run_id, cell.c.state.in_(("open", "given_up")))
    return next(iter(_runs(ledger, table.c.experiment == experiment, unscored, limit=1)), None)


def cells(ledger: Ledger, run_id: str) -> tuple[Cell, ...]:
    """The cells of a run, in its order."""
    table = ledger.tables["cell"]
    query = sa.select(table).where(table.c.run_id == run_id).order_by(table.c.position)
    with ledger.read() as connection:
        return tuple(record_of(Cell, row) for row in connection.execute(query).mappings())


def attempts(ledger: Ledger, run_id: str) -> tuple[Attempt, ...]:
    """Every attempt of a run, in the order in which they began."""
    table = ledger.tables["attempt"]
    query = (
        sa.select(table)
        .where(table.c.run_id == run_id)
        .order_by(table.c.started_at_us, table.c.cell_id, table.c.number)
    )
    with ledger.read() as connection:
        return tuple(record_of(Attempt, row) for row in connection.execute(query).mappings())


def under_way(ledger: Ledger, runner_id: str) -> tuple[Attempt, ...]:
    """The attempts of a runner that have not ended."""
    table = ledger.tables["attempt"]
    query = sa.select(table).where(table.c.runner_id == runner_id, table.c.ended_at_us.is_(None))
    with ledger.read() as connection:
        return tuple(record_of(Attempt, row) for row in connection.execute(query.order_by("attempt_id")).mappings())


def has_ended(ledger: Ledger, session_id: str) -> bool:
    """Whether the attempt that a session belongs to has ended. An id that no attempt has belongs to none that runs."""
    table = ledger.tables["attempt"]
    running = sa.select(table.c.attempt_id).where(table.c.session_id == session_id, table.c.ended_at_us.is_(None))
    with ledger.read() as connection:
        return connection.execute(running).first() is None


def runs_at_work(ledger: Ledger) -> tuple[str, ...]:
    """Ids of the runs that a runner works on that has not ended, though its process may have."""
    table = ledger.tables["runner"]
    query = sa.select(table.c.run_id).where(table.c.ended_at_us.is_(None)).distinct().order_by(table.c.run_id)
    with ledger.read() as connection:
        return tuple(connection.execute(query).scalars())


def is_settled(ledger: Ledger, session_id: str) -> bool:
    """Whether a session is that of an attempt, and the attempt has ended."""
    table = ledger.tables["attempt"]
    ended = sa.select(table.c.attempt_id).where(table.c.session_id == session_id, table.c.ended_at_us.is_not(None))
    with ledger.read() as connection:
        return connection.execute(ended).first() is not None


def has_open_cells(ledger: Ledger, run_id: str) -> bool:
    """Whether a run has cells that are neither scored nor given up."""
    table = ledger.tables["cell"]
    still = sa.select(table.c.cell_id).where(table.c.run_id == run_id, table.c.state == "open").limit(1)
    with ledger.read() as connection:
        return connection.execute(still).first() is not None


def counts(ledger: Ledger, run_id: str) -> RunCounts:
    """How far a run is. An id that no run has counts nothing."""
    with ledger.read() as connection:
        sql = run_statements(sqlite=connection.dialect.name == "sqlite")
        return RunCounts(
            CellCounts._make(connection.exec_driver_sql(sql.count_cells, (run_id,)).one()),
            AttemptCounts._make(connection.exec_driver_sql(sql.count_attempts, (run_id,)).one()),
        )


def cells_by_arm(ledger: Ledger, run_id: str) -> tuple[SameCells, ...]:
    """How many cells of each arm are in which state."""
    cell = ledger.tables["cell"]
    same = (cell.c.arm, cell.c.state)
    query = sa.select(*same, sa.func.count()).where(cell.c.run_id == run_id).group_by(*same)
    with ledger.read() as connection:
        return tuple(SameCells._make(row) for row in connection.execute(query))


def attempts_by_arm(ledger: Ledger, run_id: str) -> tuple[SameAttempts, ...]:
    """How many attempts of each arm came to what, those under way too."""
    cell, attempt = ledger.tables["cell"], ledger.tables["attempt"]
    same = (cell.c.arm, attempt.c.scored, attempt.c.verdict, attempt.c.failure)
    query = (
        sa.select(*same, sa.func.count())
        .select_from(attempt.join(cell, cell.c.cell_id == attempt.c.cell_id))
        .where(attempt.c.run_id == run_id)
        .group_by(*same)
    )
    with ledger.read() as connection:
        return tuple(SameAttempts._make(row) for row in connection.execute(query))


def commands_ms(ledger: Ledger, run_id: str) -> dict[str, list[float]]:
    """By arm, how long the harness ran in the attempts that scored a cell, where that is known; sorted."""
    cell, attempt = ledger.tables["cell"], ledger.tables["attempt"]
    query = (
        sa.select(cell.c.arm, attempt.c.command_ms)
        .select_from(attempt.join(cell, cell.c.cell_id == attempt.c.cell_id))
        .where(attempt.c.run_id == run_id, attempt.c.scored, attempt.c.command_ms.is_not(None))
    )
    found: defaultdict[str, list[float]] = defaultdict(list)
    with ledger.read() as connection:
        for arm, command_ms in connection.execute(query).all():
            found[arm].append(command_ms)
    return {arm: sorted(values) for arm, values in found.items()}


def unenforced(ledger: Ledger, run_id: str) -> tuple[str, ...]:
    """What the sandbox could not enforce in some attempt of a run, sorted."""
    attempt = ledger.tables["attempt"]
    query = sa.select(attempt.c.unenforced).where(attempt.c.run_id == run_id).distinct()
    with ledger.read() as connection:
        return tuple(sorted({words for found in connection.execute(query).scalars() for words in json.loads(found)}))


def scoring_sessions(ledger: Ledger, run_id: str) -> tuple[SameSessions, ...]:
    """The sessions that scored the cells of a run: each that has a request or a rollup, and how many the others are."""
    cell, session = ledger.tables["cell"], ledger.tables["session"]
    figures = [ledger.tables[name].c.session_id for name in ("request", "metric_rollup")]
    has_figures = sa.or_(*(sa.exists().where(column == session.c.session_id) for column in figures))
    session_id = sa.case((has_figures, session.c.session_id), else_="").label("one")
    same = (cell.c.arm, session_id, *(session.c[name] for name in SameSessions._fields[2:-1]))
    query = (
        sa.select(*same, sa.func.count())
        .select_from(cell.join(session, session.c.session_id == cell.c.session_id))
        .where(cell.c.run_id == run_id)
        .group_by(*same)
    )
    with ledger.read() as connection:
        return tuple(SameSessions._make(row) for row in connection.execute(query))


def cost_so_far(ledger: Ledger, run_id: str) -> RunCost:
    """What the inference requests of all attempts at a run's cells cost, those that came to nothing too."""
    request, attempt = ledger.tables["request"], ledger.tables["attempt"]
    query = (
        sa.select(sa.func.sum(request.c.cost_usd), unknowns(request)[0])
        .select_from(attempt.join(request, request.c.session_id == attempt.c.session_id))
        .where(attempt.c.run_id == run_id, request.c.purpose.not_in(NO_INFERENCE))
    )
    with ledger.read() as connection:
        return RunCost._make(connection.execute(query).one())


def _runs(ledger: Ledger, *conditions: sa.ColumnElement[bool], limit: int | None = None) -> tuple[Run, ...]:
    """Runs, newest first."""
    table = ledger.tables["run"]
    newest_first = (table.c.created_at_us.desc(), table.c.run_id.desc())
    query = sa.select(table).where(*conditions).order_by(*newest_first).limit(limit)
    with ledger.read() as connection:
        return tuple(record_of(Run, row) for row in connection.execute(query).mappings())


def dearest_sessions(ledger: Ledger, fingerprints: Sequence[str]) -> dict[tuple[str, str], float | None]:
    """What the dearest session so far cost, by variant's fingerprint and task card's name.

    None where a session of theirs has a request whose cost is unknown: nobody knows what the dearest was then.
    """
    session, request = ledger.tables["session"], ledger.tables["request"]
    each = (
        sa.select(
            session.c.variant_fingerprint,
            session.c.task_card,
            sa.func.coalesce(sa.func.sum(request.c.cost_usd), 0.0).label("cost_usd"),
            unknowns(request)[0].label("unpriced"),
        )
        .select_from(session.join(request, request.c.session_id == session.c.session_id))
        .where(session.c.variant_fingerprint.in_(fingerprints), request.c.purpose.not_in(NO_INFERENCE))
        .group_by(session.c.session_id, session.c.variant_fingerprint, session.c.task_card)
        .subquery()
    )
    query = sa.select(
        each.c.variant_fingerprint, each.c.task_card, sa.func.max(each.c.cost_usd), sa.func.sum(each.c.unpriced)
    ).group_by(each.c.variant_fingerprint, each.c.task_card)
    with ledger.read() as connection:
        return {
            (fingerprint, task_card): None if unpriced else cost_usd
            for fingerprint, task_card, cost_usd, unpriced in connection.execute(query)
        }
