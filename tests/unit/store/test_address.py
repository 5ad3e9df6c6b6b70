"""Naming a ledger by a URL: what is understood, what is refused, and that no password is ever shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentdyno.core.errors import UserError
from agentdyno.store.address import (
    DATABASE_URL,
    LedgerAddress,
    PostgresAddress,
    ledger_address,
    named_ledger,
    naming,
    without_ledger,
)

SECRET = "geheim"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("sqlite:////srv/ledger.sqlite", "/srv/ledger.sqlite"),
        ("sqlite:///ledger.sqlite", "ledger.sqlite"),
        ("sqlite:////srv/what? 100%#.sqlite", "/srv/what? 100%#.sqlite"),
    ],
)
def test_a_sqlite_url_is_a_path_written_as_it_is(text: str, path: str) -> None:
    assert ledger_address(text) == Path(path)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://ann:geheim@db.example:5433/dyno", "postgresql://ann@db.example:5433/dyno"),
        ("postgres://ann@db.example/dyno", "postgresql://ann@db.example/dyno"),
        ("postgresql+psycopg://ann:geheim@[::1]:5/dyno\n", "postgresql://ann@[::1]:5/dyno"),
        ("postgresql://a,b:5/dyno?target_session_attrs=any", "postgresql://a,b:5/dyno"),
        ("postgresql:///dyno?host=/run/pg&password=geheim", "postgresql:///dyno?host=/run/pg"),
        ("postgresql://ann:gehe%40im@db.example/dyno", "postgresql://ann@db.example/dyno"),
    ],
)
def test_a_postgres_url_is_shown_without_its_password(text: str, shown: str) -> None:
    address = ledger_address(text)
    assert isinstance(address, PostgresAddress)
    assert f"{address}" == shown
    assert SECRET not in repr(address)
    assert ledger_address(address.url) == address


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is no URL of a ledger"),
        ("/srv/ledger.sqlite", "is no URL of a ledger"),
        ("sqlite://", "is no URL of a ledger"),
        ("sqlite:///", "is no URL of a ledger"),
        ("ann:geheim@db.example/dyno", "is no URL of a ledger"),
        ("mysql://ann:geheim@db.example/dyno", "names 'mysql', in which no ledger can be"),
        ("postgresql+asyncpg://ann:geheim@db.example/dyno", "names the driver 'asyncpg', which is not ours"),
        ("sqlite+aiosqlite:///x", "names the driver 'aiosqlite', which is not ours"),
        ("postgresql+ann:geheim@db.example://dyno", "is no URL of a ledger"),
        # Of each of these libpq would take a part of the password for something else, and quote it.
        ("postgresql://ann:gehe@geheim@db.example/dyno", "cannot be read as a URL"),
        ("postgresql://ann:geheim/word@db.example/dyno", "cannot be read as a URL"),
        ("postgresql://ann:12/geheim@db.example/dyno", "cannot be read as a URL"),
        ("postgresql://ann:12?geheim@db.example/dyno", "cannot be read as a URL"),
        ("postgresql://ann:12#geheim@db.example/dyno", "cannot be read as a URL"),
        ("postgresql://ann:geheim%zz@db.example/dyno", "cannot be read as a URL"),
        ("postgresql://ann:geheim%00@db.example/dyno", "cannot be read as a URL"),
        ("postgresql://ann:geh eim@db.example/dyno", "cannot be read as a URL"),
        ("postgresql://ann:geheim@db.example:port/dyno", "cannot be read as a URL"),
        ("postgresql://ann:geheim@[::1/dyno", "cannot be read as a URL"),
    ],
)
def test_what_names_no_ledger_is_refused_and_not_quoted(text: str, why: str) -> None:
    with pytest.raises(UserError) as refused:
        ledger_address(text)
    assert str(refused.value).startswith(f"{DATABASE_URL} {why}; ")
    assert SECRET not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_variable_that_is_not_set_names_nothing() -> None:
    assert named_ledger({}) is named_ledger({DATABASE_URL: ""}) is None


def test_a_relative_file_would_be_another_one_in_every_folder() -> None:
    with pytest.raises(UserError, match=r"the file ledger\.sqlite from wherever"):
        named_ledger({DATABASE_URL: "sqlite:///ledger.sqlite"})


@pytest.mark.parametrize("address", [Path("/srv/a ?%.sqlite"), PostgresAddress("postgresql://ann:geheim@db/dyno")])
def test_a_process_is_told_of_a_ledger_by_its_environment(address: LedgerAddress) -> None:
    environ = naming(address)
    assert named_ledger(environ) == address
    assert without_ledger({"PATH": "/bin", **environ}) == {"PATH": "/bin"}
