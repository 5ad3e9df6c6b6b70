"""The ledger: the database that every report is made from.

One class over SQLAlchemy Core. Duplicates are decided by the database: a unique key and an insert that ignores or,
where a later record knows more, replaces. What belongs together is committed together.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from agentdyno.core.jsonable import content_digest
from agentdyno.core.lifecycle import MovedMeanwhile, OutOfOrder, require_next
from agentdyno.core.records import (
    CONFIGURED,
    Credential,
    Outcome,
    Phase,
    Request,
    Session,
    SpoolCursor,
    UnreadableRecord,
)
from agentdyno.store.address import LedgerAddress
from agentdyno.store.bulk import by_keys, write_rows
from agentdyno.store.credentials import CredentialScope, scope_of, scope_sql
from agentdyno.store.engine import Engines, engines_at
from agentdyno.store.migrate import Upgraded, bring_up_to_date
from agentdyno.store.request_rows import Rows, write_requests
from agentdyno.store.rows import column_names, flattener, record_of
from agentdyno.store.session_rows import for_sessions, rebuild_rollups, requests_in
from agentdyno.store.statements import IGNORE_KNOWN, advance_cursor, insert
from agentdyno.store.tables import build_metadata
from agentdyno.store.unavailable import unavailable

_BUSY_TIMEOUT_S = 20


class Absorbed(NamedTuple):
    """What a batch of requests changed."""

    written: int
    rebuilt_sessions: tuple[str, ...]


class Closing(NamedTuple):
    """The end of a headless session: all that its last steps find out."""

    session_id: str
    outcome: Outcome
    notes: str | None
    launched_at_us: int | None
    command_exit_code: int | None
    checks_passed: int | None
    checks_total: int | None


class _Locked(NamedTuple):
    """Sessions that nobody else changes now."""

    finalized: tuple[str, ...]
    """Those of them that are over, by their ids."""


class Ledger:
    """Every entity's rows. Open it with `Ledger.open`; it may be shared by threads."""

    def __init__(self, address: LedgerAddress, engines: Engines) -> None:
        self.address = address
        self._engines = engines
        # SQLite makes whoever comes second sleep, for milliseconds: within a process one hands over to the next.
        self._turn: AbstractContextManager[object] = (
            threading.Lock() if isinstance(address, Path) else contextlib.nullcontext()
        )
        self.metadata = build_metadata()
        self.tables = self.metadata.tables

    @classmethod
    def open(cls, address: LedgerAddress, busy_timeout_s: float = _BUSY_TIMEOUT_S) -> Ledger:
        """Open the ledger at an address, made or migrated as needed; a lock is waited for up to `busy_timeout_s`.

        Raises LedgerNewer for a schema that this version does not know, LedgerUnavailable when it cannot be opened,
        UserError for an address that cannot be read.
        """
        ledger = cls.at(address, busy_timeout_s)
        with contextlib.ExitStack() as failing:
            failing.callback(ledger.close)
            ledger.upgrade()
            failing.pop_all()
        return ledger

    @classmethod
    def at(cls, address: LedgerAddress, busy_timeout_s: float = _BUSY_TIMEOUT_S) -> Ledger:
        """The ledger at an address as it is: neither made nor migrated."""
        return cls(address, engines_at(address, busy_timeout_s))

    def upgrade(self) -> Upgraded:
        """Make or migrate the schema as needed. Raises LedgerNewer, LedgerUnavailable."""
        with self._faults_named():
            return bring_up_to_date(self._engines)

    def close(self) -> None:
        """Give back every connection."""
        self._engines.writing.dispose()

    # ── transactions ─────────────────────────────────────────────────────────────────────────────────────────────────

    @contextlib.contextmanager
    def _faults_named(self) -> Iterator[None]:
        try:
            yield
        except (sa.exc.IntegrityError, sa.exc.DataError):
            raise  # ours, not the database's
        except sa.exc.DatabaseError as error:
            # A table that is gone, or a right that is missing, is the server's to say; misuse is the driver's.
            if isinstance(error, sa.exc.ProgrammingError) and getattr(error.orig, "sqlstate", None) is None:
                raise
            raise unavailable(self.address, error.orig) from error
        # A damaged file may hold what is no text.
        except (self._engines.writing.dialect.loaded_dbapi.DatabaseError, UnicodeDecodeError) as error:
            raise unavailable(self.address, error) from error

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection with one consistent view of the ledger."""
        with self._faults_named(), self._engines.reading.connect() as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """A connection whose changes are committed together, or not at all."""
        with self._turn, self._faults_named(), self._engines.writing.connect() as connection, connection.begin():
            yield connection

    # ── configuration ────────────────────────────────────────────────────────────────────────────────────────────────

    def remember(self, entities: Iterable[Any]) -> None:
        """Keep configured entities as they are now, each under the digest of its content."""
        names = {record: name for name, record in CONFIGURED.items()}
        # In one order for everybody: who keeps the same ones at the same time then never waits in a circle.
        keyed = {(names[type(entity)], content_digest(entity)): entity for entity in entities}
        with self.write() as connection:
            for (table, digest), entity in sorted(keyed.items(), key=itemgetter(0)):
                record: type = type(entity)
                statement = insert(table, ("digest", *column_names(record)), self._engines.placeholder)
                connection.exec_driver_sql(f"{statement} {IGNORE_KNOWN}", (digest, *flattener(record)(entity)))

    # ── sessions and credentials ─────────────────────────────────────────────────────────────────────────────────────

    def add_session(self, session: Session) -> None:
        """Insert a new session's row."""
        with self.write() as connection:
            self.insert(connection, "session", session)

    def begin_session(self, session: Session, credential: Credential) -> None:
        """Insert a new session's row and its first credential, in one transaction."""
        with self.write() as connection:
            self.insert(connection, "session", session)
            self.insert(connection, "credential", credential)

    def insert(self, connection: Connection, table: str, entity: Any) -> None:
        """Insert a record's row, within a transaction."""
        record: type = type(entity)
        statement = insert(table, column_names(record), self._engines.placeholder)
        connection.exec_driver_sql(statement, flattener(record)(entity))

    def session(self, session_id: str) -> Session | None:
        """The session of that id."""
        table = self.tables["session"]
        with self.read() as connection:
            row = connection.execute(sa.select(table).where(table.c.session_id == session_id)).mappings().first()
        return None if row is None else record_of(Session, row)

    def advance(self, session_id: str, current: Phase, following: Phase, **changes: Any) -> None:
        """Take a session from one step to the next, with what that step found out; `close_session` does the last.

        Raises OutOfOrder for a step that is not the next, MovedMeanwhile when another process moved the session.
        """
        outcome: Outcome | None = changes.get("outcome")
        require_next(current, following, outcome)
        if following == "finalized":
            raise OutOfOrder("a session becomes finalized only together with its rollups")
        table = self.tables["session"]
        with self.write() as connection:
            result = connection.execute(
                sa.update(table)
                .where(table.c.session_id == session_id, table.c.phase == current)
                .values(phase=following, **changes)
            )
            if result.rowcount != 1:
                raise MovedMeanwhile(f"session {session_id} is no longer {current}", "look again: `dyno session show`")

    def note_result(self, session_id: str, exit_code: int, checks_passed: int | None, checks_total: int | None) -> None:
        """Keep how the launched command ended and what the checks said, while the session is still open."""
        table = self.tables["session"]
        with self.write() as connection:
            connection.execute(
                sa.update(table)
                .where(table.c.session_id == session_id, table.c.phase == "launched")
                .values(command_exit_code=exit_code, checks_passed=checks_passed, checks_total=checks_total)
            )

    def expired_sessions(self, now_us: int) -> tuple[str, ...]:
        """Ids of sessions that are not finalized though their time-to-live has ended."""
        table = self.tables["session"]
        query = (
            sa.select(table.c.session_id)
            .where(table.c.ended_at_us.is_(None), table.c.expires_at_us <= now_us)
            .order_by(table.c.session_id)
        )
        with self.read() as connection:
            return tuple(connection.execute(query).scalars())

    def issue(self, credential: Credential) -> None:
        """Keep a new credential and revoke every older one of its session, in one transaction.

        Raises OutOfOrder for a session that is over.
        """
        with self.write() as connection:
            if self._locked(connection, [credential.session_id]).finalized:
                raise OutOfOrder(f"session {credential.session_id} is over", "create another")
            self._revoke(connection, [credential.session_id], credential.created_at_us)
            self.insert(connection, "credential", credential)

    def revoke(self, session_ids: Sequence[str], now_us: int) -> None:
        """Revoke every credential of these sessions; those revoked before keep their time."""
        with self.write() as connection:
            self._locked(connection, session_ids)
            self._revoke(connection, session_ids, now_us)

    def _locked(self, connection: Connection, session_ids: Iterable[str]) -> _Locked:
        """Hold sessions as they are until the transaction ends, and say which of them are over.

        Whoever decides by a session's end, or changes what belongs to a session, holds it first; several are taken in
        the order of their ids, and before everything else, so that nobody waits in a circle.
        """
        lock = "" if connection.dialect.name == "sqlite" else "FOR NO KEY UPDATE"
        query = f"SELECT session_id, ended_at_us FROM session WHERE {{ours}} ORDER BY session_id {lock}"  # noqa: S608
        rows = for_sessions(connection, query, session_ids).all()
        return _Locked(tuple(row.session_id for row in rows if row.ended_at_us is not None))

    def _revoke(self, connection: Connection, session_ids: Sequence[str], now_us: int) -> None:
        revoke = "UPDATE credential SET revoked_at_us = ? WHERE revoked_at_us IS NULL AND {ours}"
        for_sessions(connection, revoke, session_ids, now_us)

    def credential_scope(self, key_hash: str) -> CredentialScope | None:
        """What a key with this hash may do; None when no such key was ever issued.

        One statement on the driver's own connection: a gateway asks this on every request, where SQLAlchemy's
        transaction around it would cost six times the statement.
        """
        with self._faults_named(), contextlib.closing(self._engines.reading.raw_connection()) as connection:
            cursor = connection.cursor()
            cursor.execute(scope_sql(self._engines.placeholder), (key_hash,))
            return scope_of(cursor.fetchone())

    # ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def absorb(
        self,
        requests: Sequence[Request],
        cursor: SpoolCursor | None = None,
        unreadable: Sequence[UnreadableRecord] = (),
        *,
        rebuild: bool = False,
    ) -> Absorbed:
        """As `absorb_rows`, of records."""
        rows = Rows.most_telling(map(flattener(Request), requests), rebuild=rebuild)
        return self.absorb_rows(rows, cursor, unreadable, rebuild=rebuild)

    def absorb_rows(
        self,
        rows: Rows,
        cursor: SpoolCursor | None = None,
        unreadable: Sequence[UnreadableRecord] = (),
        *,
        rebuild: bool = False,
    ) -> Absorbed:
        """Write a batch of normalized requests, what could not be read, and the cursor: all or nothing.

        A request that is known already is replaced only if more records speak for the new row or, with `rebuild`, not
        fewer. Rows of sessions that are finalized are marked `late` when they are first written, and rebuild their
        rollups.
        """
        with self.write() as connection:
            finalized = self._locked(connection, rows.sessions).finalized if rows.sessions else ()
            written = write_requests(connection, self.tables["request"], rows.late(set(finalized)), rebuild=rebuild)
            items = [flattener(UnreadableRecord)(item) for item in unreadable]
            self._write(connection, "unreadable_record", UnreadableRecord, items, IGNORE_KNOWN)
            if cursor is not None:
                statement = advance_cursor(self._engines.placeholder)
                connection.exec_driver_sql(statement, flattener(SpoolCursor)(cursor))
            rebuilt = finalized if written else ()
            if rebuilt:
                rebuild_rollups(connection, self.tables, rebuilt)
        return Absorbed(written, rebuilt)

    def _write(
        self, connection: Connection, table: str, record: type, rows: Sequence[tuple[Any, ...]], on_conflict: str = ""
    ) -> int:
        into, columns = self.tables[table], column_names(record)
        return write_rows(connection, into, columns, by_keys(into, columns, rows), on_conflict) if rows else 0

    def cursor(self, gateway_id: str) -> SpoolCursor | None:
        """How far the records of one gateway run were read."""
        table = self.tables["spool_cursor"]
        with self.read() as connection:
            row = connection.execute(sa.select(table).where(table.c.gateway_id == gateway_id)).mappings().first()
        return None if row is None else record_of(SpoolCursor, row)

    def requests(self, session_id: str) -> tuple[Request, ...]:
        """The requests of a session, in the order they came in."""
        with self.read() as connection:
            return requests_in(connection, [session_id]).get(session_id, ())

    # ── rollups ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def close_session(self, session_id: str, outcome: Outcome, ended_at_us: int, notes: str | None) -> None:
        """The last step: end time, outcome and rollups, in one transaction."""
        table = self.tables["session"]
        require_next("collected", "finalized")
        with self.write() as connection:
            result = connection.execute(
                sa.update(table)
                .where(table.c.session_id == session_id, table.c.phase == "collected")
                .values(phase="finalized", outcome=outcome, ended_at_us=ended_at_us, notes=notes)
            )
            if result.rowcount != 1:
                raise MovedMeanwhile(f"session {session_id} is not collected", "look again: `dyno session show`")
            # Once more: a key may have been rotated while the session was being closed.
            self._revoke(connection, [session_id], ended_at_us)
            rebuild_rollups(connection, self.tables, [session_id])

    def close_sessions(self, connection: Connection, closings: Sequence[Closing], ended_at_us: int) -> None:
        """Take sessions through all the steps that they have left, within a transaction; those that are over stay so.

        Nothing but the key was handed out before, and nothing happens between these steps that a reader could miss.
        """
        names = ("outcome", "notes", "launched_at_us", "command_exit_code", "checks_passed", "checks_total")
        places = self._engines.placeholder
        values = ", ".join(f"{name} = {places}" for name in names)
        statement = (
            f"UPDATE session SET phase = 'finalized', ended_at_us = {places}, {values} "  # noqa: S608 - names of ours
            f"WHERE session_id = {places} AND ended_at_us IS NULL"
        )
        over = self._locked(connection, [closing.session_id for closing in closings]).finalized
        left = [closing for closing in closings if closing.session_id not in over]
        if left:
            session_ids = [closing.session_id for closing in left]
            ends = [(ended_at_us, *closing[1:], closing.session_id) for closing in left]
            connection.exec_driver_sql(statement, ends)
            self._revoke(connection, session_ids, ended_at_us)
            rebuild_rollups(connection, self.tables, session_ids)
