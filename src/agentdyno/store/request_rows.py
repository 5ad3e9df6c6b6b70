"""Writing the rows of requests: of the evidence for one request, more records always win."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from operator import itemgetter

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from agentdyno.core.ids import canonical_json
from agentdyno.core.normalize import RequestRow
from agentdyno.core.records import Request
from agentdyno.store.bulk import write_new_rows, write_rows
from agentdyno.store.rows import column_names
from agentdyno.store.statements import known_records, replace_lesser_request

_REQUEST_KEY, _SESSION_ID, _RECORDS, _LATE = (
    column_names(Request).index(name) for name in ("request_key", "session_id", "records", "late")
)
_FIRST_ROWS = 256
"""Of a batch: where all of these are new, so will be the rest."""


def session_ids(rows: Sequence[RequestRow]) -> set[str]:
    """The sessions that rows belong to."""
    return {row[_SESSION_ID] for row in rows} - {None}


def most_telling(rows: Sequence[RequestRow], *, rebuild: bool) -> list[RequestRow]:
    """Rows by their keys, and of those with one key the one that would be left of them, one after the other."""
    best: dict[str, RequestRow] = {}
    for row in rows:
        known = best.setdefault(row[_REQUEST_KEY], row)
        if row[_RECORDS] > known[_RECORDS] or (rebuild and row[_RECORDS] == known[_RECORDS]):
            best[row[_REQUEST_KEY]] = row
    return sorted(best.values(), key=itemgetter(_REQUEST_KEY))


def write_requests(
    connection: Connection, table: sa.Table, rows: Sequence[RequestRow], finalized: AbstractSet[str], *, rebuild: bool
) -> int:
    """Write the rows that `most_telling` left; how many were new or told more. Those of finalized sessions are `late`.

    To hand a row over costs three times as much as to ask whether it is known. So if some of the first are known
    already, the rest is asked for.
    """
    if finalized:
        rows = [(*row[:_LATE], True, *row[_LATE + 1 :]) if row[_SESSION_ID] in finalized else row for row in rows]
    columns, on_conflict = column_names(Request), replace_lesser_request(rebuild=rebuild)
    written = write_rows(connection, table, columns, rows[:_FIRST_ROWS], on_conflict)
    rest = rows[_FIRST_ROWS:]
    if written == _FIRST_ROWS:
        return written + write_new_rows(connection, table, columns, rest, on_conflict)
    news = _telling_more(connection, rest, rebuild=rebuild) if rest else []
    return written + write_rows(connection, table, columns, news, on_conflict)


def _telling_more(connection: Connection, rows: Sequence[RequestRow], *, rebuild: bool) -> list[RequestRow]:
    """Rows less those that would change nothing. What is known of a request never becomes less meanwhile."""
    keys = [row[_REQUEST_KEY] for row in rows]
    sqlite = connection.dialect.name == "sqlite"
    found = connection.exec_driver_sql(known_records(sqlite=sqlite), (canonical_json(keys) if sqlite else keys,))
    known = {row.request_key: row.records for row in found}
    least = 0 if rebuild else 1
    return [row for row in rows if row[_RECORDS] >= known.get(row[_REQUEST_KEY], 0) + least]
