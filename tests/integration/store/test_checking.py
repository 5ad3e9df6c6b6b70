"""`check` tells a whole ledger from one that is not, and one content from another."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from tests.integration.ledgers import Ledgers, PostgresLedgers, SqliteLedgers, empty_ledger, opened
from tests.integration.store.full_ledger import REQUESTS, fill

from agentdyno.store.checking import check
from agentdyno.store.engine import engines_at
from agentdyno.store.ledger import Ledger
from agentdyno.store.migrate import HEAD


def test_a_whole_ledger_has_no_faults(ledgers: Ledgers) -> None:
    with opened(ledgers) as ledger:
        fill(ledger)
        found = check(ledger)
    assert (found.revision, found.faults) == (HEAD, ())
    rows = {state.table: state.rows for state in found.tables}
    assert list(rows) == list(ledger.tables)
    assert {name: count for name, count in rows.items() if count} == {
        "provider": 1,
        "harness_profile": 1,
        "variant": 1,
        "task_card": 1,
        "session": 2,
        "credential": 2,
        "request": 2 * REQUESTS + 1,
        "step": 2,
        "trace_metric": 4,
        "metric_rollup": rows["metric_rollup"],
        "spool_cursor": 1,
        "unreadable_record": 3,
    }


def test_equal_rows_have_equal_digests_in_both_databases(
    sqlite_ledgers: SqliteLedgers, postgres_ledgers: PostgresLedgers
) -> None:
    with opened(sqlite_ledgers) as one, opened(postgres_ledgers) as other:
        fill(one)
        fill(other)
        assert check(one).tables == check(other).tables
        with other.write() as connection:
            connection.exec_driver_sql("UPDATE request SET late = NOT late WHERE request_key = 'req_a_nobody'")
        different = {a.table for a, b in zip(check(one).tables, check(other).tables, strict=True) if a != b}
        assert different == {"request"}


def test_a_check_makes_nothing(ledgers: Ledgers) -> None:
    address = ledgers.nothing_yet()
    with contextlib.closing(Ledger.at(address)) as ledger:
        for _ in range(2):
            assert check(ledger).faults == (f"there is no schema, and this agentdyno's is {HEAD}",)
    ledgers.give_back(address)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("DROP TABLE step", "table step is missing"),
        ("ALTER TABLE request DROP COLUMN cost_usd", "column request.cost_usd is missing"),
        ("ALTER TABLE request ADD COLUMN colour TEXT", "column request.colour is not ours"),
        ("DROP INDEX ix_request_session_id", "add index ix_request_session_id would mend it"),
    ],
)
def test_what_is_wrong_with_a_schema_is_named(ledgers: Ledgers, change: str, fault: str) -> None:
    with opened(ledgers) as ledger:
        with ledger.write() as connection:
            connection.exec_driver_sql(change)
        found = check(ledger)
    assert fault in found.faults
    assert found.tables == ()


def test_a_column_of_another_type_is_named(postgres_ledgers: PostgresLedgers) -> None:
    with opened(postgres_ledgers) as ledger:
        with ledger.write() as connection:
            connection.exec_driver_sql("ALTER TABLE request ALTER COLUMN records TYPE integer")
        assert check(ledger).faults == ("type of column request.records is INTEGER(), not BigInteger()",)


def test_a_primary_key_that_is_gone_is_named(postgres_ledgers: PostgresLedgers) -> None:
    with opened(postgres_ledgers) as ledger:
        with ledger.write() as connection:
            connection.exec_driver_sql("ALTER TABLE unreadable_record DROP CONSTRAINT pk_unreadable_record")
        expected = "primary key of unreadable_record is not (gateway_id, segment, offset_bytes)"
        assert check(ledger).faults == (expected,)


def test_a_damaged_file_is_told_from_a_whole_one(tmp_path: Path) -> None:
    with empty_ledger(tmp_path) as ledger:
        fill(ledger)
        with ledger.read() as connection:
            root = connection.exec_driver_sql("SELECT rootpage FROM sqlite_master WHERE name = 'ix_request_session_id'")
            page_bytes = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
            start = (root.scalar_one() - 1) * page_bytes
    file = tmp_path / "ledger.sqlite"
    data = bytearray(file.read_bytes())
    data[start + page_bytes // 2 : start + page_bytes] = bytes(page_bytes // 2)
    file.write_bytes(data)
    with contextlib.closing(Ledger.at(file)) as ledger:
        found = check(ledger)
        assert found.faults[0].startswith("the file is damaged: ")


def test_what_others_keep_in_the_same_database_is_no_fault(ledgers: Ledgers) -> None:
    with opened(ledgers) as ledger:
        with ledger.write() as connection:
            connection.exec_driver_sql("CREATE TABLE theirs (a INTEGER)")
            connection.exec_driver_sql("CREATE INDEX for_speed ON request (provider)")
        assert check(ledger).faults == ()
        with ledger.write() as connection:
            connection.exec_driver_sql("DROP TABLE theirs")
            connection.exec_driver_sql("DROP INDEX for_speed")


def test_a_reference_to_nowhere_is_counted(ledgers: Ledgers) -> None:
    unchecked = {"sqlite": "PRAGMA foreign_keys=OFF", "postgresql": "SET session_replication_role=replica"}
    with opened(ledgers) as ledger:
        fill(ledger)
        engine = engines_at(ledger.address, busy_timeout_s=5).writing
        with contextlib.closing(engine.raw_connection()) as connection:
            for statement in (unchecked[ledgers.kind], "DELETE FROM session WHERE session_id = 'ses_a_open'"):
                connection.cursor().execute(statement)
            connection.commit()
        engine.dispose()
        assert check(ledger).faults == (
            "credential.session_id of 1 rows points to no session.session_id",
            "step.session_id of 1 rows points to no session.session_id",
            "trace_metric.session_id of 2 rows points to no session.session_id",
        )
