"""Rows into the ledger, and spool bytes to rows, against the drivers' own fastest way to write the same tuples.

The sides take turns, each on an empty table, 10,000 rows a transaction. SQLite works in the process that calls it, so
that its CPU time is compared; PostgreSQL in others, so that elapsed time is. Memory is that of a collector
in its own process, while a stream of spool records is written beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import psycopg
from collecting import memory_mib
from ratios import Pair, print_head, print_row
from spool_load import rows_of, spooled

from agentdyno.collectors.spool import SpoolCollector
from agentdyno.core.normalize import RequestRow
from agentdyno.core.records import Request
from agentdyno.store.address import LedgerAddress, PostgresAddress
from agentdyno.store.ledger import Ledger
from agentdyno.store.request_rows import Rows
from agentdyno.store.rows import column_names
from agentdyno.store.spool import SpoolWriter
from agentdyno.store.statements import insert, listed

GATEWAY = "gw_01m325000000000000000000"
BATCH_ROWS = 10_000
COLUMNS = column_names(Request)
_PRAGMAS = (
    *("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"),
    *("cache_size=-64000", "wal_autocheckpoint=10000"),
)


class Sizes(NamedTuple):
    """How much is measured."""

    requests: int
    rounds: int
    streamed_records: int | None
    """For the memory; in less than a million SQLite's cache still fills."""


WHOLE, QUICK = Sizes(20_000, 9, 1_000_000), Sizes(10_000, 3, None)


class Database(Protocol):
    """Where rows go, and how the time for that is read."""

    clock: Callable[[], float]

    def empty(self) -> LedgerAddress:
        """The address of a ledger without rows."""
        ...

    def write_raw(self, address: LedgerAddress, rows: Sequence[RequestRow]) -> float:
        """Seconds that the driver's fastest way takes."""
        ...


class Sqlite:
    """Files in a folder, one at a time."""

    clock = staticmethod(time.process_time)

    def __init__(self, folder: Path) -> None:
        self._path = folder / "ledger.sqlite"
        Ledger.open(self._path).close()
        self._empty = self._path.read_bytes()

    def empty(self) -> Path:
        """The file, as it was before any row."""
        for path in self._path.parent.glob("ledger.sqlite*"):
            path.unlink()
        self._path.write_bytes(self._empty)
        return self._path

    def write_raw(self, address: LedgerAddress, rows: Sequence[RequestRow]) -> float:
        """`executemany`, with the ledger's own pragmas."""
        assert isinstance(address, Path)
        statement = insert("request", COLUMNS, "?").replace("INSERT", "INSERT OR IGNORE", 1)
        with contextlib.closing(sqlite3.connect(address, isolation_level=None)) as connection:
            for pragma in _PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
            started = self.clock()
            for batch in batches(rows):
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(statement, batch)
                connection.execute("COMMIT")
            return self.clock() - started


class Postgres:
    """One database, emptied again and again."""

    clock = staticmethod(time.perf_counter)

    def __init__(self, url: str) -> None:
        self._address = PostgresAddress(url)
        Ledger.open(self._address).close()

    def empty(self) -> PostgresAddress:
        """The database without rows."""
        with psycopg.connect(self._address.url) as connection:
            connection.execute("TRUNCATE request, spool_cursor CASCADE")
        return self._address

    def write_raw(self, address: LedgerAddress, rows: Sequence[RequestRow]) -> float:
        """COPY as text."""
        assert isinstance(address, PostgresAddress)
        statement = f"COPY request ({listed(COLUMNS)}) FROM STDIN".encode()
        with psycopg.connect(address.url) as connection, connection.cursor() as cursor:
            started = self.clock()
            for batch in batches(rows):
                with cursor.copy(statement) as copy:
                    for row in batch:
                        copy.write_row(row)
                connection.commit()
            return self.clock() - started


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """A server of our own, the same as the tests'."""
    sys.path.append(str(Path(__file__).parents[1]))
    from tests.integration.postgres_server import PostgresServer  # needs the line above

    with PostgresServer() as server:
        server.execute("CREATE DATABASE bench")
        yield Postgres(server.url("bench"))


