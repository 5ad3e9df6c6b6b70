"""A cell's folders, as the stand lays them out, and commands that are run in them."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any, NamedTuple

from agentdyno.core.records import Limits
from agentdyno.sessions.sandboxes import Confined, Ended, Gateway, Sandbox, Stop
from agentdyno.sessions.sandboxes.census import mark_of, read_processes

PYTHON = os.path.realpath(sys.executable)
PREFIX = Path(os.path.realpath(sys.base_prefix))
"""Of the Python that probes are run with."""

_MOST_BYTES = 10_000_000


class Result(NamedTuple):
    """What came of one command."""

    ended: Ended
    printed: str


class Cell:
    """One cell of a sandbox."""

    def __init__(self, folder: Path, sandbox: Sandbox, mark: str) -> None:
        self.sandbox = sandbox
        self.mark = mark
        self.workspace, self.home, self.tmp = (folder / name for name in ("workspace", "home", "tmp"))
        self.output = folder / "output"
        for each in (self.workspace, self.home, self.tmp):
            each.mkdir(parents=True)

    def confined(self, *command: str, timebox_s: float = 60, environ: dict[str, str] | None = None) -> Confined:
        """A command with the environment of a cell."""
        return Confined(
            arguments=command,
            environ={"PATH": "/usr/bin:/bin", "HOME": str(self.home), "TMPDIR": str(self.tmp), **(environ or {})},
            folder=self.workspace,
            output=self.output,
            timebox_s=timebox_s,
            writable=(self.home, self.tmp),
            readable=(PREFIX,),
            mark=self.mark,
        )

    def run(
        self,
        *command: str,
        timebox_s: float = 60,
        limits: Limits | None = None,
        gateway: Gateway | None = None,
        environ: dict[str, str] | None = None,
    ) -> Result:
        """Run it to its end."""
        confined = self.confined(*command, timebox_s=timebox_s, environ=environ)
        return self.run_confined(confined._replace(limits=limits or Limits(), gateway=gateway))

    def run_confined(self, confined: Confined) -> Result:
        """Run it as it is to its end."""
        with Stop() as stop:
            ended = self.sandbox.run(confined, stop)
        with self.output.open("rb") as file:
            return Result(ended, file.read(_MOST_BYTES).decode(errors="replace"))

    def python(self, script: str, *arguments: str, **given: Any) -> Result:
        """Run a script of Python."""
        return self.run(PYTHON, "-I", "-S", "-c", script, *arguments, **given)

    def answer(self, script: str, *arguments: str, **given: Any) -> Any:
        """What a script prints as JSON; it must end well."""
        done = self.python(script, *arguments, **given)
        assert done.ended.exit_code == 0, done
        return json.loads(done.printed)

    def left(self) -> list[int]:
        """Its processes that run still."""
        return [pid for pid, process in read_processes().items() if not process.ended and mark_of(pid) == self.mark]


class Running:
    """A command that runs in a thread, until it ends or is stopped."""

    def __init__(self, cell: Cell, confined: Confined) -> None:
        self.stop = Stop()
        self.ended: Ended | None = None

        def run() -> None:
            self.ended = cell.sandbox.run(confined, self.stop)

        self._thread = threading.Thread(target=run)
        self._thread.start()

    def wait(self, timeout_s: float = 60) -> Ended:
        """How it ended."""
        self._thread.join(timeout_s)
        self.stop.close()
        assert self.ended is not None, "it does not end"
        return self.ended
