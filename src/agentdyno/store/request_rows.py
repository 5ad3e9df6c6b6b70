"""Writing the rows of requests: of the evidence for one request, more records always win."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from agentdyno.core.evidence import UNREADABLE_LINE, read_row
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


class DamagedRow(ValueError):
    """A line was to hold a row, and holds none."""


def _row_in(line: bytes) -> RequestRow:
    try:
        return read_row(line)
    except UNREADABLE_LINE as error:  # of which one may also be a fault of a ledger
        raise DamagedRow(str(error)) from error


class Rows:
    """Rows of distinct requests, in the order of their keys. Going through them may raise DamagedRow.

    Those that are kept as lines of the spool are read as they are gone through. If they were read before and held
    until they are written, thousands of rows would leave the processor's caches, which costs more than the reading.
    """

    def __init__(
        self, kept: Sequence[RequestRow | bytes], sessions: AbstractSet[str], late: AbstractSet[str] = frozenset()
    ) -> None:
        self.sessions = sessions
        """The sessions that the rows belong to."""
        self._kept = kept
        self._late = late

    @classmethod
    def by_key(cls, kept: Mapping[str, RequestRow | bytes], sessions: AbstractSet[str]) -> Rows:
        """Rows, and lines that are to hold rows, which are kept by their keys."""
        return cls([kept[key] for key in sorted(kept)], sessions)

    @classmethod
    def most_telling(cls, rows: Iterable[RequestRow], *, rebuild: bool) -> Rows:
        """Of rows with one key the one that would be left of them, one after the other."""
        best: dict[str, RequestRow] = {}
        for row in rows:
            known = best.setdefault(row[_REQUEST_KEY], row)
            if row[_RECORDS] > known[_RECORDS] or (rebuild and row[_RECORDS] == known[_RECORDS]):
                best[row[_REQUEST_KEY]] = row
        return cls.by_key(best, {row[_SESSION_ID] for row in best.values()} - {None})

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[RequestRow]:
        rows = (_row_in(kept) if isinstance(kept, bytes) else kept for kept in self._kept)
        return map(self._marked, rows) if self._late else rows

    def _marked(self, row: RequestRow) -> RequestRow:
        return (*row[:_LATE], True, *row[_LATE + 1 :]) if row[_SESSION_ID] in self._late else row

    def part(self, begin: int, end: int | None = None) -> Rows:
        """Some of the rows."""
        return Rows(self._kept[begin:end], self.sessions, self._late)

    def late(self, sessions: AbstractSet[str]) -> Rows:
        """The same rows, those of some sessions marked as late."""
        return Rows(self._kept, self.sessions, sessions)


def write_requests(connection: Connection, table: sa.Table, rows: Rows, *, rebuild: bool) -> int:
    """Write rows; how many were new or told more.

    To hand a row over costs three times as much as to ask whether it is known. So if some of the first are known
    already, the rest is asked for.
    """
    columns, on_conflict = column_names(Request), replace_lesser_request(rebuild=rebuild)
    written = write_rows(connection, table, columns, rows.part(0, _FIRST_ROWS), on_conflict) if rows else 0
    rest = rows.part(_FIRST_ROWS)
    if not rest:
        return written
    if written == _FIRST_ROWS:
        return written + write_new_rows(connection, table, columns, rest, on_conflict)
    return written + write_rows(
        connection, table, columns, _telling_more(connection, rest, rebuild=rebuild), on_conflict
    )


def _telling_more(connection: Connection, rows: Rows, *, rebuild: bool) -> list[RequestRow]:
    """Rows less those that would change nothing. What is known of a request never becomes less meanwhile."""
    keys = [row[_REQUEST_KEY] for row in rows]
    sqlite = connection.dialect.name == "sqlite"
    found = connection.exec_driver_sql(known_records(sqlite=sqlite), (canonical_json(keys) if sqlite else keys,))
    known = {row.request_key: row.records for row in found}
    least = 0 if rebuild else 1
    return [row for row in rows if row[_RECORDS] >= known.get(row[_REQUEST_KEY], 0) + least]
