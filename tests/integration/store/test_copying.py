"""A SQLite ledger moves into PostgreSQL row by row; broken off and begun again, it changes nothing twice."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.ledgers import PostgresLedgers, SqliteLedgers, dump, opened
from tests.integration.store.full_ledger import fill
from tests.integration.store.request_rows import request_row

from agentdyno.core.errors import UserError
from agentdyno.store import copying
from agentdyno.store.checking import check
from agentdyno.store.copying import Progress, copy_ledger
from agentdyno.store.ledger import Ledger


@pytest.fixture
def here(sqlite_ledgers: SqliteLedgers) -> Iterator[Ledger]:
    """A SQLite ledger with rows in it."""
    with opened(sqlite_ledgers) as ledger:
        fill(ledger)
        yield ledger


@pytest.fixture
def there(postgres_ledgers: PostgresLedgers) -> Iterator[Ledger]:
    """An empty PostgreSQL ledger."""
    with opened(postgres_ledgers) as ledger:
        yield ledger


class BrokenOff(Exception):
    """Somebody pressed Ctrl-C."""


def test_every_row_is_there_as_it_was(here: Ledger, there: Ledger) -> None:
    before = dump(here)
    copied = copy_ledger(here, there)
    assert all(table.verified for table in copied)
    assert [table.written for table in copied] == [table.rows for table in copied]
    assert {table.table for table in copied} == set(here.tables)
    assert check(there).tables == check(here).tables
    assert dump(here) == before


def test_copying_again_writes_nothing(here: Ledger, there: Ledger) -> None:
    copy_ledger(here, there)
    before = dump(there)
    again = copy_ledger(here, there)
    assert sum(table.written for table in again) == 0
    assert all(table.verified for table in again)
    assert dump(there) == before


@pytest.mark.parametrize("after_rows", [1, 30, 60, 100])
def test_a_copy_that_was_broken_off_goes_on(
    here: Ledger, there: Ledger, after_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "_BATCH_ROWS", 7)

    def break_off(progress: Progress) -> None:
        if progress.done_rows == after_rows:
            raise BrokenOff

    with contextlib.suppress(BrokenOff):
        copy_ledger(here, there, break_off)
    some = sum(state.rows for state in check(there).tables)
    copied = copy_ledger(here, there)
    assert sum(table.written for table in copied) + some == sum(table.rows for table in copied)
    assert all(table.verified for table in copied)
    assert check(there).tables == check(here).tables


def test_two_ledgers_may_be_copied_into_one(here: Ledger, there: Ledger, sqlite_ledgers: SqliteLedgers) -> None:
    with opened(sqlite_ledgers) as another:
        fill(another, "b")
        for source in (here, another, here):
            assert all(table.verified for table in copy_ledger(source, there))
        rows = {state.table: state.rows for state in check(there).tables}
        assert (rows["session"], rows["variant"]) == (4, 1)
        assert len(there.requests("ses_a_over")) == len(there.requests("ses_b_over"))


@pytest.mark.parametrize(
    ("change", "table"),
    [
        ("UPDATE request SET cost_usd = 9 WHERE request_key = 'req_ses_a_over_3'", "request"),
        ("UPDATE request SET latency_ms = NULL WHERE request_key = 'req_ses_a_over_3'", "request"),
        ("UPDATE session SET notes = 'not fine' WHERE session_id = 'ses_a_over'", "session"),
        ("UPDATE spool_cursor SET closed = true", "spool_cursor"),
        ("UPDATE metric_rollup SET \"values\" = '\\x00'", "metric_rollup"),
    ],
)
def test_a_row_that_differs_is_refused_and_left_alone(here: Ledger, there: Ledger, change: str, table: str) -> None:
    copy_ledger(here, there)
    with there.write() as connection:
        connection.exec_driver_sql(change)
    before = dump(there)
    with pytest.raises(UserError, match=f"has another row .* in its table {table};"):
        copy_ledger(here, there)
    assert dump(there) == before


@pytest.mark.parametrize(
    "loss", ["DELETE FROM request WHERE request_key = 'req_ses_a_over_7'", "UPDATE request SET path = '/elsewhere'"]
)
def test_what_is_lost_on_the_way_is_noticed(here: Ledger, there: Ledger, loss: str) -> None:
    def lose(progress: Progress) -> None:
        if progress.doing.startswith("verifying") and progress.done_rows == progress.total_rows // 2 + 1:
            with there.write() as connection:
                connection.exec_driver_sql(loss)

    assert [table.table for table in copy_ledger(here, there, lose) if not table.verified] == ["request"]


def test_a_copy_that_was_broken_off_leaves_no_statement_open(
    here: Ledger, there: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    def break_off(progress: Progress) -> None:
        if progress.doing == "copying request":
            raise BrokenOff

    with contextlib.suppress(BrokenOff):
        copy_ledger(here, there, break_off)
    gc.collect()
    assert caplog.messages == []


def test_large_rows_go_in_smaller_batches(here: Ledger, there: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "_BATCH_BYTES", 500)
    assert all(table.verified for table in copy_ledger(here, there))


def test_progress_counts_every_row_once_copied_and_once_verified(here: Ledger, there: Ledger) -> None:
    told: list[Progress] = []
    copied = copy_ledger(here, there, told.append)
    total_rows = 2 * sum(table.rows for table in copied)
    assert [progress.done_rows for progress in told] == list(range(1, total_rows + 1))
    assert {progress.total_rows for progress in told} == {total_rows}
    assert [progress.doing.split()[0] for progress in (told[0], told[-1])] == ["copying", "verifying"]


def test_what_postgresql_cannot_hold_is_said(here: Ledger, there: Ledger) -> None:
    here.absorb([request_row("req_nul", path="/v1/\0")])
    with pytest.raises(UserError, match=r"a row of request cannot be held by PostgreSQL: .* 0x00; "):
        copy_ledger(here, there)


def test_only_postgresql_is_copied_into(here: Ledger, there: Ledger, tmp_path: Path) -> None:
    with contextlib.closing(Ledger.at(tmp_path / "other.sqlite")) as other:
        with pytest.raises(UserError, match="is no PostgreSQL database"):
            copy_ledger(here, other)
        with pytest.raises(UserError, match="into itself"):
            copy_ledger(there, there)
    assert list(tmp_path.iterdir()) == []
