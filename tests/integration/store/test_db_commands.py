"""`dyno db` as a person calls it."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.integration.ledgers import PostgresLedgers, dump
from tests.integration.postgres_server import GUARDED_USER, PASSWORD
from tests.integration.stand_process import Project, StandProcess
from tests.integration.store.full_ledger import fill

from agentdyno.store.address import PostgresAddress
from agentdyno.store.checking import check
from agentdyno.store.ledger import Ledger
from agentdyno.store.migrate import HEAD


@pytest.fixture
def ledger_file(project: Project, tmp_path: Path) -> Path:
    """A SQLite ledger with rows in it."""
    path = tmp_path / "ledger.sqlite"
    with contextlib.closing(Ledger.open(path)) as ledger:
        fill(ledger)
    return path


def test_an_upgrade_says_from_which_schema_to_which(project: Project, postgres_ledgers: PostgresLedgers) -> None:
    address = postgres_ledgers.nothing_yet()
    url = address.url
    assert project.dyno("db", "upgrade", DYNO_DATABASE_URL=url) == f"{address} is made, at schema {HEAD}\n"
    assert project.dyno("db", "upgrade", DYNO_DATABASE_URL=url) == f"{address} is at schema {HEAD} already\n"
    shown = json.loads(project.dyno("db", "upgrade", "--json", DYNO_DATABASE_URL=url))
    assert shown == {"ledger": str(address), "before": HEAD, "after": HEAD}
    postgres_ledgers.give_back(address)


def test_a_check_fails_when_something_is_wrong(project: Project, ledger_file: Path) -> None:
    url = f"sqlite:///{ledger_file}"
    assert project.dyno("db", "check", DYNO_DATABASE_URL=url).endswith(f"{ledger_file}: whole\n")
    with contextlib.closing(Ledger.open(ledger_file)) as ledger, ledger.write() as connection:
        connection.exec_driver_sql("DROP INDEX ix_request_session_id")
    failed = project.run("db", "check", "--json", DYNO_DATABASE_URL=url)
    assert failed.returncode == 1
    assert json.loads(failed.stdout)["faults"] == ["add index ix_request_session_id would mend it"]


def test_a_check_makes_no_file(project: Project, tmp_path: Path) -> None:
    failed = project.run("db", "check", DYNO_DATABASE_URL=f"sqlite:///{tmp_path}/nothing.sqlite")
    assert (failed.returncode, list(tmp_path.iterdir())) == (2, [])
    assert failed.stderr.startswith(f"there is no ledger {tmp_path}/nothing.sqlite; ")


def test_a_copy_is_verified_and_may_be_repeated(
    project: Project, ledger_file: Path, postgres_ledgers: PostgresLedgers
) -> None:
    address = postgres_ledgers.nothing_yet()
    arguments = ("db", "copy", "--from", str(ledger_file))
    told = project.run(*arguments, DYNO_DATABASE_URL=address.url)
    assert told.returncode == 0, told.stderr
    assert told.stdout.endswith(f"{address}: every row is there as it was\n")
    assert re.fullmatch(r"verifying \w+: (\d+) of \1 rows, [\d,]+ rows/s, 0 s left\n", told.stderr)
    again = json.loads(project.dyno(*arguments, "--to", address.url, "--json"))
    assert again["verified"]
    assert sum(table["written"] for table in again["tables"]) == 0
    with contextlib.closing(Ledger.open(address)) as there, contextlib.closing(Ledger.open(ledger_file)) as here:
        assert check(there).tables == check(here).tables
        before = dump(there)
        with here.write() as connection:
            connection.exec_driver_sql("UPDATE session SET notes = 'changed'")
        refused = project.run(*arguments, "--to", address.url)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "has another row ses_a_open in its table session" in refused.stderr
        assert dump(there) == before
    postgres_ledgers.give_back(address)


@pytest.mark.parametrize("to", ["mysql://ann:geheim@db/x", "postgresql://ann:geh@eim@db/x", "ledger.sqlite"])
def test_where_a_ledger_cannot_be_copied_to_is_said_in_one_line(project: Project, ledger_file: Path, to: str) -> None:
    refused = project.run("db", "copy", "--from", str(ledger_file), "--to", to)
    assert refused.returncode == 2
    assert refused.stderr.startswith("--to ")
    assert refused.stderr.count("\n") == 1
    assert "geh" not in refused.stderr


def test_a_password_is_nowhere_to_be_found(
    project: Project, ledger_file: Path, postgres_ledgers: PostgresLedgers
) -> None:
    server = postgres_ledgers.server
    server.execute(f"CREATE USER {GUARDED_USER} PASSWORD '{PASSWORD}' SUPERUSER")
    address = postgres_ledgers.empty()
    database = str(address).partition("@/")[2].partition("?")[0]
    guarded = PostgresAddress(server.url(database, f"{GUARDED_USER}:{quote(PASSWORD, safe='')}"))
    commands = (("db", "copy", "--from", str(ledger_file)), ("db", "check", "--json"), ("session", "list"))
    said = [project.run(*command, DYNO_DATABASE_URL=guarded.url, DYNO_DEBUG="1") for command in commands]
    assert {done.returncode for done in said} == {0}
    server.execute(f"ALTER USER {GUARDED_USER} PASSWORD 'another'")
    said += [project.run(*command, DYNO_DATABASE_URL=guarded.url, DYNO_DEBUG="1") for command in commands]
    assert {done.returncode for done in said[3:]} == {1}
    written = "".join(path.read_text() for path in project.home.rglob("*") if path.suffix in (".log", ".json", ".yaml"))
    for text in (written, *(done.stdout + done.stderr for done in said)):
        assert PASSWORD not in text
        assert quote(PASSWORD, safe="") not in text
    server.execute(f"DROP USER {GUARDED_USER}")
    postgres_ledgers.give_back(address)


def test_a_ledger_that_a_stand_writes_to_is_not_copied(project: Project, stand: StandProcess) -> None:
    refused = project.run("db", "copy", "--to", "postgresql://nobody@127.0.0.1:9/nothing")
    assert (refused.returncode, refused.stderr) == (
        2,
        "a stand is up, and writes to this ledger; stop it first: `dyno down`\n",
    )
