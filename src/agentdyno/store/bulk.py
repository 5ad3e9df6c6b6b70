"""Many rows at once.

SQLite takes them one by one. PostgreSQL takes them by binary COPY into a temporary stage of the same columns, and from
there in one insert. COPY knows no conflicts; the insert does, and its count of rows is exact. Where no conflict is
expected, it is tried without the stage.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from agentdyno.store.statements import insert, insert_from, listed

Row = tuple[Any, ...]
_COPY_TYPES: dict[type[Any], str] = {
    sa.Text: "text",
    sa.BigInteger: "int8",
    sa.Double: "float8",
    sa.Boolean: "bool",
    sa.LargeBinary: "bytea",
}


def write_rows(
    connection: Connection, table: sa.Table, columns: Sequence[str], rows: Iterable[Row], on_conflict: str
) -> int:
    """Insert rows of distinct keys; what is known already is treated as `on_conflict` says. How many were written.

    They come in the order of their keys: who takes locks in one order never waits in a circle.
    Raises DataError, OverflowError or UnicodeEncodeError for a value that the database cannot hold.
    """
    if connection.dialect.name != "postgresql":
        statement = f"{insert(table.name, columns, '?')} {on_conflict}"
        with _driver(connection) as driver:  # which takes rows as they are made, where SQLAlchemy wants a list
            return int(driver.executemany(statement, rows).rowcount)
    stage = open_stage(connection, table)
    fill_stage(connection, stage, table, columns, rows)
    return merge_stage(connection, stage, table, columns, on_conflict)


def by_keys(table: sa.Table, columns: Sequence[str], rows: Iterable[Row]) -> list[Row]:
    """Rows in the order of their keys.

    Sorted here, since they come almost so: the database would take a third as long as for the insert itself.
    """
    return sorted(rows, key=itemgetter(*(columns.index(column.name) for column in table.primary_key)))


def write_new_rows(
    connection: Connection, table: sa.Table, columns: Sequence[str], rows: Iterable[Row], on_conflict: str
) -> int:
    """As `write_rows`, for rows of which none seems to be known: if so, PostgreSQL needs no stage.

    If not, they are gone through once more.
    """
    if connection.dialect.name == "postgresql":
        with contextlib.suppress(sa.exc.IntegrityError), connection.begin_nested():
            return fill_stage(connection, table.name, table, columns, rows)
    return write_rows(connection, table, columns, rows, on_conflict)


def open_stage(connection: Connection, table: sa.Table) -> str:
    """The name of a table's stage, which is made once for a connection, and empty now."""
    stage = f"stage_of_{table.name}"
    make = f"CREATE TEMPORARY TABLE IF NOT EXISTS {stage} (LIKE {table.name}) ON COMMIT DELETE ROWS"
    with _driver(connection) as driver:
        driver.execute(f"{make}; DELETE FROM {stage}".encode())  # noqa: S608 - names are ours
    return stage


def fill_stage(connection: Connection, stage: str, table: sa.Table, columns: Sequence[str], rows: Iterable[Row]) -> int:
    """Copy rows into a stage, or into any table; how many there were."""
    statement = f"COPY {stage} ({listed(columns)}) FROM STDIN (FORMAT BINARY)"
    with _driver(connection) as driver, driver.cursor() as cursor, cursor.copy(statement.encode()) as copy:
        copy.set_types([_COPY_TYPES[type(table.c[name].type)] for name in columns])
        count = 0
        for row in rows:
            copy.write_row(row)
            count += 1
        return count


def merge_stage(connection: Connection, stage: str, table: sa.Table, columns: Sequence[str], on_conflict: str) -> int:
    """Insert what a stage holds, in the order that it was filled in; how many rows were written."""
    return connection.exec_driver_sql(f"{insert_from(stage, table.name, columns)} {on_conflict}").rowcount


@contextlib.contextmanager
def _driver(connection: Connection) -> Iterator[Any]:
    """The driver's own connection, whose errors are told as SQLAlchemy tells them."""
    dbapi = connection.dialect.loaded_dbapi
    try:
        yield connection.connection.driver_connection
    except dbapi.DataError as error:
        raise sa.exc.DataError(None, None, error) from error
    except dbapi.IntegrityError as error:
        raise sa.exc.IntegrityError(None, None, error) from error
    except dbapi.OperationalError as error:
        if connection.dialect.name == "postgresql":
            connection.invalidate(error)  # else its pool would try to use it once more
        raise sa.exc.OperationalError(None, None, error) from error
