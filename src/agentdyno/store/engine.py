"""The connections under a ledger, set up so that many processes may read and write at once."""

from __future__ import annotations

import math
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from agentdyno.core.errors import UserError
from agentdyno.store.address import LedgerAddress, PostgresAddress

if TYPE_CHECKING:
    import psycopg

_PRAGMAS = ("synchronous=NORMAL", "foreign_keys=ON", "cache_size=-64000", "wal_autocheckpoint=10000")
_RETRY_S = 0.01
PRIMARY_CODE = 0xFF
"""The part of SQLite's error codes that all variants of one error share."""
_CONNECT_TIMEOUT_S = (2, 5)
"""The least that libpq knows, and as long as a person waits for a server that does not answer."""
_LIBPQ_DEFAULTS = {
    "client_encoding": "utf8",
    "application_name": "agentdyno",
    "keepalives_idle": "30",
    "keepalives_interval": "5",
    "keepalives_count": "3",
}


class Engines(NamedTuple):
    """Two sorts of connections from one pool."""

    reading: Engine
    """Each transaction has one consistent view."""
    writing: Engine
    """Changes of one transaction are seen together, and a row that it locked is seen as it is now."""

    @property
    def placeholder(self) -> str:
        """What stands for a value in the driver's own statements."""
        return "?" if self.writing.dialect.paramstyle == "qmark" else "%s"


def engines_at(address: LedgerAddress, busy_timeout_s: float) -> Engines:
    """Connections to a ledger, which wait for a lock up to `busy_timeout_s`."""
    if isinstance(address, PostgresAddress):
        return postgres_engines(address, busy_timeout_s)
    return sqlite_engines(address, busy_timeout_s)


# ── SQLite ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def sqlite_engines(path: Path, busy_timeout_s: float) -> Engines:
    """Connections to the file at `path`. Of writing transactions there is one at a time."""
    url = sa.URL.create("sqlite", database=str(path))
    engine = sa.create_engine(url, connect_args={"timeout": busy_timeout_s}, hide_parameters=True)

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
    return Engines(engine, engine.execution_options(writes=True))


def _write_ahead(connection: sqlite3.Connection, busy_timeout_s: float) -> None:
    deadline = time.monotonic() + busy_timeout_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            # While another process makes the same new file, SQLite says so at once, whatever its busy timeout is.
            busy = error.sqlite_errorcode & PRIMARY_CODE == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_S)
        else:
            return


def _begin(connection: Connection) -> None:
    # A deferred transaction that reads first and writes later fails at once when another writer was in between.
    writes = connection.get_execution_options().get("writes", False)
    driver = connection.connection.driver_connection  # what SQLAlchemy does around a statement costs ten times that
    if driver is not None:
        driver.execute("BEGIN IMMEDIATE" if writes else "BEGIN")


# ── PostgreSQL ───────────────────────────────────────────────────────────────────────────────────────────────────────


def postgres_engines(address: PostgresAddress, busy_timeout_s: float) -> Engines:
    """Connections to the database. SQLAlchemy is told no address, so that none of its messages can quote a password.

    Writing needs no more than READ COMMITTED: what is decided on what was read is decided under a lock of the rows that
    it was read from, and a statement after the lock sees all that was committed before. A stricter level would instead
    fail whoever waited. Raises UserError for a URL with parameters that libpq does not know.
    """
    parameters = libpq_parameters(address, busy_timeout_s)

    def connect() -> psycopg.Connection[Any]:
        import psycopg

        connection = psycopg.connect(autocommit=True, **parameters)
        try:
            # By a statement, since not every pooler takes them as options of the connection.
            connection.execute(f"SET lock_timeout = {round(busy_timeout_s * 1000)}; SET client_min_messages = warning")
            connection.autocommit = False
        except psycopg.Error:
            connection.close()
            raise
        return connection

    engine = sa.create_engine("postgresql+psycopg://", creator=connect, hide_parameters=True)
    return Engines(
        engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True),
        engine.execution_options(isolation_level="READ COMMITTED"),
    )


def libpq_parameters(address: PostgresAddress, timeout_s: float) -> dict[str, Any]:
    """What `psycopg.connect` takes: the URL's parameters, and ours where it says nothing.

    Raises UserError, which quotes nothing, for a URL that libpq cannot read.
    """
    import psycopg
    from psycopg.conninfo import conninfo_to_dict, timeout_from_conninfo

    least_s, most_s = _CONNECT_TIMEOUT_S
    patience = {"connect_timeout": max(least_s, min(most_s, math.ceil(timeout_s)))}
    try:
        parameters = {**_LIBPQ_DEFAULTS, **patience, **conninfo_to_dict(address.url)}
        timeout_from_conninfo(parameters)
    except psycopg.ProgrammingError:
        # Not chained: libpq quotes what it cannot read.
        fault = UserError(f"the URL of {address} has parameters that PostgreSQL does not know", "mend what follows ?")
        raise fault from None
    return parameters
