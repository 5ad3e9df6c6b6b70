"""The sandbox `process`: a command as it is, with limits and a clean end, and no walls around it."""

from __future__ import annotations

import contextlib
import os

from agentdyno.core.records import Limits
from agentdyno.sessions.sandboxes.contract import Confined, Ended, Stop
from agentdyno.sessions.sandboxes.cores import confined_to
from agentdyno.sessions.sandboxes.keeping import Keeper, by_whom
from agentdyno.sessions.sandboxes.limits import polled
from agentdyno.sessions.sandboxes.starting import Unrunnable, output_of, start


class ProcessSandbox:
    """Limits, and an end that leaves nothing running."""

    name = "process"

    def __init__(self) -> None:
        self._keeper = Keeper()

    def unenforced(self, limits: Limits) -> tuple[str, ...]:
        """Nothing keeps a command from the network, and from any file and process of this user."""
        return (
            "network",
            "files outside the workspace",
            "other processes of this user, environments included",
            "daemons that clear their environment: they end with the last cell that may have started them",
            *polled(limits),
        )

    def run(self, confined: Confined, stop: Stop) -> Ended:
        """Run one command to its end, in a session of its own."""
        with output_of(confined) as output, self._keeper.cores.lent(confined.limits.cpu_cores) as cores:
            beginning = self._keeper.beginning()
            try:
                with confined_to(cores):
                    process = self._keeper.started(lambda: start(confined.arguments, confined, output))
            except Unrunnable as unrunnable:
                return Ended(unrunnable.exit_code, "itself", 0.0)

            def send(signum: int) -> None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signum)

            kept = self._keeper.keep(process, confined, output, stop, beginning, send)
            return Ended(kept.exit_code, by_whom(kept.exit_code, kept.reason), kept.command_ms)
