"""Removing what a program left behind, whatever it made of it."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path

from agentdyno.sessions.repository import storable

_OWNER_ONLY = 0o700
_PLAIN_DEPTH = 40


def remove(folder: Path) -> tuple[str, ...]:
    """Remove a folder with all that is in it, and return the paths of what could not be removed, as storable text.

    Folders may be read-only, nested deeper than a path can name, and named by bytes that are no UTF-8. Links are
    removed, never followed. What is not there is removed already.
    """
    if folder.is_symlink() or not folder.is_dir():
        return _gone(os.unlink, str(folder))
    with contextlib.suppress(OSError):
        _remove_plain(str(folder), _PLAIN_DEPTH)
        return ()
    left: list[str] = []
    waiting = _entered(folder, folder, left)
    while waiting:
        inner = waiting.pop()
        waiting += _entered(inner, folder, left)
        left += _gone(os.rmdir, str(inner))
    return (*left, *_gone(os.rmdir, str(folder)))


def _remove_plain(folder: str, depth: int) -> None:
    """Remove a folder as most are. Raises OSError, with some of it gone, where more care has to be taken."""
    with os.scandir(folder) as scanned:
        entries = list(scanned)
    for entry in entries:
        if not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.path)  # noqa: PTH108 - no objects for what is done for every cell
        elif depth:
            _remove_plain(entry.path, depth - 1)
        else:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), entry.path)
    os.rmdir(folder)  # noqa: PTH106


def nascent(folder: Path) -> Path:
    """A new path beside a folder, for what gets its name when it is whole; what was never finished is removed.

    For the holder of the folder's lock. The path is another each time: a program that a killed holder had started may
    still be writing to the last one.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    for unfinished in folder.parent.glob(f"{folder.name}.part-*"):
        remove(unfinished)
    return folder.with_name(f"{folder.name}.part-{os.urandom(4).hex()}")


def _entered(folder: Path, top: Path, left: list[str]) -> list[Path]:
    """Remove the files of a folder, and return its folders, moved up to the top: so no path becomes long."""
    inner = []
    with contextlib.suppress(PermissionError, FileNotFoundError):  # another may be removing it too
        folder.chmod(_OWNER_ONLY)
    for entry in _entries(folder):
        if not entry.is_dir(follow_symlinks=False):
            left += _gone(os.unlink, entry.path)
        elif folder == top:
            inner.append(Path(entry.path))
        elif (moved := _moved_up(Path(entry.path), top)) is not None:
            inner.append(moved)
    return inner


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _moved_up(folder: Path, top: Path) -> Path | None:
    """The folder at its new place, directly below the top; None where it has to stay."""
    try:
        number = folder.lstat().st_ino
        while os.path.lexists(place := top / f".{number}"):
            number += 1
        with contextlib.suppress(PermissionError):
            folder.chmod(_OWNER_ONLY)  # one that is read-only cannot be moved
        return folder.rename(place)
    except OSError:
        return None


def _gone(how: Callable[[str], None], path: str) -> tuple[str, ...]:
    """Nothing, or the path when it is still there."""
    try:
        how(path)
    except FileNotFoundError:
        return ()
    except OSError:
        return (storable(path) or "",)
    return ()
