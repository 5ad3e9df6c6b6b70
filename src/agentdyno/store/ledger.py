"""The ledger: the database that every report is made from.

One class over SQLAlchemy Core. Duplicates are decided by the database: a unique key and an insert that ignores or,
where a later record knows more, replaces. What belongs together is committed together.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from agentdyno.core.errors import LedgerUnavailable
from agentdyno.core.jsonable import content_digest
from agentdyno.core.lifecycle import MovedMeanwhile, OutOfOrder, require_next
from agentdyno.core.records import (
    CONFIGURED,
    Credential,
    MetricRollup,
    Outcome,
    Phase,
    Request,
    Session,
    SpoolCursor,
    UnreadableRecord,
)
from agentdyno.core.rollups import rollup_session
from agentdyno.store.engine import sqlite_engine
from agentdyno.store.migrate import bring_up_to_date
from agentdyno.store.rows import column_names, flattener, record_of
from agentdyno.store.tables import build_metadata

_BUSY_TIMEOUT_S = 20


class CredentialScope(NamedTuple):
    """A credential with what its session allows: all the gateway needs to admit a request."""

    key_hash: str
    key_alias: str
    expires_at_us: int
    revoked_at_us: int | None
    session_id: str
    experiment: str | None
    variant: str
    task_card: str
    provider: str
    model: str
    ended_at_us: int | None
    small_model: str | None = None
    side_calls: str | None = None
    """The harness profile's rules for side calls, as JSON."""


class Absorbed(NamedTuple):
    """What a batch of requests changed."""

    written: int
    rebuilt_sessions: tuple[str, ...]


