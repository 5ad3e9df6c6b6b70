"""The vocabulary in which a record describes its own fields.

A record is a frozen dataclass whose annotations read `Annotated[int | None, Field("…", unit="tokens")]`. The table, the
strict schema of its YAML, the bulk column list and the documentation are all derived from it.
"""

from __future__ import annotations

import dataclasses
import functools
import types
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin, get_type_hints


@dataclasses.dataclass(frozen=True)
class Field:
    """What a record's annotation says of a field beyond its Python type."""

    doc: str
    unit: str | None = None
    key: bool = False
    index: bool = False
    unique: bool = False
    ref: str | None = None
    """`entity.field` that this one points to."""


class FieldSpec(NamedTuple):
    """One field of a record, read from its annotation."""

    name: str
    type: Any
    """The Python type without `None`."""
    optional: bool
    field: Field


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if get_origin(annotation) in (Union, types.UnionType):
        members = [member for member in get_args(annotation) if member is not type(None)]
        if len(members) == 1:
            return members[0], True
    return annotation, False


@functools.cache
def fields_of(record: type) -> tuple[FieldSpec, ...]:
    """The fields of a record in the order of their definition. Raises TypeError for an undocumented one."""
    hints = get_type_hints(record, include_extras=True)
    specs = []
    for item in dataclasses.fields(record):
        annotation = hints[item.name]
        metadata = next((m for m in get_args(annotation)[1:] if isinstance(m, Field)), None)
        if get_origin(annotation) is not Annotated or metadata is None:
            raise TypeError(f"{record.__name__}.{item.name} carries no Field")
        python_type, optional = _without_none(get_args(annotation)[0])
        specs.append(FieldSpec(item.name, python_type, optional, metadata))
    return tuple(specs)
