"""Workspaces of headless cells: each a repository of its own, as it was at the task card's commit.

    cache/repositories/<digest>    a mirror of each repository; only fetching changes it
    cache/templates/<digest>       a repository unfolded at one commit; every workspace of it is a copy

A template holds the commit and what came before it: an agent finds no later commit, no other branch and no address to
get them from. Submodules and what Git LFS keeps elsewhere are not there.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from agentdyno.core.errors import UserError
from agentdyno.core.ids import digest
from agentdyno.core.records import TaskCard
from agentdyno.sessions.environment import below
from agentdyno.sessions.git import git_in, shown
from agentdyno.sessions.locking import held_lock
from agentdyno.sessions.mirrors import MAIN_BRANCH, Origin, Wanted, find, is_commit_id, origin_of, unfold
from agentdyno.sessions.removal import nascent
from agentdyno.sessions.repository import new_repository, storable
from agentdyno.sessions.small_trees import SmallTree, read_small

_FILE_MODE = 0o644
_NO_PLACE = (
    errno.EEXIST,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.EACCES,
    errno.EPERM,
)
_ELSEWHERE = "choose another path"
_NAME_LENGTH = 32  # of 64 hexadecimal digits: short enough for every path below it


class Source(NamedTuple):
    """What workspaces are copied from."""

    template: Path
    commit: str
    root: str | None
    """Address or path of the repository, without credentials. None: there is none, the workspace is empty."""
    small: SmallTree | None = None
    """All of the template, where that is not much."""


def prepare_source(task_card: TaskCard, project: Path, cache: Path, pinned: str | None = None) -> Source:
    """Get a task card's repository at its commit ready to be copied. Several processes may do so at once.

    A relative path starts at the project's folder; `~` has no meaning. A branch, a tag or HEAD is looked up anew each
    time, unless it is `pinned` to the commit that was found before; a commit's full id only where it is not cached.
    Raises UserError for what does not exist or cannot be read.
    """
    if task_card.repository is None:
        return _empty_source(cache)
    origin = origin_of(task_card.repository, project)
    commit = task_card.commit if pinned is None else pinned
    if commit is not None and is_commit_id(commit):
        for branch in (task_card.commit or MAIN_BRANCH, MAIN_BRANCH):
            template = _template(cache, origin, Wanted(commit, branch))
            if template.is_dir():
                return Source(template, commit, origin.shown, read_small(template))
    mirror = cache / "repositories" / _name_of(storable(origin.address))
    with held_lock(_lock_of(mirror)):
        wanted = find(origin, mirror, commit)
        template = _template(cache, origin, wanted)
        _make(template, lambda place: unfold(mirror, wanted, place))
    return Source(template, wanted.commit, origin.shown, read_small(template))


def lay_out(source: Source, folder: Path, files: Mapping[str, str]) -> None:
    """Make a folder a workspace: a copy of the template that shares nothing with it, and the files in their places.

    A file that the repository has is replaced; a link is replaced, not written through. Raises UserError for a path
    that leads out of the folder, OSError when the disk takes no more.
    """
    if source.small is not None:
        source.small.write(folder)
    else:
        # Times are not copied: it would cost more than what is in the files, and after a clone they are new as well.
        shutil.copytree(source.template, folder, symlinks=True, copy_function=shutil.copy)
    lay_in(folder, files)


def lay_in(folder: Path, files: Mapping[str, str]) -> None:
    """Put files into their places below a folder that is there. Raises as `lay_out` does."""
    for name, text in files.items():
        _lay_in(folder, name, text)


def _lay_in(folder: Path, name: str, text: str) -> None:
    path = below(folder, name)
    try:
        # Before anything is made: a parent may be a link that leads elsewhere.
        parent = path.parent.resolve()
        if path != folder and not parent.is_relative_to(folder.resolve()):
            raise UserError(f"file {shown(name)} leaves its folder by a link", _ELSEWHERE)
        parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        with path.open("xb") as file:
            os.fchmod(file.fileno(), _FILE_MODE)
            file.write(os.fsencode(text))
    except OSError as error:
        if error.errno not in _NO_PLACE:
            raise
        raise UserError(f"file {shown(name)} has no place in the workspace: {error.strerror}", _ELSEWHERE) from error
    except (ValueError, RuntimeError) as error:  # a NUL; and, up to Python 3.12, links in a circle
        raise UserError(f"file {shown(name)} has no place in the workspace", _ELSEWHERE) from error


def _empty_source(cache: Path) -> Source:
    template = cache / "templates" / _name_of(None)
    with held_lock(_lock_of(template)):
        _make(template, lambda place: new_repository(place, ignored=None))
    return Source(template, git_in(template, "rev-parse", "HEAD").decode().strip(), None, read_small(template))


def _template(cache: Path, origin: Origin, wanted: Wanted) -> Path:
    return cache / "templates" / _name_of([storable(origin.address), wanted.commit, storable(wanted.branch)])


def _name_of(value: Any) -> str:
    """The digest of a value as the name of a folder."""
    return digest(value).removeprefix("sha256:")[:_NAME_LENGTH]


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _make(folder: Path, make: Callable[[Path], None]) -> None:
    """Make a folder at another place, which gets its name when all is done: a kill leaves none half made."""
    place = nascent(folder)
    if not folder.is_dir():
        make(place)
        place.rename(folder)
