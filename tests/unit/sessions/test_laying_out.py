from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from agentdyno.core.errors import UserError
from agentdyno.core.records import SetupStep
from agentdyno.sessions.git import shown
from agentdyno.sessions.mirrors import origin_of
from agentdyno.sessions.setup_steps import setup_digest
from agentdyno.sessions.workspaces import Source, lay_out


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """As a repository may be: with folders, files, and links in it and out of it."""
    template = tmp_path / "template"
    (template / "docs").mkdir(parents=True)
    (template / "docs/guide").write_text("the guide")
    (template / "AGENTS.md").write_text("the repository's")
    (template / "CLAUDE.md").symlink_to("AGENTS.md")
    (template / "inside").symlink_to("docs")
    (template / "circle").symlink_to("circle")
    (template / "outside").symlink_to("../kept")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").write_text("kept")
    return template


def laid_out(template: Path, **files: str) -> Path:
    folder = template.parent / "cells/1/workspace"
    lay_out(Source(template, "0" * 40, None), folder, files)
    return folder


def test_links_stay_links_and_are_replaced_not_written_through(template: Path) -> None:
    workspace = laid_out(template, **{"CLAUDE.md": "the cell's", "inside/new": "x", "outside": "x"})

    assert (workspace / "AGENTS.md").read_text() == "the repository's"
    assert not (workspace / "CLAUDE.md").is_symlink()
    assert (workspace / "CLAUDE.md").read_text() == "the cell's"
    assert (workspace / "docs/new").read_text() == "x"
    assert (workspace / "outside").read_text() == "x"
    assert (template / "CLAUDE.md").is_symlink()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../file", "file '../file' leaves its folder"),
        ("/etc/file", "file '/etc/file' leaves its folder"),
        ("outside/file", "file outside/file leaves its folder by a link"),
        ("outside/deeper/file", "leaves its folder by a link"),
        ("inside/../../file", "leaves its folder"),
        ("docs", "file docs has no place in the workspace: Is a directory"),
        (".", "file . has no place in the workspace"),
        ("AGENTS.md/file", "file AGENTS.md/file has no place in the workspace"),
        ("x" * 300, "has no place in the workspace: File name too long"),
        ("circle/file", "file circle/file has no place in the workspace"),
        ("a\0b", "has no place in the workspace"),
    ],
)
def test_no_file_is_laid_elsewhere(template: Path, name: str, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        laid_out(template, **{name: "x"})

    assert [path.name for path in (template.parent / "kept").iterdir()] == ["file"]
    assert not (template.parent / "cells/1/file").exists()


def test_text_is_written_as_it_is(template: Path) -> None:
    path = os.fsdecode(b"/home/\xff")

    workspace = laid_out(template, CRLF=f"é\r\n{path}", empty="")

    assert (workspace / "CRLF").read_bytes() == b"\xc3\xa9\r\n/home/\xff"
    assert (workspace / "empty").read_bytes() == b""


@pytest.mark.parametrize(
    ("repository", "address", "root"),
    [
        ("repo", "/project/repo", "/project/repo"),
        ("/abs/repo", "/abs/repo", "/abs/repo"),
        ("https://host/r.git", "https://host/r.git", "https://host/r.git"),
        ("https://me:p@ss@host/r?token=x#y", "https://me:p@ss@host/r?token=x#y", "https://host/r"),
        ("git@host:me/r.git", "git@host:me/r.git", "git@host:me/r.git"),
    ],
)
def test_where_a_repository_is(tmp_path: Path, repository: str, address: str, root: str) -> None:
    (tmp_path / "project/repo").mkdir(parents=True)
    (tmp_path / "abs/repo").mkdir(parents=True)

    origin = origin_of(repository.replace("/abs", f"{tmp_path}/abs"), tmp_path / "project")

    assert (origin.address.replace(str(tmp_path), ""), origin.shown.replace(str(tmp_path), "")) == (address, root)


def test_what_is_shown_is_one_line_without_secrets() -> None:
    told = "fatal: unable to access 'https://me:hunter2@host/r?private_token=hunter3': gone\n" + "x" * 1000

    assert "hunter" not in shown(told)
    assert "\n" not in shown(told)
    assert len(shown(told)) < 310
    assert shown("is that it?") == "is that it?"


def test_what_a_setup_is_depends_on_what_its_commands_say_alone() -> None:
    def of(*command: str, timeout_s: float = 1, **values: str) -> str:
        return setup_digest([SetupStep(command, timeout_s)], values)

    same = of("build", "${revision}", "${setup_dir}", revision="r1")
    assert of("build", "${revision}", "${setup_dir}", revision="r1", unused="x", timeout_s=9) == same
    assert of("build", "r1", "${setup_dir}") == same
    others = {
        of("build", "${revision}", "${setup_dir}", revision="r2"),
        of("build", "r1", "$${setup_dir}"),
        of("build", "r1 ", "${setup_dir}"),
        of("build r1", "${setup_dir}"),
    }
    assert len(others | {same}) == 5
