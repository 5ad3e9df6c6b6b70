"""Moving a ledger into PostgreSQL, row by row as it is.

It may be broken off and begun again: what is there already is compared, not written twice. Every batch is one
transaction, and at the end both ledgers are read once more and compared by digests.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from agentdyno.core.errors import UserError
from agentdyno.store.address import PostgresAddress
from agentdyno.store.bulk import fill_stage, merge_stage, open_stage
from agentdyno.store.checking import Row, Tally, stream
from agentdyno.store.ledger import Ledger
from agentdyno.store.statements import IGNORE_KNOWN, listed

_BATCH_ROWS = 5_000
_BATCH_BYTES = 16 * 1024 * 1024


class Copied(NamedTuple):
    """What became of one table."""

    table: str
    rows: int
    written: int
    """How many of them were not there yet."""
    digest: str
    digest_there: str
    """That of the rows with the same keys in the ledger that was copied to."""

    @property
    def verified(self) -> bool:
        """Whether every row is there as it was."""
        return self.digest == self.digest_there


class Progress(NamedTuple):
    """How far a copy is. Each row is copied, and later verified."""

    doing: str
    done_rows: int
    total_rows: int


def copy_ledger(
    source: Ledger, target: Ledger, progress: Callable[[Progress], object] = lambda progress: None
) -> tuple[Copied, ...]:
    """Copy all rows of one ledger, as of one moment, into a PostgreSQL ledger. Both are brought up to date first.

    Raises UserError where the target has another row of the same key, or cannot hold one.
    """
    if not isinstance(target.address, PostgresAddress):
        raise UserError(
            f"{target.address} is no PostgreSQL database", "a ledger is copied into one: --to postgresql://…"
        )
    if source.address == target.address:
        raise UserError("a ledger cannot be copied into itself", "name another with --to")
    for ledger in (source, target):
        ledger.upgrade()
    with source.read() as connection:
        tables = source.metadata.sorted_tables
        counts = [connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() for table in tables]
        counted = _Counter(2 * sum(counts), progress)
        written = [_copy_table(connection, target, table, counted) for table in tables]
        return tuple(
            _verify_table(connection, target, table, rows, counted) for table, rows in zip(tables, written, strict=True)
        )


class _Counter:
    """Counts rows as they pass."""

    def __init__(self, total_rows: int, progress: Callable[[Progress], object]) -> None:
        self._total_rows = total_rows
        self._done_rows = 0
        self._progress = progress

    def passing(self, rows: Iterable[Row], doing: str) -> Iterator[Row]:
        """The same rows, counted."""
        for row in rows:
            yield row
            self._done_rows += 1
            self._progress(Progress(doing, self._done_rows, self._total_rows))


def _copy_table(source: Connection, target: Ledger, table: sa.Table, counted: _Counter) -> int:
    # Closed while its connection is open: left to itself, a statement that was broken off would complain of its end.
    with contextlib.closing(stream(source, table)) as rows:
        passing = counted.passing(rows, f"copying {table.name}")
        return sum(_copy_batch(target, table, batch) for batch in _batches(passing))


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows by the thousand, but fewer where they are large."""
    batch: list[Row] = []
    size_bytes = 0
    for row in rows:
        batch.append(row)
        size_bytes += sum(len(value) for value in row if isinstance(value, str | bytes))
        if len(batch) >= _BATCH_ROWS or size_bytes >= _BATCH_BYTES:
            yield batch
            batch, size_bytes = [], 0
    if batch:
        yield batch


def _copy_batch(target: Ledger, table: sa.Table, batch: list[Row]) -> int:
    columns = [column.name for column in table.columns]
    try:
        with target.write() as connection:
            stage = open_stage(connection, table)
            fill_stage(connection, stage, table, columns, batch)
            _require_same(connection, stage, table, target)
            return merge_stage(connection, stage, table, columns, IGNORE_KNOWN)
    except sa.exc.DataError as error:
        why = str(error.orig).partition("\n")[0]
        hint = "`dyno normalize --rebuild` mends rows of requests whose records are there"
        raise UserError(f"a row of {table.name} cannot be held by PostgreSQL: {why}", hint) from error


def _require_same(connection: Connection, stage: str, table: sa.Table, target: Ledger) -> None:
    """Raise UserError if a row of the stage is in its table already, but says something else."""
    keys = [column.name for column in table.primary_key]
    theirs, ours = (", ".join(f'{side}."{column.name}"' for column in table.columns) for side in ("there", "here"))
    statement = (
        f"SELECT {listed(keys)} FROM {table.name} there JOIN {stage} here USING ({listed(keys)}) "  # noqa: S608 - ours
        f"WHERE ({theirs}) IS DISTINCT FROM ({ours}) LIMIT 1"
    )
    different = connection.exec_driver_sql(statement).first()
    if different is not None:
        key = ", ".join(str(value) for value in different)
        raise UserError(
            f"{target.address} has another row {key} in its table {table.name}",
            "it was changed after an earlier copy, or is another ledger's: copy into an empty database",
        )


def _verify_table(source: Connection, target: Ledger, table: sa.Table, written: int, counted: _Counter) -> Copied:
    """Read a table in both ledgers by its keys, and compare the rows that were to be copied."""
    key = itemgetter(*(place for place, column in enumerate(table.columns) if column.primary_key))
    here, there = Tally(), Tally()
    with (
        target.read() as connection,
        contextlib.closing(stream(connection, table)) as others,
        contextlib.closing(stream(source, table)) as rows,
    ):
        other = next(others, None)
        for row in counted.passing(rows, f"verifying {table.name}"):
            here.add(row)
            while other is not None and key(other) < key(row):
                other = next(others, None)
            if other is not None and key(other) == key(row):
                there.add(other)
    return Copied(table.name, here.rows, written, here.digest, there.digest)
