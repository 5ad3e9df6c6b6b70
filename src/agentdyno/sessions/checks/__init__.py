"""A task card's checks: tests of what a session left, did and used.

A check never raises and never hangs: it holds, or it says in words without any content why it does not. What an agent
left is nobody's friend: contents of files are judged in a process that can be given up, commands run where the harness
ran, and what was changed is told against a picture of the working folder that the agent could not reach.
"""

from agentdyno.sessions.checks.changes import Changes, Snapshot, changes_since, take_snapshot
from agentdyno.sessions.checks.commands import RunCommand, run_plainly
from agentdyno.sessions.checks.judging import (
    Held,
    Subject,
    hold_before_work,
    longest_s,
    needs_changes,
    none_hold,
    run_checks,
    tool_calls_of,
)

__all__ = [
    "Changes",
    "Held",
    "RunCommand",
    "Snapshot",
    "Subject",
    "changes_since",
    "hold_before_work",
    "longest_s",
    "needs_changes",
    "none_hold",
    "run_checks",
    "run_plainly",
    "take_snapshot",
    "tool_calls_of",
]
