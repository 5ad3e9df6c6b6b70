"""The whole life of a session around one command: open, launch, check, collect, finalize."""

from __future__ import annotations

import contextlib
import errno
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from agentdyno.collectors.spool import SpoolCollector
from agentdyno.core.config import without_admin_keys
from agentdyno.core.errors import UserError
from agentdyno.core.records import Session
from agentdyno.core.trace import Trace
from agentdyno.interruption import Interrupted
from agentdyno.sessions.checks import (
    Changes,
    Held,
    Snapshot,
    Subject,
    changes_since,
    hold_before_work,
    needs_changes,
    none_hold,
    run_checks,
    run_plainly,
    take_snapshot,
    tool_calls_of,
)
from agentdyno.sessions.closing import DRAIN_TIMEOUT_S, drain, finalize
from agentdyno.sessions.ending import end
from agentdyno.sessions.environment import below, render_headless, require_headless
from agentdyno.sessions.opening import Context, Opened, Wanted, aborted_on_failure, open_session
from agentdyno.sessions.orphans import ends_with_parent
from agentdyno.sessions.removal import remove
from agentdyno.sessions.steps import take_step
from agentdyno.sessions.trace import read_trace, trace_file
from agentdyno.sessions.workspaces import lay_in
from agentdyno.store.address import without_ledger


class Launch(NamedTuple):
    """Where and how the command is run."""

    folder: Path
    output: IO[bytes] | None = None
    """Takes all that it prints; by default it has the terminal."""
    own_group: bool = False
    """It has no standard input, and the terminal's Ctrl-C does not reach it."""
    limit_s: float | None = None
    """It is ended after so many seconds."""


class Ended(NamedTuple):
    """A finalized session, and how its command ended: negative for a signal."""

    session: Session
    exit_code: int
    timed_out: bool = False
    """It took longer than it may, and was ended."""


class _Exit(NamedTuple):
    code: int
    timed_out: bool


class _Worked(NamedTuple):
    ended: _Exit
    held: tuple[Held, ...]


def start_session(
    context: Context,
    wanted: Wanted,
    command: Sequence[str],
    launch: Launch,
    *,
    opened: Callable[[Session], object] = lambda _: None,
    waiting: Callable[[int], object] = lambda _: None,
    told: Callable[[str], object] = lambda _: None,
) -> Ended:
    """Run one command as a session's harness, to the session's end.

    Without a command the profile's headless one is run with the task card's prompt. `opened` is told of the session
    before the command runs, `waiting` how many requests are in flight after it, `told` which checks do not hold,
    what of the trace could not be read, and what is waited for at a LiteLLM deployment. Interrupted at any point, the
    command is ended, the session is finalized as aborted, and Interrupted is raised.
    """
    _require_fit(context, wanted, command, launch.folder)
    ready = open_session(context, wanted)
    session_id = ready.session.session_id
    with aborted_on_failure(context, session_id):
        opened(ready.session)
        ended, held = _work(context, ready, command, launch, waiting)
        for number, result in enumerate(held, start=1):
            if not result.passed:
                told(f"check {number} ({result.kind}) does not hold: {result.reason}")
        session = finalize(
            context.ledger,
            context.home,
            session_id,
            "completed",
            None,
            context.clock_us,
            given_up=context.interruptions.more(),
            waiting=waiting,
            access=context.deployment_access(told),
            told=told,
        )
    return Ended(session, ended.code, ended.timed_out)


def _require_fit(context: Context, wanted: Wanted, command: Sequence[str], folder: Path) -> None:
    """Raise UserError, before there is a session, for what could not be launched."""
    variant = context.config.variant(wanted.variant)
    if not command:
        require_headless(context.config.harness_profile(variant.harness_profile))
    task_card = context.config.task_card(wanted.task_card)
    for name, text in (*task_card.files.items(), *task_card.check_files.items()):
        path = below(folder, name)
        if path.exists() and (not path.is_file() or path.read_bytes() != text.encode()):
            raise UserError(f"{path} is there already, and is not the task card's", "move it away, or start elsewhere")
    with context.interruptions.released():
        hold_already = hold_before_work(task_card.checks, folder)
    if hold_already:
        raise UserError(
            f"every check of task card {wanted.task_card} holds before anything was done",
            f"remove what an earlier session left in {folder}, or start in another folder",
        )


