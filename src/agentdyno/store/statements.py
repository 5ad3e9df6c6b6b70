"""SQL that SQLite and PostgreSQL both read. What stands for a value is the driver's: `?` or `%s`."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

from agentdyno.core.records import Request, SpoolCursor
from agentdyno.store.rows import column_names

IGNORE_KNOWN = "ON CONFLICT DO NOTHING"


def listed(columns: Iterable[str]) -> str:
    """Names of columns, quoted: some of our words are also SQL's (commit, values)."""
    return ", ".join(f'"{column}"' for column in columns)


@functools.cache
def insert(table: str, columns: Sequence[str], placeholder: str) -> str:
    """Insert one row of values."""
    places = ", ".join([placeholder] * len(columns))
    return f"INSERT INTO {table} ({listed(columns)}) VALUES ({places})"  # noqa: S608 - names are ours


def insert_from(stage: str, table: str, columns: Sequence[str]) -> str:
    """Insert all rows of a stage."""
    names = listed(columns)
    return f"INSERT INTO {table} ({names}) SELECT {names} FROM {stage}"  # noqa: S608 - names are ours


def replace_lesser_request(*, rebuild: bool) -> str:
    """What becomes of a request that is known already: more records win or, with `rebuild`, as many."""
    # `late` says when a row first came: a later record of the same request does not change that.
    changed = [name for name in column_names(Request) if name not in ("request_key", "late")]
    changes = ", ".join(f'"{name}" = excluded."{name}"' for name in changed)
    known_less = "request.records <= excluded.records" if rebuild else "request.records < excluded.records"
    return f"ON CONFLICT (request_key) DO UPDATE SET {changes} WHERE {known_less}"


def known_records(*, sqlite: bool) -> str:
    """How many records speak for each request that is known, of a list of keys: in SQLite a JSON array."""
    keys = "IN (SELECT value FROM json_each(?))" if sqlite else "= ANY(%s)"
    return f"SELECT request_key, records FROM request WHERE request_key {keys}"  # noqa: S608 - ours


def advance_cursor(placeholder: str) -> str:
    """Move a cursor on, never back."""
    return f"""
{insert("spool_cursor", column_names(SpoolCursor), placeholder)}
ON CONFLICT (gateway_id) DO UPDATE
SET segment = excluded.segment, offset_bytes = excluded.offset_bytes, closed = excluded.closed
WHERE (excluded.segment, excluded.offset_bytes, excluded.closed)
    > (spool_cursor.segment, spool_cursor.offset_bytes, spool_cursor.closed)
"""
