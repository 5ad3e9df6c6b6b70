"""The cyclic garbage collector, run between events only.

Before Python 3.12 the collector may run in the midst of any allocation, one inside `ContextVar.set` included. LiteLLM
leaves generators behind that, when collected, set context variables themselves; the set that was interrupted then reads
memory that was freed, and the process dies of it (CPython issue 148891). From 3.12 on the collector waits for a safe
point by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
from collections.abc import Iterator

_EVERY_S = 0.02
_FULL_EVERY_S = 10.0
_YOUNG_OBJECTS, _YOUNG_RUNS, _OLD_RUNS = gc.get_threshold()


@contextlib.contextmanager
def collected_between_events(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """While this lasts, garbage is collected by a timer of the loop where the interpreter cannot do it safely."""
    if sys.version_info >= (3, 12):
        yield
        return
    timer: asyncio.Handle
    next_full_s = loop.time() + _FULL_EVERY_S

    def collect() -> None:
        nonlocal timer, next_full_s
        young, runs, old_runs = gc.get_count()
        if old_runs > _OLD_RUNS and loop.time() > next_full_s:
            gc.collect(2)
            next_full_s = loop.time() + _FULL_EVERY_S
        elif runs > _YOUNG_RUNS:
            gc.collect(1)
        elif young > _YOUNG_OBJECTS:
            gc.collect(0)
        timer = loop.call_later(_EVERY_S, collect)

    gc.disable()
    timer = loop.call_soon(collect)
    try:
        yield
    finally:
        timer.cancel()
        gc.enable()
