"""Opening a ledger: made or migrated as needed, by several processes at once, or refused in one line."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
import sqlalchemy as sa
from tests.integration.ledgers import Ledgers, PostgresLedgers, add_session, dump, empty_ledger, opened
from tests.integration.postgres_server import GUARDED_USER, PASSWORD, PostgresServer

from agentdyno.core.errors import DynoError, LedgerNewer, LedgerUnavailable, UserError
from agentdyno.core.records import Credential
from agentdyno.store.address import DATABASE_URL, PostgresAddress, naming
from agentdyno.store.ledger import Ledger
from agentdyno.store.migrate import HEAD, current_revision

OPENER = """
import sys
from agentdyno.store.address import ledger_address
from agentdyno.store.ledger import Ledger
print("ready", flush=True)
for line in sys.stdin:
    Ledger.open(ledger_address(line.rstrip("\\n"))).close()
    print("opened", flush=True)
"""


@pytest.mark.parametrize(
    ("pragma", "value"),
    [("journal_mode", "wal"), ("foreign_keys", 1), ("synchronous", 1)],
)
def test_every_connection_is_configured(tmp_path: Path, pragma: str, value: object) -> None:
    with empty_ledger(tmp_path) as ledger, ledger.read() as one, ledger.write() as another:
        assert [c.exec_driver_sql(f"PRAGMA {pragma}").scalar() for c in (one, another)] == [value, value]


def test_foreign_keys_are_kept(ledgers: Ledgers) -> None:
    orphan = Credential("hash", session_id="ses_nowhere", alias="a", created_at_us=0, expires_at_us=0)
    with opened(ledgers) as ledger, pytest.raises(sa.exc.IntegrityError, match=r"(?i)foreign key"):
        ledger.issue(orphan)


def test_a_ledger_is_made_when_it_is_first_opened(ledgers: Ledgers) -> None:
    address = ledgers.nothing_yet()
    first = Ledger.open(address)
    add_session(first)
    before = dump(first)
    first.close()
    second = Ledger.open(address)
    assert dump(second) == before
    assert second.upgrade() == (HEAD, HEAD)
    second.close()
    ledgers.give_back(address)


def test_a_ledger_that_is_read_as_it_is_is_not_made(ledgers: Ledgers) -> None:
    address = ledgers.nothing_yet()
    with contextlib.closing(Ledger.at(address)) as ledger:
        with pytest.raises(LedgerUnavailable):
            ledger.session("ses_1")
        assert ledger.upgrade() == (None, HEAD)
        assert ledger.session("ses_1") is None
    ledgers.give_back(address)


@pytest.mark.parametrize("name", ["what?.sqlite", "100%.sqlite", "a b#c.sqlite", "größe.sqlite"])
def test_a_ledger_may_have_any_name(tmp_path: Path, name: str) -> None:
    Ledger.open(tmp_path / name).close()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_several_processes_may_open_a_new_ledger_at_once(ledgers: Ledgers) -> None:
    with contextlib.ExitStack() as stack:
        openers = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", OPENER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            for _ in range(3)
        ]
        assert answers(openers) == ["ready"] * 3
        for _ in range(4):
            address = ledgers.nothing_yet()
            for opener in openers:
                tell(opener, naming(address)[DATABASE_URL])
            assert answers(openers) == ["opened"] * 3
            ledgers.give_back(address)
        for opener in openers:
            opener.communicate()


def tell(opener: subprocess.Popen[str], url: str) -> None:
    assert opener.stdin is not None
    opener.stdin.write(f"{url}\n")
    opener.stdin.flush()


def answers(openers: list[subprocess.Popen[str]]) -> list[str]:
    return [opener.stdout.readline().strip() for opener in openers if opener.stdout is not None]


def test_a_newer_ledger_is_refused_and_left_alone(ledgers: Ledgers) -> None:
    with opened(ledgers) as ledger:
        with ledger.write() as connection:
            connection.exec_driver_sql("UPDATE agentdyno_schema SET version_num = '9999'")
        with pytest.raises(LedgerNewer) as refused:
            Ledger.open(ledger.address)
        assert refused.value.exit_code == 2
        assert "9999" in str(refused.value)
        assert "\n" not in str(refused.value)
        with ledger.read() as connection:
            assert current_revision(connection) == "9999"


def folder_there(path: Path) -> Path:
    path.mkdir()
    return path


def file_above(path: Path) -> Path:
    path.write_text("a file")
    return path / "ledger.sqlite"


def garbage(path: Path) -> Path:
    path.write_bytes(b"this was never a database " * 100)
    return path


def no_folder(path: Path) -> Path:
    return path / "deeper" / "ledger.sqlite"


def unwritable(_path: Path) -> Path:
    return Path("/proc/ledger.sqlite")  # nobody may write there, not even root


@pytest.mark.parametrize("place", [folder_there, file_above, garbage, no_folder, unwritable])
def test_what_cannot_be_a_ledger_is_refused_in_one_line(tmp_path: Path, place: Callable[[Path], Path]) -> None:
    path = place(tmp_path / "ledger.sqlite")
    with pytest.raises(LedgerUnavailable) as refused:
        Ledger.open(path)
    assert refused.value.exit_code == 1
    assert path.name in str(refused.value)
    assert "\n" not in str(refused.value)


# ── a server ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def guarded(postgres_ledgers: PostgresLedgers) -> Iterator[PostgresAddress]:
    """A database that asks for a password."""
    server = postgres_ledgers.server
    server.execute(f"CREATE USER {GUARDED_USER} PASSWORD '{PASSWORD}' SUPERUSER")
    yield PostgresAddress(server.url("migrated", f"{GUARDED_USER}:{quote(PASSWORD, safe='')}"))
    server.execute(f"DROP USER {GUARDED_USER}")


def test_a_ledger_with_a_password_opens_and_does_not_show_it(guarded: PostgresAddress) -> None:
    with contextlib.closing(Ledger.open(guarded)) as ledger:
        assert ledger.session("ses_1") is None
        with pytest.raises(sa.exc.IntegrityError) as refused:
            ledger.issue(Credential("hash", session_id="ses_nowhere", alias="a", created_at_us=0, expires_at_us=0))
    shown = "".join(traceback.format_exception(refused.value)) + f"{ledger.address} {vars(ledger)}"
    assert PASSWORD not in shown
    assert quote(PASSWORD, safe="") not in shown


def wrong_password(server: PostgresServer) -> str:
    return server.url("migrated", f"{GUARDED_USER}:wrong-geheim")


def no_such_database(server: PostgresServer) -> str:
    return server.url("nowhere", "owner:geheim")


def no_such_user(server: PostgresServer) -> str:
    return server.url("migrated", "nobody:geheim")


def nobody_listens(_: PostgresServer) -> str:
    return "postgresql://owner:geheim@127.0.0.1:1/migrated"


def no_such_parameter(_: PostgresServer) -> str:
    return "postgresql://owner:geheim@127.0.0.1:1/migrated?sslmood=geheim"


def no_time(_: PostgresServer) -> str:
    return "postgresql://owner:geheim@127.0.0.1:1/migrated?connect_timeout=geheim"


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize(
    ("url_of", "said"),
    [
        (wrong_password, "password authentication failed"),
        (no_such_database, 'database "nowhere" does not exist'),
        (no_such_user, 'role "nobody" does not exist'),
        (nobody_listens, "Connection refused"),
        (no_such_parameter, "parameters that PostgreSQL does not know"),
        (no_time, "parameters that PostgreSQL does not know"),
    ],
)
def test_a_server_that_cannot_be_used_is_named_in_one_line(
    postgres_ledgers: PostgresLedgers, url_of: Callable[[PostgresServer], str], said: str
) -> None:
    with pytest.raises(DynoError) as refused:
        Ledger.open(PostgresAddress(url_of(postgres_ledgers.server)))
    assert said in str(refused.value)
    assert "; " in str(refused.value)  # and what to do about it
    assert "\n" not in str(refused.value)
    assert "geheim" not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize(
    ("change", "user"),
    [("CREATE TABLE session (theirs INTEGER)", "owner"), ("REVOKE ALL ON SCHEMA public FROM PUBLIC", "newcomer")],
)
def test_a_database_in_which_no_tables_can_be_made_is_told_from_a_server_that_is_away(
    postgres_ledgers: PostgresLedgers, change: str, user: str
) -> None:
    address = postgres_ledgers.nothing_yet()
    with psycopg.connect(address.url) as connection:
        connection.execute(f"CREATE ROLE newcomer LOGIN; {change}".encode())
    try:
        with pytest.raises(LedgerUnavailable, match=r"; its user must own its tables, in a database or schema for"):
            Ledger.open(PostgresAddress(address.url.replace("//owner@", f"//{user}@")))
    finally:
        postgres_ledgers.give_back(address)
        postgres_ledgers.server.execute("DROP ROLE newcomer")


def test_a_file_that_holds_no_text_where_text_should_be_is_damaged(tmp_path: Path) -> None:
    with empty_ledger(tmp_path) as ledger:
        add_session(ledger, label="quite readable")
    file = tmp_path / "ledger.sqlite"
    file.write_bytes(file.read_bytes().replace(b"quite readable", b"\xff" * 14))
    with contextlib.closing(Ledger.open(file)) as ledger, pytest.raises(LedgerUnavailable, match="damaged"):
        ledger.session("ses_1")


def test_a_database_that_cannot_hold_every_text_is_refused(postgres_ledgers: PostgresLedgers) -> None:
    postgres_ledgers.server.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    with pytest.raises(UserError, match=r"encoded in LATIN1; .*ENCODING 'UTF8'"):
        Ledger.open(postgres_ledgers.address("latin"))


def test_who_may_not_write_is_told_so(postgres_ledgers: PostgresLedgers) -> None:
    server = postgres_ledgers.server
    server.execute("CREATE USER reader")
    with pytest.raises(LedgerUnavailable, match="permission denied"):
        Ledger.open(PostgresAddress(server.url("migrated", "reader")))
    server.execute("DROP USER reader")