def batches(rows: Sequence[RequestRow]) -> Iterator[Sequence[RequestRow]]:
    """The rows of each transaction."""
    return (rows[begin : begin + BATCH_ROWS] for begin in range(0, len(rows), BATCH_ROWS))


class Round(NamedTuple):
    """Rows a second of each side."""

    raw: float
    fresh: float
    known: float
    collected: float


def one_round(database: Database, rows: Sequence[RequestRow], spool: Path, number: int) -> Round:
    """Each side once, on an empty table; the raw one first or last by turns."""
    sides: dict[str, float] = {}

    def ours() -> None:
        with contextlib.closing(Ledger.open(database.empty())) as ledger:
            sides["fresh"] = _absorbing_s(database, ledger, rows)
            sides["known"] = _absorbing_s(database, ledger, rows)
        with contextlib.closing(Ledger.open(database.empty())) as ledger:
            collector = SpoolCollector(spool, ledger, lambda: 0)
            started = database.clock()
            assert collector.collect().written >= len(rows)
            sides["collected"] = database.clock() - started

    def raw() -> None:
        sides["raw"] = database.write_raw(database.empty(), rows)

    for side in (ours, raw) if number % 2 else (raw, ours):
        side()
    return Round(**{name: len(rows) / seconds for name, seconds in sides.items()})


def _absorbing_s(database: Database, ledger: Ledger, rows: Sequence[RequestRow]) -> float:
    started = database.clock()
    for batch in batches(rows):
        ledger.absorb_rows(Rows.most_telling(batch, rebuild=False))
    return database.clock() - started


def write_spool(spool: Path, requests: int) -> None:
    """The spool of a gateway that is gone."""
    with contextlib.closing(SpoolWriter(spool, GATEWAY)) as writer:
        for record in spooled(requests, GATEWAY):
            writer.append(record)


def compare(name: str, database: Database, sizes: Sizes, spool: Path, least: dict[str, float | None]) -> None:
    """Take the rounds of one database, and print its lines."""
    rows = rows_of(sizes.requests, GATEWAY)
    one_round(database, rows, spool, 0)  # to warm up
    taken = [one_round(database, rows, spool, number) for number in range(sizes.rounds)]
    for what, side, against in (
        ("fresh rows", "fresh", "raw"),
        ("spool bytes to rows", "collected", "raw"),
        ("known against fresh", "known", "fresh"),
    ):
        pairs = [Pair(getattr(one, side), getattr(one, against)) for one in taken]
        print_row(f"{name}: {what}, /s", [pairs], at_least=least.get(side))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of everything, for a look")
    sizes = QUICK if parser.parse_args().quick else WHOLE
    with tempfile.TemporaryDirectory() as name:
        spool = Path(name) / "spool"
        write_spool(spool, sizes.requests)
        size_bytes = sum(path.stat().st_size for path in spool.glob("*/*.jsonl"))
        print(f"{sizes.requests} requests of {size_bytes / sizes.requests:.0f} bytes in four records, ", end="")
        print(f"{sizes.rounds} rounds, {os.cpu_count()} cores")
        print_head("raw")
        sqlite = Sqlite(Path(name))
        compare("SQLite", sqlite, sizes, spool, {"fresh": 0.85, "collected": 0.55, "known": 2.0})
        with postgres() as database:
            compare("PostgreSQL", database, sizes, spool, {"fresh": 0.65, "collected": 0.45})
        shutil.rmtree(spool)
        if sizes.streamed_records is not None:
            early, late = memory_mib(Path(name), sizes.streamed_records)
            print_row("MiB, 2nd half against 1st quarter", [[Pair(late, early)]], at_most=1.05)


if __name__ == "__main__":
    main()
