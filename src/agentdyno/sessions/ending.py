"""Ending a command that a session runs, with everything that it started."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterable

import psutil

from agentdyno.interruption import FROM_TERMINAL

_OWN_WAY_S = 3.0
_STOP_TIMEOUT_S = 5.0
_KILL_TIMEOUT_S = 5.0
_POLL_S = 0.02


def end(process: subprocess.Popen[bytes], signum: int | None, hurry: Callable[[], bool]) -> None:
    """Let the process and its descendants end, then ask them to, then make them.

    `signum` is the signal that was sent to it too, if any: what the terminal sends reaches a whole process group, and
    many a harness then tidies up. Once `hurry` says so they are killed.
    """
    family = _family(process.pid)
    if signum in FROM_TERMINAL and _gone(process, family, _OWN_WAY_S, hurry):
        return
    for sent, patience_s in ((signal.SIGTERM, _STOP_TIMEOUT_S), (signal.SIGKILL, _KILL_TIMEOUT_S)):
        family |= _family(process.pid)
        for member in family:
            _send(member, sent)
        if _gone(process, family, patience_s, hurry if sent == signal.SIGTERM else lambda: False):
            return


def _family(pid: int) -> set[psutil.Process]:
    try:
        own = psutil.Process(pid)
        return {own, *own.children(recursive=True)}
    except psutil.NoSuchProcess:
        return set()


def _send(member: psutil.Process, signum: int) -> None:
    try:
        member.send_signal(signum)
    except psutil.NoSuchProcess:
        return


def _gone(
    process: subprocess.Popen[bytes], family: Iterable[psutil.Process], timeout_s: float, hurry: Callable[[], bool]
) -> bool:
    deadline = time.monotonic() + timeout_s
    while process.poll() is None or any(map(_lives, family)):
        if hurry() or time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _lives(member: psutil.Process) -> bool:
    try:
        return member.is_running() and member.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
