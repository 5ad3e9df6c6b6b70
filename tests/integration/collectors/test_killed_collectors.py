"""Two collector processes on one spool and ledger, killed, or without a server: every request has its row, once."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest
from tests.integration.collectors import collecting_process
from tests.integration.collectors.spool_scripts import SECOND_US, answered, entered, routed
from tests.integration.ledgers import Ledgers, PostgresLedgers, dump, opened
from tests.integration.postgres_server import PostgresServer

from agentdyno.collectors.spool import SpoolCollector
from agentdyno.core.errors import LedgerUnavailable
from agentdyno.core.exchange import SpoolRecord
from agentdyno.store.address import LedgerAddress, naming
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


class Collectors:
    """Two collector processes on one ledger. As a context: on leaving, none is left."""

    def __init__(self, spool: Path, address: LedgerAddress) -> None:
        self._spool = spool
        self._environ = {**os.environ, **naming(address)}
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self._processes = [self._start() for _ in range(2)]
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, collecting_process.__file__, str(self._spool)]
        return subprocess.Popen(command, env=self._environ, stdout=subprocess.PIPE)

    def wait_until_ready(self) -> None:
        """Wait until both have their ledger open."""
        for process in self._processes:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"

    def kill_and_restart(self, number: int) -> None:
        """Let one die without warning, and start it anew."""
        self._processes[number].kill()
        self._processes[number].communicate()
        assert self._processes[number].returncode == -9
        self._processes[number] = self._start()

    def finish(self) -> None:
        """Wait until both have read everything."""
        assert [process.wait(60) for process in self._processes] == [0, 0]


def tables_of_one_pass(ledgers: Ledgers, spool: Path) -> dict[str, list[str]]:
    with opened(ledgers) as fresh:
        SpoolCollector(spool, fresh, lambda: 0).collect()
        return dump(fresh)


@pytest.mark.timeout(120)
def test_collectors_that_are_killed_lose_and_double_nothing(tmp_path: Path, ledgers: Ledgers) -> None:
    chance = random.Random(7)
    written = list(records(chance))
    writer = SpoolWriter(tmp_path, "gw_1", segment_bytes=20_000)
    with opened(ledgers) as ledger:
        with Collectors(tmp_path, ledger.address) as collectors:
            for turn in range(KILLS):
                before = requests_in(ledger)
                for record in written[turn * len(written) // KILLS : (turn + 1) * len(written) // KILLS]:
                    writer.append(record)
                wait_until(lambda seen=before: requests_in(ledger) > seen)  # type: ignore[misc]  # a default is untyped
                collectors.kill_and_restart(turn % 2)
            writer.close()
            collectors.finish()
        assert requests_in(ledger) == REQUESTS
        assert dump(ledger) == tables_of_one_pass(ledgers, tmp_path)


@pytest.mark.timeout(120)
def test_collectors_go_on_when_their_server_was_away(tmp_path: Path) -> None:
    written = list(records(random.Random(11)))
    writer = SpoolWriter(tmp_path, "gw_1", segment_bytes=20_000)
    with PostgresServer() as server:
        ledgers = PostgresLedgers(server)
        ledger = Ledger.open(ledgers.empty())
        with Collectors(tmp_path, ledger.address) as collectors:
            collectors.wait_until_ready()
            for part in range(4):
                before = requests_in(ledger)
                for record in written[part * len(written) // 4 : (part + 1) * len(written) // 4]:
                    writer.append(record)
                wait_until(lambda seen=before: requests_in(ledger) > seen)  # type: ignore[misc]  # a default is untyped
                server.stop()
                with pytest.raises(LedgerUnavailable):
                    requests_in(ledger)
                server.start()
            writer.close()
            collectors.finish()
        assert requests_in(ledger) == REQUESTS
        assert dump(ledger) == tables_of_one_pass(ledgers, tmp_path)
        ledger.close()
