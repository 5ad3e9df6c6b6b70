"""A ledger of an older agentdyno is brought up to date with all its rows."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from tests.integration.ledgers import Ledgers, PostgresLedgers
from tests.integration.store.request_rows import request_row

from agentdyno.core.records import HarnessProfile, Session, TaskCard
from agentdyno.store import migrate
from agentdyno.store.address import LedgerAddress
from agentdyno.store.checking import check
from agentdyno.store.engine import engines_at
from agentdyno.store.glance import schema_revision
from agentdyno.store.ledger import Ledger
from agentdyno.store.migrate import HEAD
from agentdyno.store.queries import rollups_by_session

FIRST_ROWS: dict[str, dict[str, Any]] = {
    "task_card": {
        "digest": "sha256:card",
        "name": "sums",
        "goal": "right sums",
        "prompt": "2 + 2",
        "stop_condition": "",
        "files": "{}",
        "checks": "[]",
    },
    "harness_profile": {
        "digest": "sha256:profile",
        "name": "llm",
        "surface": "openai_chat",
        "env": "{}",
        "description": "",
        "files": "{}",
        "command": "[]",
        "version_command": "[]",
        "settings": "{}",
        "limits": "[]",
    },
    "session": {
        "session_id": "ses_1",
        "phase": "collected",
        "variant": "plain",
        "task_card": "sums",
        "harness_profile": "llm",
        "provider": "scripted",
        "model": "m",
        "variant_fingerprint": "sha256:0",
        "task_card_digest": "sha256:card",
        "created_at_us": 1,
        "expires_at_us": 2,
    },
    "credential": {
        "key_hash": "hash",
        "session_id": "ses_1",
        "alias": "a",
        "created_at_us": 1,
        "expires_at_us": 2,
    },
}


def make_first(address: LedgerAddress) -> None:
    """A ledger as the first migration makes it, with a session and a request."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    engine = engines_at(address, busy_timeout_s=5).writing
    with engine.connect() as connection, connection.begin():
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for name, row in FIRST_ROWS.items():
            connection.execute(sa.insert(table(connection, name)), row)
        requests = table(connection, "request")
        known = vars(request_row("req_1", latency_ms=2.5))
        connection.execute(sa.insert(requests), {c.name: known[c.name] for c in requests.columns})
    engine.dispose()


def table(connection: sa.Connection, name: str) -> sa.Table:
    """A table as it is in the database."""
    return sa.Table(name, sa.MetaData(), autoload_with=connection, resolve_fks=False)


def test_a_ledger_of_the_first_schema_keeps_its_rows(ledgers: Ledgers) -> None:
    address = ledgers.nothing_yet()
    make_first(address)
    with contextlib.closing(Ledger.at(address)) as ledger:
        assert ledger.upgrade() == ("0001", HEAD)
        session = ledger.session("ses_1")
        assert isinstance(session, Session)
        assert (session.task_card_digest, session.small_model, session.harness_profile_digest) == (
            "sha256:card",
            None,
            None,
        )
        assert ledger.requests("ses_1") == (request_row("req_1", latency_ms=2.5),)
        scope = ledger.credential_scope("hash")
        assert scope is not None
        assert (scope.session_id, scope.side_calls) == ("ses_1", None)
        # And it goes on: what is new finds its place beside what was there.
        ledger.remember([TaskCard("sums", "right sums", "3 + 3"), HarnessProfile("llm", "openai_chat", {})])
        ledger.absorb([request_row("req_2", latency_ms=0.5)])
        ledger.close_session("ses_1", "completed", 5, None)
        [latency] = [r for r in rollups_by_session(ledger, ["ses_1"])["ses_1"] if r.metric == "latency_ms"]
        assert (latency.n, latency.total) == (2, 3.0)  # 2.5 + 0.5
        assert check(ledger).faults == ()
    ledgers.give_back(address)


def test_another_applications_revisions_are_its_own(postgres_ledgers: PostgresLedgers) -> None:
    address = postgres_ledgers.nothing_yet()
    with contextlib.closing(Ledger.at(address)) as nothing_yet, nothing_yet.write() as connection:
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num text)")
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('theirs')")

    with contextlib.closing(Ledger.open(address)) as ledger, ledger.read() as connection:
        theirs = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars().all()
        ours = connection.exec_driver_sql("SELECT version_num FROM agentdyno_schema").scalars().all()

    assert (theirs, ours) == (["theirs"], [HEAD])
    postgres_ledgers.give_back(address)


def test_a_ledger_file_with_the_former_table_of_revisions(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    Ledger.open(path).close()
    with contextlib.closing(Ledger.at(path)) as former, former.write() as connection:
        connection.exec_driver_sql("ALTER TABLE agentdyno_schema RENAME TO alembic_version")

    with contextlib.closing(Ledger.open(path)) as ledger:
        assert check(ledger).faults == ()
    assert schema_revision(path) == HEAD
