"""What runners that died left behind: their attempts, sessions, processes and folders."""

from __future__ import annotations

from pathlib import Path

from agentdyno.core.records import Attempt, Runner
from agentdyno.sessions.closing import finalize
from agentdyno.sessions.opening import Context
from agentdyno.sessions.removal import remove
from agentdyno.sessions.sandboxes import sweep
from agentdyno.stand.processes import is_same_process
from agentdyno.store import run_queries
from agentdyno.store.runs import dead_runners, recover

LEASE_S = 60.0
"""A runner on another machine that was not seen for so long is dead."""
_NOTES = "its runner ended before it was settled"


def recover_the_dead(context: Context, run_id: str, host: str, own: str | None = None) -> tuple[Attempt, ...]:
    """End the runners of a run that are dead, and all that is left of their attempts; the attempts that are lost.

    `own` is the id of the runner that asks, if it is one: it is never taken for dead.
    What is left is ended before the cells are free again, so that no two attempts at a cell are at work at once.
    """
    lost: list[Attempt] = []
    now_us = context.clock_us()
    for runner in dead_runners(context.ledger, run_id, host, is_alive, now_us, round(LEASE_S * 1e6), own):
        lost += end_runner(context, runner, here=runner.host == host)
    return tuple(lost)


def end_runner(context: Context, runner: Runner, *, here: bool) -> tuple[Attempt, ...]:
    """End a runner that is dead, or leaves, and what is left of its attempts; those that are lost by it.

    One that leaves has attempts under way only where its settler failed: their sessions would stay open.
    """
    for attempt in run_queries.under_way(context.ledger, runner.runner_id):
        _clean_up(context, attempt, here=here)
    return recover(context.ledger, runner.runner_id, context.clock_us())


def is_alive(runner: Runner) -> bool:
    """Whether a runner of this machine still runs: the same process, and not only waiting to be noticed."""
    return is_same_process(runner.pid, runner.pid_started_ticks)


def tidy(context: Context, host: str) -> None:
    """End what the dead left of any run, and remove the folders of cells that have ended.

    Whose runner was killed may never resume that run: its processes would go on beside those that are measured.
    """
    for run_id in run_queries.runs_at_work(context.ledger):
        recover_the_dead(context, run_id, host)
    for folder in _folders_in(context.home.folder / "cells"):
        if run_queries.has_ended(context.ledger, folder.name):
            sweep(folder.name)
            remove(folder)
    for folder in _folders_in(context.home.folder / "sessions"):
        if run_queries.is_settled(context.ledger, folder.name):
            remove(folder)


def _folders_in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _clean_up(context: Context, attempt: Attempt, *, here: bool) -> None:
    session_id = attempt.session_id
    if here:
        sweep(session_id)
    if context.ledger.session(session_id) is not None:
        access = context.deployment_access()
        finalize(context.ledger, context.home, session_id, "aborted", _NOTES, context.clock_us, 5.0, access=access)
    if here:
        # Rendered files are there before the session is.
        remove(context.home.session(session_id))
        remove(context.home.cell(session_id))
