"""A command from its start to the end of all that it started, whatever sandbox it is in."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from agentdyno.core.errors import SandboxFault
from agentdyno.core.judgement import EndedBy
from agentdyno.sessions.sandboxes.census import Census, Family, adopted, alive
from agentdyno.sessions.sandboxes.contract import Confined, Stop
from agentdyno.sessions.sandboxes.cores import Cores
from agentdyno.sessions.sandboxes.leftovers import Leftovers
from agentdyno.sessions.sandboxes.limits import Watcher
from agentdyno.sessions.sandboxes.waiting import Vigil, descriptor_of

_BY_STRANGERS = (-signal.SIGKILL, -signal.SIGTERM)
"""How a process ends that somebody else ended. By other signals a program ends itself, such as by a fault in memory."""


class Kept(NamedTuple):
    """How the first process ended."""

    exit_code: int
    reason: EndedBy
    command_ms: float


class Beginning(NamedTuple):
    """How things were just before a process was started."""

    at_s: float
    """By the monotonic clock."""
    strangers: frozenset[int]
    """Children that this process had: none that the new one left behind."""


class Keeper:
    """What the cells of one sandbox have in common. For any thread."""

    def __init__(self) -> None:
        self.cores = Cores()
        self._census = Census()
        self._leftovers = Leftovers()

    def started(self, start: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        """Start the process that is to be kept."""
        return self._leftovers.started(start)

    def beginning(self) -> Beginning:
        """To be asked for before the start."""
        return Beginning(time.monotonic(), frozenset(adopted() or ()))

    def keep(
        self,
        process: subprocess.Popen[bytes],
        confined: Confined,
        output: int,
        stop: Stop,
        beginning: Beginning,
        send: Callable[[int], None],
    ) -> Kept:
        """Wait for a process that was just started, end it where need be, and then all that it started.

        `send` sends a signal to it. It is reaped last, so that its id means nobody else until nothing is left. Raises
        SandboxFault when it cannot be watched, or does not end; nothing of it is left in the first case.
        """
        family = Family(process.pid, confined.mark)
        watcher = Watcher(
            confined.limits,
            (confined.folder, *confined.writable),
            output,
            lambda: alive(family.among(self._census.latest())),
        )
        left_behind = self._leftovers.of(family, beginning.strangers, process.poll)
        with left_behind, _watched(process, send) as pidfd:
            vigil = Vigil(pidfd, watcher)
            reason: EndedBy | None = None
            try:
                reason = vigil.until(beginning.at_s + confined.timebox_s, stop)
            finally:
                if reason != "itself":
                    vigil.bring_to_end(reason, lambda: send(signal.SIGTERM), lambda: send(signal.SIGKILL))
            ended_s = time.monotonic()
            if reason == "itself" and watcher.prints_too_much():  # and was gone before anybody looked
                reason = "output"
        return Kept(process.wait(), reason, (ended_s - beginning.at_s) * 1000)


@contextlib.contextmanager
def _watched(process: subprocess.Popen[bytes], send: Callable[[int], None]) -> Iterator[int]:
    """A descriptor that becomes readable when the process ends. Without one it is killed, not reaped: SandboxFault."""
    with contextlib.ExitStack() as opened:
        try:
            pidfd = opened.enter_context(descriptor_of(process.pid))
        except OSError as error:
            send(signal.SIGKILL)
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            raise SandboxFault(f"a process that was started cannot be watched: {error.strerror}") from error
        yield pidfd


def by_whom(exit_code: int, reason: EndedBy) -> EndedBy:
    """Why a command ended, when nobody here ended it: by itself, or by a stranger."""
    return "killed" if reason == "itself" and exit_code in _BY_STRANGERS else reason
