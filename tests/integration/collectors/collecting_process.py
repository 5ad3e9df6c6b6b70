"""A collector in a process of its own, which collects until it is killed or every run is read to its end."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from agentdyno.collectors.spool import SpoolCollector
from agentdyno.store.ledger import Ledger
from agentdyno.store.spool import runs

_PAUSE_S = 0.002
_BATCH_BYTES = 4_096


def main(spool: Path, ledger_path: Path) -> None:
    """Collect, over and over."""
    ledger = Ledger.open(ledger_path)
    collector = SpoolCollector(spool, ledger, lambda: time.time_ns() // 1000, _BATCH_BYTES)
    while not _is_over(spool, ledger):
        collector.collect()
        time.sleep(_PAUSE_S)
    ledger.close()


def _is_over(spool: Path, ledger: Ledger) -> bool:
    cursors = [ledger.cursor(run.name) for run in runs(spool)]
    return all(cursor is not None and cursor.closed for cursor in cursors)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
