"""What the traces of sessions said, written and read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from agentdyno.core.records import Step, TraceMetric
from agentdyno.core.trace import Trace
from agentdyno.store.bulk import by_keys, write_rows
from agentdyno.store.ledger import Ledger
from agentdyno.store.rows import column_names, flattener
from agentdyno.store.statements import IGNORE_KNOWN


class StepCounts(NamedTuple):
    """How many steps a session's trace has."""

    steps: int = 0
    failed: int = 0
    """Those that said of themselves that they did not succeed."""


def write_trace(ledger: Ledger, session_id: str, trace: Trace) -> bool:
    """Keep a session's steps and metrics, all or none; what is known already stays as it is.

    False, and nothing is written, when the session is over: its rollups are made of what was there at its end.
    """
    session = ledger.tables["session"]
    still_open = (
        sa.select(session.c.session_id)
        .where(session.c.session_id == session_id, session.c.ended_at_us.is_(None))
        .with_for_update(key_share=True)
    )
    with ledger.write() as connection:
        if connection.execute(still_open).first() is None:
            return False
        _write(connection, ledger.tables["step"], Step, trace.steps)
        _write(connection, ledger.tables["trace_metric"], TraceMetric, trace.metrics)
    return True


def _write(connection: Connection, table: sa.Table, record: type, records: Sequence[Any]) -> None:
    if records:
        columns = column_names(record)
        write_rows(connection, table, columns, by_keys(table, columns, map(flattener(record), records)), IGNORE_KNOWN)


def step_counts(ledger: Ledger, session_id: str) -> StepCounts:
    """How many steps a session's trace had."""
    table = ledger.tables["step"]
    failed = sa.func.count(sa.case((table.c.ok.is_(False), 1)))
    query = sa.select(sa.func.count(), failed).where(table.c.session_id == session_id)
    with ledger.read() as connection:
        return StepCounts._make(connection.execute(query).one())


def trace_units(ledger: Ledger, session_ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """The unit of each metric of each session's trace; a trace has one unit for a name."""
    table = ledger.tables["trace_metric"]
    query = (
        sa.select(table.c.session_id, table.c.name, table.c.unit).where(table.c.session_id.in_(session_ids)).distinct()
    )
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    with ledger.read() as connection:
        for session_id, name, unit in connection.execute(query):
            found[session_id][name] = unit
    return dict(found)
