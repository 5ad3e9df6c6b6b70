"""What was changed in a folder, whatever the agent does to the folder's own Git repository and its settings."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from agentdyno.sessions.checks import Changes, Snapshot, changes_since, take_snapshot

IDENTITY = ("-c", "user.name=test", "-c", "user.email=test@localhost")


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(folder), *IDENTITY, *arguments], check=True, capture_output=True)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A repository with three lines of code, and rules of what is left out."""
    folder = tmp_path / "workspace"
    (folder / "src").mkdir(parents=True)
    (folder / "src/a.py").write_text("one\ntwo\nthree\n")
    (folder / "link").symlink_to("src")
    (folder / ".gitignore").write_text("*.log\nbuild/\n")
    (folder / "src/.gitignore").write_text("/generated.py\n!kept.log\n")
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "start")
    return folder


@pytest.fixture
def snapshot(workspace: Path, tmp_path: Path) -> Snapshot:
    taken = take_snapshot(workspace, tmp_path / "snapshot")
    assert taken.fault is None
    return taken


def test_nothing_was_changed(snapshot: Snapshot) -> None:
    assert changes_since(snapshot) == Changes()


def test_lines_are_counted_as_they_were_added_and_removed(workspace: Path, snapshot: Snapshot) -> None:
    (workspace / "src/a.py").write_text("one\n2\n3\n4\n")  # 2 removed, 3 added
    (workspace / "new").mkdir()
    (workspace / "new/b.py").write_text("no newline at its end")  # 1 added
    (workspace / "link").unlink()  # 1 removed

    assert changes_since(snapshot) == Changes(("link", "new/b.py", "src/a.py"), lines=7)
    # Asked once more, it says the same.
    assert changes_since(snapshot).lines == 7


def test_what_is_no_text_has_lines_too(workspace: Path, snapshot: Snapshot) -> None:
    (workspace / "image").write_bytes(b"\0\xff\n" * 3)  # 3 added

    assert changes_since(snapshot) == Changes(("image",), lines=3)


def test_what_is_moved_is_removed_and_added(workspace: Path, snapshot: Snapshot) -> None:
    (workspace / "src/a.py").rename(workspace / "b.py")

    assert changes_since(snapshot) == Changes(("b.py", "src/a.py"), lines=6)  # 3 removed, 3 added


def test_what_can_be_run_now_or_is_a_link_now_is_touched(workspace: Path, snapshot: Snapshot) -> None:
    (workspace / "src/a.py").chmod(0o755)
    (workspace / ".gitignore").unlink()
    (workspace / ".gitignore").symlink_to("/etc/passwd")

    assert changes_since(snapshot).paths == (".gitignore", "src/a.py")


def test_what_the_rules_of_the_beginning_leave_out_does_not_count(workspace: Path, snapshot: Snapshot) -> None:
    (workspace / "build/deep").mkdir(parents=True)
    for name in ("a.log", "build/x", "build/deep/y", "src/generated.py", "src/kept.log", "generated.py"):
        (workspace / name).write_text("x\n")

    assert changes_since(snapshot).paths == ("generated.py", "src/kept.log")


def test_a_file_that_is_left_out_by_name_though_it_is_tracked_counts(workspace: Path, tmp_path: Path) -> None:
    (workspace / "old.log").write_text("x\n")
    git(workspace, "add", "--force", "old.log")
    taken = take_snapshot(workspace, tmp_path / "snapshot")
    (workspace / "old.log").write_text("y\n")

    assert changes_since(taken) == Changes(("old.log",), lines=2)


def test_uncommitted_changes_of_before_do_not_count(workspace: Path, tmp_path: Path) -> None:
    (workspace / "src/a.py").write_text("begun\n")
    (workspace / "untracked").write_text("x\n")

    assert changes_since(take_snapshot(workspace, tmp_path / "snapshot")) == Changes()


def test_rules_above_the_folder_hold_in_it(workspace: Path, tmp_path: Path) -> None:
    taken = take_snapshot(workspace / "src", tmp_path / "snapshot")
    (workspace / "src/a.log").write_text("x\n")
    (workspace / "src/deep").mkdir()
    (workspace / "src/deep/b.log").write_text("x\n")
    (workspace / "src/deep/b.py").write_text("x\n")

    assert changes_since(taken).paths == ("deep/b.py",)


