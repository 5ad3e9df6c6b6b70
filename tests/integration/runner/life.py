"""`dyno run` as a running process, which may be killed at an instant that is chosen by what it told so far."""

from __future__ import annotations

import queue
import threading
import time
from typing import NamedTuple

from tests.integration.runner.lab import Lab, Ran

_END_TIMEOUT_S = 300
_SILENCE_S = 180


class Moment(NamedTuple):
    """When a runner is killed: so long after it told so much. No event: after its start."""

    events: int
    delay_s: float


class Life:
    """One `dyno run`, from its start to its end or its death."""

    def __init__(self, lab: Lab, experiment: str, jobs: int, *, resume: bool = False) -> None:
        options = ("--resume",) if resume else ()
        self.process = lab.start("run", experiment, "--json", "--jobs", str(jobs), *options)
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._printed: list[str] = []
        self._said: list[str] = []
        self._threads = [threading.Thread(target=self._read), threading.Thread(target=self._read_errors)]
        for thread in self._threads:
            thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self._said += self.process.stderr

    def hear(self, events: int) -> bool:
        """Wait for so many events; False where it ends before."""
        for _ in range(events):
            line = self._lines.get(timeout=_SILENCE_S)
            if line is None:
                self._lines.put(None)
                return False
            self._printed.append(line)
        return True

    def kill_at(self, moment: Moment) -> Ran:
        """Kill it then, unless it has ended before; how it ended."""
        if self.hear(moment.events):
            time.sleep(moment.delay_s)
        else:
            self.process.wait(_END_TIMEOUT_S)
        return self.kill()

    def kill(self) -> Ran:
        """Kill it, unless it has ended; how it ended."""
        self.process.kill()
        return self.end()

    def end(self) -> Ran:
        """Wait for its end, whatever it was."""
        try:
            self.process.wait(_END_TIMEOUT_S)
        finally:
            self.process.kill()
            self.process.wait()
        for thread in self._threads:
            thread.join()
        while (line := self._lines.get()) is not None:
            self._printed.append(line)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        return Ran(self.process.returncode, "".join(self._printed), "".join(self._said))
