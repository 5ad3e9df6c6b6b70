"""A ledger at a glance: read past SQLAlchemy, for a shell that waits for no import, and changed in nothing."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

from agentdyno.core.errors import LedgerUnavailable
from agentdyno.store.address import LedgerAddress, PostgresAddress

_TIMEOUT_S = 2
_VERSION_TABLES = {
    # The former name comes second.
    Path: "SELECT name FROM sqlite_master WHERE name IN ('agentdyno_schema', 'alembic_version') ORDER BY name",
    PostgresAddress: "SELECT 'agentdyno_schema' WHERE to_regclass('agentdyno_schema') IS NOT NULL",
}


def newest_session_ids(ledger: LedgerAddress, limit: int, *, only_open: bool) -> tuple[str, ...]:
    """Ids of sessions, newest first; none from a ledger that is missing, busy or of another kind."""
    condition = "WHERE ended_at_us IS NULL" if only_open else ""
    query = f"SELECT session_id FROM session {condition} ORDER BY session_id DESC LIMIT {limit:d}"  # noqa: S608 - ours
    with contextlib.suppress(LedgerUnavailable):
        return tuple(session_id for (session_id,) in _answer(ledger, query))
    return ()


def schema_revision(ledger: LedgerAddress) -> str | None:
    """The revision of a ledger's schema; None for a database without one. Raises LedgerUnavailable."""
    kind = PostgresAddress if isinstance(ledger, PostgresAddress) else Path
    tables = _answer(ledger, _VERSION_TABLES[kind])
    rows = _answer(ledger, f"SELECT version_num FROM {tables[0][0]}") if tables else []  # noqa: S608 - names are ours
    return str(rows[0][0]) if rows else None


def _answer(ledger: LedgerAddress, query: str) -> list[tuple[Any, ...]]:
    return _from_postgres(ledger, query) if isinstance(ledger, PostgresAddress) else _from_sqlite(ledger, query)


def _from_sqlite(ledger: Path, query: str) -> list[tuple[Any, ...]]:
    address = f"{ledger.absolute().as_uri()}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True, timeout=_TIMEOUT_S)) as connection:
            return connection.execute(query).fetchall()
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise LedgerUnavailable(f"{ledger}: {error}") from error


def _from_postgres(ledger: PostgresAddress, query: str) -> list[tuple[Any, ...]]:
    import psycopg  # it takes as long to load as all else together

    try:
        with psycopg.connect(ledger.url, connect_timeout=_TIMEOUT_S) as connection:
            return connection.execute(query.encode()).fetchall()
    except psycopg.ProgrammingError:
        # Not chained: libpq quotes a URL that it cannot read.
        raise LedgerUnavailable(f"{ledger} is not read as a ledger") from None
    except psycopg.Error as error:
        raise LedgerUnavailable(f"{ledger}: {error}") from error
