"""Whether a process is still the one that it was: its id alone may have been given away again."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path


def started_ticks(pid: int) -> int | None:
    """When a process began, in clock ticks after boot; None when there is none, or it only waits to be noticed.

    No clock that is set moves it. Where there is no /proc, hundredths of a second by the clock, as the kernel noted it.
    Raises OSError, or psutil.AccessDenied, where that cannot be told: nobody is dead because we could not look.
    """
    if sys.platform != "linux":
        return _started_hundredths(pid)
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):  # the latter: it ended while it was read
        return None
    # The name, in parentheses, may hold anything.
    fields = text[text.rfind(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def own_start_ticks() -> int:
    """When this process began, as `started_ticks` tells it. Raises what that does."""
    ticks = started_ticks(os.getpid())
    if ticks is None:
        raise ProcessLookupError(errno.ESRCH, "this process is not in /proc")
    return ticks


def is_same_process(pid: int, ticks: int) -> bool:
    """Whether the process of that id runs, and is the one that began then. Raises what `started_ticks` does."""
    return started_ticks(pid) == ticks


def _started_hundredths(pid: int) -> int | None:
    import psutil  # heavy, and not needed on Linux

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else round(process.create_time() * 100)
    except psutil.NoSuchProcess:
        return None
