"""Sandboxes: where a headless cell's command runs, and what keeps it there.

Two are built in: `process`, which has limits and a clean end, and `bubblewrap`, from which the gateway is the only
address and the cell's own folders are all that can be written.
"""

from agentdyno.sessions.sandboxes.contract import MARK, Confined, Ended, Gateway, Sandbox, Stop
from agentdyno.sessions.sandboxes.leftovers import adopt_orphans, sweep
from agentdyno.sessions.sandboxes.named import sandbox_named
from agentdyno.sessions.sandboxes.toolchains import toolchain_of

__all__ = [
    "MARK",
    "Confined",
    "Ended",
    "Gateway",
    "Sandbox",
    "Stop",
    "adopt_orphans",
    "sandbox_named",
    "sweep",
    "toolchain_of",
]
