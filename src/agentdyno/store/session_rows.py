"""What belongs to sessions, read and made anew for many of them at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, CursorResult

from agentdyno.core.ids import canonical_json
from agentdyno.core.records import MetricRollup, Request, TraceMetric
from agentdyno.core.rollups import rollup_session, rollup_trace
from agentdyno.store.bulk import by_keys, write_rows
from agentdyno.store.rows import column_names, flattener, record_of

R = TypeVar("R", Request, TraceMetric)
_REQUESTS = "SELECT * FROM request WHERE {ours} ORDER BY started_at_us, request_key"
_TRACED = "SELECT * FROM trace_metric WHERE {ours} ORDER BY sequence"
_NO_ROLLUPS = "DELETE FROM metric_rollup WHERE {ours}"


def for_sessions(
    connection: Connection, statement: str, session_ids: Iterable[str], *values: object
) -> CursorResult[Any]:
    """Execute a statement in which each `?` stands for a value and `{ours}`, after these, says whose rows are meant.

    As text, since there may be few of them: SQLAlchemy would take longer to make it than a database to do it.
    """
    ids = list(session_ids)
    if connection.dialect.name == "sqlite":
        ours = "session_id IN (SELECT value FROM json_each(?))"
        return connection.exec_driver_sql(statement.format(ours=ours), (*values, canonical_json(ids)))
    text = statement.replace("?", "%s").format(ours="session_id = ANY(%s)")
    return connection.exec_driver_sql(text, (*values, ids))


def requests_in(connection: Connection, session_ids: Iterable[str]) -> dict[str, tuple[Request, ...]]:
    """The requests of each session that has any, in the order they came in."""
    return _by_session(connection, Request, _REQUESTS, session_ids)


def rebuild_rollups(connection: Connection, tables: Mapping[str, sa.Table], session_ids: Sequence[str]) -> None:
    """Make the rollups of sessions anew, from their requests and their traces."""
    requests = requests_in(connection, session_ids)
    metrics = _by_session(connection, TraceMetric, _TRACED, session_ids)
    for_sessions(connection, _NO_ROLLUPS, session_ids)
    rollups = [
        rollup
        for session_id in session_ids
        for rollup in (*rollup_session(requests.get(session_id, ())), *rollup_trace(metrics.get(session_id, ())))
    ]
    if rollups:
        table, columns = tables["metric_rollup"], column_names(MetricRollup)
        rows = by_keys(table, columns, map(flattener(MetricRollup), rollups))
        write_rows(connection, table, columns, rows, "")


def _by_session(
    connection: Connection, record: type[R], query: str, session_ids: Iterable[str]
) -> dict[str, tuple[R, ...]]:
    found: defaultdict[str, list[R]] = defaultdict(list)
    for row in for_sessions(connection, query, session_ids).mappings():
        found[row["session_id"]].append(record_of(record, row))
    return {session_id: tuple(records) for session_id, records in found.items()}
