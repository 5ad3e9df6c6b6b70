"""Every SELECT that the faces and reports use."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from agentdyno.core.records import MetricRollup, Request, Session
from agentdyno.core.side_calls import NO_INFERENCE
from agentdyno.store.ledger import Ledger
from agentdyno.store.rows import record_of

_KEYS_AT_ONCE = 500
"""A statement takes so many values, or fewer."""


class SessionTotals(NamedTuple):
    """Sums over a session's inference requests, side calls included; None where no request has the figure."""

    session_id: str
    requests: int
    ok: int
    work_ok: int
    """Those that succeeded and were the harness's work: a title alone is no success."""
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None


def sessions(ledger: Ledger, *, experiment: str | None = None, only_open: bool = False) -> tuple[Session, ...]:
    """Sessions, oldest first."""
    table = ledger.tables["session"]
    query = sa.select(table).order_by(table.c.session_id)
    if experiment is not None:
        query = query.where(table.c.experiment == experiment)
    if only_open:
        query = query.where(table.c.ended_at_us.is_(None))
    with ledger.read() as connection:
        return tuple(record_of(Session, row) for row in connection.execute(query).mappings())


def experiment_names(ledger: Ledger) -> tuple[str, ...]:
    """Experiments that have sessions, sorted."""
    column = ledger.tables["session"].c.experiment
    query = sa.select(column).where(column.is_not(None)).distinct().order_by(column)
    with ledger.read() as connection:
        return tuple(connection.execute(query).scalars())


def _sum(column: sa.Column[int]) -> sa.Cast[int]:
    # Of whole numbers PostgreSQL makes a decimal.
    return sa.cast(sa.func.sum(column), sa.BigInteger)


def _count(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.sum(sa.case((condition, 1), else_=0))


def session_totals(ledger: Ledger, session_ids: Sequence[str]) -> dict[str, SessionTotals]:
    """Totals of each session that has inference requests."""
    table = ledger.tables["request"]
    query = (
        sa.select(
            table.c.session_id,
            sa.func.count(),
            _count(table.c.status == "ok"),
            _count(sa.and_(table.c.status == "ok", table.c.purpose == "work")),
            _sum(table.c.input_tokens),
            _sum(table.c.output_tokens),
            sa.func.sum(table.c.cost_usd),
        )
        .where(table.c.session_id.in_(session_ids), table.c.purpose.not_in(NO_INFERENCE))
        .group_by(table.c.session_id)
    )
    with ledger.read() as connection:
        return {row[0]: SessionTotals(*row) for row in connection.execute(query)}


def requests_beside(ledger: Ledger, session_id: str, seen: Collection[str]) -> tuple[Request, ...]:
    """The requests of a session that are not among `seen`, by their keys, in the order they came in.

    A request becomes a row at its end, so that of two the one that came in first may be there last.
    """
    table = ledger.tables["request"]
    ours = table.c.session_id == session_id
    with ledger.read() as connection:
        keys = connection.execute(sa.select(table.c.request_key).where(ours)).scalars()
        unseen = [key for key in keys if key not in seen]
        rows = [
            row
            for start in range(0, len(unseen), _KEYS_AT_ONCE)
            for row in connection.execute(
                sa.select(table).where(table.c.request_key.in_(unseen[start : start + _KEYS_AT_ONCE]))
            ).mappings()
        ]
    found = (record_of(Request, row) for row in rows)
    return tuple(sorted(found, key=lambda request: (request.started_at_us, request.request_key)))


def estimated_requests(ledger: Ledger, session_ids: Sequence[str]) -> dict[str, int]:
    """How many `ok` requests of each session have estimated tokens; sessions without any are left out."""
    table = ledger.tables["request"]
    query = (
        sa.select(table.c.session_id, sa.func.count())
        .where(table.c.session_id.in_(session_ids), table.c.usage_source == "estimated", table.c.status == "ok")
        .group_by(table.c.session_id)
    )
    with ledger.read() as connection:
        return {row[0]: row[1] for row in connection.execute(query)}


def rollups_by_session(ledger: Ledger, session_ids: Sequence[str]) -> dict[str, tuple[MetricRollup, ...]]:
    """The rollups of each session that has any."""
    table = ledger.tables["metric_rollup"]
    query = (
        sa.select(table)
        .where(table.c.session_id.in_(session_ids))
        .order_by(table.c.session_id, table.c.model, table.c.status, table.c.metric)
    )
    found: defaultdict[str, list[MetricRollup]] = defaultdict(list)
    with ledger.read() as connection:
        for row in connection.execute(query).mappings():
            found[row["session_id"]].append(record_of(MetricRollup, row))
    return {session_id: tuple(rollups) for session_id, rollups in found.items()}
