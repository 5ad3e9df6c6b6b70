"""Records as plain JSON values, and their digests."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from agentdyno.core.ids import digest


def to_jsonable(value: Any) -> Any:
    """Records, named tuples and mappings as dicts, other sequences as lists; bytes as hex; scalars as they are."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_jsonable(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: to_jsonable(item) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return to_jsonable(value._asdict())
    if isinstance(value, tuple | list):
        return [to_jsonable(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    return value


def content_digest(record: Any) -> str:
    """The digest of what a record says. A field at its default says nothing: one that is added later changes none."""
    return digest(to_jsonable(_without_defaults(record)))


def _without_defaults(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        given = {
            field.name: getattr(value, field.name)
            for field in dataclasses.fields(value)
            if not _is_default(value, field)
        }
        return {name: _without_defaults(item) for name, item in given.items()}
    if isinstance(value, Mapping):
        return {key: _without_defaults(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_without_defaults(item) for item in value]
    return value


def _is_default(record: Any, field: dataclasses.Field[Any]) -> bool:
    value = getattr(record, field.name)
    if field.default_factory is not dataclasses.MISSING:
        return bool(value == field.default_factory())
    return field.default is not dataclasses.MISSING and value == field.default and type(value) is type(field.default)
