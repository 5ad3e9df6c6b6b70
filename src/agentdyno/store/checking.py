"""Whether a ledger is whole: its schema as it is defined, every reference kept, and what each table holds."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from agentdyno.store.ledger import Ledger
from agentdyno.store.migrate import HEAD, current_revision

_FETCHED_AT_ONCE = 200
_DAMAGES_NAMED = 10
Row = tuple[Any, ...]


class TableState(NamedTuple):
    """What a table holds. Two tables of equal digest hold the same rows, in whatever database."""

    table: str
    rows: int
    digest: str


class Checkup(NamedTuple):
    """What was found."""

    revision: str | None
    faults: tuple[str, ...]
    tables: tuple[TableState, ...]
    """None where the schema is at fault: its rows cannot be told."""


def check(ledger: Ledger) -> Checkup:
    """Look through a whole ledger, as of one moment, and change nothing."""
    with ledger.read() as connection:
        revision = current_revision(connection)
        if revision != HEAD:
            at = "there is no schema" if revision is None else f"the schema is at {revision}"
            return Checkup(revision, (f"{at}, and this agentdyno's is {HEAD}",), ())
        faults = (*_file_faults(connection), *schema_faults(connection, ledger.metadata))
        if faults:
            return Checkup(revision, faults, ())
        tables = ledger.tables.values()
        faults = tuple(fault for table in tables for fault in _orphans(connection, table))
        return Checkup(revision, faults, tuple(_state_of(connection, table) for table in tables))


# ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def stream(connection: Connection, table: sa.Table) -> Generator[Row]:
    """The rows of a table by their keys, a few at a time."""
    query = sa.select(table).order_by(*table.primary_key)
    with connection.execute(query, execution_options={"yield_per": _FETCHED_AT_ONCE}) as result:
        for row in result:
            yield tuple(row)


class Tally:
    """Count and digest of rows, in the order that they are added in."""

    def __init__(self) -> None:
        self.rows = 0
        self._hash = hashlib.sha256()
        self._encoder = msgspec.msgpack.Encoder()

    def add(self, row: Row) -> None:
        """Take one more row."""
        self.rows += 1
        self._hash.update(self._encoder.encode(row))

    @property
    def digest(self) -> str:
        """The digest of all rows so far."""
        return f"sha256:{self._hash.hexdigest()}"


def _state_of(connection: Connection, table: sa.Table) -> TableState:
    tally = Tally()
    for row in stream(connection, table):
        tally.add(row)
    return TableState(table.name, tally.rows, tally.digest)


def _orphans(connection: Connection, table: sa.Table) -> Iterator[str]:
    """A sentence for each reference of a table that points nowhere from some rows."""
    for reference in table.foreign_keys:
        child, parent = reference.parent, reference.column
        points_nowhere = child.is_not(None) & ~sa.exists().where(parent == child)
        count = connection.execute(sa.select(sa.func.count()).select_from(table).where(points_nowhere)).scalar_one()
        if count:
            yield f"{child} of {count} rows points to no {parent}"


def _file_faults(connection: Connection) -> Iterator[str]:
    """What SQLite finds damaged in its file, also where no row is read from it."""
    if connection.dialect.name == "sqlite":
        found = connection.exec_driver_sql(f"PRAGMA integrity_check({_DAMAGES_NAMED})").scalars()
        lines = [line for text in found for line in text.splitlines() if not line.startswith("***")]
        yield from (f"the file is damaged: {line}" for line in lines[:_DAMAGES_NAMED] if line != "ok")


# ── schema ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def schema_faults(connection: Connection, metadata: sa.MetaData) -> tuple[str, ...]:
    """What of the defined schema is missing or different. What others keep in the same database is theirs."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    def is_ours(name: str | None, kind: str, _parents: Any) -> bool:
        return kind != "table" or name in metadata.tables

    context = MigrationContext.configure(connection, opts={"include_name": is_ours})
    # Changes of one column come as a list of their own.
    found = [
        item for each in compare_metadata(context, metadata) for item in (each if isinstance(each, list) else [each])
    ]
    differences = [_in_words(difference) for difference in found if difference[0] != "remove_index"]
    return (*differences, *_key_faults(connection, metadata))


def _key_faults(connection: Connection, metadata: sa.MetaData) -> Iterator[str]:
    """Primary keys that are not as defined, which Alembic does not compare."""
    inspector = sa.inspect(connection)
    there = set(inspector.get_table_names())
    for table in metadata.sorted_tables:
        defined = [column.name for column in table.primary_key]
        if table.name in there and inspector.get_pk_constraint(table.name)["constrained_columns"] != defined:
            yield f"primary key of {table.name} is not ({', '.join(defined)})"


def _in_words(difference: tuple[Any, ...]) -> str:
    match difference:
        case ("add_table", table):
            return f"table {table.name} is missing"
        case ("add_column", _, table, column):
            return f"column {table}.{column.name} is missing"
        case ("remove_column", _, table, column):
            return f"column {table}.{column.name} is not ours"
        case ("modify_type" | "modify_nullable" as what, _, table, column, _, found, defined):
            return f"{what.removeprefix('modify_')} of column {table}.{column} is {found!r}, not {defined!r}"
        case (str() as what, constraint, *_):
            return f"{what.replace('_', ' ')} {constraint.name} would mend it"
    return str(difference[0])
