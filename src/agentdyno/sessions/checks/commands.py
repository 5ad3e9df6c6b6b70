"""A check's command as a plain process: for sessions without a sandbox."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from agentdyno.sessions.orphans import ends_with_parent

RunCommand = Callable[[tuple[str, ...], float], int | None]
"""Runs a command for at most so many seconds: its exit code, negative for a signal; None when it took longer."""
_MARK = "DYNO_CHECK_OF"
_NOT_FOUND = 127
"""What a shell ends with for a command that there is none of."""
_KILL_TIMEOUT_S = 5.0
_POLL_S = 0.02


def run_plainly(folder: Path, environ: Mapping[str, str], session_id: str) -> RunCommand:
    """What runs the commands of a session's checks in a folder. Nothing that they start outlives them.

    What they print is thrown away. Those that cannot be run at all end with 127.
    """
    marked = {**environ, _MARK: session_id}

    def run(command: tuple[str, ...], limit_s: float) -> int | None:
        try:
            process = subprocess.Popen(
                command,
                env=marked,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=ends_with_parent(),
            )
        except (OSError, ValueError):
            return _NOT_FOUND
        try:
            return process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _end_all(process, session_id)

    return run


def _end_all(process: subprocess.Popen[bytes], session_id: str) -> None:
    """End the command, and whatever it started that still runs, even as a session of its own."""
    if process.poll() is None:
        process.kill()
        process.wait()
    deadline_s = time.monotonic() + _KILL_TIMEOUT_S
    while left := [found for found in psutil.process_iter() if _belongs(found, process.pid, session_id)]:
        for found in left:
            with contextlib.suppress(psutil.Error):
                found.kill()
        if time.monotonic() > deadline_s:
            return
        time.sleep(_POLL_S)  # what was found may have started more meanwhile


def _belongs(found: psutil.Process, leader: int, session_id: str) -> bool:
    try:
        if found.status() == psutil.STATUS_ZOMBIE:
            return False
        return os.getsid(found.pid) == leader or found.environ().get(_MARK) == session_id
    except (psutil.Error, OSError):
        return False
