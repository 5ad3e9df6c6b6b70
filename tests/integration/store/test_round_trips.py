"""A record written to its table is the same record when it is read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import Connection
from tests.integration.ledgers import TASK_CARD, Ledgers, dump, opened

from agentdyno.core.fields import FieldSpec, fields_of
from agentdyno.core.jsonable import content_digest, to_jsonable
from agentdyno.core.records import CONFIGURED, RECORDED, Check, TaskCard, Variant
from agentdyno.store.engine import engines_at
from agentdyno.store.rows import column_names, flattener, record_of
from agentdyno.store.tables import build_metadata

TABLES = build_metadata().tables
SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    bytes: st.binary(),
    tuple[str, ...]: st.lists(st.text()).map(tuple),
}


def values_of(spec: FieldSpec) -> st.SearchStrategy[Any]:
    values = st.sampled_from(get_args(spec.type)) if get_origin(spec.type) is Literal else SCALARS[spec.type]
    return st.none() | values if spec.optional else values


def records_of(record: type) -> st.SearchStrategy[Any]:
    return st.builds(record, **{spec.name: values_of(spec) for spec in fields_of(record)})


@pytest.fixture(scope="module")
def tables(ledgers: Ledgers) -> Iterator[Connection]:
    """The tables of a ledger, without foreign keys. What is written is never committed."""
    address = ledgers.empty()
    engine = engines_at(address, busy_timeout_s=5).writing
    with engine.connect() as connection:
        keys_off = "PRAGMA foreign_keys=OFF" if ledgers.kind == "sqlite" else "SET session_replication_role=replica"
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.execute(keys_off)
        yield connection
        connection.rollback()
    engine.dispose()
    ledgers.give_back(address)


@pytest.mark.parametrize("name", RECORDED)
@given(data=st.data())
def test_every_recorded_entity(tables: Connection, name: str, data: st.DataObject) -> None:
    record = RECORDED[name]
    written = data.draw(records_of(record))
    with tables.begin_nested() as savepoint:
        row = dict(zip(column_names(record), flattener(record)(written), strict=True))
        tables.execute(sa.insert(TABLES[name]), row)
        read: object = record_of(record, tables.execute(sa.select(TABLES[name])).mappings().one())
        savepoint.rollback()
    assert read == written
    assert [type(getattr(read, field)) for field in row] == [type(getattr(written, field)) for field in row]


def test_a_configured_entity_is_kept_whole_under_its_digest(ledgers: Ledgers) -> None:
    card = TaskCard("t", "g", "prompt: größer\n'\"", files={"b": "2", "a": "1"}, checks=(Check("file_exists", "x"),))
    with opened(ledgers) as ledger:
        ledger.remember([card])
        with ledger.read() as connection:
            row = connection.execute(sa.select(ledger.tables["task_card"])).mappings().one()
    kept = {
        name: json.loads(row[name]) if name in ("files", "checks", "check_files") else row[name]
        for name in column_names(TaskCard)
    }
    assert kept == to_jsonable(card)
    assert row["digest"] == content_digest(card)
    assert row["files"] == '{"a":"1","b":"2"}'


def test_the_same_content_is_kept_once_and_other_content_beside_it(ledgers: Ledgers) -> None:
    variant = Variant("v", "p", "m", "h", settings={"temperature": "0"})
    with opened(ledgers) as ledger:
        ledger.remember([variant, TASK_CARD])
        once = dump(ledger)
        ledger.remember([TASK_CARD, variant])
        assert dump(ledger) == once
        ledger.remember([Variant("v", "p", "m", "h", settings={"temperature": "1"})])
        assert len(dump(ledger)["variant"]) == 2


def test_every_entity_is_configured_or_recorded() -> None:
    assert sorted(TABLES) == sorted([*CONFIGURED, *RECORDED])
