"""The processes of this machine, read from /proc: who descends from whom, and how much memory each holds."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from agentdyno.sessions.sandboxes.contract import MARK

_FRESH_S = 0.05
_SHARE = 9
"""A reading is used for so many times as long as it took: at most a tenth of the time goes into reading."""
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PROC = "/proc"


class Identity(NamedTuple):
    """What no two processes have in common: an id alone may be given away again."""

    pid: int
    started: int
    """Clock ticks since the machine came up."""


class Process(NamedTuple):
    """One process at one instant."""

    identity: Identity
    parent: int
    session: int
    state: str
    resident_bytes: int
    group: int = 0
    """Its process group; 0 where that is not known."""

    @property
    def pid(self) -> int:
        """Process id."""
        return self.identity.pid

    @property
    def ended(self) -> bool:
        """Whether it only waits for its parent to notice."""
        return self.state in "ZX"


def read_process(pid: int) -> Process | None:
    """One process; None when there is none of that id."""
    try:
        with open(f"{_PROC}/{pid}/stat", "rb", buffering=0) as file:  # noqa: PTH123 - hundreds of times in a poll
            text = file.read()
    except OSError:
        return None
    # The name, in parentheses, may hold anything.
    fields = text[text.rfind(b")") + 2 :].split()
    return Process(
        identity=Identity(pid, int(fields[19])),
        parent=int(fields[1]),
        session=int(fields[3]),
        state=fields[0].decode(),
        resident_bytes=int(fields[21]) * _PAGE_BYTES,
        group=int(fields[2]),
    )


def read_processes() -> dict[int, Process]:
    """Every process of this machine, or of its part that is seen from here."""
    names = os.listdir(_PROC)  # noqa: PTH208 - no objects for hundreds of names
    found = (read_process(int(name)) for name in names if name.isdecimal())
    return {process.pid: process for process in found if process is not None}


def mark_of(pid: int) -> str | None:
    """The mark in a process's environment; None where it has none, has ended, or is somebody else's."""
    try:
        environ = Path(_PROC, str(pid), "environ").read_bytes()
    except OSError:
        return None
    prefix = f"{MARK}=".encode()
    found = next((entry for entry in environ.split(b"\0") if entry.startswith(prefix)), None)
    return None if found is None else os.fsdecode(found[len(prefix) :])


def adopted() -> set[int] | None:
    """The children of this process's first thread, to which orphans come; None where the kernel does not tell.

    Read twice: while another child is reaped, the kernel may leave one out.
    """
    us = os.getpid()
    try:
        return children_of(us) | children_of(us)
    except OSError:
        return None


def children_of(pid: int) -> set[int]:
    """The children of a process's first thread. Raises OSError where the kernel does not tell, or it has ended."""
    with open(f"{_PROC}/{pid}/task/{pid}/children", "rb", buffering=0) as file:  # noqa: PTH123 - for every cell
        return set(map(int, file.readall().split()))


class Census:
    """The processes of this machine, read as often as those who ask need it, and for all of them together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read: Mapping[int, Process] = {}
        self._good_until_s = 0.0

    def latest(self) -> Mapping[int, Process]:
        """As they were an instant ago."""
        with self._lock:
            begun_s = time.monotonic()
            if begun_s >= self._good_until_s:
                self._read = read_processes()
                ended_s = time.monotonic()
                self._good_until_s = ended_s + max(_FRESH_S, _SHARE * (ended_s - begun_s))
            return self._read


class Family:
    """The processes of one cell: its first one, all that descend from it, and those that left but carry its mark."""

    def __init__(self, root: int, mark: str) -> None:
        self.root = root
        self.mark = mark
        self._known: set[Identity] = set()

    def among(self, processes: Mapping[int, Process]) -> list[Process]:
        """Those of its members that are there. Who was a member once stays one."""
        members = {process.pid: process for process in self._evident(processes)}
        sessions = {self.root, *(process.session for process in members.values())} - {os.getsid(0)}
        grown = True
        while grown:
            grown = False
            for process in processes.values():
                belongs = process.parent in members or process.session in sessions
                if belongs and process.pid not in members:
                    members[process.pid] = process
                    sessions.add(process.session)
                    grown = True
        self._known = {process.identity for process in members.values()}
        return list(members.values())

    def _evident(self, processes: Mapping[int, Process]) -> Iterator[Process]:
        """The first one, those known before, and orphans with the mark."""
        us = os.getpid()
        for process in processes.values():
            is_marked = bool(self.mark) and process.parent == us and mark_of(process.pid) == self.mark
            if process.pid == self.root or process.identity in self._known or is_marked:
                yield process


def alive(processes: Iterable[Process]) -> list[Process]:
    """Those that have not ended."""
    return [process for process in processes if not process.ended]
