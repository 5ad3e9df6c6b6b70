"""Small folders kept in memory: to write one anew costs a fraction of what it costs to copy it."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

_MOST_ENTRIES = 128
_MOST_BYTES = 256 * 1024


class SmallTree(NamedTuple):
    """All that a folder holds, by paths that begin below it. Modes are made as those of new files are."""

    folders: tuple[tuple[str, int], ...]
    """Each after the one that it is in, with its mode."""
    files: tuple[tuple[str, int, bytes], ...]
    links: tuple[tuple[str, str], ...]
    """Each with what it leads to."""

    def write(self, folder: Path) -> None:
        """Make the folder, and everything in it. Raises OSError for one that is there, and when the disk is full."""
        os.makedirs(folder)  # noqa: PTH103 - no objects for what is done for every cell, here and below
        for name, mode in self.folders:
            os.mkdir(f"{folder}/{name}", mode)  # noqa: PTH102
        for name, mode, content in self.files:
            descriptor = os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
        for name, target in self.links:
            os.symlink(target, f"{folder}/{name}")  # noqa: PTH211


def read_small(folder: Path) -> SmallTree | None:
    """What a folder of ours holds; None for one that is not small."""
    folders: list[tuple[str, int]] = []
    files: list[tuple[str, int, bytes]] = []
    links: list[tuple[str, str]] = []
    waiting, count, size_bytes = [folder], 0, 0
    while waiting:
        for path in waiting.pop().iterdir():
            name, found = str(path.relative_to(folder)), path.lstat()
            mode = stat.S_IMODE(found.st_mode)
            count, size_bytes = count + 1, size_bytes + found.st_size
            if count > _MOST_ENTRIES or size_bytes > _MOST_BYTES:
                return None
            if stat.S_ISDIR(found.st_mode):
                folders.append((name, mode))
                waiting.append(path)
            elif stat.S_ISLNK(found.st_mode):
                links.append((name, str(path.readlink())))
            else:
                files.append((name, mode, path.read_bytes()))
    return SmallTree(tuple(folders), tuple(files), tuple(links))
