"""The whole life of a session around one command: open, launch, check, collect, finalize."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from agentdyno.core.errors import UserError
from agentdyno.core.records import Outcome, Session
from agentdyno.sessions.checks import run_checks
from agentdyno.sessions.closing import finalize, require_session
from agentdyno.sessions.environment import below, render_headless
from agentdyno.sessions.opening import Context, Opened, Wanted, open_session
from agentdyno.sessions.steps import take_step

_STOP_TIMEOUT_S = 5.0


def start_session(
    context: Context,
    wanted: Wanted,
    command: Sequence[str],
    *,
    folder: Path,
    output: IO[bytes] | None = None,
    own_group: bool = False,
) -> Session:
    """Run one command as a session's harness, in `folder`, and return the finalized session.

    Without a command the profile's headless one is run with the task card's prompt. `output` takes what it prints; by
    default it has the terminal. With `own_group` it cannot be reached by the terminal's Ctrl-C. Interrupted at any
    point, the session ends as aborted and the interruption goes on.
    """
    opened = open_session(context, wanted)
    session_id = opened.session.session_id
    outcome: Outcome = "aborted"
    try:
        _lay_in(opened.task_card.files, folder)
        arguments = list(command) or list(_headless(opened, folder))
        take_step(context.ledger, session_id, "rendered", "launched", launched_at_us=context.clock_us())
        exit_code = _run(arguments, opened.env, context.environ, folder, output, own_group=own_group)
        result = run_checks(opened.task_card.checks, folder)
        context.ledger.note_result(
            session_id, exit_code, result.passed if result else None, result.total if result else None
        )
        outcome = "completed"
    finally:
        finalize(context.ledger, context.home, session_id, outcome, None, context.clock_us)
    return require_session(context.ledger, session_id)


def _lay_in(files: Mapping[str, str], folder: Path) -> None:
    """Write a task card's files. One that is there with another content is not overwritten: UserError."""
    for name, text in files.items():
        path = below(folder, name)
        if path.exists() and path.read_text() != text:
            raise UserError(f"{path} is there already, and is not the task card's", "move it away, or start elsewhere")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _headless(opened: Opened, folder: Path) -> tuple[str, ...]:
    values = {**opened.values, "workspace": str(folder)}
    return render_headless(opened.profile, values, opened.task_card.prompt)


def _run(
    arguments: list[str],
    env: Mapping[str, str],
    environ: Mapping[str, str],
    folder: Path,
    output: IO[bytes] | None,
    *,
    own_group: bool,
) -> int:
    """Run the command to its end; its exit code, negative for a signal. Interrupted, it is ended first."""
    try:
        process = subprocess.Popen(
            arguments,
            env={**environ, **env},
            cwd=folder,
            stdin=subprocess.DEVNULL if own_group else None,
            stdout=output,
            stderr=output,
            start_new_session=own_group,
        )
    except FileNotFoundError as error:
        raise UserError(f"{arguments[0]} is not installed", "install it, or put its folder on PATH") from error
    except PermissionError as error:
        raise UserError(f"{arguments[0]} cannot be run: {error.strerror}", "check its permissions") from error
    try:
        return process.wait()
    except BaseException:
        _end(process, own_group=own_group)
        raise


def _end(process: subprocess.Popen[bytes], *, own_group: bool) -> None:
    """Ask a process (or its group) to end, then make it."""
    for signum, patience_s in ((signal.SIGTERM, _STOP_TIMEOUT_S), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signum) if own_group else process.send_signal(signum)
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            continue
        return
