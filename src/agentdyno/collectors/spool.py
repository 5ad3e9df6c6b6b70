"""From the spool to the ledger: fold the records of each request, normalize, absorb.

Collecting is idempotent: a row is a pure function of its request's records so far, the ledger decides what is new, and
a batch is committed with its cursor. The cursor never passes a request that still waits for a record, so a collector
that dies loses nothing: the next one reads those records again. One that begins in the midst of a request, or hears of
it when nobody waited any more, reads its earlier records too: more records always make the better row.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from agentdyno.core.evidence import (
    KEY_BEGINS,
    KIND_AT,
    MADE_HEAD,
    UNREADABLE_LINE,
    Evidence,
    entered_key,
    read_identity,
    read_made,
    read_record,
)
from agentdyno.core.ids import digest_bytes
from agentdyno.core.normalize import NO_ROW, NORMALIZER_VERSION, RequestRow, normalize
from agentdyno.core.records import Request, SpoolCursor, UnreadableRecord
from agentdyno.store.ledger import Ledger
from agentdyno.store.rows import column_names
from agentdyno.store.spool import Line, is_live, lines_mentioning, read_lines, runs

_BATCH_BYTES = 16 * 1024 * 1024
_SETTLED_KEPT = 64
_COLUMNS = column_names(Request)
_ENDED_AT_US, _RECORDS = (_COLUMNS.index(name) for name in ("ended_at_us", "records"))
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


class _Pending(Evidence, kw_only=True, gc=False):
    """A request whose records are not all there yet."""

    begins: Line
    """The first line that was read of it."""

    def overdue(self, now_us: int) -> bool:
        """LiteLLM's record does not come any more."""
        return self.answered is not None and now_us > self.answered.at_us + _ROUTED_GRACE_US

    @property
    def session_id(self) -> str | None:
        """Whose it is; None too where that cannot be read."""
        with contextlib.suppress(*UNREADABLE_LINE):
            identity = None if self.entered is None else read_identity(self.entered.identity)
            return None if identity is None else identity.session_id
        return None


def _line_before(segment: int, offset_bytes: int) -> Line:
    """What stands for the line that ends at a place."""
    return Line(segment, offset_bytes, b"")


_BEGINNING = _line_before(1, 0)


@dataclass
class _Batch:
    """What was made of the lines of one transaction."""

    records: int = 0
    rows: dict[str, RequestRow] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    """Requests that still wait, of which something new was heard."""
    unreadable: list[UnreadableRecord] = field(default_factory=list)
    unread: dict[bytes, list[Line]] = field(default_factory=dict)
    """Lines of requests that came in with this batch. They need not be read where the gateway makes the row."""


