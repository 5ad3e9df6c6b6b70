"""What a process started shall not outlive it, even when it is killed outright."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def ends_with_parent() -> Callable[[], None] | None:
    """A `preexec_fn`: the kernel sends the process SIGTERM when the thread that started it is gone.

    Only the process itself is told, not what it starts in turn. Linux only; elsewhere None, which asks for nothing.
    """
    if sys.platform != "linux":
        return None
    # Looked up before the fork: after it, as little as possible may happen.
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it was gone before the kernel was asked
            os.kill(os.getpid(), signal.SIGTERM)

    return ask
