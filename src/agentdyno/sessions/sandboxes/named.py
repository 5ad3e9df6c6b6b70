"""The sandboxes that there are, by name."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points

from agentdyno.core.errors import UserError
from agentdyno.core.names import suggestion
from agentdyno.sessions.sandboxes.contract import Sandbox

GROUP = "agentdyno.sandboxes"
"""Entry points of other packages: each names a callable without arguments that makes a Sandbox."""
PROCESS, BUBBLEWRAP = "process", "bubblewrap"


def sandbox_named(name: str | None) -> Sandbox:
    """A sandbox by its name; without one, the best there is here.

    Raises UserError for a name that there is not, and for a sandbox that does not work on this machine.
    """
    from agentdyno.sessions.sandboxes.bubblewrap import BubblewrapSandbox, why_not
    from agentdyno.sessions.sandboxes.process import ProcessSandbox

    if sys.platform != "linux":
        raise UserError("headless cells need Linux", "run them on a machine that has it")
    if name == PROCESS:
        return ProcessSandbox()
    if name == BUBBLEWRAP or name is None:
        reason = why_not()
        if reason is None:
            return BubblewrapSandbox()
        if name is None:
            return ProcessSandbox()
        raise UserError(f"bubblewrap does not work here: {reason}", "mend that, or name the sandbox process")
    others = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in others:
        raise UserError(f'sandbox "{name}" is not there', suggestion(name, (PROCESS, BUBBLEWRAP, *others)))
    return _made(others[name])


def _made(entry: EntryPoint) -> Sandbox:
    sandbox: Sandbox = entry.load()()
    return sandbox
