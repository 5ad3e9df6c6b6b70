"""A collector in a process of its own, which collects until it is killed or every run is read to its end.

It is told of its ledger as every process of the stand is: by DYNO_DATABASE_URL. It says when it has opened it, and
tries again while the ledger is away.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

from agentdyno.collectors.spool import SpoolCollector
from agentdyno.core.errors import LedgerUnavailable
from agentdyno.store.address import named_ledger
from agentdyno.store.ledger import Ledger
from agentdyno.store.spool import runs

_PAUSE_S = 0.002
_BATCH_BYTES = 4_096


def main(spool: Path) -> None:
    """Collect, over and over."""
    address = named_ledger(os.environ)
    assert address is not None
    ledger = Ledger.open(address)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    collector = SpoolCollector(spool, ledger, lambda: time.time_ns() // 1000, _BATCH_BYTES)
    over = False
    while not over:
        with contextlib.suppress(LedgerUnavailable):
            collector.collect()
            over = _is_over(spool, ledger)
        time.sleep(_PAUSE_S)
    ledger.close()


def _is_over(spool: Path, ledger: Ledger) -> bool:
    cursors = [ledger.cursor(run.name) for run in runs(spool)]
    return all(cursor is not None and cursor.closed for cursor in cursors)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
