from __future__ import annotations

import asyncio
import gc
import sys
import weakref

from agentdyno.gateway.garbage import collected_between_events


class Knot:
    """Something that only the cyclic collector can free."""

    def __init__(self) -> None:
        self.itself = self


async def _freed_while_serving() -> bool:
    """Whether a knot is freed by the loop's timer, with nobody else collecting."""
    with collected_between_events(asyncio.get_running_loop()):
        knot = weakref.ref(Knot())
        for _ in range(200):
            litter: list[list[int]] = [[] for _ in range(1_000)]  # objects enough for a collection to be due
            await asyncio.sleep(0.01)
            if knot() is None:
                return True
            del litter
    return False


def test_garbage_is_collected_between_events() -> None:
    assert asyncio.run(_freed_while_serving())
    assert gc.isenabled()


def test_no_collection_in_the_midst_of_an_event() -> None:
    async def allocate() -> int:
        runs: list[str] = []
        with collected_between_events(asyncio.get_running_loop()):
            gc.callbacks.append(lambda phase, _: runs.append(phase))
            litter = [[number] for number in range(100_000)]
            gc.callbacks.pop()
        assert len(litter) == 100_000
        return len(runs)

    # A later interpreter waits for a safe point by itself.
    assert asyncio.run(allocate()) == 0 or sys.version_info >= (3, 12)
