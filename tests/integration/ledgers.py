"""Ledgers for tests: real SQLite files and PostgreSQL databases, made quickly, and dumped whole."""

from __future__ import annotations

import contextlib
import functools
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, Protocol
from urllib.parse import urlsplit

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from tests.integration.postgres_server import PostgresServer

from agentdyno.core.jsonable import content_digest
from agentdyno.core.records import Session, TaskCard
from agentdyno.store.address import LedgerAddress, PostgresAddress
from agentdyno.store.ledger import Ledger
from agentdyno.store.tables import build_metadata

TASK_CARD = TaskCard(name="sums", goal="right sums", prompt="What is 2 + 2?")


class Ledgers(Protocol):
    """Where tests get ledgers from; each is another one."""

    @property
    def kind(self) -> Literal["sqlite", "postgresql"]:
        """Which database it is."""
        ...

    def nothing_yet(self) -> LedgerAddress:
        """The address of a ledger that has not been made."""
        ...

    def empty(self) -> LedgerAddress:
        """The address of a ledger without rows; copied or used once more, since migrating takes longer."""
        ...

    def give_back(self, address: LedgerAddress) -> None:
        """Let a ledger go that nobody has open."""
        ...


class SqliteLedgers:
    """Files in a folder."""

    kind: Final = "sqlite"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()

    def nothing_yet(self) -> Path:
        return self._folder / f"ledger-{next(self._numbers)}.sqlite"

    def empty(self) -> Path:
        path = self.nothing_yet()
        path.write_bytes(_empty())
        return path

    def give_back(self, address: LedgerAddress) -> None:
        assert isinstance(address, Path)
        address.unlink(missing_ok=True)


class PostgresLedgers:
    """Databases of one server."""

    kind: Final = "postgresql"
    _template = "migrated"

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self._numbers = itertools.count()
        self._emptied: list[PostgresAddress] = []
        self._create(self._template, "template0")
        Ledger.open(self.address(self._template)).close()
        with psycopg.connect(server.url(self._template)) as connection:
            self._schema = connection.execute(_SCHEMA).fetchone()

    def address(self, database: str) -> PostgresAddress:
        return PostgresAddress(self.server.url(database))

    def nothing_yet(self) -> PostgresAddress:
        return self._another("template0")

    def empty(self) -> PostgresAddress:
        return self._emptied.pop() if self._emptied else self._another(self._template)

    def give_back(self, address: LedgerAddress) -> None:
        assert isinstance(address, PostgresAddress)
        if self._is_emptied(address):
            self._emptied.append(address)
        else:
            self.server.execute(f"DROP DATABASE {urlsplit(address.url).path.lstrip('/')} WITH (FORCE)")

    def _is_emptied(self, address: PostgresAddress) -> bool:
        """Whether it is again as it was: its test may have changed more than rows."""
        with contextlib.suppress(psycopg.errors.UndefinedTable), psycopg.connect(address.url) as connection:
            if connection.execute(_SCHEMA).fetchone() == self._schema:
                connection.execute(_DELETE_ALL)
                return True
        return False

    def _another(self, template: str) -> PostgresAddress:
        database = f"ledger_{next(self._numbers)}"
        self._create(database, template)
        return self.address(database)

    def _create(self, database: str, template: str) -> None:
        self.server.execute(f"CREATE DATABASE {database} TEMPLATE {template}")


_DELETE_ALL = "; ".join(f"DELETE FROM {table}" for table in reversed(build_metadata().sorted_tables)).encode()
_SCHEMA = b"""
SELECT array_agg(item ORDER BY item) FROM (
    SELECT table_name || column_name || data_type FROM information_schema.columns WHERE table_schema = 'public'
    UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL SELECT tgname || tgrelid FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT version_num FROM agentdyno_schema
) AS items (item)
"""


@functools.cache
def _empty() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        Ledger.open(path).close()
        return path.read_bytes()


@contextlib.contextmanager
def opened(ledgers: Ledgers) -> Iterator[Ledger]:
    """A ledger without rows, open for as long as the context lasts, and then gone."""
    address = ledgers.empty()
    ledger = Ledger.open(address)
    try:
        yield ledger
    finally:
        ledger.close()
        ledgers.give_back(address)


@contextlib.contextmanager
def empty_ledger(folder: Path) -> Iterator[Ledger]:
    """A migrated ledger without rows, `ledger.sqlite` in the folder."""
    path = folder / "ledger.sqlite"
    path.write_bytes(_empty())
    ledger = Ledger.open(path)
    try:
        yield ledger
    finally:
        ledger.close()


def session_row(session_id: str = "ses_1", **fields: object) -> Session:
    """A session that has just been created."""
    known = {
        "phase": "created",
        "variant": "plain",
        "task_card": TASK_CARD.name,
        "harness_profile": "llm",
        "provider": "scripted",
        "model": "m",
        "variant_fingerprint": "sha256:0",
        "task_card_digest": content_digest(TASK_CARD),
        "created_at_us": 1_000,
        "expires_at_us": 9_000,
    }
    return Session(session_id=session_id, **(known | fields))  # type: ignore[arg-type]  # fields by name


def add_session(ledger: Ledger, session_id: str = "ses_1", **fields: object) -> None:
    """Put a session and its task card into the ledger."""
    ledger.remember([TASK_CARD])
    ledger.add_session(session_row(session_id, **fields))


def dump(ledger: Ledger) -> dict[str, list[str]]:
    """Every row of every table as the database keeps it, as text, ordered by key."""
    with ledger.read() as connection:
        return {name: _rows(connection, table) for name, table in ledger.tables.items()}


def _rows(connection: Connection, table: sa.Table) -> list[str]:
    keys = ", ".join(column.name for column in table.primary_key)
    return [repr(tuple(row)) for row in connection.exec_driver_sql(f"SELECT * FROM {table.name} ORDER BY {keys}")]


def refuse_inserts(ledger: Ledger, table: str, when: str = "true") -> None:
    """Let the database refuse new rows, as it would where a constraint fails, until `allow_inserts`."""
    refusal = f"CREATE TRIGGER refusal BEFORE INSERT ON {table}"
    with ledger.write() as connection:
        if connection.dialect.name == "sqlite":
            connection.execute(sa.text(f"{refusal} WHEN {when} BEGIN SELECT RAISE(ABORT, 'refused'); END"))
        else:
            connection.execute(sa.text(REFUSE))
            connection.execute(sa.text(f"{refusal} FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION refuse()"))


def allow_inserts(ledger: Ledger, table: str) -> None:
    """Take that back."""
    with ledger.write() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("DROP TRIGGER refusal")
        else:
            connection.exec_driver_sql(f"DROP TRIGGER refusal ON {table}")
            connection.exec_driver_sql("DROP FUNCTION refuse")


REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = 'integrity_constraint_violation'; END $$
"""
