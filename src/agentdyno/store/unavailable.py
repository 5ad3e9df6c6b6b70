"""What is said of a ledger that its database lets nobody use, and what to do about it."""

from __future__ import annotations

import sqlite3

from agentdyno.core.errors import LedgerUnavailable
from agentdyno.store.address import DATABASE_URL, LedgerAddress, PostgresAddress
from agentdyno.store.engine import PRIMARY_CODE

_OTHER_TABLES = ("42", "3F", "25")
"""Classes of SQLSTATE: a table that is missing or there already, a right that is, no schema, a database only read."""
_SEE_WHAT_DIFFERS = "`dyno db check` says how its tables differ"


def unavailable(address: LedgerAddress, reason: BaseException | None) -> LedgerUnavailable:
    """The error that tells a person why, in one line, and where to look."""
    hint = _of_a_server(reason) if isinstance(address, PostgresAddress) else _of_a_file(reason)
    return LedgerUnavailable(f"the ledger {address} cannot be used: {_in_one_line(reason)}", hint)


def _of_a_server(reason: BaseException | None) -> str:
    state: str | None = getattr(reason, "sqlstate", None)
    if state is not None and state.startswith(_OTHER_TABLES):
        return f"its user must own its tables, in a database or schema for them alone; {_SEE_WHAT_DIFFERS}"
    return f"check that its server is up, and host, user, password and database in {DATABASE_URL}"


def _of_a_file(reason: BaseException | None) -> str:
    # Python, which has no such codes, is what stumbles over a text that is none.
    code: int = getattr(reason, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & PRIMARY_CODE
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return "it is damaged: put back a copy, or move it away and let `dyno normalize` make its requests anew"
    if code == sqlite3.SQLITE_ERROR:
        return _SEE_WHAT_DIFFERS
    return "check that its folder exists, is writable and has room"


def _in_one_line(reason: BaseException | None) -> str:
    """The first thing that a database says; the rest quotes our statement, or repeats itself for every address."""
    return str(reason).strip().partition("\n")[0]
