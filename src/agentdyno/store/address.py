"""Where a ledger is: a SQLite file of its own, or a PostgreSQL database that several stands share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

from agentdyno.core.errors import UserError

DATABASE_URL = "DYNO_DATABASE_URL"
"""The variable that names a ledger other than the home's own. It may hold a password: no harness inherits it."""

_POSTGRES_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
_DATABASES = ("postgresql", "postgres", "sqlite")
_SQLITE_PREFIX = "sqlite:///"
_WAYS_TO_WRITE_IT = "write postgresql://USER@HOST/DATABASE or sqlite:////FOLDER/FILE"
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.%]*\]|[^\[\]:]*)(?::\d*)?")
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")
_NOT_IN_URLS = re.compile(r"[\x00-\x20\x7f]")
_SHOWN_PARAMETERS = ("host", "port", "user", "dbname", "service")


@dataclass(frozen=True)
class PostgresAddress:
    """A PostgreSQL database by the URL that libpq reads. As text it shows no password."""

    url: str = field(repr=False)

    def __str__(self) -> str:
        parts = urlsplit(self.url)
        user_info, at, hosts = parts.netloc.rpartition("@")
        shown = urlencode(
            [(name, value) for name, value in parse_qsl(parts.query) if name in _SHOWN_PARAMETERS], safe="/"
        )
        return f"postgresql://{user_info.partition(':')[0]}{at}{hosts}{parts.path}{'?' if shown else ''}{shown}"


LedgerAddress = Path | PostgresAddress
"""A path is that of a SQLite file."""


def ledger_address(text: str, named_by: str = DATABASE_URL) -> LedgerAddress:
    """The ledger that a URL names. Raises UserError, which quotes nothing of it, for what is no such URL."""
    if text.startswith(_SQLITE_PREFIX) and text != _SQLITE_PREFIX:
        return Path(text.removeprefix(_SQLITE_PREFIX)).expanduser()
    scheme, separator, rest = text.strip().partition("://")
    if scheme in _POSTGRES_SCHEMES and separator:
        return _postgres(f"postgresql://{rest}", named_by)
    database, plus, driver = scheme.partition("+")
    if separator and plus and database in _DATABASES and driver.isalnum():
        raise UserError(f"{named_by} names the driver {driver[:40]!r}, which is not ours", _WAYS_TO_WRITE_IT)
    if separator and database not in _DATABASES and database.isalnum():
        raise UserError(f"{named_by} names {database[:40]!r}, in which no ledger can be", _WAYS_TO_WRITE_IT)
    raise UserError(f"{named_by} is no URL of a ledger", _WAYS_TO_WRITE_IT)


def named_ledger(environ: Mapping[str, str]) -> LedgerAddress | None:
    """The ledger that DYNO_DATABASE_URL names, if it is set. Raises UserError for one that cannot be meant."""
    text = environ.get(DATABASE_URL)
    if not text:
        return None
    address = ledger_address(text)
    if isinstance(address, Path) and not address.is_absolute():
        raise UserError(
            f"{DATABASE_URL} names the file {address} from wherever a command is called", "name it from /: sqlite:////…"
        )
    return address


def naming(address: LedgerAddress) -> dict[str, str]:
    """The variable by which a process of ours is told of a ledger: on a command line everybody could read it."""
    url = address.url if isinstance(address, PostgresAddress) else f"{_SQLITE_PREFIX}{address.absolute()}"
    return {DATABASE_URL: url}


def without_ledger(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment for programs that are to know nothing of the ledger."""
    return {name: value for name, value in environ.items() if name != DATABASE_URL}


def _postgres(url: str, named_by: str) -> PostgresAddress:
    """The address, unless libpq would take a part of the password for something else, and quote it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = None
    if (
        parts is None
        or parts.netloc.count("@") > 1
        or "@" in parts.path + parts.query
        or parts.fragment
        or _STRAY_PERCENT.search(url)
        or _NOT_IN_URLS.search(url)
        or not all(_HOST.fullmatch(host) for host in parts.netloc.rpartition("@")[2].split(","))
    ):
        raise UserError(
            f"{named_by} cannot be read as a URL", "in a user or password write @ as %40, : as %3A, / as %2F, % as %25"
        )
    return PostgresAddress(url)
