"""From what a script wants done to a call of a tool that the harness offers. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from agentdyno.providers.script import ToolUse, WriteFile

# Names of arguments, compared in lower case without underscores: file_path and filePath are one.
_COMMANDS = frozenset({"command", "cmd"})
_PATHS = frozenset({"path", "filepath", "filename", "file"})
_CONTENTS = frozenset({"content", "contents", "text", "filetext"})


class OfferedTool(NamedTuple):
    """A tool as a request offers it."""

    name: str
    schema: Mapping[str, Any]
    """JSON schema of its arguments."""


class ToolCall(NamedTuple):
    """A tool's name and its arguments."""

    name: str
    arguments: dict[str, Any]


def choose_call(use: ToolUse, offered: Sequence[OfferedTool]) -> ToolCall | None:
    """The call that does it: by a shell if one is offered, else by a tool that writes files; None if neither fits."""
    command = use.shell if use.write_file is None else writing_command(use.write_file)
    for tool in offered:
        argument = _text_argument(tool, _COMMANDS)
        if argument is not None:
            return _call(tool, {argument: command})
    if use.write_file is None:
        return None
    for tool in offered:
        path, content = _text_argument(tool, _PATHS), _text_argument(tool, _CONTENTS)
        if path is not None and content is not None:
            return _call(tool, {path: use.write_file.path, content: use.write_file.text})
    return None


def writing_command(file: WriteFile) -> str:
    """A POSIX shell command that writes the file, its folders included, to the byte."""
    write = f"printf %s {shlex.quote(file.text)} > {shlex.quote(file.path)}"
    folder = str(PurePosixPath(file.path).parent)
    return write if folder in (".", "/") else f"mkdir -p -- {shlex.quote(folder)} && {write}"


def _text_argument(tool: OfferedTool, names: frozenset[str]) -> str | None:
    """The first argument of free text that goes by one of these names."""
    for name, schema in _properties(tool).items():
        if name.lower().replace("_", "") in names and _is_free_text(schema):
            return name
    return None


def _properties(tool: OfferedTool) -> Mapping[str, Any]:
    properties = tool.schema.get("properties")
    return properties if isinstance(properties, Mapping) else {}


def _is_free_text(schema: Any) -> bool:
    """Whether any string will do. An enumeration will not: an editor's `command` is no shell's."""
    if not isinstance(schema, Mapping) or "enum" in schema or "const" in schema:
        return False
    declared = schema.get("type")
    alternatives = schema.get("anyOf")
    return (
        declared == "string"
        or (isinstance(declared, list) and "string" in declared)
        or (isinstance(alternatives, list) and any(_is_free_text(each) for each in alternatives))
    )


def _call(tool: OfferedTool, arguments: dict[str, Any]) -> ToolCall:
    """The call with those arguments, and the plainest values for others that the tool requires."""
    required = tool.schema.get("required")
    others = [name for name in required if name not in arguments] if isinstance(required, list) else []
    return ToolCall(tool.name, arguments | {name: _plainest(_properties(tool).get(name)) for name in others})


def _plainest(schema: Any) -> Any:
    if not isinstance(schema, Mapping):
        return None
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return schema["enum"][0]
    plain = {"string": "scripted", "boolean": False, "integer": 0, "number": 0, "array": [], "object": {}}
    return plain.get(str(schema.get("type")))
