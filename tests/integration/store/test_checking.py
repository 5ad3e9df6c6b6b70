"""`check` tells a whole ledger from one that is not, and one content from another."""

from __future__ import annotations

import contextlib

import pytest
from tests.integration.ledgers import Ledgers, PostgresLedgers, SqliteLedgers, opened
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
        assert check(ledger).faults == ("credential.session_id of 1 rows points to no session.session_id",)
