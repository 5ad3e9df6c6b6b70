"""What a cell uses, looked at now and then: memory, processes, what it writes and what it prints."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from agentdyno.core.judgement import EndedBy
from agentdyno.core.records import Limits
from agentdyno.sessions.sandboxes.census import Process

EVERY_S = 0.1
"""How often a cell is looked at; the first time so long after its start."""
_SLICE_S = 0.01
"""How long its folders are looked through at a time: a tenth of the time between two looks."""
_BLOCK_BYTES = 512
_ENTRIES_A_STEP = 64


def polled(limits: Limits) -> tuple[str, ...]:
    """The limits that are looked at and not enforced at every instant, in words."""
    every = f"looked at every {EVERY_S * 1000:.0f} ms"
    words = {
        "memory_bytes": f"memory: {every}; pages that processes share count for each of them",
        "processes": f"processes: {every}",
        "disk_bytes": "disk: folders are looked through again and again, and not what was deleted and is still open",
        "output_bytes": f"output: {every}",
    }
    return tuple(text for name, text in words.items() if getattr(limits, name) is not None)


class Watcher:
    """One cell's use of what it has. `look` is called by the thread that waits for the cell."""

    def __init__(
        self, limits: Limits, folders: Sequence[Path], output: int, processes: Callable[[], Sequence[Process]]
    ) -> None:
        self._limits = limits
        self._folders = folders
        self._output = output
        self._processes = processes
        self._since_s = time.time()
        self._looking: Iterator[int] | None = None
        self.watches = any(
            limit is not None
            for limit in (limits.memory_bytes, limits.processes, limits.disk_bytes, limits.output_bytes)
        )
        """Whether there is anything to look at."""

    def look(self) -> EndedBy | None:
        """The limit that it is past, if any."""
        limits = self._limits
        if self.prints_too_much():
            return "output"
        if limits.memory_bytes is not None or limits.processes is not None:
            processes = self._processes()
            if limits.memory_bytes is not None and sum(each.resident_bytes for each in processes) > limits.memory_bytes:
                return "memory"
            if limits.processes is not None and len(processes) > limits.processes:
                return "processes"
        if limits.disk_bytes is not None and self._has_written(limits.disk_bytes):
            return "disk"
        return None

    def prints_too_much(self) -> bool:
        """Whether it printed more than it may."""
        limit_bytes = self._limits.output_bytes
        return limit_bytes is not None and os.fstat(self._output).st_size > limit_bytes

    def _has_written(self, limit_bytes: int) -> bool:
        """Whether the files changed since the start hold more. Folders are looked through in slices."""
        deadline_s = time.monotonic() + _SLICE_S
        if self._looking is None:
            self._looking = written_bytes(self._folders, self._since_s)
        for so_far in self._looking:
            if so_far > limit_bytes:
                return True
            if time.monotonic() >= deadline_s:
                return False
        self._looking = None
        return False


def written_bytes(folders: Sequence[Path], since_s: float) -> Iterator[int]:
    """The disk space of files below these folders that were written or changed since then; it grows as they are read.

    A sum every few entries, so that whoever asks may pause. What vanishes or cannot be read meanwhile is left out.
    """
    total = 0
    each = dict.fromkeys(folders)
    waiting = [
        str(folder) for folder in each if not any(folder.is_relative_to(other) for other in each if other != folder)
    ]
    while waiting:
        for position, entry in enumerate(_entries(waiting.pop())):
            try:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                    continue
                found = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if found.st_ctime >= since_s:
                total += found.st_blocks * _BLOCK_BYTES
            if position % _ENTRIES_A_STEP == 0:
                yield total
        yield total


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError:
        return
