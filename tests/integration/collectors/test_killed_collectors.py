"""Two collector processes on one spool and ledger, killed at random: every request has its row, once."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.integration.collectors import collecting_process
from tests.integration.collectors.spool_scripts import SECOND_US, answered, entered, routed
from tests.integration.ledgers import dump, empty_ledger

from agentdyno.collectors.spool import SpoolCollector
from agentdyno.core.exchange import SpoolRecord
from agentdyno.store.ledger import Ledger
from agentdyno.store.spool import SpoolWriter

REQUESTS = 600
KILLS = 8


def records(chance: random.Random) -> Iterator[SpoolRecord]:
    """What a gateway writes of many requests, up to 20 of them at a time; the last few it never answers."""
    in_flight: list[list[SpoolRecord]] = []
    for number in range(REQUESTS):
        key = f"req_{number:04d}"
        request = entered(key, number * SECOND_US, chance.choice(["ses_1", "ses_2", None]))
        reports: list[SpoolRecord] = [routed(key, at_us=at_us) for at_us in range(chance.choice([0, 1, 1, 2]))]
        rest = [answered(request), *reports]
        chance.shuffle(rest)
        yield request
        in_flight.append(rest)
        while len(in_flight) > 20:
            waiting = chance.choice(in_flight)
            yield waiting.pop()
            if not waiting:
                in_flight.remove(waiting)


def requests_in(ledger: Ledger) -> int:
    with ledger.read() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM request").scalar_one())


def wait_until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.timeout(120)
def test_collectors_that_are_killed_lose_and_double_nothing(tmp_path: Path) -> None:
    chance = random.Random(7)
    spool = tmp_path / "spool"
    command = [sys.executable, collecting_process.__file__, str(spool), str(tmp_path / "ledger.sqlite")]
    written = list(records(chance))
    writer = SpoolWriter(spool, "gw_1", segment_bytes=20_000)
    with empty_ledger(tmp_path) as ledger:
        collectors = [subprocess.Popen(command) for _ in range(2)]
        try:
            for turn in range(KILLS):
                before = requests_in(ledger)
                for record in written[turn * len(written) // KILLS : (turn + 1) * len(written) // KILLS]:
                    writer.append(record)
                wait_until(lambda seen=before: requests_in(ledger) > seen)  # type: ignore[misc]  # a default is untyped
                collectors[turn % 2].kill()
                assert collectors[turn % 2].wait() == -9
                collectors[turn % 2] = subprocess.Popen(command)
            writer.close()
            assert [collector.wait(60) for collector in collectors] == [0, 0]
        finally:
            for collector in collectors:
                collector.kill()
                collector.wait()
        collected = dump(ledger)
        assert requests_in(ledger) == REQUESTS
    (tmp_path / "fresh").mkdir()
    with empty_ledger(tmp_path / "fresh") as fresh:
        SpoolCollector(spool, fresh, lambda: 0).collect()
        assert dump(fresh) == collected
