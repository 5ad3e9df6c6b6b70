"""The memory of a collector while a long stream of records goes through it. Run as a process: the collector."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
from spool_load import spooled

from agentdyno.collectors.spool import SpoolCollector
from agentdyno.store.ledger import Ledger
from agentdyno.store.spool import SpoolWriter, runs

GATEWAY = "gw_1"
SEGMENT_BYTES = 8 * 1024 * 1024
SEGMENTS_AHEAD = 4
SAMPLE_EVERY = 1_000
_PAUSE_S = 0.005


class Peaks(NamedTuple):
    """Resident memory of a process at its highest, MiB."""

    first_quarter: float
    second_half: float


def memory_mib(folder: Path, wanted: int) -> Peaks:
    """Let a collector work through `wanted` records as they are written. What it has read is removed again."""
    spool, path = folder / "spool", folder / "collected.sqlite"
    writer = SpoolWriter(spool, GATEWAY, SEGMENT_BYTES)
    samples: list[float] = []
    with contextlib.closing(Ledger.open(path)) as ledger, _collector(spool, path) as process:
        for number, record in enumerate(spooled(wanted // 4, GATEWAY)):
            writer.append(record)
            if number % SAMPLE_EVERY == 0:
                samples.append(psutil.Process(process.pid).memory_info().rss / 2**20)
                while _segments_behind(spool, ledger) > SEGMENTS_AHEAD:
                    time.sleep(_PAUSE_S)
        writer.close()
        if process.wait(600):
            raise RuntimeError("the collector failed")
    return Peaks(max(samples[: len(samples) // 4]), max(samples[len(samples) // 2 :]))


def _segments_behind(spool: Path, ledger: Ledger) -> int:
    """How many segments wait to be read, after those that are read were removed."""
    cursor = ledger.cursor(GATEWAY)
    paths = sorted((spool / GATEWAY).glob("*.jsonl"))
    read = [path for path in paths if cursor is not None and int(path.stem) < cursor.segment]
    for path in read:
        path.unlink()
    return len(paths) - len(read)


@contextlib.contextmanager
def _collector(spool: Path, ledger: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, __file__, str(spool), str(ledger)])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def main(spool: Path, path: Path) -> None:
    """Collect until the gateway is gone and all that it wrote is read."""
    with contextlib.closing(Ledger.open(path)) as ledger:
        collector = SpoolCollector(spool, ledger, lambda: time.time_ns() // 1000)
        while not _is_over(spool, ledger):
            collector.collect()
            time.sleep(_PAUSE_S)


def _is_over(spool: Path, ledger: Ledger) -> bool:
    cursors = [ledger.cursor(run.name) for run in runs(spool)]
    return bool(cursors) and all(cursor is not None and cursor.closed for cursor in cursors)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