class Ledger:
    """Every entity's rows. Open it with `Ledger.open`; it may be shared by threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.tables = build_metadata().tables

    @classmethod
    def open(cls, path: Path, busy_timeout_s: float = _BUSY_TIMEOUT_S) -> Ledger:
        """Open the SQLite ledger at `path`, made or migrated as needed; a lock is waited for up to `busy_timeout_s`.

        Raises LedgerNewer for a schema that this version does not know, LedgerUnavailable when it cannot be opened.
        """
        engine = sqlite_engine(path, busy_timeout_s)
        ledger = cls(engine)
        with ledger._faults_named():
            bring_up_to_date(engine)
        return ledger

    def close(self) -> None:
        """Give back every connection."""
        self._engine.dispose()

    # ── transactions ─────────────────────────────────────────────────────────────────────────────────────────────────

    @contextlib.contextmanager
    def _faults_named(self) -> Iterator[None]:
        try:
            yield
        except (sa.exc.IntegrityError, sa.exc.ProgrammingError, sa.exc.DataError):
            raise  # ours, not the database's
        except sa.exc.DatabaseError as error:
            raise self._unavailable(error.orig) from error
        except self._engine.dialect.loaded_dbapi.DatabaseError as error:
            raise self._unavailable(error) from error

    def _unavailable(self, reason: BaseException | None) -> LedgerUnavailable:
        url = self._engine.url.render_as_string(hide_password=True)
        return LedgerUnavailable(
            f"the ledger {url} cannot be used: {reason}", "check that its folder exists, is writable and has room"
        )

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection with one consistent view of the ledger."""
        with self._faults_named(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """A connection whose changes are committed together, or not at all."""
        with self._faults_named(), self._engine.connect() as plain:
            connection = plain.execution_options(writes=True)
            with connection.begin():
                yield connection

    # ── configuration ────────────────────────────────────────────────────────────────────────────────────────────────

    def remember(self, entities: Iterable[Any]) -> None:
        """Keep configured entities as they are now, each under the digest of its content."""
        names = {record: name for name, record in CONFIGURED.items()}
        with self.write() as connection:
            for entity in entities:
                record: type = type(entity)
                columns = ("digest", *column_names(record))
                values = (content_digest(entity), *flattener(record)(entity))
                connection.exec_driver_sql(_insert_or_ignore(names[record], columns), values)

    # ── sessions and credentials ─────────────────────────────────────────────────────────────────────────────────────

    def add_session(self, session: Session) -> None:
        """Insert a new session's row."""
        with self.write() as connection:
            connection.exec_driver_sql(_insert("session", column_names(Session)), flattener(Session)(session))

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
        sessions = self.tables["session"]
        query = sa.select(sessions.c.ended_at_us).where(sessions.c.session_id == credential.session_id)
        with self.write() as connection:
            if connection.execute(query).scalar() is not None:
                raise OutOfOrder(f"session {credential.session_id} is over", "create another")
            self._revoke(connection, credential.session_id, credential.created_at_us)
            connection.exec_driver_sql(
                _insert("credential", column_names(Credential)), flattener(Credential)(credential)
            )

    def revoke(self, session_id: str, now_us: int) -> None:
        """Revoke every credential of a session; those revoked before keep their time."""
        with self.write() as connection:
            self._revoke(connection, session_id, now_us)

    def _revoke(self, connection: Connection, session_id: str, now_us: int) -> None:
        table = self.tables["credential"]
        connection.execute(
            sa.update(table)
            .where(table.c.session_id == session_id, table.c.revoked_at_us.is_(None))
            .values(revoked_at_us=now_us)
        )

    def credential_scope(self, key_hash: str) -> CredentialScope | None:
        """What a key with this hash may do; None when no such key was ever issued.

        One statement on the driver's own connection: a gateway asks this on every request, where SQLAlchemy's
        transaction around it would cost six times the statement.
        """
        with self._faults_named(), contextlib.closing(self._engine.raw_connection()) as connection:
            cursor = connection.cursor()
            cursor.execute(_CREDENTIAL_SCOPE, (key_hash,))
            rows = cursor.fetchall()
        return CredentialScope(*rows[0]) if rows else None

    # ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def absorb(
        self,
        requests: Sequence[Request],
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
            finalized = self._finalized_among(connection, {r.session_id for r in requests if r.session_id is not None})
            written = 0
            if requests:
                written = self._upsert_requests(connection, requests, finalized, rebuild=rebuild)
            if unreadable:
                connection.exec_driver_sql(
                    _insert_or_ignore("unreadable_record", column_names(UnreadableRecord)),
                    [flattener(UnreadableRecord)(item) for item in unreadable],
                )
            if cursor is not None:
                connection.exec_driver_sql(_ADVANCE_CURSOR, flattener(SpoolCursor)(cursor))
            if written:
                for session_id in sorted(finalized):
                    self._rebuild_rollups(connection, session_id)
        return Absorbed(written, tuple(sorted(finalized)) if written else ())

    def _finalized_among(self, connection: Connection, session_ids: set[str]) -> set[str]:
        if not session_ids:
            return set()
        table = self.tables["session"]
        query = sa.select(table.c.session_id).where(
            table.c.session_id.in_(session_ids), table.c.ended_at_us.is_not(None)
        )
        return set(connection.execute(query).scalars())

    def _upsert_requests(
        self, connection: Connection, requests: Sequence[Request], finalized: set[str], *, rebuild: bool
    ) -> int:
        names = column_names(Request)
        late = names.index("late")
        flatten = flattener(Request)
        rows = [flatten(request) for request in requests]
        if finalized:
            rows = [
                (*row[:late], True, *row[late + 1 :]) if request.session_id in finalized else row
                for row, request in zip(rows, requests, strict=True)
            ]
        return connection.exec_driver_sql(_upsert_request(rebuild=rebuild), rows).rowcount

    def cursor(self, gateway_id: str) -> SpoolCursor | None:
        """How far the records of one gateway run were read."""
        table = self.tables["spool_cursor"]
        with self.read() as connection:
            row = connection.execute(sa.select(table).where(table.c.gateway_id == gateway_id)).mappings().first()
        return None if row is None else record_of(SpoolCursor, row)

    def requests(self, session_id: str) -> tuple[Request, ...]:
        """The requests of a session, in the order they came in."""
        with self.read() as connection:
            return self._requests(connection, session_id)

    def _requests(self, connection: Connection, session_id: str) -> tuple[Request, ...]:
        table = self.tables["request"]
        query = (
            sa.select(table)
            .where(table.c.session_id == session_id)
            .order_by(table.c.started_at_us, table.c.request_key)
        )
        return tuple(record_of(Request, row) for row in connection.execute(query).mappings())

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
            self._revoke(connection, session_id, ended_at_us)
            self._rebuild_rollups(connection, session_id)

    def _rebuild_rollups(self, connection: Connection, session_id: str) -> None:
        table = self.tables["metric_rollup"]
        connection.execute(sa.delete(table).where(table.c.session_id == session_id))
        rollups = rollup_session(self._requests(connection, session_id))
        if rollups:
            connection.exec_driver_sql(
                _insert("metric_rollup", column_names(MetricRollup)),
                [flattener(MetricRollup)(item) for item in rollups],
            )


# ── SQL that both SQLite and PostgreSQL read; placeholders are the driver's ──────────────────────────────────────────


def _insert(table: str, columns: Sequence[str]) -> str:
    # Quoted, because some of our words are also SQL's: commit, values.
    names = ", ".join(f'"{column}"' for column in columns)
    places = ", ".join("?" * len(columns))
    return f"INSERT INTO {table} ({names}) VALUES ({places})"  # noqa: S608 - names are ours


def _insert_or_ignore(table: str, columns: Sequence[str]) -> str:
    return _insert(table, columns) + " ON CONFLICT DO NOTHING"


def _upsert_request(*, rebuild: bool) -> str:
    columns = column_names(Request)
    # `late` says when a row first came: a later record of the same request does not change that.
    changes = ", ".join(f'"{name}" = excluded."{name}"' for name in columns if name not in ("request_key", "late"))
    known_less = "request.records <= excluded.records" if rebuild else "request.records < excluded.records"
    return f"{_insert('request', columns)} ON CONFLICT (request_key) DO UPDATE SET {changes} WHERE {known_less}"


_CREDENTIAL_SCOPE = """
SELECT c.key_hash, c.alias, c.expires_at_us, c.revoked_at_us, s.session_id, s.experiment, s.variant, s.task_card,
       s.provider, s.model, s.ended_at_us, s.small_model, p.side_calls
FROM credential c
JOIN session s ON s.session_id = c.session_id
LEFT JOIN harness_profile p ON p.digest = s.harness_profile_digest
WHERE c.key_hash = ?
"""

_ADVANCE_CURSOR = """
INSERT INTO spool_cursor (gateway_id, segment, offset_bytes, closed) VALUES (?, ?, ?, ?)
ON CONFLICT (gateway_id) DO UPDATE
SET segment = excluded.segment, offset_bytes = excluded.offset_bytes, closed = excluded.closed
WHERE (excluded.segment, excluded.offset_bytes, excluded.closed)
    > (spool_cursor.segment, spool_cursor.offset_bytes, spool_cursor.closed)
"""
