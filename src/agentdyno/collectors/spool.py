"""From the spool to the ledger: fold the records of each request, normalize, absorb.

Collecting is idempotent: a row is a pure function of its request's records so far, the ledger decides what is new, and
a batch is committed with its cursor. The cursor never passes a request that still waits for a record, so a collector
that dies loses nothing: the next one reads those records again. One that begins in the midst of a request, or hears of
it when nobody waited any more, reads its earlier records too: more records always make the better row.
"""

from __future__ import annotations

import contextlib
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from agentdyno.core.exchange import Answered, Entered, Routed, SpoolRecord
from agentdyno.core.ids import digest_bytes
from agentdyno.core.normalize import Evidence, normalize
from agentdyno.core.records import Request, SpoolCursor, UnreadableRecord
from agentdyno.store.ledger import Ledger
from agentdyno.store.spool import Line, is_live, lines_mentioning, read_lines, runs

_BATCH_BYTES = 8 * 1024 * 1024
_SETTLED_KEPT = 256
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_NO_ROW = (ValueError, OverflowError, RecursionError)
"""What `normalize` may raise on records of absurd content."""
_NOT_STORED = (UnicodeEncodeError, OverflowError, sa.exc.DataError)
"""What a database raises on a row whose values it cannot hold; no fault of the database's own is among them."""
_QUOTED = re.compile(r"'.*'", re.DOTALL)
"""Where a decoder's sentence names what stood there; names of fields and types it puts in backticks."""
_ROUTED_GRACE_US = 60_000_000
"""How long a finished request waits for LiteLLM's own record, which comes within milliseconds or not at all."""


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


@dataclass
class _Pending:
    """A request whose records are not all there yet."""

    segment: int
    offset_bytes: int
    entered: Entered | None = None
    answered: Answered | None = None
    routed: tuple[Routed, ...] = ()
    """More than one where LiteLLM retried or fell back."""
    told_at: tuple[int, int] = (0, 0)
    """Segment and offset of the record that says most: the answer's, if there is one."""

    def take(self, record: SpoolRecord, line: Line) -> None:
        match record:
            case Entered():
                self.entered = record
                if self.answered is None:
                    self.told_at = (line.segment, line.offset_bytes)
            case Answered():
                self.answered = record
                self.told_at = (line.segment, line.offset_bytes)
            case Routed():
                self.routed = (*self.routed, record)

    @property
    def evidence(self) -> Evidence:
        return Evidence(self.entered, self.answered, self.routed)

    @property
    def headless(self) -> bool:
        """It was forwarded, so its first record must be in the spool, but was not read with these."""
        return self.entered is None and (self.answered is None or self.answered.forwarded)

    @property
    def settled(self) -> bool:
        """Nothing more is to be expected."""
        return self.answered is not None and (bool(self.routed) or not self.answered.forwarded)

    def overdue(self, now_us: int) -> bool:
        """LiteLLM's record does not come any more."""
        return self.answered is not None and now_us > _heard_at_us(self.answered) + _ROUTED_GRACE_US

    @property
    def session_id(self) -> str | None:
        entered = self.answered.entered if self.answered else self.entered
        return entered.identity.session_id if entered and entered.identity else None


@dataclass
class _Run:
    """How far one gateway run was read, and what waits."""

    folder: Path
    segment: int = 1
    offset_bytes: int = 0
    closed: bool = False
    exhausted: bool = False
    """The last batch found nothing more."""
    heard_at_us: int = 0
    """The latest time of a record."""
    pending: dict[str, _Pending] = field(default_factory=dict)
    settled: OrderedDict[str, _Pending] = field(default_factory=OrderedDict)
    """The last few that were waited for: LiteLLM may still report a second time."""

    def open(self, key: str, line: Line) -> _Pending:
        """The request that a line belongs to."""
        pending = self.pending.get(key)
        if pending is None:
            pending = self.settled.pop(key, None) or _Pending(line.segment, line.offset_bytes)
            self.pending[key] = pending
        return pending

    def settle(self, key: str) -> None:
        """Wait for a request no longer."""
        self.settled[key] = self.pending.pop(key)
        if len(self.settled) > _SETTLED_KEPT:
            self.settled.popitem(last=False)

    def cursor(self) -> SpoolCursor:
        here = (self.segment, self.offset_bytes)
        segment, offset = min((p.segment, p.offset_bytes) for p in self.pending.values()) if self.pending else here
        return SpoolCursor(self.folder.name, segment, offset, self.closed)


