"""Bringing a ledger's schema up to date with Alembic."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from agentdyno.core.errors import LedgerNewer, UserError
from agentdyno.store.engine import Engines

VERSION_TABLE = "agentdyno_schema"
"""Where the revision is kept. Alembic's own name for it may be another application's in the same database."""
_FORMER_VERSION_TABLE = "alembic_version"
HEAD = "0004"
"""The newest migration. Kept here so that opening a ledger that is up to date need not load Alembic."""
_ADVISORY_LOCK = int.from_bytes(b"agentdyn", "big")
"""What processes that would migrate the same PostgreSQL database agree to wait for."""


class Upgraded(NamedTuple):
    """Revisions of the schema."""

    before: str | None
    """None for an empty database."""
    after: str


def current_revision(connection: Connection) -> str | None:
    """The revision that the ledger is at; None for an empty database."""
    table = _version_table(connection)
    if table is None:
        return None
    return connection.exec_driver_sql(f"SELECT version_num FROM {table}").scalar()  # noqa: S608 - names are ours


def _version_table(connection: Connection) -> str | None:
    """Where this ledger keeps its revision. The former name counts in SQLite alone, whose files are nobody else's."""
    there = sa.inspect(connection).has_table
    if there(VERSION_TABLE):
        return VERSION_TABLE
    return _FORMER_VERSION_TABLE if connection.dialect.name == "sqlite" and there(_FORMER_VERSION_TABLE) else None


def bring_up_to_date(engines: Engines) -> Upgraded:
    """Apply the migrations that are missing. Raises LedgerNewer when the ledger is ahead of this code."""
    with engines.reading.connect() as connection, connection.begin():
        if current_revision(connection) == HEAD:
            return Upgraded(HEAD, HEAD)
    # Two processes may open a new ledger at once: the one that waited finds it up to date.
    with engines.writing.connect() as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
        revision = current_revision(connection)
        if revision != HEAD:
            if _version_table(connection) == _FORMER_VERSION_TABLE:
                connection.exec_driver_sql(f"ALTER TABLE {_FORMER_VERSION_TABLE} RENAME TO {VERSION_TABLE}")
            _upgrade(connection, revision)
        return Upgraded(revision, HEAD)


def _upgrade(connection: Connection, revision: str | None) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    _require_utf8(connection)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision is not None and revision not in known:
        raise LedgerNewer(
            f"the ledger is at schema {revision}, newer than this agentdyno knows (up to {HEAD})",
            "upgrade agentdyno, or name another ledger by DYNO_HOME or DYNO_DATABASE_URL",
        )
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)


def _require_utf8(connection: Connection) -> None:
    """Raise UserError for a PostgreSQL database that cannot hold every text."""
    if connection.dialect.name == "postgresql":
        encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
        if encoding != "UTF8":
            raise UserError(f"the database is encoded in {encoding}", "make it anew: CREATE DATABASE … ENCODING 'UTF8'")
