"""Facts of the measured repository."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from agentdyno.core.errors import UserError
from agentdyno.sessions.git import as_operator, git_in, run_git

_FIRST_BRANCH = "main"


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


def new_repository(folder: Path, ignored: str | None = "") -> None:
    """Make a folder that is a Git repository with one commit, always the same, and ignores what is to be ignored.

    With None nothing is in it, not even the file that says what is ignored.
    """
    folder.mkdir(parents=True)
    init(folder, _FIRST_BRANCH)
    if ignored is None:
        tree = git_in(folder, "mktree").decode().strip()
    else:
        (folder / ".gitignore").write_text(ignored)
        git_in(folder, "add", "--force", ".gitignore")
        tree = git_in(folder, "write-tree").decode().strip()
    first = git_in(folder, "commit-tree", "-m", "start", tree).decode().strip()
    point(folder, {f"refs/heads/{_FIRST_BRANCH}": first})
    git_in(folder, "repack", "-a", "-d", "-n", "--quiet")
    slim(folder)


def init(folder: Path, branch: str) -> None:
    """Make a folder a Git repository without a commit, on that branch, with no hooks and nothing ignored."""
    git_in(folder, "init", "--quiet", "--template=", f"--initial-branch={branch}")
    (folder / ".git/info").mkdir()  # there in every repository, and people write into it what is to be ignored


def slim(folder: Path) -> None:
    """Remove what Git makes anew when it needs it: a repository that is copied often costs time for each folder."""
    git_in(folder, "pack-refs", "--all")
    for name in ("objects/info", "refs/heads", "refs/tags"):
        with contextlib.suppress(FileNotFoundError):
            (folder / ".git" / name).rmdir()


def point(folder: Path, refs: Mapping[str, str]) -> None:
    """Make branches and tags, by their full names, without a trace in a log of where they were before."""
    new = "".join(f"create {name} {commit}\n" for name, commit in refs.items())
    git_in(folder, "-c", "core.logAllRefUpdates=false", "update-ref", "--stdin", given=os.fsencode(new))


def storable(name: str | None) -> str | None:
    """A name of the file system as text that can be stored and shown: bytes that are no UTF-8 become `\\xff`."""
    return None if name is None else os.fsencode(name).decode(errors="backslashreplace")


def _git(folder: Path, *arguments: str) -> str | None:
    # Without optional locks `status` leaves the index of the measured repository as it is.
    run = run_git(("--no-optional-locks", "-C", str(folder), *arguments), as_operator())
    return os.fsdecode(run.output).removesuffix("\n") if run.code == 0 else None
