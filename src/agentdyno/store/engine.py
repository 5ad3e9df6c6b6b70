"""The connections under a ledger: SQLite, set up so that many processes may read and write at once."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

_PRAGMAS = ("synchronous=NORMAL", "foreign_keys=ON", "cache_size=-64000", "wal_autocheckpoint=10000")
_RETRY_S = 0.01
_PRIMARY_CODE = 0xFF
"""The part of SQLite's error codes that all variants of one error share."""


def sqlite_engine(path: Path, busy_timeout_s: float) -> Engine:
    """Connections to the file at `path`, which wait for a lock up to `busy_timeout_s`."""
    url = sa.URL.create("sqlite", database=str(path))
    engine = sa.create_engine(url, connect_args={"timeout": busy_timeout_s})

    def configure(dbapi_connection: sqlite3.Connection, _record: Any) -> None:
        # SQLAlchemy begins transactions itself (see _begin): the driver must not.
        dbapi_connection.isolation_level = None
        try:
            _write_ahead(dbapi_connection, busy_timeout_s)
            for pragma in _PRAGMAS:
                dbapi_connection.execute(f"PRAGMA {pragma}")
        except sqlite3.Error:
            dbapi_connection.close()
            raise

    sa.event.listen(engine, "connect", configure)
    sa.event.listen(engine, "begin", _begin)
    return engine


def _write_ahead(connection: sqlite3.Connection, busy_timeout_s: float) -> None:
    deadline = time.monotonic() + busy_timeout_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            # While another process makes the same new file, SQLite says so at once, whatever its busy timeout is.
            busy = error.sqlite_errorcode & _PRIMARY_CODE == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_S)
        else:
            return


def _begin(connection: Connection) -> None:
    # A deferred transaction that reads first and writes later fails at once when another writer was in between.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
