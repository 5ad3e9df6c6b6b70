"""Bringing a ledger's schema up to date with Alembic."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from agentdyno.core.errors import LedgerNewer

HEAD = "0002"
"""The newest migration. Kept here so that opening a ledger that is up to date need not load Alembic."""


def current_revision(connection: Connection) -> str | None:
    """The revision that the ledger is at; None for an empty database."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()


def bring_up_to_date(engine: Engine) -> None:
    """Apply the migrations that are missing. Raises LedgerNewer when the ledger is ahead of this code."""
    with engine.connect() as connection, connection.begin():
        if current_revision(connection) == HEAD:
            return
    with engine.connect() as plain:
        connection = plain.execution_options(writes=True)
        # Two processes may open a new ledger at once: the one that waited finds it up to date.
        with connection.begin():
            revision = current_revision(connection)
            if revision != HEAD:
                _upgrade(connection, revision)


def _upgrade(connection: Connection, revision: str | None) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision is not None and revision not in known:
        raise LedgerNewer(
            f"the ledger is at schema {revision}, newer than this agentdyno knows (up to {HEAD})",
            "upgrade agentdyno, or point DYNO_HOME at another folder",
        )
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)
