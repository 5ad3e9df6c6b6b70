"""From what a script wants done to a call of a tool that the harness offers. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from agentdyno.core.ids import canonical_json
from agentdyno.providers.plain_values import Schema, merged_schema, properties_of, required_values, type_of
from agentdyno.providers.script import ToolUse, WriteFile

# Names of arguments, compared in lower case without underscores: file_path and filePath are one.
_COMMANDS = frozenset({"command", "cmd"})
_PATHS = frozenset({"path", "filepath", "filename", "file", "absolutepath", "targetfile"})
_CONTENTS = frozenset({"content", "contents", "text", "filetext"})
# Where several tools take such arguments, one whose name says what it does is the likelier.
_SHELL_NAMES = re.compile(r"(?i)shell|bash|exec|terminal|command|run")
_WRITER_NAMES = re.compile(r"(?i)write|create|save|edit")
_WRITING = frozenset({"create", "write", "overwrite"})
_FOLDER = re.compile(
    r"(?i)(?:(?:working(?: in the)?|current|workspace|project)[ _-]?(?:directory|folder|dir)|cwd)\b"
    r"[^/]{0,40}(/[^\s\"'`<>\\,;]+)"
)


class OfferedTool(NamedTuple):
    """A tool as a request offers it."""

    name: str
    schema: Schema
    """JSON schema of its arguments."""


class ToolCall(NamedTuple):
    """A tool's name and its arguments."""

    name: str
    arguments: dict[str, Any]


def choose_call(use: ToolUse, offered: Sequence[OfferedTool], folder: str | None = None) -> ToolCall | None:
    """The call that does it: by a shell if one is offered, else by a tool that writes files; None if neither fits.

    `folder` is the harness's working folder, for tools that want absolute paths.
    """
    command = use.shell if use.write_file is None else writing_command(use.write_file)
    call = _first_call(offered, _SHELL_NAMES, lambda tool: _command_arguments(tool, command or ""))
    if call is None and use.write_file is not None:
        file = use.write_file
        call = _first_call(offered, _WRITER_NAMES, lambda tool: _file_arguments(tool, file, folder))
    return call


def writing_command(file: WriteFile) -> str:
    """A POSIX shell command that writes the file, its folders included, to the byte."""
    write = f"printf %s {shlex.quote(file.text)} > {shlex.quote(file.path)}"
    folder = str(PurePosixPath(file.path).parent)
    return write if folder in (".", "/") else f"mkdir -p -- {shlex.quote(folder)} && {write}"


def working_folder(prompt: Mapping[str, Any]) -> str | None:
    """The folder that a prompt names as the one where the work is done."""
    found = _FOLDER.search(canonical_json(prompt))
    return None if found is None else found[1].rstrip(".)]")


def _first_call(
    offered: Sequence[OfferedTool], likely: re.Pattern[str], arguments_for: Callable[[OfferedTool], dict[str, Any]]
) -> ToolCall | None:
    """The call of the likeliest tool that has arguments for it, with plain values for the others that it requires."""
    for tool in sorted(offered, key=lambda tool: likely.search(tool.name) is None):
        arguments = arguments_for(tool)
        if arguments:
            others = required_values(merged_schema(tool.schema, tool.schema), tool.schema)
            return ToolCall(tool.name, arguments | {name: others[name] for name in others if name not in arguments})
    return None


def _command_arguments(tool: OfferedTool, command: str) -> dict[str, Any]:
    for name, schema in _named(tool, _COMMANDS):
        if _admits_text(schema, tool.schema):
            return {name: command}
        if type_of(schema) == "array" and _admits_text(schema.get("items"), tool.schema):
            return {name: ["bash", "-lc", command]}
    return {}


def _file_arguments(tool: OfferedTool, file: WriteFile, folder: str | None) -> dict[str, Any]:
    path = next((each for each in _named(tool, _PATHS) if _admits_text(each.schema, tool.schema)), None)
    content = next((each for each in _named(tool, _CONTENTS) if _admits_text(each.schema, tool.schema)), None)
    if path is None or content is None:
        return {}
    wants_absolute = folder is not None and "absolute" in f"{path.name} {path.schema.get('description')}".lower()
    whole_path = str(PurePosixPath(folder or "", file.path)) if wants_absolute else file.path
    return {path.name: whole_path, content.name: file.text, **_operation(tool)}


def _operation(tool: OfferedTool) -> dict[str, str]:
    """The choice that makes an editor write, where it has one of several things to do."""
    for name, schema in properties_of(merged_schema(tool.schema, tool.schema)).items():
        choices = merged_schema(schema, tool.schema).get("enum")
        for choice in choices if isinstance(choices, list) else []:
            if isinstance(choice, str) and choice.lower() in _WRITING:
                return {name: choice}
    return {}


class _Argument(NamedTuple):
    name: str
    schema: Schema


def _named(tool: OfferedTool, names: frozenset[str]) -> Iterator[_Argument]:
    for name, schema in properties_of(merged_schema(tool.schema, tool.schema)).items():
        if name.lower().replace("_", "") in names:
            yield _Argument(name, merged_schema(schema, tool.schema))


def _admits_text(schema: Any, root: Schema) -> bool:
    """Whether any string will do. An enumeration will not: an editor's `command` is no shell's."""
    merged = merged_schema(schema, root)
    declared = merged.get("type")
    several = isinstance(declared, list) and "string" in declared
    return (type_of(merged) == "string" or several) and "enum" not in merged and "const" not in merged
