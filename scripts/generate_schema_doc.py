"""Writes docs/schema.md from the records' own definitions, or (--check) says whether it still says what they say."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from agentdyno.core.config.settings import (
    CellSettings,
    DeploymentSettings,
    GatewaySettings,
    SessionSettings,
    StandSettings,
)
from agentdyno.core.fields import FieldSpec, fields_of
from agentdyno.core.records import CONFIGURED, RECORDED, Check, Limits, ModelPrice, Route, SetupStep, SideCall

PAGE = Path(__file__).resolve().parent.parent / "docs" / "schema.md"
PREFACE = """\
# Schema

<!-- Generated from src/agentdyno/core/records by `make docs`. Edit there. -->

Every entity is defined once, in [records](../src/agentdyno/core/records/__init__.py). The ledger's tables, the
YAML that people write and this page are all made from that definition.

- The unit is in a field's name: `_us` microseconds (points in time count from the Unix epoch, UTC), `_ms` milliseconds,
  `_s` seconds, `_bytes`, `_tokens`, `_usd`.
- An empty cell means *unknown* and is never written as zero; zero is a measured zero.
- **key** fields identify a row, **→** points to another entity, **required** fields must stand in the YAML.
- Lists, mappings and nested records are kept in the ledger as canonical JSON text.
"""
CONFIGURED_PREFACE = """\
## Written by people

One YAML file each, see [configuration](configuration.md). The ledger keeps every version that a session used: its
table has these fields and, as key, `digest`, the digest of them all.
"""
RECORDED_PREFACE = """\
## Written by the stand

One table each in the ledger.
"""
NESTED_PREFACE = """\
## Parts of the above

`stand_settings` is what `dyno.yaml` may say.
"""
NESTED: Mapping[str, type] = {
    "route": Route,
    "check": Check,
    "side_call": SideCall,
    "setup_step": SetupStep,
    "limits": Limits,
    "model_price": ModelPrice,
    "stand_settings": StandSettings,
    "gateway_settings": GatewaySettings,
    "session_settings": SessionSettings,
    "deployment_settings": DeploymentSettings,
    "cell_settings": CellSettings,
}
SCALARS: Mapping[Any, str] = {str: "text", int: "integer", float: "number", bool: "yes or no", bytes: "bytes"}
LINKS: Mapping[type, str] = {record: f"[{name}](#{name})" for name, record in NESTED.items()}


def type_in_words(python_type: Any) -> str:
    """A field's type as a reader of YAML or SQL would say it. Raises TypeError for one that has no words yet."""
    if python_type in SCALARS:
        return SCALARS[python_type]
    if python_type in LINKS:
        return LINKS[python_type]
    origin, arguments = get_origin(python_type), get_args(python_type)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin is tuple:
        return f"list of {type_in_words(arguments[0])}"
    if origin is Mapping:
        return f"mapping from {type_in_words(arguments[0])} to {type_in_words(arguments[1])}"
    if origin in (Union, UnionType):
        return " or ".join(type_in_words(member) for member in arguments if member is not type(None))
    raise TypeError(f"no words for {python_type}")


def remarks(spec: FieldSpec, default: Any, mark_required: bool) -> str:
    """Key, reference, whether a value must be there, and what it is where none is given."""
    marks = ["key"] if spec.field.key else []
    # An entity's name is its file's unless the YAML says otherwise.
    if mark_required and default is dataclasses.MISSING and spec.name != "name":
        marks.append("required")
    if isinstance(default, (int, float)) or (isinstance(default, str) and default):
        marks.append(f"default {default}")
    if spec.field.ref:
        marks.append(f"→ {spec.field.ref}")
    return ", ".join(marks)


def default_of(item: dataclasses.Field[Any]) -> Any:
    """A field's default; MISSING where it has none."""
    return item.default if item.default_factory is dataclasses.MISSING else item.default_factory()


def table(name: str, record: type, mark_required: bool) -> Iterator[str]:
    """One record's heading, sentence and table."""
    defaults = {item.name: item for item in dataclasses.fields(record)}
    yield f"### {name}\n\n{(record.__doc__ or '').strip()}\n"
    yield "| field | type | unit | | meaning |\n| --- | --- | --- | --- | --- |"
    for spec in fields_of(record):
        marks = remarks(spec, default_of(defaults[spec.name]), mark_required)
        cells = (f"`{spec.name}`", type_in_words(spec.type), spec.field.unit or "", marks, spec.field.doc)
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    yield ""


def page() -> str:
    """The whole of docs/schema.md."""
    parts = [PREFACE]
    for preface, records, mark_required in (
        (CONFIGURED_PREFACE, CONFIGURED, True),
        (NESTED_PREFACE, NESTED, True),
        (RECORDED_PREFACE, RECORDED, False),
    ):
        parts.append(preface)
        for name, record in records.items():
            parts.extend(table(name, record, mark_required))
    return "\n".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the page is out of date")
    if parser.parse_args().check:
        if PAGE.exists() and PAGE.read_text() == page():
            return 0
        print("docs/schema.md does not say what the records say; run `make docs`", file=sys.stderr)
        return 1
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
