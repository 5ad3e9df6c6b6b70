"""From what a script wants done to a call of a tool that a harness offers."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentdyno.providers.script import ToolUse, WriteFile
from agentdyno.providers.tool_choice import OfferedTool, ToolCall, choose_call, working_folder, writing_command

TEXT = {"type": "string"}
GREETING = ToolUse(write_file=WriteFile("out/hello.txt", "Hello, it's me\n"))


def offered(name: str, *required: str, **properties: Any) -> OfferedTool:
    return OfferedTool(name, {"type": "object", "properties": properties, "required": list(required)})


def test_a_shell_is_preferred_to_a_tool_that_writes_files() -> None:
    tools = [offered("write", path=TEXT, content=TEXT), offered("bash", command=TEXT)]

    call = choose_call(GREETING, tools)

    command = "mkdir -p -- out && printf %s 'Hello, it'\"'\"'s me\n' > out/hello.txt"
    assert call == ToolCall("bash", {"command": command})


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("path", "content"),
        ("file_path", "contents"),
        ("filePath", "text"),
        ("filename", "file_text"),
        ("file", "Content"),
    ],
)
def test_a_tool_with_a_path_and_a_content_writes_the_file(path: str, content: str) -> None:
    call = choose_call(GREETING, [offered("save", **{path: TEXT, content: TEXT})])

    assert call == ToolCall("save", {path: "out/hello.txt", content: "Hello, it's me\n"})


def test_a_shell_command_needs_a_shell() -> None:
    use = ToolUse(shell="ls")

    assert choose_call(use, [offered("save", path=TEXT, content=TEXT)]) is None
    assert choose_call(use, [offered("run", cmd=TEXT)]) == ToolCall("run", {"cmd": "ls"})


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "enum": ["view", "create"]},  # an editor's choice of operation
        {"type": "array", "items": {"type": "integer"}},
        {"type": "array"},
        {"const": "ls"},
        True,
    ],
)
def test_a_command_that_is_not_free_text_is_no_shell(schema: Any) -> None:
    assert choose_call(ToolUse(shell="ls"), [offered("edit", command=schema)]) is None


@pytest.mark.parametrize("schema", [{"type": ["string", "null"]}, {"anyOf": [{"type": "null"}, TEXT]}])
def test_optional_text_is_text(schema: Any) -> None:
    assert choose_call(ToolUse(shell="ls"), [offered("run", command=schema)]) == ToolCall("run", {"command": "ls"})


@pytest.mark.parametrize("kinds", [("array", "string"), ("ARRAY", "STRING")])
def test_a_command_as_a_list_of_words_is_a_shells(kinds: tuple[str, str]) -> None:
    words = {"type": kinds[0], "items": {"type": kinds[1]}}

    call = choose_call(ToolUse(shell="ls | wc"), [offered("shell", command=words)])

    assert call == ToolCall("shell", {"command": ["bash", "-lc", "ls | wc"]})


def test_the_likelier_of_several_tools_is_told_by_its_name() -> None:
    shells = [offered("watch", command=TEXT), offered("Bash", command=TEXT)]
    writers = [offered("search", path=TEXT, text=TEXT), offered("write_file", path=TEXT, content=TEXT)]

    assert choose_call(GREETING, shells) == choose_call(GREETING, [*writers, *shells])
    assert [call.name for call in (choose_call(GREETING, shells), choose_call(GREETING, writers)) if call] == [
        "Bash",
        "write_file",
    ]


def test_an_editor_is_told_to_create_the_file() -> None:
    editor = offered(
        "editor",
        "command",
        "path",
        "risk",
        command={"type": "string", "enum": ["view", "create", "str_replace"]},
        path=TEXT,
        file_text={"anyOf": [TEXT, {"type": "null"}]},
        old_str=TEXT,
        risk={"type": "string", "enum": ["LOW", "HIGH"]},
    )

    call = choose_call(GREETING, [editor])

    assert call is not None
    assert call.arguments == {
        "path": "out/hello.txt",
        "file_text": "Hello, it's me\n",
        "command": "create",
        "risk": "LOW",
    }


@pytest.mark.parametrize(
    "prompt",
    [
        {"system": "Working directory: /tmp/work\nPlatform: linux"},
        {"input": [{"content": "<cwd>/tmp/work</cwd>"}]},
        {"contents": [{"parts": [{"text": "I'm currently working in the directory: /tmp/work."}]}]},
        {"messages": [{"content": "The current workspace folder is '/tmp/work'"}]},
    ],
)
def test_an_absolute_path_lies_in_the_folder_that_the_prompt_names(prompt: dict[str, Any]) -> None:
    writer = offered("write", path={"type": "string", "description": "The absolute path"}, content=TEXT)

    call = choose_call(GREETING, [writer], working_folder(prompt))

    assert call is not None
    assert call.arguments["path"] == "/tmp/work/out/hello.txt"
    assert working_folder({"system": "Be brief: yes/no."}) is None


def test_schemas_in_the_vendors_upper_case_are_understood() -> None:
    text = {"type": "STRING"}
    shell = {"type": "OBJECT", "properties": {"command": text, "mode": text}, "required": ["command", "mode"]}

    call = choose_call(ToolUse(shell="ls"), [OfferedTool("run", shell)])

    assert call == ToolCall("run", {"command": "ls", "mode": "scripted"})


def test_other_required_arguments_get_the_plainest_values() -> None:
    tool = offered(
        "bash",
        "command",
        "description",
        "timeout",
        "background",
        "mode",
        "env",
        "tags",
        "unheard_of",
        command=TEXT,
        description=TEXT,
        timeout={"type": "integer"},
        background={"type": "boolean"},
        mode={"type": "string", "enum": ["fast", "safe"]},
        env={"type": "object"},
        tags={"type": "array"},
        optional=TEXT,
    )

    call = choose_call(ToolUse(shell="ls"), [tool])

    assert call is not None
    assert call.arguments == {
        "command": "ls",
        "description": "scripted",
        "timeout": 0,
        "background": False,
        "mode": "fast",
        "env": {},
        "tags": [],
        "unheard_of": None,
    }


def test_a_tool_without_a_usable_schema_is_passed_over() -> None:
    broken = [OfferedTool("odd", {}), OfferedTool("odder", {"properties": ["command"], "required": "command"})]

    assert choose_call(GREETING, broken) is None
    assert choose_call(GREETING, []) is None


names = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20).filter(
    lambda name: name not in (".", "..")
)


@settings(max_examples=25, deadline=None)
@given(
    parts=st.lists(names, min_size=1, max_size=3), text=st.text(st.characters(codec="utf-8", exclude_characters="\0"))
)
def test_the_command_writes_any_text_to_any_path_to_the_byte(parts: list[str], text: str) -> None:
    path = "/".join(parts)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["sh", "-c", writing_command(WriteFile(path, text))], cwd=folder, check=True, timeout=20)

        assert (Path(folder) / path).read_bytes() == text.encode()
