"""Plain values to records, strictly: no key that the record lacks, no type turned into another."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Generic, Literal, NamedTuple, TypeVar, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError

from agentdyno.core.config.documents import Document, Path, field_name
from agentdyno.core.config.sound import Sound, pruned
from agentdyno.core.errors import Fault
from agentdyno.core.fields import fields_of
from agentdyno.core.ids import canonical_json
from agentdyno.core.jsonable import to_jsonable
from agentdyno.core.names import nearest, suggestion

R = TypeVar("R")
_WORDS: Mapping[Any, str] = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


class Decoded(NamedTuple, Generic[R]):
    """A record, or what is wrong with it; and in both cases what of it is sound."""

    record: R | None
    faults: list[Fault]
    sound: Sound


def decode(record: type[R], document: Document, defaults: Mapping[str, Any], known: Collection[Fault]) -> Decoded[R]:
    """The record that a document describes; `defaults` are for keys that the document leaves out.

    `known` are the faults that the document has already: there is no record then, and no second fault of those fields.
    """
    named = frozenset(fault.field for fault in known)
    if document.data is None:
        return Decoded(None, [], Sound({}, named))
    if not isinstance(document.data, dict):
        fault = document.fault((), f"expected fields with values, found {_found(document.data)}")
        return Decoded(None, [] if fault.field in named else [fault], Sound({}, named))
    data = {**defaults, **document.data}
    found, problems = _validated(record, data)
    meant = {field_name(path) for path in _meant(record, data, problems)}
    faults = [
        _fault(record, document, data, path, kind)
        for path, kind in problems.items()
        if field_name(path) not in named and not (kind == "missing" and field_name(path) in meant)
    ]
    fields = pruned({**_field_defaults(record), **data}, problems)
    sound = Sound(fields, named | meant | {field_name(path) for path in problems})
    return Decoded(None if known else found, faults, sound)


def _validated(record: type[R], data: Mapping[str, Any]) -> tuple[R | None, dict[Path, str]]:
    """The record, if there is one, and pydantic's word for what is wrong at which path."""
    try:
        hashable: Any = record
        return _adapter(hashable).validate_json(canonical_json([data]))[0], {}
    except ValidationError as error:
        problems = error.errors(include_url=False)
        return None, {_present(data, problem["loc"][1:]): problem["type"] for problem in problems}


def _meant(record: type, data: Any, problems: Iterable[Path]) -> Iterator[Path]:
    """The absent fields that keys which are no fields were probably meant to be."""
    for *parent, key in problems:
        valid = _keys(_type_at(record, tuple(parent)))
        near = None if valid is None or key in valid else nearest(str(key), valid)
        if near is not None and near not in functools.reduce(lambda inner, part: inner[part], parent, data):
            yield (*parent, near)


def _field_defaults(record: Any) -> dict[str, Any]:
    """The plain values of the fields that may be left out."""
    defaults: dict[str, Any] = {}
    for field in dataclasses.fields(record):
        if field.default is not dataclasses.MISSING:
            defaults[field.name] = to_jsonable(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            defaults[field.name] = to_jsonable(field.default_factory())
    return defaults


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
