"""However long a gateway runs, a collector needs no more memory than in its first minutes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.collectors.spool_scripts import answered, entered, routed
from tests.integration.ledgers import empty_ledger

from agentdyno.collectors.spool import SpoolCollector
from agentdyno.store.spool import SpoolWriter

BATCH_BYTES = 256 * 1024


@pytest.fixture
def traced() -> Iterator[None]:
    """Every allocation is counted."""
    tracemalloc.start()
    yield
    tracemalloc.stop()


def append(gateway: SpoolWriter, first: int, last: int) -> None:
    """Three records of each of these requests; every hundredth is never answered, and is waited for ever after."""
    for number in range(first, last):
        request = entered(f"req_{number:06d}", at_us=number * 1_000)
        gateway.append(request)
        if number % 100 or number > 2_000:
            gateway.append(answered(request))
            gateway.append(routed(request.request_key, at_us=number * 1_000))


@pytest.mark.usefixtures("traced")
def test_the_memory_of_a_collector_is_flat(tmp_path: Path) -> None:
    gateway = SpoolWriter(tmp_path / "spool", "gw_1", segment_bytes=2**20)
    with empty_ledger(tmp_path) as ledger:
        collector = SpoolCollector(tmp_path / "spool", ledger, lambda: 0, BATCH_BYTES)
        peaks = []
        for first, last in ((0, 3_000), (3_000, 20_000)):
            append(gateway, first, last)
            tracemalloc.reset_peak()
            assert collector.collect().unreadable == 0
            peaks.append(tracemalloc.get_traced_memory()[1])
        assert collector.in_flight("ses_1") == 21  # 0, 100, … 2,000
    gateway.close()
    assert peaks[1] < 1.1 * peaks[0]