@dataclass
class _Run:
    """How far one gateway run was read, and what waits."""

    folder: Path
    last: Line = _BEGINNING
    """The last line that was read."""
    closed: bool = False
    exhausted: bool = False
    """The last batch found nothing more."""
    heard_at_us: int = 0
    """The latest time of a record."""
    makes_rows: bool = False
    """Its gateway makes rows, of which one was seen, and they are to be taken."""
    pending: dict[str, _Pending] = field(default_factory=dict)
    settled: OrderedDict[str, _Pending] = field(default_factory=OrderedDict)
    """The last few that were waited for: LiteLLM may still report a second time."""

    @functools.cached_property
    def gateway_id(self) -> str:
        """The run's name."""
        return self.folder.name

    def reopen(self, key: str, line: Line) -> _Pending:
        """A request of which a line is heard, though it was not waited for."""
        pending = self.settled.pop(key) if key in self.settled else _Pending(begins=line)
        self.pending[key] = pending
        return pending

    def knows(self, key: str) -> bool:
        """Whether something was read of a request that is still kept."""
        return key in self.pending or key in self.settled

    def settle(self, key: str) -> None:
        """Wait for a request no longer."""
        self.settled[key] = self.pending.pop(key)
        if len(self.settled) > _SETTLED_KEPT:
            self.settled.popitem(last=False)

    def cursor(self) -> SpoolCursor:
        """Where whoever goes on has to begin."""
        first = min((pending.begins for pending in self.pending.values()), default=None)
        place = (self.last.segment, self.last.end_bytes) if first is None else (first.segment, first.offset_bytes)
        return SpoolCursor(self.gateway_id, *place, self.closed)


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
        if cursor is None:
            return _Run(folder)
        return _Run(folder, _line_before(cursor.segment, cursor.offset_bytes), cursor.closed)

    def _collect_run(self, run: _Run, *, rebuild: bool = False) -> Collected:
        totals = Collected()
        run.exhausted = False
        while not run.exhausted and not run.closed:
            totals = totals.plus(self._collect_batch(run, rebuild=rebuild))
        return totals

    def _collect_batch(self, run: _Run, *, rebuild: bool) -> Collected:
        # Asked before reading: what a gateway wrote before it died is then surely read.
        ended = not is_live(run.folder)
        batch = _Batch()
        place = (run.last.segment, run.last.end_bytes)
        lines = read_lines(run.folder, *place, ended=ended, limit_bytes=self._batch_bytes)
        _read(run, lines, batch, rebuild=rebuild)
        _read_up(run, batch)
        run.exhausted = not batch.records
        run.closed = run.exhausted and ended
        self._end_waiting(run, batch)
        if run.exhausted and not run.closed:
            return Collected()
        return self._store(run, batch, rebuild=rebuild)

    def _store(self, run: _Run, batch: _Batch, *, rebuild: bool) -> Collected:
        cursor = None if rebuild else run.cursor()
        rows, unreadable = list(batch.rows.values()), batch.unreadable
        try:
            written = self._ledger.absorb_rows(rows, cursor, unreadable, rebuild=rebuild).written
        except _NOT_STORED:
            # One bad row must not stop those after it. The cursor follows last, as ever.
            written, refused = self._sift(rows, rebuild=rebuild)
            unreadable += [_rowless(run, _recall(run, key, run.last), reason) for key, reason in refused.items()]
            self._ledger.absorb_rows((), cursor, unreadable, rebuild=rebuild)
        return Collected(batch.records, written, len(unreadable))

    def _sift(self, rows: list[RequestRow], *, rebuild: bool) -> _Sifted:
        """Store the rows of a batch that can be stored."""
        try:
            return _Sifted(self._ledger.absorb_rows(rows, rebuild=rebuild).written, {})
        except _NOT_STORED as error:
            if len(rows) == 1:
                [(key, *_)] = rows
                return _Sifted(0, {key: type(error).__name__})
        middle = len(rows) // 2
        first, second = self._sift(rows[:middle], rebuild=rebuild), self._sift(rows[middle:], rebuild=rebuild)
        return _Sifted(first.written + second.written, first.refused | second.refused)

    def _end_waiting(self, run: _Run, batch: _Batch) -> None:
        """Make the rows of what still waits, as far as it is heard of, and wait no longer for what will not come."""
        for key in run.pending if run.closed else batch.touched:
            pending = run.pending[key]
            if pending.answered is not None or run.closed:
                _make_row(run, key, pending, batch)
        # An archive is read by its own time: what its requests wait for may be a batch away.
        now_us = self._clock_us() if run.exhausted else run.heard_at_us
        for key in [key for key, pending in run.pending.items() if run.closed or pending.overdue(now_us)]:
            run.settle(key)
        if run.closed:
            run.settled.clear()


def _read(run: _Run, lines: Iterable[Line], batch: _Batch, *, rebuild: bool) -> None:
    """Read lines as far as their heads say that they must be, and put off what a made row may spare.

    In one function, since the calls of another for each line would take as long as all else here.
    """
    unread, line = batch.unread, run.last
    for line in lines:
        data = line.data
        begin = KEY_BEGINS.get(data[KIND_AT])
        if begin is not None and not line.torn:
            waiting = unread.get(data[begin : data.find(b'"', begin)])
            if waiting is not None:
                waiting.append(line)
                continue
        run.last = line
        batch.records += 1
        if line.torn:
            _hear(run, line, batch)
        elif data.startswith(MADE_HEAD):
            if not rebuild:
                _take_made(run, line, batch)
        elif (key := entered_key(data)) is None or key in unread or run.knows(key.decode()):
            _hear(run, line, batch)
        elif run.makes_rows:
            unread[key] = [line]
        else:
            run.pending[key.decode()] = _Pending(begins=line, entered_line=data)
    run.last = line


