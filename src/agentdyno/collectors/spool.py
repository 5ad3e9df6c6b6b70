"""From the spool to the ledger: fold the records of each request, normalize, absorb.

Collecting is idempotent: a row is a pure function of its request's records, the ledger decides what is new, and a
batch is committed with its cursor. The cursor never passes a request that still waits for a record, so a collector
that dies loses nothing: the next one reads those records again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec

from agentdyno.core.exchange import Answered, Entered, Routed, SpoolRecord
from agentdyno.core.ids import digest_bytes
from agentdyno.core.normalize import Evidence, normalize
from agentdyno.core.records import Request, SpoolCursor, UnreadableRecord
from agentdyno.store.ledger import Ledger
from agentdyno.store.spool import Line, is_live, read_lines, runs

_BATCH_BYTES = 8 * 1024 * 1024
_SETTLED_KEPT = 4096
_ROUTED_GRACE_US = 60_000_000
"""How long a finished request waits for LiteLLM's own record, which comes within milliseconds or not at all."""


class Collected(NamedTuple):
    """What a pass over the spool did."""

    records: int
    written: int
    unreadable: int


@dataclass
class _Pending:
    """A request whose records are not all there yet."""

    segment: int
    offset_bytes: int
    entered: Entered | None = None
    answered: Answered | None = None
    routed: tuple[Routed, ...] = ()
    """More than one where LiteLLM retried or fell back."""

    def take(self, record: SpoolRecord) -> None:
        match record:
            case Entered():
                self.entered = record
            case Answered():
                self.answered = record
            case Routed():
                self.routed = (*self.routed, record)

    @property
    def evidence(self) -> Evidence:
        return Evidence(self.entered, self.answered, self.routed)

    @property
    def settled(self) -> bool:
        """Nothing more is to be expected."""
        return self.answered is not None and (bool(self.routed) or not self.answered.forwarded)

    def overdue(self, now_us: int) -> bool:
        """LiteLLM's record does not come any more."""
        answered = self.answered
        if answered is None:
            return False
        return now_us > answered.entered.at_us + answered.ended_offset_us + _ROUTED_GRACE_US

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
    pending: dict[str, _Pending] = field(default_factory=dict)
    settled: OrderedDict[str, _Pending] = field(default_factory=OrderedDict)
    """The last few that were complete: LiteLLM may still report a second time."""

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

    def __init__(self, spool: Path, ledger: Ledger, clock_us: Callable[[], int]) -> None:
        self._spool = spool
        self._ledger = ledger
        self._clock_us = clock_us
        self._runs: dict[str, _Run] = {}
        self._decoder = msgspec.json.Decoder(Entered | Answered | Routed)

    def collect(self) -> Collected:
        """Read everything that is there now."""
        totals = Collected(0, 0, 0)
        for folder in runs(self._spool):
            run = self._runs.get(folder.name) or self._resume(folder)
            while not run.closed:
                batch, at_end = self._collect_batch(run)
                totals = Collected(*(a + b for a, b in zip(totals, batch, strict=True)))
                if at_end:
                    break
        return totals

    def rebuild(self) -> Collected:
        """Make every row again from the raw archive; rows whose records are gone stay as they are."""
        totals = Collected(0, 0, 0)
        for folder in runs(self._spool):
            run = _Run(folder)
            at_end = False
            while not at_end:
                batch, at_end = self._collect_batch(run, rebuild=True)
                totals = Collected(*(a + b for a, b in zip(totals, batch, strict=True)))
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
        run = _Run(folder) if cursor is None else _Run(folder, cursor.segment, cursor.offset_bytes, cursor.closed)
        self._runs[folder.name] = run
        return run

    def _collect_batch(self, run: _Run, *, rebuild: bool = False) -> tuple[Collected, bool]:
        # Asked before reading: what a gateway wrote before it died is then surely read.
        ended = not is_live(run.folder)
        touched: dict[str, _Pending] = {}
        unreadable: list[UnreadableRecord] = []
        before = (run.segment, run.offset_bytes)
        records = 0
        for line in read_lines(run.folder, *before, ended=ended, limit_bytes=_BATCH_BYTES):
            run.segment, run.offset_bytes = line.segment, line.end_bytes
            records += 1
            fault = self._take(run, line, touched)
            if fault is not None:
                unreadable.append(fault)
        at_end = (run.segment, run.offset_bytes) == before
        if at_end and ended:
            touched.update(run.pending)
            run.closed = True
        rows = self._rows(run, touched, rebuild=rebuild)
        if not rows and not unreadable and not records and not run.closed:
            return Collected(0, 0, 0), at_end
        absorbed = self._ledger.absorb(rows, None if rebuild else run.cursor(), unreadable, rebuild=rebuild)
        return Collected(records, absorbed.written, len(unreadable)), at_end

    def _take(self, run: _Run, line: Line, touched: dict[str, _Pending]) -> UnreadableRecord | None:
        if line.torn:
            return _unreadable(run, line, "torn: the line has no end")
        try:
            record = self._decoder.decode(line.data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            # The sentence names a field and a type at most, never what stood there.
            return _unreadable(run, line, str(error))
        key = record.entered.request_key if isinstance(record, Answered) else record.request_key
        pending = run.open(key, line)
        pending.take(record)
        if pending.entered is None and isinstance(record, Routed):
            self._look_up(run, key, pending, line)
        if pending.entered is None and pending.answered is None:
            del run.pending[key]
            return _unreadable(run, line, "reports a request that never came in")
        touched[key] = pending
        return None

    def _rows(self, run: _Run, touched: dict[str, _Pending], *, rebuild: bool) -> list[Request]:
        """Rows of the requests that a batch said something new of, and the end of waiting for those that are done."""
        now_us = self._clock_us()
        rows = [
            normalize(pending.evidence, run.folder.name)
            for pending in touched.values()
            if pending.answered is not None or run.closed
        ]
        done = [k for k, p in run.pending.items() if run.closed or p.settled or (not rebuild and p.overdue(now_us))]
        for key in done:
            run.settle(key)
        return rows

    def _look_up(self, run: _Run, key: str, pending: _Pending, until: Line) -> None:
        """A report came when its request was no longer waited for: read that request's records again."""
        needle = key.encode()
        late, pending.routed = pending.routed, ()
        for line in read_lines(run.folder, ended=False, limit_bytes=2**62):
            if line[:2] >= until[:2]:
                break
            if needle in line.data:
                pending.take(self._decoder.decode(line.data))
        pending.routed += late


def _unreadable(run: _Run, line: Line, reason: str) -> UnreadableRecord:
    return UnreadableRecord(
        run.folder.name, line.segment, line.offset_bytes, len(line.data), digest_bytes(line.data), reason
    )
