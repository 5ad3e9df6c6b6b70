"""One process at a time, by a lock that goes with its holder: nothing is left to clear up after a kill."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

_POLL_S = 0.05


@contextlib.contextmanager
def held_lock(file: Path, waiting: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Hold the lock of that file while this lasts. `waiting` is called while another has it, and may raise."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab") as lock:
        while not _taken(lock):
            waiting()
            time.sleep(_POLL_S)
        yield


def _taken(lock: IO[bytes]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
