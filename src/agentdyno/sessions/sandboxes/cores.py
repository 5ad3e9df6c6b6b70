"""Which processor cores a cell runs on, so that cells that run at once share as few as they can."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter
from collections.abc import Iterator


class Cores:
    """The cores that this process may use, lent to cells. For any thread."""

    def __init__(self) -> None:
        self._there = sorted(os.sched_getaffinity(0))
        self._used: Counter[int] = Counter()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def lent(self, wanted: int | None) -> Iterator[frozenset[int] | None]:
        """While this lasts, so many cores, those that fewest have; None where all of them are meant."""
        if wanted is None or wanted >= len(self._there):
            yield None
            return
        with self._lock:
            chosen = frozenset(sorted(self._there, key=lambda core: self._used[core])[:wanted])
            self._used.update(chosen)
        try:
            yield chosen
        finally:
            with self._lock:
                self._used.subtract(chosen)


@contextlib.contextmanager
def confined_to(cores: frozenset[int] | None) -> Iterator[None]:
    """What this thread starts meanwhile runs on these cores, from its first instant."""
    if cores is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
