"""Being asked to end (Ctrl-C, SIGTERM, a terminal that closes) without being torn apart in the middle of a step."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final

FROM_TERMINAL: Final = (signal.SIGINT, signal.SIGHUP)
"""Signals that a terminal sends to everything in its foreground."""
SIGNALS: Final = (*FROM_TERMINAL, signal.SIGTERM)


class Interrupted(BaseException):
    """Somebody asked for the end. No Exception: nothing on the way may take it for a fault."""

    def __init__(self, signum: int) -> None:
        super().__init__("interrupted")
        self.signum = signum


class Interruptions:
    """What was asked so far. It raises only where it is told to, and only once by itself."""

    def __init__(self) -> None:
        self._signums: list[int] = []
        self._raising = False

    def note(self, signum: int, _frame: FrameType | None = None) -> None:
        """A signal came: keep it, and raise Interrupted where that was allowed."""
        self._signums.append(signum)
        if self._raising:
            # What follows is the cleaning up, which a second Ctrl-C must not tear apart.
            self._raising = False
            raise Interrupted(signum)

    def raise_if_any(self) -> None:
        """Raise Interrupted if a signal came: called between two steps."""
        if self._signums:
            raise Interrupted(self._signums[0])

    @property
    def asked(self) -> bool:
        """Whether a signal came, and was not answered yet."""
        return bool(self._signums)

    def answered(self) -> None:
        """What was asked for is done: nothing is raised for it any more."""
        self._signums.clear()

    @contextlib.contextmanager
    def released(self) -> Iterator[None]:
        """While this lasts, a signal raises Interrupted at once; so does one that came before."""
        self._raising = True
        try:
            self.raise_if_any()
            yield
        finally:
            self._raising = False

    def more(self) -> Callable[[], bool]:
        """A question: has another signal come since now?"""
        before = len(self._signums)
        return lambda: len(self._signums) > before


@contextlib.contextmanager
def held_interruptions() -> Iterator[Interruptions]:
    """While this lasts, signals are kept and raise nothing by themselves; on leaving, Interrupted is raised for them.

    For the main thread. Signals that are ignored, as under nohup, stay ignored.
    """
    interruptions = Interruptions()
    before = {signum: signal.getsignal(signum) for signum in SIGNALS}
    heeded = [signum for signum, handler in before.items() if handler is not signal.SIG_IGN]
    try:
        for signum in heeded:
            signal.signal(signum, interruptions.note)
        yield interruptions
    finally:
        for signum in heeded:
            signal.signal(signum, before[signum])
    interruptions.raise_if_any()
