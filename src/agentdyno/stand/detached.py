"""`dyno up` as a process of its own: it has no terminal, and survives the one that it was started in."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from agentdyno.core.errors import UserError

UP = "the stand is up at "
"""What the line begins with that `dyno up` ends its start by."""
_POLL_S = 0.05
_STOP_TIMEOUT_S = 60


class Detached:
    """A stand that starts in a session of its own, and writes what it says to the end of a file."""

    def __init__(self, options: Sequence[str], output: Path, environ: Mapping[str, str]) -> None:
        with _appending(output) as file:
            self._begin_bytes = file.tell()
            self._process = subprocess.Popen(
                # -P: nothing that lies in the folder is taken for a module.
                [sys.executable, "-P", "-m", "agentdyno", "up", *options],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=dict(environ),
                start_new_session=True,
            )
        self._output = output

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended, negative for a signal; None while it lives."""
        return self._process.poll()

    def start(self) -> Iterator[str]:
        """What it says, line by line, until it is up or has ended; the line that says so is the last."""
        with self._output.open(encoding="utf-8", errors="replace") as file:
            file.seek(self._begin_bytes)
            line = ""
            while not line.startswith(UP):
                ended = self.exit_code is not None  # asked first: what it said before is then surely read
                line += file.readline()
                if line.endswith("\n") or (ended and line):
                    yield line.rstrip("\n")
                    line = line if line.startswith(UP) else ""
                elif ended:
                    return
                else:
                    time.sleep(_POLL_S)

    def stop(self) -> None:
        """End it: it stops what it started."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _appending(path: Path) -> IO[bytes]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("ab")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}", "name another home by DYNO_HOME") from error
