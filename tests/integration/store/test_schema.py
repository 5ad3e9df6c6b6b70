"""The migrations make the schema that the records define."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from tests.integration.ledgers import empty_ledger

from agentdyno.core.fields import fields_of
from agentdyno.core.records import CONFIGURED, RECORDED
from agentdyno.store import migrate
from agentdyno.store.migrate import HEAD
from agentdyno.store.tables import build_metadata

MIGRATIONS = Path(migrate.__file__).parent / "migrations"


def test_the_migrated_schema_is_the_defined_one(tmp_path: Path) -> None:
    with empty_ledger(tmp_path) as ledger, ledger.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), build_metadata()) == []


def test_the_comparison_would_see_a_column_that_is_missing(tmp_path: Path) -> None:
    metadata = build_metadata()
    metadata.tables["request"].append_column(sa.Column("colour", sa.Text()))
    with empty_ledger(tmp_path) as ledger, ledger.read() as connection:
        [difference] = compare_metadata(MigrationContext.configure(connection), metadata)
    assert difference[:3] == ("add_column", None, "request")


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
