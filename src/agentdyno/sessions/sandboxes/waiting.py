"""Waiting for a cell's first process: until it ends, its time is over, the end is asked for, or a limit is passed."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from agentdyno.core.errors import SandboxFault
from agentdyno.core.judgement import EndedBy
from agentdyno.sessions.sandboxes.contract import Stop
from agentdyno.sessions.sandboxes.limits import EVERY_S, Watcher

PATIENCE_S = 5.0
"""How long a command that was asked to end may take to do so; and one that was killed, to be gone."""
_LONGEST_S = 3600.0
"""The kernel counts milliseconds, and not for ever."""


class Vigil:
    """Waits for one process, without burning the processor."""

    def __init__(self, pidfd: int, watcher: Watcher) -> None:
        self._pidfd = pidfd
        self._watcher = watcher

    def until(self, deadline_s: float, stop: Stop | None) -> EndedBy:
        """Why waiting is over: `itself` when the process has ended. Without a Stop nobody can cut it short.

        `deadline_s` is a reading of the monotonic clock, and means `timebox`.
        """
        poller = select.poll()
        poller.register(self._pidfd, select.POLLIN)
        if stop is not None:
            poller.register(stop.fd, select.POLLIN)
        look_s = time.monotonic() + EVERY_S if self._watcher.watches else deadline_s
        while True:
            now_s = time.monotonic()
            wait_ms = max(0.0, min(look_s, deadline_s, now_s + _LONGEST_S) - now_s) * 1000
            ready = {descriptor for descriptor, _ in poller.poll(wait_ms)}
            if self._pidfd in ready:
                return "itself"
            if ready:
                return "stopped"
            if time.monotonic() >= deadline_s:
                return "timebox"
            if time.monotonic() >= look_s:
                breach = self._watcher.look()
                if breach is not None:
                    return breach
                look_s = time.monotonic() + EVERY_S

    def bring_to_end(self, reason: EndedBy | None, ask: Callable[[], None], kill: Callable[[], None]) -> None:
        """End the process: asked first where its time is over, then killed.

        Raises SandboxFault when it does not end even so, which only the kernel or its disks can be guilty of.
        """
        if reason in ("timebox", "stopped"):
            ask()
            if self.until(time.monotonic() + PATIENCE_S, None) == "itself":
                return
        kill()
        poller = select.poll()
        poller.register(self._pidfd, select.POLLIN)
        if not poller.poll(PATIENCE_S * 1000):
            raise SandboxFault("a process did not end when it was killed", "see what the machine's disks are doing")


@contextmanager
def descriptor_of(pid: int) -> Iterator[int]:
    """A descriptor that becomes readable when a child of ours ends."""
    pidfd = os.pidfd_open(pid)
    try:
        yield pidfd
    finally:
        os.close(pidfd)
