"""From the spool to the ledger: fold the records of each request, normalize, absorb.

Collecting is idempotent: a row is a pure function of its request's records so far, the ledger decides what is new, and
a batch is committed with its cursor. The cursor never passes a request that still waits for a record, so a collector
that dies loses nothing: the next one reads those records again. One that begins in the midst of a request, or hears of
it when nobody waited any more, reads its earlier records too: more records always make the better row.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from agentdyno.collectors.progress import Pending, Run, line_before
from agentdyno.collectors.reading import Batch, make_row, make_up_for_damage, read, read_up, recall, rowless
from agentdyno.store.ledger import Ledger
from agentdyno.store.request_rows import DamagedRow, Rows
from agentdyno.store.spool import is_live, read_blocks, runs

_BATCH_BYTES = 32 * 1024 * 1024
_NOT_STORED = (UnicodeEncodeError, OverflowError, sa.exc.DataError)
"""What a database raises on a row whose values it cannot hold; no fault of the database's own is among them."""


class Collected(NamedTuple):
    """What a pass over the spool did."""

    records: int = 0
    written: int = 0
    unreadable: int = 0

    def plus(self, more: Collected) -> Collected:
        """Both passes together."""
        return Collected(self.records + more.records, self.written + more.written, self.unreadable + more.unreadable)


class _Sifted(NamedTuple):
    """What became of the rows of a batch that could not be stored as a whole."""

    written: int
    refused: dict[str, str]
    """Request keys, and what was wrong with each."""


class SpoolCollector:
    """Brings the records of a spool into a ledger. Any number may work at once, also in other processes."""

    def __init__(
        self, spool: Path, ledger: Ledger, clock_us: Callable[[], int], batch_bytes: int = _BATCH_BYTES
    ) -> None:
        self._spool = spool
        self._ledger = ledger
        self._clock_us = clock_us
        self._batch_bytes = batch_bytes
        self._runs: dict[str, Run] = {}

    def collect(self) -> Collected:
        """Read everything that is there now."""
        totals = Collected()
        for folder in runs(self._spool):
            # Remembered again only when all that was read is in the ledger: else the next pass resumes at its cursor.
            run = self._runs.pop(folder.name, None) or self._resume(folder)
            totals = totals.plus(self._collect_run(run))
            self._runs[folder.name] = run
        return totals

    def rebuild(self) -> Collected:
        """Make every row again from the raw archive; rows whose records are gone stay as they are."""
        totals = Collected()
        for folder in runs(self._spool):
            totals = totals.plus(self._collect_run(Run(folder), rebuild=True))
        return totals

    def in_flight(self, session_id: str) -> int:
        """Requests of a session, as of the last pass, that have not been answered."""
        return sum(p.session_id == session_id and p.answered is None for p in self._all_pending())

    def unrouted(self, session_id: str) -> int:
        """Answered requests of a session, as of the last pass, of which LiteLLM has not reported."""
        return sum(p.session_id == session_id and p.answered is not None for p in self._all_pending())

    def _all_pending(self) -> list[Pending]:
        return [pending for run in self._runs.values() for pending in run.pending.values()]

    def _resume(self, folder: Path) -> Run:
        cursor = self._ledger.cursor(folder.name)
        if cursor is None:
            return Run(folder)
        return Run(folder, line_before(cursor.segment, cursor.offset_bytes), cursor.closed)

    def _collect_run(self, run: Run, *, rebuild: bool = False) -> Collected:
        totals = Collected()
        run.exhausted = False
        while not run.exhausted and not run.closed:
            totals = totals.plus(self._collect_batch(run, rebuild=rebuild))
        return totals

    def _collect_batch(self, run: Run, *, rebuild: bool) -> Collected:
        # Asked before reading: what a gateway wrote before it died is then surely read.
        ended = not is_live(run.folder)
        batch = Batch()
        place = (run.last.segment, run.last.end_bytes)
        for block in read_blocks(run.folder, *place, ended=ended, limit_bytes=self._batch_bytes):
            read(run, block, batch, rebuild=rebuild)
        read_up(run, batch)
        run.exhausted = not batch.records
        run.closed = run.exhausted and ended
        self._end_waiting(run, batch)
        if run.exhausted and not run.closed:
            return Collected()
        return self._store(run, batch, rebuild=rebuild)

    def _store(self, run: Run, batch: Batch, *, rebuild: bool) -> Collected:
        cursor = None if rebuild else run.cursor()
        unreadable = batch.unreadable
        try:
            written = self._ledger.absorb_rows(batch.rows(), cursor, unreadable, rebuild=rebuild).written
        except (DamagedRow, *_NOT_STORED):
            # One bad row must not stop those after it. The cursor follows last, as ever.
            make_up_for_damage(run, batch)
            written, refused = self._sift(batch.rows(), rebuild=rebuild)
            unreadable += [rowless(run, recall(run, key, run.last), reason) for key, reason in refused.items()]
            self._ledger.absorb_rows(Rows.by_key({}, set()), cursor, unreadable, rebuild=rebuild)
        return Collected(batch.records, written, len(unreadable))

    def _sift(self, rows: Rows, *, rebuild: bool) -> _Sifted:
        """Store the rows of a batch that can be stored."""
        try:
            return _Sifted(self._ledger.absorb_rows(rows, rebuild=rebuild).written, {})
        except _NOT_STORED as error:
            if len(rows) == 1:
                [(key, *_)] = rows
                return _Sifted(0, {key: type(error).__name__})
        middle = len(rows) // 2
        first, second = (self._sift(part, rebuild=rebuild) for part in (rows.part(0, middle), rows.part(middle)))
        return _Sifted(first.written + second.written, first.refused | second.refused)

    def _end_waiting(self, run: Run, batch: Batch) -> None:
        """Make the rows of what still waits, as far as it is heard of, and wait no longer for what will not come."""
        for key in run.pending if run.closed else batch.touched:
            pending = run.pending[key]
            if pending.answered is not None or run.closed:
                make_row(run, pending, batch)
        # An archive is read by its own time: what its requests wait for may be a batch away.
        now_us = self._clock_us() if run.exhausted else run.heard_at_us
        for key in [key for key, pending in run.pending.items() if run.closed or pending.overdue(now_us)]:
            run.settle(key)
        if run.closed:
            run.settled.clear()
