"""Opening a ledger: made or migrated as needed, by several processes at once, or refused in one line."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.integration.ledgers import add_session, dump, empty_ledger

from agentdyno.core.errors import LedgerNewer, LedgerUnavailable
from agentdyno.core.records import Credential
from agentdyno.store.ledger import Ledger

OPENER = """
import sys
from pathlib import Path
from agentdyno.store.ledger import Ledger
print("ready", flush=True)
for line in sys.stdin:
    Ledger.open(Path(line.rstrip("\\n"))).close()
    print("opened", flush=True)
"""


@pytest.mark.parametrize(
    ("pragma", "value"),
    [("journal_mode", "wal"), ("foreign_keys", 1), ("synchronous", 1)],
)
def test_every_connection_is_configured(tmp_path: Path, pragma: str, value: object) -> None:
    with empty_ledger(tmp_path) as ledger, ledger.read() as one, ledger.write() as another:
        assert [c.exec_driver_sql(f"PRAGMA {pragma}").scalar() for c in (one, another)] == [value, value]


def test_foreign_keys_are_kept(tmp_path: Path) -> None:
    orphan = Credential("hash", session_id="ses_nowhere", alias="a", created_at_us=0, expires_at_us=0)
    with empty_ledger(tmp_path) as ledger, pytest.raises(sa.exc.IntegrityError, match="FOREIGN KEY"):
        ledger.issue(orphan)


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    first = Ledger.open(path)
    add_session(first)
    before = dump(first)
    first.close()
    second = Ledger.open(path)
    assert dump(second) == before
    second.close()


@pytest.mark.parametrize("name", ["what?.sqlite", "100%.sqlite", "a b#c.sqlite", "größe.sqlite"])
def test_a_ledger_may_have_any_name(tmp_path: Path, name: str) -> None:
    Ledger.open(tmp_path / name).close()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_several_processes_may_open_a_new_ledger_at_once(tmp_path: Path) -> None:
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
        for number in range(4):
            for opener in openers:
                tell(opener, tmp_path / f"ledger-{number}.sqlite")
            assert answers(openers) == ["opened"] * 3
        for opener in openers:
            opener.communicate()


def tell(opener: subprocess.Popen[str], path: Path) -> None:
    assert opener.stdin is not None
    opener.stdin.write(f"{path}\n")
    opener.stdin.flush()


def answers(openers: list[subprocess.Popen[str]]) -> list[str]:
    return [opener.stdout.readline().strip() for opener in openers if opener.stdout is not None]


def test_a_newer_ledger_is_refused_and_left_alone(tmp_path: Path) -> None:
    with empty_ledger(tmp_path) as ledger, ledger.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    before = (tmp_path / "ledger.sqlite").read_bytes()
    with pytest.raises(LedgerNewer) as refused:
        Ledger.open(tmp_path / "ledger.sqlite")
    assert refused.value.exit_code == 2
    assert "9999" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert (tmp_path / "ledger.sqlite").read_bytes() == before


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
