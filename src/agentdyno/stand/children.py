"""Processes that the stand starts, and that never outlive it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from agentdyno.core.errors import GatewayFault

_STOP_TIMEOUT_S = 20  # the gateway takes 10 for what is in flight, and 5 for a full disk
_POLL_S = 0.02


class Child:
    """A module of ours run as a process of its own; it ends when its standard input is closed."""

    def __init__(
        self,
        name: str,
        module: str,
        arguments: Sequence[str],
        log_file: Path,
        environ: Mapping[str, str],
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.log_file = log_file
        log_file.parent.mkdir(parents=True, exist_ok=True)
        with log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=dict(environ),
                pass_fds=tuple(pass_fds),
                start_new_session=True,  # Ctrl-C is the stand's to handle: it stops its children in order
            )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it lives."""
        return self._process.poll()

    def wait_until(self, ready: Callable[[], bool], timeout_s: float) -> None:
        """Wait until it is ready. Raises GatewayFault when it ends before, or takes longer."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            if self.exit_code is not None:
                raise GatewayFault(
                    f"{self.name} ended with exit code {self.exit_code}{self._last_words()}", f"see {self.log_file}"
                )
            if time.monotonic() > deadline:
                raise GatewayFault(f"{self.name} was not ready after {timeout_s:.0f} s", f"see {self.log_file}")
            time.sleep(_POLL_S)

    def _last_words(self) -> str:
        lines = self.log_file.read_text(errors="replace").strip().splitlines()
        return f": {lines[-1][:300]}" if lines else ""

    def stop(self) -> None:
        """End it: a polite signal first, a kill when that is ignored."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        stdin: IO[bytes] | None = self._process.stdin
        if stdin is not None:
            stdin.close()
