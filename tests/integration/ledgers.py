"""Ledgers for tests: real SQLite files, made quickly, and dumped whole."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from agentdyno.core.jsonable import content_digest
from agentdyno.core.records import Session, TaskCard
from agentdyno.store.ledger import Ledger

TASK_CARD = TaskCard(name="sums", goal="right sums", prompt="What is 2 + 2?")


@functools.cache
def _empty() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        Ledger.open(path).close()
        return path.read_bytes()


@contextlib.contextmanager
def empty_ledger(folder: Path) -> Iterator[Ledger]:
    """A migrated ledger without rows, `ledger.sqlite` in the folder; copied, since migrating takes longer."""
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
    """Every row of every table as SQLite keeps it, as text, ordered by key."""
    with ledger.read() as connection:
        return {name: _rows(connection, table) for name, table in ledger.tables.items()}


def _rows(connection: Connection, table: sa.Table) -> list[str]:
    keys = ", ".join(column.name for column in table.primary_key)
    return [repr(tuple(row)) for row in connection.exec_driver_sql(f"SELECT * FROM {table.name} ORDER BY {keys}")]
