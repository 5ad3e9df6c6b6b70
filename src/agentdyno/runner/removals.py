"""Removing what cells leave, beside the run: a disk that takes its time over folders holds nothing else up."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from agentdyno.sessions.removal import remove

log = logging.getLogger(__name__)
_AT_ONCE = 8
_MAY_WAIT = 64
"""When so many folders wait to be removed, whoever brings one more waits too: a disk may not fill up with them."""


class Removals:
    """Removes folders in threads of its own. Use it as a context: on leaving, everything is removed."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="removal")
        self._room = threading.BoundedSemaphore(_MAY_WAIT)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()

    def add(self, *folders: Path) -> None:
        """Remove folders, soon. What cannot be removed is said in the log, and tried again by the next run."""
        self._room.acquire()
        self._pool.submit(self._remove, folders).add_done_callback(self._done)

    def _remove(self, folders: tuple[Path, ...]) -> None:
        for folder in folders:
            left = remove(folder)
            if left:
                log.warning("%d files below %s could not be removed", len(left), folder)

    def _done(self, _: Future[None]) -> None:
        self._room.release()
