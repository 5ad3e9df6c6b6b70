"""YAML texts to plain values that know their lines.

Plain means: mappings with text keys, lists, text, finite numbers, true, false and null. Aliases, tags and several
documents in a file are faults; a date is text. Nothing that a text holds raises: what is wrong becomes a fault.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import yaml

from agentdyno.core.errors import Fault

Path = tuple[str | int, ...]
"""Where a value stands in a document: keys and positions from the top."""

_MAX_DEPTH = 32
_NUMBERS_END = 2**63
_SCALAR_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "timestamp")}
_TEXT_TAGS = {"tag:yaml.org,2002:str", "tag:yaml.org,2002:timestamp"}


@dataclass(frozen=True)
class Document:
    """The plain values of one file, and the line on which each of them begins."""

    file: str
    data: Any
    lines: Mapping[Path, int]

    def line(self, path: Path) -> int:
        """The line of a field, or of the nearest thing around it that is there."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def fault(self, path: Path, message: str) -> Fault:
        """A fault at a field of this document."""
        return Fault(self.file, self.line(path), field_name(path), message)

    def field_at(self, line: int) -> str:
        """The name of the innermost field that had begun by a line; empty when none had."""
        begun = [(start, len(path), field_name(path)) for path, start in self.lines.items() if start <= line]
        return max(begun)[2] if begun else ""


class Parsed(NamedTuple):
    """What became of a text; the document has no data when the text is not YAML at all."""

    document: Document
    faults: list[Fault]


def field_name(path: Path) -> str:
    """`checks[0].file` for ("checks", 0, "file")."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def parse(file: str, text: str) -> Parsed:
    """Read one YAML text; an empty one holds no fields."""
    try:
        node = yaml.compose(text, Loader=_PlainLoader)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        return _unreadable(file, line, _bad_character(ord(text[error.position])))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        return _unreadable(file, line, f"is not valid YAML: {error.problem}")
    except _NotPlainError as refused:
        return _unreadable(file, refused.line, refused.problem)
    except (ValueError, OverflowError):
        return _unreadable(file, 0, "is not valid YAML: an escape names no character")
    reader = _Reader(file)
    data = {} if node is None else reader.read(node, ())
    return Parsed(Document(file, data, reader.lines), reader.faults)


def _unreadable(file: str, line: int, message: str) -> Parsed:
    return Parsed(Document(file, None, {}), [Fault(file, line, "", message)])


def _bad_character(code: int) -> str:
    if 0xD800 <= code <= 0xDFFF:
        return "is not UTF-8 text"
    return f"holds a character that YAML does not allow: U+{code:04X}"


class _NotPlainError(Exception):
    """YAML that is valid, and more than a configuration may use."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line
        self.problem = problem


class _PlainLoader(yaml.SafeLoader):
    """Composes nodes, but no aliases, and not deeper than anyone writes by hand."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]  # of the untyped half of its stubs
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent):
            raise _NotPlainError(line, "uses an alias; write the value out")
        if self.depth == _MAX_DEPTH:
            raise _NotPlainError(line, "is nested too deeply")
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


class _Reader:
    """Turns nodes into plain values, and keeps their lines and what is wrong with them."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[Path, int] = {}
        self.faults: list[Fault] = []

    def read(self, node: yaml.Node, path: Path) -> Any:
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self.read_mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*path, position)) for position, item in enumerate(node.value)]
        return self.read_scalar(node, path)

    def read_mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == "tag:yaml.org,2002:merge":
                self.faults.append(Fault(self.file, line, field_name(path), "has a key that is not plain text"))
                continue
            key = self.stored(key_node.value, path, line)
            if key is None:
                continue
            here = (*path, key)
            if here in self.lines:
                self.faults.append(
                    Fault(self.file, line, field_name(here), f"is given twice; first on line {self.lines[here]}")
                )
                continue
            self.lines[here] = line
            values[key] = self.read(value_node, here)
        return values

    def read_scalar(self, node: yaml.Node, path: Path) -> Any:
        line = self.lines[path]
        if node.tag not in _SCALAR_TAGS:
            self.faults.append(
                Fault(self.file, line, field_name(path), "has a YAML tag; only plain values are allowed")
            )
            return None
        if node.tag in _TEXT_TAGS:
            return self.stored(node.value, path, line)
        try:
            value = yaml.constructor.SafeConstructor().construct_object(node)
        except ValueError:
            value = math.nan
        if isinstance(value, (int, float)) and not abs(value) < _NUMBERS_END:
            self.faults.append(Fault(self.file, line, field_name(path), "is not a number that can be stored"))
            return None
        return value

    def stored(self, text: str, path: Path, line: int) -> str | None:
        """The text, if every store, environment and JSON can hold it; else None, and a fault."""
        if "\0" in text or any(0xD800 <= ord(character) <= 0xDFFF for character in text):
            self.faults.append(Fault(self.file, line, field_name(path), "holds a character that cannot be stored"))
            return None
        return text
