"""Records to rows and back, by the definitions in `core.records`."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from operator import attrgetter
from typing import Any, TypeVar, cast

import msgspec
from sqlalchemy.engine import RowMapping

from agentdyno.core.fields import fields_of
from agentdyno.core.ids import canonical_json
from agentdyno.core.jsonable import to_jsonable
from agentdyno.store.tables import is_json

R = TypeVar("R")


@functools.cache
def column_names(record: type) -> tuple[str, ...]:
    """The columns of a record's table, in order, without a configured entity's digest."""
    return tuple(spec.name for spec in fields_of(record))


@functools.cache
def flattener(record: type) -> Callable[[Any], tuple[Any, ...]]:
    """A function from a record to its tuple of column values; `attrgetter` alone where all are scalars."""
    json_places = [place for place, spec in enumerate(fields_of(record)) if is_json(spec)]
    get: Callable[[Any], tuple[Any, ...]] = attrgetter(*column_names(record))
    if not json_places:
        return get

    def flatten(item: Any) -> tuple[Any, ...]:
        values = list(get(item))
        for place in json_places:
            if values[place] is not None:
                values[place] = canonical_json(to_jsonable(values[place]))
        return tuple(values)

    return flatten


def record_of(record: type[R], row: RowMapping) -> R:
    """A recorded entity from its row. Columns that the record does not have are left out."""
    kind = cast("type", record)
    values = {name: row[name] for name in column_names(kind)}
    for name, restored in _restored(kind):
        if values[name] is not None:
            values[name] = restored(values[name])
    return record(**values)


@functools.cache
def _restored(record: type) -> tuple[tuple[str, Callable[[Any], Any]], ...]:
    """The columns that are not kept as they are, and what makes of each the field again."""
    return tuple(
        (spec.name, bool if spec.type is bool else functools.partial(msgspec.json.decode, type=spec.type))
        for spec in fields_of(record)
        if spec.type is bool or is_json(spec)
    )


def configured_of(record: type[R], row: RowMapping) -> R:
    """A configured entity from its row."""
    values = {
        spec.name: json.loads(row[spec.name]) if is_json(spec) and row[spec.name] is not None else row[spec.name]
        for spec in fields_of(cast("type", record))
    }
    return msgspec.convert(values, record)
