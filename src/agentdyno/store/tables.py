"""SQLAlchemy tables, derived from the records.

A configured entity is kept once per content: its table has the record's fields and `digest`, the digest of the whole,
as key. Scalars become columns of their own; tuples, mappings and nested records become canonical JSON text. Times are
integer UTC microseconds, because SQLite gives naive datetimes back. Text is compared by its code points in every
database: PostgreSQL would else order it by the language that it was set up in.
"""

from __future__ import annotations

from typing import Any, Literal, get_origin

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    Table,
    Text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

from agentdyno.core.fields import FieldSpec, fields_of
from agentdyno.core.records import CONFIGURED, RECORDED

_TEXT = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
_SCALARS: dict[Any, TypeEngine[Any]] = {
    str: _TEXT,
    int: BigInteger(),
    float: Double(),
    bool: Boolean(),
    bytes: LargeBinary(),
}


def is_json(spec: FieldSpec) -> bool:
    """Whether a field is kept as canonical JSON text rather than as a scalar."""
    return spec.type not in _SCALARS and get_origin(spec.type) is not Literal


def _column(spec: FieldSpec, *, references: bool) -> Column[Any]:
    sql_type = _SCALARS.get(spec.type, _TEXT)
    field = spec.field
    target = [ForeignKey(field.ref)] if references and field.ref else []
    return Column(
        spec.name,
        sql_type,
        *target,
        primary_key=field.key,
        nullable=spec.optional and not field.key,
        index=field.index or None,
        autoincrement=False,
        comment=None,
    )


def build_metadata() -> MetaData:
    """The schema of the ledger: one table for each entity of `core.records`."""
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    for name, record in CONFIGURED.items():
        digest = Column("digest", _TEXT, primary_key=True)
        Table(name, metadata, digest, *(_column(spec, references=False) for spec in fields_of(record)))
    for name, record in RECORDED.items():
        Table(name, metadata, *(_column(spec, references=True) for spec in fields_of(record)))
    # The next open cell of a run is found by it, however many are done.
    cell = metadata.tables["cell"]
    Index("ix_cell_run_id_state_position", cell.c.run_id, cell.c.state, cell.c.position)
    return metadata
