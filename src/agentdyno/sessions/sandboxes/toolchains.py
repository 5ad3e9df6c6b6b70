"""Which folders a harness's program needs to be seen in, besides the system's own: where it was installed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from agentdyno.core.errors import UserError

_SYSTEMS_OWN = tuple(map(Path, ("/usr", "/bin", "/sbin", "/lib", "/lib64")))
_PROGRAM_FOLDERS = ("bin", "sbin", ".bin")
_MODULES = "node_modules"
_NATIVE = b"\x7fELF"
_FIRST_LINE_BYTES = 256
_ENV = "env"
_DEEPEST = 4
"""Interpreters of interpreters that are followed, as the kernel follows them."""


def toolchain_of(program: str, path: str, home: Path, shown: Iterable[Path] = ()) -> tuple[Path, ...]:
    """The folders, or single files, in which a program and its interpreter lie; none where the system shows them.

    `path` is the PATH that it is looked for on, `home` the stand's: no folder that holds it is shown, nor one that
    holds the user's HOME. What lies below `shown` is seen already. Raises UserError for a program that is not there,
    and for one that cannot be shown without these.
    """
    needed = dict.fromkeys(_needed(program, path, _View(home, shown), _DEEPEST))
    return tuple(
        sorted(each for each in needed if not any(each.is_relative_to(other) for other in needed if other != each))
    )


class _View:
    """Which folders every cell sees, and which none does."""

    def __init__(self, home: Path, shown: Iterable[Path]) -> None:
        self._shown = (*_SYSTEMS_OWN, *shown)
        user_home = Path.home()
        # As named and as they are: a link to a folder shows the folder.
        self._kept = {folder for each in (home, user_home, user_home / ".local") for folder in (each, each.resolve())}

    def shows(self, place: Path) -> bool:
        """Whether every cell sees it."""
        return any(place.is_relative_to(folder) for folder in self._shown)

    def refuses(self, folder: Path) -> bool:
        """Whether it is shown to no cell."""
        return any(kept.is_relative_to(candidate) for kept in self._kept for candidate in (folder, folder.resolve()))


def _needed(program: str, path: str, view: _View, depth: int) -> Iterator[Path]:
    """Of a program as it was found, and as the file that it is."""
    found = shutil.which(program, path=path)
    if found is None:
        raise UserError(f"{program} is not on the PATH of a cell", "install it, or put its folder on the PATH")
    named = Path(os.path.abspath(found))  # noqa: PTH100 - links are meant to stay
    file = named.resolve()
    for place in dict.fromkeys((named, file)):
        if view.shows(place):
            continue
        prefix = _prefix_of(place)
        if prefix is not None and not view.refuses(prefix):
            yield prefix
            yield from _base_interpreter(prefix, view)
        elif place != file or _first_bytes(file).startswith(_NATIVE):
            yield place  # alone: it needs nothing beside it, or what it needs lies with the file that it leads to
        else:
            raise UserError(
                f"{place} would not be seen in a cell with all that belongs to it",
                "name the folder that it was installed to in dyno.yaml, below cells: readable",
            )
    yield from _interpreter(file, path, view, depth)


def _prefix_of(place: Path) -> Path | None:
    """Where it was installed: the nearest folder of Node's modules, else the one that has its bin; None if neither."""
    modules = [parent for parent in place.parents if parent.name == _MODULES]
    if modules:
        return modules[-1]
    return place.parent.parent if place.parent.name in _PROGRAM_FOLDERS else None


def _base_interpreter(prefix: Path, view: _View) -> Iterator[Path]:
    """The Python that a virtual environment was made from."""
    try:
        lines = (prefix / "pyvenv.cfg").read_text().splitlines()
    except OSError:
        return
    named = next(
        (value.strip() for name, _, value in (line.partition("=") for line in lines) if name.strip() == "home"), None
    )
    if named is None:
        return
    for folder in dict.fromkeys((Path(named), Path(named).resolve())):
        if view.shows(folder):
            continue
        if view.refuses(folder.parent):
            raise UserError(
                f"{folder}, the Python of {prefix}, would not be seen in a cell",
                "make that environment with a Python in a folder of its own",
            )
        yield folder.parent


def _interpreter(file: Path, path: str, view: _View, depth: int) -> Iterator[Path]:
    """What a script names in its first line, with all that belongs to it in turn."""
    first, _, _ = _first_bytes(file).partition(b"\n")
    if not first.startswith(b"#!") or depth == 0:
        return
    words = os.fsdecode(first[2:]).split()
    if words and Path(words[0]).name == _ENV:
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    if words and shutil.which(words[0], path=path) is not None:  # else it cannot be run anywhere, and says so
        yield from _needed(words[0], path, view, depth - 1)


def _first_bytes(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(_FIRST_LINE_BYTES)
    except OSError:
        return b""
