"""Plain values to records, strictly: no key that the record lacks, no type turned into another."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Generic, Literal, NamedTuple, TypeVar, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError

from agentdyno.core.config.documents import Document, Path
from agentdyno.core.errors import Fault
from agentdyno.core.fields import fields_of
from agentdyno.core.ids import canonical_json
from agentdyno.core.names import nearest, suggestion

R = TypeVar("R")
_WORDS: Mapping[Any, str] = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


class Decoded(NamedTuple, Generic[R]):
    """A record, or what is wrong with it."""

    record: R | None
    faults: list[Fault]


def decode(record: type[R], document: Document, defaults: Mapping[str, Any]) -> Decoded[R]:
    """The record that a document describes; `defaults` are for keys that the document leaves out."""
    if not isinstance(document.data, dict):
        return Decoded(None, [document.fault((), f"expected fields with values, found {_found(document.data)}")])
    data = {**defaults, **document.data}
    try:
        hashable: Any = record
        return Decoded(_adapter(hashable).validate_json(canonical_json([data]))[0], [])
    except ValidationError as error:
        paths = {_present(data, problem["loc"][1:]): problem["type"] for problem in error.errors(include_url=False)}
        return Decoded(None, [_fault(record, document, data, path, kind) for path, kind in paths.items()])


@functools.cache
def _adapter(record: Any) -> TypeAdapter[Any]:
    # A list, for pydantic hands its configuration down to standard dataclasses, but takes none for one itself.
    return TypeAdapter(list[record], config=ConfigDict(extra="forbid", strict=True))


def _present(data: Any, location: tuple[str | int, ...]) -> Path:
    """The part of pydantic's location that is a path in the data, and one missing key more if that is what it names."""
    path: Path = ()
    for part in location:
        if isinstance(data, dict) and part != "[key]":
            if part not in data:
                return (*path, part)
            data = data[part]
        elif isinstance(data, list) and isinstance(part, int):
            data = data[part]
        else:
            break
        path = (*path, part)
    return path


def _fault(record: type, document: Document, data: Any, path: Path, kind: str) -> Fault:
    if kind == "missing":
        return document.fault(path, f"is missing; expected {_expected(_type_at(record, path))}")
    *parent, key = path
    valid = _keys(_type_at(record, tuple(parent)))
    if valid is not None and key not in valid:
        return document.fault(path, f"is not a field here; {suggestion(str(key), valid)}")
    value = functools.reduce(lambda inner, part: inner[part], path, data)
    annotation = _type_at(record, path)
    return document.fault(path, f"expected {_expected(annotation)}, found {_found(value)}{_hint(annotation, value)}")


def _hint(annotation: Any, value: Any) -> str:
    if annotation is str and isinstance(value, (bool, int, float)):
        return "; write it in quotes"
    near = (
        nearest(value, get_args(annotation)) if get_origin(annotation) is Literal and isinstance(value, str) else None
    )
    return "" if near is None else f'; did you mean "{near}"?'


def _type_at(annotation: Any, path: Path) -> Any:
    """The type that a record's definition gives to what stands at a path."""
    for part in path:
        if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
            annotation = next((spec.type for spec in fields_of(annotation) if spec.name == part), Any)
        elif get_origin(annotation) is not None:
            arguments = get_args(annotation)
            annotation = arguments[0] if get_origin(annotation) is tuple else arguments[-1]
    return annotation


def _keys(annotation: Any) -> tuple[str, ...] | None:
    """The keys that a type allows; None when it allows any."""
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return tuple(spec.name for spec in fields_of(annotation))
    arguments = get_args(annotation)
    if arguments and get_origin(arguments[0]) is Literal:
        return get_args(arguments[0])
    return None


def _expected(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return "one of " + ", ".join(arguments)
    if origin is tuple:
        return "a list"
    if dataclasses.is_dataclass(annotation) or (origin is not None and issubclass(origin, Mapping)):
        return "fields with values"
    members = [annotation] if annotation in _WORDS else list(arguments)
    if float in members and int in members:
        members.remove(int)
    return " or ".join(_WORDS[member] for member in members if member in _WORDS)


def _found(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"the truth value {str(value).lower()}"
    if isinstance(value, (int, float)):
        return f"the number {value}"
    if isinstance(value, str):
        return f'"{value}"'
    return "a list" if isinstance(value, list) else "fields with values"
