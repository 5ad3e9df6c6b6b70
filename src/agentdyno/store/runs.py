"""Headless runs in the ledger: the plan, who works on it, and every attempt.

Any number of runners may work on one run, and any of them may die at any instant. What keeps each cell scored once:

- A cell is claimed, and its attempt begun, in one transaction. Two runners never get the same cell: in SQLite one
  writes at a time, in PostgreSQL who claims passes over the rows that another holds. The statement that picks the cells
  is the one that takes them.
- A claim is a runner and the number of an attempt. To settle an attempt is to free or score its cell where that very
  claim still stands; only the database knows, so nobody asks before.
- A runner that is found dead ends, its claims end, and its attempts under way are lost, all in one transaction. If it
  was alive after all, the claims that it then settles no longer stand: what it found out is kept beside the attempt,
  and scores nothing. It can claim nothing more, since to claim takes the row of a runner that has not ended.

So a cell is claimed if and only if one of its attempts is under way, and that is its last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import NamedTuple

from sqlalchemy.engine import Connection

from agentdyno.core.errors import DynoError
from agentdyno.core.judgement import SCORING
from agentdyno.core.records import Attempt, Cell, Run, Runner
from agentdyno.store.bulk import write_new_rows
from agentdyno.store.ledger import Closing, Ledger
from agentdyno.store.rows import column_names, flattener, record_of
from agentdyno.store.run_statements import SETTLED_COLUMNS, RunStatements, run_statements

_settled_values = itemgetter(*SETTLED_COLUMNS)


class RunnerEnded(DynoError):
    """A runner that has left, or was taken for dead, can claim nothing more: it must join again."""


class Claim(NamedTuple):
    """A cell, and the attempt at it that has begun."""

    cell: Cell
    attempt: Attempt


class Settlement(NamedTuple):
    """How an attempt ended, and whether that scores its cell."""

    attempt: Attempt
    scores: bool


class End(NamedTuple):
    """How an attempt ended, and its session with it, if there is one."""

    settlement: Settlement
    closing: Closing | None


# ── the plan ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def add_run(ledger: Ledger, run: Run, cells: Iterable[Cell]) -> None:
    """Keep a run and its whole plan, or nothing of it. Its experiment and task cards must be remembered before."""
    rows = [flattener(Cell)(cell) for cell in cells]
    with ledger.write() as connection:
        ledger.insert(connection, "run", run)
        write_new_rows(connection, ledger.tables["cell"], column_names(Cell), rows, "")


def reopen(ledger: Ledger, run_id: str) -> int:
    """Let the cells that were given up be tried again, as if the stand had never failed them; how many there are."""
    cell = ledger.tables["cell"]
    given_up = cell.update().where(cell.c.run_id == run_id, cell.c.state == "given_up")
    with ledger.write() as connection:
        return connection.execute(given_up.values(state="open", failures=0)).rowcount


# ── runners ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def join(ledger: Ledger, runner: Runner) -> None:
    """Let a process work on a run."""
    with ledger.write() as connection:
        ledger.insert(connection, "runner", runner)


def beat(ledger: Ledger, runner_id: str, now_us: int) -> bool:
    """Say that a runner lives. False if it has ended: it left, or was taken for dead."""
    with ledger.write() as connection:
        return _beat(connection, runner_id, now_us)


def dead_runners(
    ledger: Ledger,
    run_id: str,
    host: str,
    alive: Callable[[Runner], bool],
    now_us: int,
    lease_us: int,
    own: str | None = None,
) -> tuple[Runner, ...]:
    """The runners of a run that have not ended, though their processes have; never the one that asks, `own`.

    On this host `alive` says it, by process id and start time; of others, who has not been seen for the lease is dead.
    Their clocks may differ from ours, so the lease must be long; an error costs an attempt, and no cell its one score.
    """
    runner = ledger.tables["runner"]
    query = runner.select().where(runner.c.run_id == run_id, runner.c.ended_at_us.is_(None)).order_by("runner_id")
    with ledger.read() as connection:
        found = [record_of(Runner, row) for row in connection.execute(query).mappings()]
    others = (item for item in found if item.runner_id != own)
    return tuple(
        item for item in others if not (alive(item) if item.host == host else item.seen_at_us >= now_us - lease_us)
    )


def recover(ledger: Ledger, runner_id: str, now_us: int) -> tuple[Attempt, ...]:
    """End a runner that is dead, or leaves, and free its cells; the attempts that are lost by it.

    Of several who do it at once, each lost attempt is told to one.
    """
    with ledger.write() as connection:
        sql = _sql(connection)
        connection.exec_driver_sql(sql.end, (now_us, runner_id))
        released = connection.exec_driver_sql(sql.release, (runner_id, runner_id)).all()
        lost = [
            connection.exec_driver_sql(sql.lose, (now_us, attempt_id(cell_id, number))).mappings().one()
            for cell_id, number in sorted(map(tuple, released))
        ]
        return tuple(record_of(Attempt, row) for row in lost)


# ── attempts ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def attempt_id(cell_id: str, number: int) -> str:
    """The id of a cell's attempt of that number."""
    return f"{cell_id}.{number}"


