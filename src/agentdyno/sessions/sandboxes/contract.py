"""What every sandbox is given, what it answers, and what it promises."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Protocol, Self

from agentdyno.core.judgement import EndedBy
from agentdyno.core.records import Limits

MARK = "DYNO_SESSION_ID"
"""The variable by which a cell's processes are known."""


class Gateway(NamedTuple):
    """The one address that a confined command may reach: as it is outside, it is inside."""

    host: str
    port: int
    socket: Path
    """The unix socket on which the same gateway listens."""


class Confined(NamedTuple):
    """One command, and all that it may have."""

    arguments: tuple[str, ...]
    environ: Mapping[str, str]
    """Exactly this, and its mark; never on a command line."""
    folder: Path
    """Where it starts; writable."""
    output: Path
    """File that takes all it prints; made anew, for its owner only."""
    timebox_s: float
    writable: tuple[Path, ...] = ()
    """Folders besides `folder`, such as its HOME."""
    readable: tuple[Path, ...] = ()
    """Besides the system's own: toolchains."""
    limits: Limits = Limits()
    gateway: Gateway | None = None
    """None: it is to reach no address at all."""
    mark: str = ""
    """Id of its session, which its processes carry in their environment: what is left of it is found by it."""


class Ended(NamedTuple):
    """How a command ended."""

    exit_code: int
    """Negative for a signal; 127 for a program that is not there, 126 for one that cannot be run."""
    ended_by: EndedBy
    command_ms: float
    """From its start to its own end, whatever had to be cleaned up after it."""


class Stop:
    """A wish that everything ends: set once, it wakes every `run` that waits with it. For any thread."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        """Readable from when it is set."""
        self._is_set = False

    def set(self) -> None:
        """Ask for the end."""
        self._is_set = True
        os.eventfd_write(self.fd, 1)

    @property
    def is_set(self) -> bool:
        """Whether the end was asked for."""
        return self._is_set

    def close(self) -> None:
        """Give the descriptor back, when nothing waits any more."""
        os.close(self.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Sandbox(Protocol):
    """Where a command is run. Several threads may use one at once."""

    @property
    def name(self) -> str:
        """As experiments name it."""

    def unenforced(self, limits: Limits) -> tuple[str, ...]:
        """What it does not enforce, or not at every instant, each in words."""

    def run(self, confined: Confined, stop: Stop) -> Ended:
        """Run one command to its end. When it returns, nothing that the command started is left running.

        Raises SandboxFault when the sandbox itself could not start.
        """