def _take_made(run: _Run, line: Line, batch: _Batch) -> None:
    """Take the row that the gateway made, if the same normalizer made it of just the lines that are not read yet."""
    run.makes_rows = True
    try:
        made = read_made(line.data)
    except UNREADABLE_LINE as error:
        batch.unreadable.append(_unreadable(run, line, _QUOTED.sub("…", str(error))))
        return
    row, key = made.row, made.request_key.encode()
    lines = batch.unread.get(key)
    if lines is None or made.normalizer_version != NORMALIZER_VERSION or len(row) != len(_COLUMNS):
        return
    if row[_RECORDS] == len(lines):
        batch.rows[made.request_key] = row
        del batch.unread[key]
        batch.records += len(lines) - 1
        if row[_ENDED_AT_US] > run.heard_at_us:
            run.heard_at_us = row[_ENDED_AT_US]


def _read_up(run: _Run, batch: _Batch) -> None:
    """Read what was put off: no row of it came."""
    for key, (first, *others) in batch.unread.items():
        run.pending[key.decode()] = _Pending(begins=first, entered_line=first.data)
        for line in others:
            batch.records += 1
            _hear(run, line, batch)


def _hear(run: _Run, line: Line, batch: _Batch) -> None:
    """Add a line to its request's evidence. What makes that whole makes the row at once, and is let go.

    Kept until the end of its batch, evidence leaves the processor's caches and keeps the garbage collector busy:
    with that, collecting took twice as long.
    """
    if line.torn:
        batch.unreadable.append(_unreadable(run, line, "torn: the line has no end"))
        return
    data = line.data
    try:
        record = read_record(data)
    except UNREADABLE_LINE as error:
        batch.unreadable.append(_unreadable(run, line, _QUOTED.sub("…", str(error))))
        return
    key, at_us = record.request_key, record.at_us
    pending = run.pending.get(key) or run.reopen(key, line)
    pending.hear(record, data)
    if at_us > run.heard_at_us:
        run.heard_at_us = at_us
    if pending.headless:
        pending = run.pending[key] = _recall(run, key, line)
        if pending.headless and pending.answered is None:
            del run.pending[key]
            batch.unreadable.append(_unreadable(run, line, "reports a request that never came in"))
            return
    if pending.settled:
        _make_row(run, key, pending, batch)
        batch.touched.discard(key)
        run.settle(key)
    else:
        batch.touched.add(key)


def _recall(run: _Run, key: str, until: Line) -> _Pending:
    """What the spool holds of a request, from a line back to the one with which it came in."""
    pending = _Pending(begins=until)
    for line in lines_mentioning(key.encode(), run.folder, until):
        with contextlib.suppress(*UNREADABLE_LINE):
            record = read_record(line.data)
            if record.request_key == key:
                pending.hear(record, line.data)
        if pending.entered_line is not None:
            break
    return pending


def _make_row(run: _Run, key: str, pending: _Pending, batch: _Batch) -> None:
    """The row of a request, in the place of one that less was known of; a note where there can be none."""
    try:
        batch.rows[key] = normalize(pending, run.gateway_id)
    except NO_ROW as error:
        batch.unreadable.append(_rowless(run, pending, type(error).__name__))


def _unreadable(run: _Run, line: Line, reason: str) -> UnreadableRecord:
    data = line.data.removesuffix(b"\n")
    return UnreadableRecord(run.gateway_id, line.segment, line.offset_bytes, len(data), digest_bytes(data), reason)


def _rowless(run: _Run, pending: _Pending, reason: str) -> UnreadableRecord:
    """The record that says most of a request of which there can be no row."""
    told = pending.answered_line or pending.entered_line or b""
    line = next(lines_mentioning(told, run.folder, run.last), pending.begins)
    return _unreadable(run, line, f"makes no row: {reason}")
