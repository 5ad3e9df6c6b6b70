"""Which folders a harness's program is shown with: what it needs, and nothing of the operator's or the stand's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentdyno.core.errors import UserError
from agentdyno.sessions.sandboxes import toolchain_of


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The operator's HOME."""
    home = tmp_path / "users/me"
    home.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture
def stand(user: Path) -> Path:
    """The stand's home, in a project of the operator's."""
    home = user / "project/.dyno"
    home.mkdir(parents=True)
    return home


def program(path: Path, content: bytes = b"\x7fELF...") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def link(path: Path, target: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
    return path


def test_what_the_system_has_needs_nothing(stand: Path) -> None:
    assert toolchain_of("sh", "/usr/bin:/bin", stand) == ()


def test_the_folder_that_has_its_bin(user: Path, stand: Path) -> None:
    tool = program(user / "tools/bin/tool")

    assert toolchain_of("tool", f"/usr/bin:{tool.parent}", stand) == (user / "tools",)


def test_where_a_link_lies_and_where_it_leads(tmp_path: Path, stand: Path) -> None:
    tool = link(tmp_path / "one/bin/tool", program(tmp_path / "two/bin/tool"))

    assert toolchain_of("tool", str(tool.parent), stand) == (tmp_path / "one", tmp_path / "two")


def test_a_folder_in_another_is_named_once(tmp_path: Path, stand: Path) -> None:
    tool = link(tmp_path / "one/bin/tool", program(tmp_path / "one/inner/bin/tool"))

    assert toolchain_of("tool", str(tool.parent), stand) == (tmp_path / "one",)


def test_of_a_module_of_nodes_all_modules_and_node_itself(user: Path, stand: Path) -> None:
    node = program(user / "node/22/bin/node")
    modules = user / "work/node_modules"
    script = program(modules / "@maker/tool/cli/tool.js", b"#!/usr/bin/env -S node --quiet\n")
    tool = link(modules / ".bin/tool", script)

    assert toolchain_of("tool", f"{tool.parent}:{node.parent}", stand) == (user / "node/22", modules)


def test_of_a_virtual_environment_its_python_too(user: Path, stand: Path) -> None:
    python = program(user / "pythons/3.12/bin/python3.12")
    venv = user / "venvs/tool"
    link(venv / "bin/python", python)
    (venv / "pyvenv.cfg").write_text(f"home = {python.parent}\nversion = 3.12\n")
    tool = program(venv / "bin/tool", f"#!{venv}/bin/python\n".encode())

    assert toolchain_of("tool", str(tool.parent), stand) == (user / "pythons/3.12", venv)


def test_a_program_in_local_that_leads_to_its_own_folder(user: Path, stand: Path) -> None:
    venv = user / ".local/share/tools/tool"
    python = program(venv / "bin/python")
    tool = link(user / ".local/bin/tool", program(venv / "bin/tool", f"#!{python}\n".encode()))

    assert toolchain_of("tool", str(tool.parent), stand) == (tool, venv)


def test_a_single_file_in_local_is_shown_alone(user: Path, stand: Path) -> None:
    file = program(user / ".local/share/tool/versions/7")
    tool = link(user / ".local/bin/tool", file)

    assert toolchain_of("tool", str(tool.parent), stand) == (tool, file)


@pytest.mark.parametrize("place", ["users/me/bin", "users/me/.local/bin", "users/bin", "users/me/project/bin", "odd"])
def test_no_folder_that_holds_what_must_not_be_seen(tmp_path: Path, user: Path, stand: Path, place: str) -> None:
    tool = program(tmp_path / place / "tool", b"#!/bin/sh\nexec $(dirname $0)/../lib/tool\n")

    with pytest.raises(UserError, match="cells: readable"):
        toolchain_of("tool", str(tool.parent), stand)
    # What the hint says helps.
    assert toolchain_of("tool", str(tool.parent), stand, [tool.parent]) == ()


def test_no_folder_that_holds_it_by_a_link(tmp_path: Path, user: Path, stand: Path) -> None:
    program(user / "bin/tool", b"#!/bin/sh\n")
    elsewhere = link(tmp_path / "elsewhere", user)

    with pytest.raises(UserError):
        toolchain_of("tool", str(elsewhere / "bin"), stand)


def test_a_program_that_is_not_there(stand: Path) -> None:
    with pytest.raises(UserError, match="tool is not on the PATH"):
        toolchain_of("tool", "/nowhere", stand)


def test_interpreters_that_lead_in_a_circle_end(tmp_path: Path, stand: Path) -> None:
    tool = program(tmp_path / "tools/bin/tool", f"#!{tmp_path}/tools/bin/other\n".encode())
    program(tmp_path / "tools/bin/other", f"#!{tool}\n".encode())

    assert toolchain_of("tool", str(tool.parent), stand) == (tmp_path / "tools",)


def test_a_script_that_cannot_be_read_is_left_to_the_cell(tmp_path: Path, stand: Path) -> None:
    tool = program(tmp_path / "tools/bin/tool", os.urandom(16))

    assert toolchain_of("tool", str(tool.parent), stand) == (tmp_path / "tools",)
