"""The migrations make the schema that the records define."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from tests.integration.ledgers import TASK_CARD, Ledgers, PostgresLedgers, opened, session_row

from agentdyno.core.fields import fields_of
from agentdyno.core.records import CONFIGURED, RECORDED
from agentdyno.store import migrate
from agentdyno.store.migrate import HEAD, VERSION_TABLE
from agentdyno.store.queries import sessions
from agentdyno.store.tables import build_metadata

MIGRATIONS = Path(migrate.__file__).parent / "migrations"


def test_the_migrated_schema_is_the_defined_one(ledgers: Ledgers) -> None:
    with opened(ledgers) as ledger, ledger.read() as connection:
        assert (
            compare_metadata(
                MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}), build_metadata()
            )
            == []
        )


def test_the_comparison_would_see_a_column_that_is_missing(ledgers: Ledgers) -> None:
    metadata = build_metadata()
    metadata.tables["request"].append_column(sa.Column("colour", sa.Text()))
    with opened(ledgers) as ledger, ledger.read() as connection:
        [difference] = compare_metadata(
            MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}), metadata
        )
    assert difference[:3] == ("add_column", None, "request")


def test_text_is_ordered_by_code_points_in_whatever_language_a_database_is(postgres_ledgers: PostgresLedgers) -> None:
    columns = (
        "SELECT collation_name, count(*) FROM information_schema.columns "
        "WHERE table_schema = 'public' AND data_type = 'text' GROUP BY 1"
    )
    texts = sum(isinstance(c.type, sa.Text) for table in build_metadata().tables.values() for c in table.columns)
    with opened(postgres_ledgers) as ledger, ledger.read() as connection:
        assert connection.exec_driver_sql(columns).all() == [("C", texts)]


def test_ids_are_ordered_alike_in_every_database(ledgers: Ledgers) -> None:
    names = ["a", "B", "_", "ä", "é", "Z", "\uffff", "😀", "10", "9", "a b", "a-b", "ab"]
    with opened(ledgers) as ledger:
        ledger.remember([TASK_CARD])
        for name in names:
            ledger.add_session(session_row(name))
        assert [session.session_id for session in sessions(ledger)] == sorted(names)


def test_the_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


@pytest.mark.parametrize("name", [*CONFIGURED, *RECORDED])
def test_every_entity_has_a_table_of_its_fields(name: str) -> None:
    record = {**CONFIGURED, **RECORDED}[name]
    fields = [spec.name for spec in fields_of(record)]
    columns = [column.name for column in build_metadata().tables[name].columns]
    assert columns == (["digest", *fields] if name in CONFIGURED else fields)
