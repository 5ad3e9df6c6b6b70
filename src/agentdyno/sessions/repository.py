"""Facts of the measured repository."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

from agentdyno.core.errors import UserError


class RepositoryFacts(NamedTuple):
    """Where a session works, and from what state it started. Names that are no UTF-8 hold lone surrogates."""

    root: str
    branch: str | None
    """None when the head is detached."""
    commit: str | None
    """None before the first commit."""
    dirty: bool


def read_repository(folder: Path) -> RepositoryFacts:
    """The facts of the Git repository that holds `folder`. Raises UserError when there is none."""
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}", "name a Git repository with --repo PATH")
    root = _git(folder, "rev-parse", "--show-toplevel")
    if root is None:
        what = f"{folder.resolve()} is in no Git repository"
        raise UserError(what, "name one with --repo PATH, or run `git init` there")
    return RepositoryFacts(
        root=root,
        branch=_git(folder, "symbolic-ref", "--short", "--quiet", "HEAD"),
        commit=_git(folder, "rev-parse", "--verify", "--quiet", "HEAD"),
        dirty=bool(_git(folder, "status", "--porcelain")),
    )


def new_repository(folder: Path, ignored: str = "") -> None:
    """Make a folder that is a Git repository with one commit, and ignores what is to be ignored."""
    folder.mkdir(parents=True)
    (folder / ".gitignore").write_text(ignored)
    identity = ("-c", "user.name=dyno", "-c", "user.email=dyno@localhost", "-c", "commit.gpgsign=false")
    for arguments in (
        ("init", "--quiet"),
        ("add", "--force", ".gitignore"),
        (*identity, "commit", "--quiet", "-m", "start"),
    ):
        subprocess.run(["git", "-C", str(folder), *arguments], check=True, stdin=subprocess.DEVNULL)


def storable(name: str | None) -> str | None:
    """A name of the file system as text that can be stored and shown: bytes that are no UTF-8 become `\\xff`."""
    return None if name is None else os.fsencode(name).decode(errors="backslashreplace")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        # Without optional locks `status` leaves the index of the measured repository as it is.
        command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise UserError("git is not installed", "install it: the stand records what it measures") from error
    return os.fsdecode(done.stdout).removesuffix("\n") if done.returncode == 0 else None