def claim(ledger: Ledger, run_id: str, runner_id: str, now_us: int, session_ids: Sequence[str]) -> tuple[Claim, ...]:
    """Begin an attempt at each of the next open cells, one for each session id, or as many as there are.

    It is also a sign of life. Raises RunnerEnded for a runner that has ended.
    """
    with ledger.write() as connection:
        if not _beat(connection, runner_id, now_us):
            raise RunnerEnded(
                f"runner {runner_id} has left, or was taken for dead", "start it again: dyno run --resume"
            )
        sql = _sql(connection)
        rows = connection.exec_driver_sql(sql.claim, (run_id, len(session_ids), runner_id)).all()
        cells = sorted((Cell(*row) for row in rows), key=lambda cell: cell.position)
        claims = tuple(
            Claim(cell, _begun(cell, runner_id, session_id, now_us))
            for cell, session_id in zip(cells, session_ids, strict=False)
        )
        if claims:
            connection.exec_driver_sql(sql.begin, [flattener(Attempt)(item.attempt) for item in claims])
        return claims


def _begun(cell: Cell, runner_id: str, session_id: str, now_us: int) -> Attempt:
    return Attempt(
        attempt_id=attempt_id(cell.cell_id, cell.attempts),
        cell_id=cell.cell_id,
        run_id=cell.run_id,
        runner_id=runner_id,
        number=cell.attempts,
        session_id=session_id,
        started_at_us=now_us,
    )


def settle(ledger: Ledger, attempt: Attempt, *, scores: bool, now_us: int) -> bool:
    """As `settle_many`, of one."""
    return settle_many(ledger, (Settlement(attempt, scores),), now_us)[0]


def settle_many(ledger: Ledger, settlements: Sequence[Settlement], now_us: int) -> tuple[bool, ...]:
    """Keep what came of attempts, and score or free their cells; of each whether its claim still stood.

    A cell that the stand failed as often as its run allows is given up. Where the claim was lost meanwhile, the attempt
    is kept and scores nothing. To settle an attempt twice changes nothing.
    Raises ValueError for an attempt without a verdict, and for a verdict that can score no cell.
    """
    with ledger.write() as connection:
        return _settle_all(connection, settlements, now_us)


def close_and_settle(ledger: Ledger, ends: Sequence[End], now_us: int) -> tuple[bool, ...]:
    """As `settle_many`, and close the attempts' sessions in the same transaction.

    No session is ever completed whose attempt was lost: where the claim did not stand any more, it is invalid.
    """
    with ledger.write() as connection:
        stood = _settle_all(connection, [end.settlement for end in ends], now_us)
        closings = [
            end.closing if stands else end.closing._replace(outcome="invalid", notes="its cell was claimed by another")
            for end, stands in zip(ends, stood, strict=True)
            if end.closing is not None
        ]
        ledger.close_sessions(connection, closings, now_us)
    return stood


def _settle_all(connection: Connection, settlements: Sequence[Settlement], now_us: int) -> tuple[bool, ...]:
    stood = {}
    for attempt, scores in sorted(settlements, key=lambda settlement: settlement.attempt.cell_id):
        stood[attempt.attempt_id] = _settle(connection, attempt, now_us, scores=scores)
    return tuple(stood[attempt.attempt_id] for attempt, _ in settlements)


def _settle(connection: Connection, attempt: Attempt, now_us: int, *, scores: bool) -> bool:
    if attempt.verdict is None or (scores and attempt.verdict not in SCORING):
        raise ValueError(f"an attempt with the verdict {attempt.verdict} cannot be settled with scores={scores}")
    sql, whose = _sql(connection), (attempt.cell_id, attempt.runner_id, attempt.number)
    if scores:
        result = connection.exec_driver_sql(sql.score, (attempt.session_id, attempt.verdict, *whose))
    else:
        result = connection.exec_driver_sql(sql.fail if attempt.verdict == "stand_failure" else sql.free, whose)
    stood = result.rowcount == 1
    facts = dict(zip(column_names(Attempt), flattener(Attempt)(attempt), strict=True))
    facts |= {"ended_at_us": now_us, "scored": scores and stood}
    connection.exec_driver_sql(sql.settle, (*_settled_values(facts), attempt.attempt_id))
    return stood


def _beat(connection: Connection, runner_id: str, now_us: int) -> bool:
    return connection.exec_driver_sql(_sql(connection).beat, (now_us, runner_id)).rowcount == 1


def _sql(connection: Connection) -> RunStatements:
    return run_statements(sqlite=connection.dialect.name == "sqlite")