class SpoolCollector:
    """Brings the records of a spool into a ledger. Any number may work at once, also in other processes."""

    def __init__(
        self, spool: Path, ledger: Ledger, clock_us: Callable[[], int], batch_bytes: int = _BATCH_BYTES
    ) -> None:
        self._spool = spool
        self._ledger = ledger
        self._clock_us = clock_us
        self._batch_bytes = batch_bytes
        self._runs: dict[str, _Run] = {}
        self._decoder = msgspec.json.Decoder(Entered | Answered | Routed)

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
            totals = totals.plus(self._collect_run(_Run(folder), rebuild=True))
        return totals

    def in_flight(self, session_id: str) -> int:
        """Requests of a session, as of the last pass, that have not been answered."""
        return sum(p.session_id == session_id and p.answered is None for p in self._all_pending())

    def unrouted(self, session_id: str) -> int:
        """Answered requests of a session, as of the last pass, of which LiteLLM has not reported."""
        return sum(p.session_id == session_id and p.answered is not None for p in self._all_pending())

    def _all_pending(self) -> list[_Pending]:
        return [pending for run in self._runs.values() for pending in run.pending.values()]

    def _resume(self, folder: Path) -> _Run:
        cursor = self._ledger.cursor(folder.name)
        return _Run(folder) if cursor is None else _Run(folder, cursor.segment, cursor.offset_bytes, cursor.closed)

    def _collect_run(self, run: _Run, *, rebuild: bool = False) -> Collected:
        totals = Collected()
        run.exhausted = False
        while not run.exhausted and not run.closed:
            totals = totals.plus(self._collect_batch(run, rebuild=rebuild))
        return totals

    def _collect_batch(self, run: _Run, *, rebuild: bool) -> Collected:
        # Asked before reading: what a gateway wrote before it died is then surely read.
        ended = not is_live(run.folder)
        touched: dict[str, _Pending] = {}
        unreadable: list[UnreadableRecord] = []
        records = 0
        for line in read_lines(run.folder, run.segment, run.offset_bytes, ended=ended, limit_bytes=self._batch_bytes):
            run.segment, run.offset_bytes = line.segment, line.end_bytes
            records += 1
            fault = self._take(run, line, touched)
            if fault is not None:
                unreadable.append(fault)
        run.exhausted = not records
        if run.exhausted and ended:
            touched.update(run.pending)
            run.closed = True
        rows = self._rows(run, touched, unreadable)
        if run.exhausted and not run.closed:
            return Collected()
        cursor = None if rebuild else run.cursor()
        try:
            written = self._ledger.absorb(rows, cursor, unreadable, rebuild=rebuild).written
        except _NOT_STORED:
            # One bad row must not stop those after it. The cursor follows last, as ever.
            written, refused = self._sift(rows, rebuild=rebuild)
            unreadable += [_rowless(run, touched[key], reason) for key, reason in refused.items()]
            self._ledger.absorb((), cursor, unreadable, rebuild=rebuild)
        return Collected(records, written, len(unreadable))

    def _sift(self, rows: list[Request], *, rebuild: bool) -> _Sifted:
        """Store the rows of a batch that can be stored."""
        try:
            return _Sifted(self._ledger.absorb(rows, rebuild=rebuild).written, {})
        except _NOT_STORED as error:
            if len(rows) == 1:
                return _Sifted(0, {rows[0].request_key: type(error).__name__})
        middle = len(rows) // 2
        first, second = self._sift(rows[:middle], rebuild=rebuild), self._sift(rows[middle:], rebuild=rebuild)
        return _Sifted(first.written + second.written, first.refused | second.refused)

    def _take(self, run: _Run, line: Line, touched: dict[str, _Pending]) -> UnreadableRecord | None:
        if line.torn:
            return _unreadable(run, line, "torn: the line has no end")
        try:
            record = self._decoder.decode(line.data)
        except _UNREADABLE as error:
            return _unreadable(run, line, _QUOTED.sub("…", str(error)))
        run.heard_at_us = max(run.heard_at_us, _heard_at_us(record))
        key = _request_key(record)
        pending = run.open(key, line)
        pending.take(record, line)
        if pending.headless:
            pending = run.pending[key] = self._recall(run, key, line)
        if pending.entered is None and pending.answered is None:
            del run.pending[key]
            return _unreadable(run, line, "reports a request that never came in")
        touched[key] = pending
        return None

    def _recall(self, run: _Run, key: str, until: Line) -> _Pending:
        """What the spool holds of a request, from a line back to the one with which it came in."""
        pending = _Pending(until.segment, until.offset_bytes)
        for line in lines_mentioning(key.encode(), run.folder, until):
            with contextlib.suppress(*_UNREADABLE):
                record = self._decoder.decode(line.data)
                if _request_key(record) == key:
                    pending.take(record, line)
            if pending.entered is not None:
                break
        return pending

    def _rows(self, run: _Run, touched: dict[str, _Pending], unreadable: list[UnreadableRecord]) -> list[Request]:
        """Rows of the requests that a batch said something new of, and the end of waiting for those that are done.

        A request of which no row can be made goes to the unreadable ones.
        """
        rows = []
        for pending in touched.values():
            if pending.answered is not None or run.closed:
                try:
                    rows.append(normalize(pending.evidence, run.folder.name))
                except _NO_ROW as error:
                    unreadable.append(_rowless(run, pending, type(error).__name__))
        # An archive is read by its own time: what its requests wait for may be a batch away.
        now_us = self._clock_us() if run.exhausted else run.heard_at_us
        done = [key for key, p in run.pending.items() if run.closed or p.settled or p.overdue(now_us)]
        for key in done:
            run.settle(key)
        if run.closed:
            run.settled.clear()
        return rows


def _request_key(record: SpoolRecord) -> str:
    return record.entered.request_key if isinstance(record, Answered) else record.request_key


def _heard_at_us(record: SpoolRecord) -> int:
    return record.entered.at_us + record.ended_offset_us if isinstance(record, Answered) else record.at_us


def _unreadable(run: _Run, line: Line, reason: str) -> UnreadableRecord:
    return UnreadableRecord(
        run.folder.name, line.segment, line.offset_bytes, len(line.data), digest_bytes(line.data), reason
    )


def _rowless(run: _Run, pending: _Pending, reason: str) -> UnreadableRecord:
    """The record that says most of a request of which there can be no row."""
    line = next(read_lines(run.folder, *pending.told_at, ended=True, limit_bytes=1))
    return _unreadable(run, line, f"makes no row: {reason}")