def test_a_folder_in_no_repository(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    taken = take_snapshot(plain, tmp_path / "snapshot")
    (plain / "a").write_text("1\n2\n")

    assert changes_since(taken) == Changes(("a",), lines=2)


# ── an agent that would rather not be seen ───────────────────────────────────────────────────────────────────────────


def test_the_folders_own_repository_is_not_asked(workspace: Path, snapshot: Snapshot) -> None:
    (workspace / "src/a.py").write_text("one\ntwo\n")  # 1 removed
    git(workspace, "add", "-A")
    git(workspace, "commit", "-q", "--amend", "-m", "it was always so")
    assert changes_since(snapshot) == Changes(("src/a.py",), lines=1)

    shutil.rmtree(workspace / ".git")
    assert changes_since(snapshot) == Changes(("src/a.py",), lines=1)


def test_rules_and_attributes_that_are_written_later_hide_nothing(workspace: Path, snapshot: Snapshot) -> None:
    (workspace / ".gitignore").write_text("*\n")  # 2 removed, 1 added
    (workspace / ".gitattributes").write_text("* binary -diff filter=hiding\n")  # 1 added
    (workspace / ".git/info").mkdir(exist_ok=True)
    (workspace / ".git/info/exclude").write_text("*\n")
    (workspace / "src/a.py").write_text("")  # 3 removed
    (workspace / "hidden").mkdir()
    (workspace / "hidden/.gitignore").write_text("*\n")  # 1 added

    changes = changes_since(snapshot)

    assert changes.paths == (".gitattributes", ".gitignore", "hidden/.gitignore", "src/a.py")
    assert changes.lines == 8


def test_no_program_that_the_folder_names_is_run(workspace: Path, snapshot: Snapshot, tmp_path: Path) -> None:
    """Of a repository inside, too, which Git would ask for its state."""
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\ncat\n")
    trap.chmod(0o755)
    inner = workspace / "inner"
    inner.mkdir()
    git(inner, "init", "-q")
    for folder in (workspace, inner):
        for name in ("core.fsmonitor", "filter.trap.clean", "filter.trap.process", "diff.trap.textconv"):
            git(folder, "config", name, str(trap))
        (folder / ".gitattributes").write_text("* filter=trap diff=trap\n")
    (inner / "b.py").write_text("x\n")

    changes = changes_since(snapshot)

    assert changes.paths == (".gitattributes", "inner/.gitattributes", "inner/b.py")
    assert not (tmp_path / "sprung").exists()
    git(workspace, "status")  # which does run it
    assert (tmp_path / "sprung").exists()


def test_any_name_may_be_there(workspace: Path, snapshot: Snapshot) -> None:
    names = [b'quote"', b"new\nline", b"back\\slash", b"\xff", b":(glob)x", b"-x", b"tab\t", b" ", "é".encode()]
    for name in names:
        Path(os.fsdecode(os.fsencode(workspace) + b"/" + name)).write_text("x\n")
    os.mkfifo(workspace / "pipe")

    changes = changes_since(snapshot)

    assert sorted(map(os.fsencode, changes.paths)) == sorted(names)
    assert changes.lines == len(names)


def test_a_large_file_is_one_line(workspace: Path, snapshot: Snapshot) -> None:
    (workspace / "large").write_bytes(b"x\n" * (8 * 1024**2 + 1))  # 16 MB and 2 bytes

    assert changes_since(snapshot) == Changes(("large",), lines=1)


def test_a_file_without_end_takes_no_longer_than_it_may(workspace: Path, snapshot: Snapshot) -> None:
    with (workspace / "sparse").open("wb") as file:
        file.truncate(2**40)

    changes = changes_since(snapshot, deadline_s=0.5)

    assert changes == Changes(fault="what was changed is not known: took longer than 0.5 s")


def test_a_folder_that_is_gone_is_not_unchanged(workspace: Path, snapshot: Snapshot) -> None:
    shutil.rmtree(workspace)

    assert changes_since(snapshot) == Changes(fault="the working folder cannot be read: No such file or directory")


def test_without_a_beginning_nothing_is_known(tmp_path: Path) -> None:
    taken = take_snapshot(tmp_path / "nowhere", tmp_path / "snapshot")

    assert taken.fault == "the working folder cannot be read: No such file or directory"
    assert changes_since(taken) == Changes(fault=taken.fault)


def test_the_operators_settings_change_nothing(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".gitconfig").write_text("[core]\n\texcludesFile = ~/ignored\n\tautocrlf = true\n")
    (tmp_path / "ignored").write_text("*.py\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_DIR", str(workspace / ".git"))
    taken = take_snapshot(workspace, tmp_path / "snapshot")
    (workspace / "b.py").write_text("x\r\n")

    assert changes_since(taken) == Changes(("b.py",), lines=1)