def _work(
    context: Context, ready: Opened, command: Sequence[str], launch: Launch, waiting: Callable[[int], object]
) -> _Worked:
    """Lay in the task card's files, run the command, and keep what came of it."""
    session_id, task_card = ready.session.session_id, ready.task_card
    for name, text in task_card.files.items():
        path = below(launch.folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    values = {**ready.values, "workspace": str(launch.folder)}
    arguments = list(command) or list(render_headless(ready.profile, values, task_card.prompt))
    with _snapshot(context, ready, launch.folder) as snapshot:
        take_step(context.ledger, session_id, "rendered", "launched", launched_at_us=context.clock_us())
        ended = _run(context, arguments, {**_environ(context), **ready.env}, launch)
        held = _judge(context, ready, launch.folder, snapshot, waiting)
    passed = sum(result.passed for result in held)
    context.ledger.note_result(session_id, ended.code, *((passed, len(held)) if held else (None, None)))
    return _Worked(ended, held)


def _environ(context: Context) -> dict[str, str]:
    """What a command may see of a person's environment."""
    return without_admin_keys(without_ledger(context.environ), context.config.providers.values())


@contextlib.contextmanager
def _snapshot(context: Context, ready: Opened, folder: Path) -> Iterator[Snapshot | None]:
    """How the folder is now, for as long as that is needed; None where no check asks for it."""
    if not needs_changes(ready.task_card.checks):
        yield None
        return
    kept = context.home.snapshot(ready.session.session_id)
    try:
        with context.interruptions.released():
            snapshot = take_snapshot(folder, kept)
        yield snapshot
    finally:
        remove(kept)


def _judge(
    context: Context, ready: Opened, folder: Path, snapshot: Snapshot | None, waiting: Callable[[int], object]
) -> tuple[Held, ...]:
    """Each check's result. Its commands run as plain processes, and without the session's key."""
    session_id, checks = ready.session.session_id, ready.task_card.checks
    uses = [check for check in checks if check.kind == "tool_used"]
    trace, tool_calls = Trace(), None
    if uses:
        trace = read_trace(trace_file(context.home.session(session_id)), session_id, context.clock_us())
    if any(check.tool is None for check in uses):
        collector = SpoolCollector(context.home.spool, context.ledger, context.clock_us)
        drain(collector, session_id, DRAIN_TIMEOUT_S, context.interruptions.more(), waiting)
        tool_calls = tool_calls_of(context.ledger.requests(session_id))
    with context.interruptions.released():
        changes = Changes() if snapshot is None else changes_since(snapshot)
        try:
            lay_in(folder, ready.task_card.check_files)
        except (OSError, UserError):
            return none_hold(checks)
        run = run_plainly(folder, _environ(context), session_id)
        return run_checks(checks, Subject(folder, run, changes, trace.steps, tool_calls))


def _run(context: Context, arguments: list[str], environ: Mapping[str, str], launch: Launch) -> _Exit:
    """Run the command to its end. Interrupted, or at its limit, it and all that it started are ended first."""
    try:
        process = subprocess.Popen(
            arguments,
            env=environ,
            cwd=launch.folder,
            stdin=subprocess.DEVNULL if launch.own_group else None,
            stdout=launch.output,
            stderr=launch.output,
            start_new_session=launch.own_group,
            preexec_fn=ends_with_parent(),
        )
    except OSError as error:
        hint = "shorten the prompt, or the command" if error.errno == errno.E2BIG else "is it a program?"
        raise UserError(f"{arguments[0]} cannot be run: {error.strerror}", hint) from error
    try:
        with context.interruptions.released():
            return _Exit(process.wait(launch.limit_s), timed_out=False)
    except subprocess.TimeoutExpired:
        end(process, None, hurry=context.interruptions.more())
        return _Exit(process.wait(), timed_out=True)
    except Interrupted as interrupted:
        end(process, None if launch.own_group else interrupted.signum, hurry=context.interruptions.more())
        raise
