"""`dyno` on a terminal of its own, as a person has it: what it prints is read, and keys can be pressed."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from tests.integration.stand_process import DYNO, Project

CTRL_C = b"\x03"
TIMEOUT_S = 60.0


def until(true: Callable[[], bool], what: str) -> None:
    """Wait for something, for as long as a slow machine may take."""
    deadline = time.monotonic() + TIMEOUT_S
    while not true():
        assert time.monotonic() < deadline, f"it did not come true: {what}"
        time.sleep(0.02)


class Terminal:
    """A pseudo-terminal whose foreground is one `dyno` command."""

    def __init__(self, project: Project, *arguments: str, folder: Path) -> None:
        self._master, slave = pty.openpty()
        self.printed = ""
        self.process = subprocess.Popen(
            [str(DYNO), *arguments],
            cwd=folder,
            env=project.environ(),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self._master)

    def press(self, keys: bytes) -> None:
        """Type something."""
        os.write(self._master, keys)

    def see(self, text: str) -> None:
        """Read on until the text is on the screen."""
        deadline = time.monotonic() + TIMEOUT_S
        while text not in self.printed:
            assert time.monotonic() < deadline and self._read(0.1), f"{text!r} is not on the screen:\n{self.printed}"

    def end(self) -> int:
        """The exit code, once it has ended and everything is read."""
        deadline = time.monotonic() + TIMEOUT_S
        while self._read(0.1):
            assert time.monotonic() < deadline, f"it did not end:\n{self.printed}"
        return self.process.wait(TIMEOUT_S)

    def _read(self, timeout_s: float) -> bool:
        """Take what is there; false once nobody has the terminal open any more."""
        if not select.select([self._master], [], [], timeout_s)[0]:
            return True
        try:
            data = os.read(self._master, 65536)
        except OSError:  # EIO: Linux's way to say that the other side is closed
            return False
        self.printed += data.decode(errors="replace")
        return bool(data)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
