"""What a command started and left behind: orphans and daemons, found and ended.

Orphans come to the nearest ancestor that asked for them. The runner does, so that whatever a cell leaves behind is a
child of its own: seen at once, and reaped.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from agentdyno.core.errors import SandboxFault
from agentdyno.sessions.sandboxes.census import (
    Family,
    Identity,
    Process,
    adopted,
    alive,
    mark_of,
    read_process,
    read_processes,
)

_PR_SET_CHILD_SUBREAPER, _PR_GET_CHILD_SUBREAPER = 36, 37
_PATIENCE_S = 10.0
_PAUSE_S = 0.002


@contextlib.contextmanager
def adopt_orphans() -> Iterator[None]:
    """While this lasts, orphans of what this process started become its children.

    The first thread must start no process in a session of its own meanwhile: it would be taken for an orphan.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    before = _adopts(libc)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, int(before), 0, 0, 0)


def _adopts(libc: ctypes.CDLL) -> bool:
    answer = ctypes.c_int(0)
    libc.prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(answer), 0, 0, 0)
    return bool(answer.value)


class Leftovers:
    """What the cells that run now may leave behind. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        """Held by whoever starts a first process, looks for leftovers, or ends them: a process that is just being
        started carries no mark yet, and would be taken for one."""
        self._roots: set[int] = set()
        self._libc = ctypes.CDLL(None)

    def started(self, start: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        """Start the first process of a cell, which is known as such from its beginning until `of` has reaped it."""
        with self._lock:
            process = start()
            self._roots.add(process.pid)
            return process

    @contextlib.contextmanager
    def of(self, family: Family, strangers: frozenset[int], reap: Callable[[], object]) -> Iterator[None]:
        """A cell runs while this lasts. On leaving, everything that it started is ended, and its first process reaped.

        That has ended before, and is reaped last: its id stands for the whole family until then. `strangers` are
        children that this process had before.
        """
        try:
            yield
        finally:
            try:
                self._end(family, strangers)
            finally:
                with self._lock:
                    reap()
                    self._roots.discard(family.root)

    def _end(self, family: Family, strangers: frozenset[int]) -> None:
        if not _adopts(self._libc):  # orphans went to another: only their mark tells of them
            sweep(family.mark)
        elif not self._suspects(strangers):
            return
        deadline_s = time.monotonic() + _PATIENCE_S
        while True:
            with self._lock:
                processes = read_processes()
                own = [process for process in family.among(processes) if process.pid != family.root]
                left = own + self._unclaimed(family, strangers, processes)
                if not left:
                    return
                if time.monotonic() > deadline_s:
                    if own:
                        raise SandboxFault(f"{len(own)} processes that a cell left behind could not be ended")
                    return  # whose they are is not known: no fault of this cell
                _kill(left)
            time.sleep(_PAUSE_S)

    def _suspects(self, strangers: frozenset[int]) -> list[Process]:
        """Children of ours that a cell may have left behind: in no session of ours, and no cell's first process."""
        session = os.getsid(0)
        with self._lock:
            strange = (adopted() or set()) - strangers - self._roots
        found = map(read_process, strange)
        return [process for process in found if process is not None and process.session != session]

    def _unclaimed(self, family: Family, strangers: frozenset[int], processes: Mapping[int, Process]) -> list[Process]:
        """Orphans that hide whose they are, when no other cell that runs now can have started them."""
        with self._lock:
            others = self._roots - {family.root}
        starts = [processes[root].identity.started for root in others if root in processes]
        return [
            each
            for each in self._suspects(strangers)
            if not mark_of(each.pid) and all(start > each.identity.started for start in starts)
        ]


def _kill(processes: Sequence[Process]) -> None:
    """Kill them, and reap those that have ended and are children of ours.

    Their groups first, each at one instant: what is another process whenever it is looked for does not escape so.
    """
    for process in {process.group: process for process in processes}.values():
        _kill_group(process)
    for process in processes:
        if process.ended:
            with contextlib.suppress(ChildProcessError):  # its parent is another one's yet
                os.waitpid(process.pid, os.WNOHANG)
        else:
            _kill_exactly(process.identity)


def _kill_group(process: Process) -> None:
    """Kill the group of a process, for as long as it is there itself, ended or not: its group means no other then."""
    now = read_process(process.pid)
    if now is not None and now.identity == process.identity and now.group > 1 and now.session != os.getsid(0):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(now.group, signal.SIGKILL)


def _kill_exactly(identity: Identity) -> None:
    """Kill this process, and none to which its id was given since."""
    try:
        pidfd = os.pidfd_open(identity.pid)
    except OSError:
        return
    try:
        process = read_process(identity.pid)
        if process is not None and process.identity == identity:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)


def sweep(mark: str) -> int:
    """End every process of this user that still carries the mark of a runner that died. How many there were."""
    ended: set[Identity] = set()
    deadline_s = time.monotonic() + _PATIENCE_S
    while mark and time.monotonic() < deadline_s:
        found = [
            each for each in alive(read_processes().values()) if each.pid != os.getpid() and mark_of(each.pid) == mark
        ]
        if not found:
            break
        ended.update(process.identity for process in found)
        _kill(found)
        time.sleep(_PAUSE_S)
    return len(ended)
