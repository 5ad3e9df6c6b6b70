"""What the lines of a spool make: rows, and notes of what cannot be read.

A gateway writes the row of a request behind its other lines. Where they are all at hand, they are counted by their
heads, and only the row is read: most of a spool passes so, by whole blocks of lines. What is left is looked at line by
line, and of requests without such a row every line is read.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from agentdyno.collectors.progress import Pending, Run
from agentdyno.core.evidence import ENTERED, MADE, UNREADABLE_LINE, Head, heads, read_foretold, read_record, read_row
from agentdyno.core.ids import digest_bytes
from agentdyno.core.normalize import NO_ROW, NORMALIZER_VERSION, RequestRow, normalize
from agentdyno.core.records import Request, UnreadableRecord
from agentdyno.store.request_rows import Rows
from agentdyno.store.rows import column_names
from agentdyno.store.spool import Block, Line, lines_mentioning

_REQUEST_KEY, _SESSION_ID = map(column_names(Request).index, ("request_key", "session_id"))
_QUOTED = re.compile(r"'.*'", re.DOTALL)
"""Where a decoder's sentence names what stood there; names of fields and types it puts in backticks."""


@dataclass
class Batch:
    """What was made of the lines of one transaction."""

    records: int = 0
    made: dict[str, RequestRow | bytes] = field(default_factory=dict)
    """Rows by their requests. Those that the gateway made are kept as their lines."""
    sessions: set[str] = field(default_factory=set)
    """Whose they are."""
    touched: set[str] = field(default_factory=set)
    """Requests that still wait, of which something new was heard."""
    unreadable: list[UnreadableRecord] = field(default_factory=list)
    unread: dict[bytes, list[Line]] = field(default_factory=dict)
    """Lines of requests that came in with this batch. They need not be read where the gateway makes the row."""

    def keep(self, key: str, row: RequestRow | bytes, session_id: str | None) -> None:
        """Keep a row, or the line that it is in, in the place of one that less was known of."""
        self.made[key] = row
        if session_id is not None:
            self.sessions.add(session_id)

    def rows(self) -> Rows:
        """All rows."""
        return Rows.by_key(self.made, self.sessions)


def read(run: Run, block: Block, batch: Batch, *, rebuild: bool) -> None:
    """Read a block as far as the heads of its lines say that it must be, and put off what a made row may spare."""
    batch.records += len(block.lines)
    if block.torn:
        batch.unreadable.append(unreadable(run, block.last, "torn: the line has no end"))
    else:
        found = heads(block.lines)
        taken = set() if rebuild else _take_rows(run, block.lines, found, batch)
        placed = zip(block.offsets_bytes(), block.lines, found, strict=True)
        left = [
            (Line(block.segment, offset_bytes, data), kind, key)
            for offset_bytes, data, (kind, key) in placed
            if key not in taken
        ]
        _read_lines(run, left, batch, rebuild=rebuild)
    run.last = block.last


def _take_rows(run: Run, lines: Sequence[bytes], found: Sequence[Head], batch: Batch) -> set[bytes]:
    """Take the rows of requests whose other lines are all among these or unread; those requests' keys."""
    counts = Counter([key for _, key in found])
    came_in = {key for kind, key in found if kind == ENTERED}
    unread, taken = batch.unread, set()
    for line, (kind, key) in zip(lines, found, strict=True):
        if kind != MADE or key is None:
            continue
        if key in came_in and not run.knows(key.decode()):
            others = counts[key] - 1
        elif key in unread:
            others = counts[key] - 1 + len(unread[key])
        else:
            continue
        try:
            if _take_row(run, line, others, batch):
                taken.add(key)
                unread.pop(key, None)
        except UNREADABLE_LINE:
            continue
    return taken


def _take_row(run: Run, line: bytes, others: int, batch: Batch) -> bool:
    """Take a row that the gateway made, if the same normalizer made it of as many lines as there are others.

    Raises one of UNREADABLE_LINE.
    """
    run.makes_rows = True
    foretold = read_foretold(line)
    if not others or foretold.records != others or foretold.normalizer_version != NORMALIZER_VERSION:
        return False
    batch.keep(foretold.request_key, line, foretold.session_id)
    if foretold.ended_at_us > run.heard_at_us:
        run.heard_at_us = foretold.ended_at_us
    return True


def _read_lines(
    run: Run, lines: Iterable[tuple[Line, bytes | None, bytes | None]], batch: Batch, *, rebuild: bool
) -> None:
    """Read lines, each with its kind and key, or put them off."""
    unread = batch.unread
    for line, kind, key in lines:
        run.last = line
        if key is None:
            _hear(run, line, batch)
        elif kind == MADE:
            if not rebuild:
                _take_late_row(run, line, key, batch)
        elif kind != ENTERED and key in unread:
            unread[key].append(line)
        elif kind != ENTERED or key in unread or run.knows(key.decode()):
            _hear(run, line, batch)
        elif run.makes_rows:
            unread[key] = [line]
        else:
            run.pending[key.decode()] = Pending(begins=line, entered_line=line.data)


def _take_late_row(run: Run, line: Line, key: bytes, batch: Batch) -> None:
    """Take a row of which not all other lines are there, but all that were to be."""
    try:
        if _take_row(run, line.data, len(batch.unread.get(key, ())), batch):
            del batch.unread[key]
    except UNREADABLE_LINE as error:
        batch.unreadable.append(unreadable(run, line, _QUOTED.sub("…", str(error))))


def read_up(run: Run, batch: Batch) -> None:
    """Read what was put off: no row of it came."""
    for key, (first, *others) in batch.unread.items():
        run.pending[key.decode()] = Pending(begins=first, entered_line=first.data)
        for line in others:
            _hear(run, line, batch)


def _hear(run: Run, line: Line, batch: Batch) -> None:
    """Add a line to its request's evidence. What makes that whole makes the row at once, and is let go.

    Kept until the end of its batch, evidence leaves the processor's caches and keeps the garbage collector busy:
    with that, collecting took twice as long.
    """
    data = line.data
    try:
        record = read_record(data)
    except UNREADABLE_LINE as error:
        batch.unreadable.append(unreadable(run, line, _QUOTED.sub("…", str(error))))
        return
    key, at_us = record.request_key, record.at_us
    pending = run.pending.get(key) or run.reopen(key, line)
    pending.hear(record, data)
    if at_us > run.heard_at_us:
        run.heard_at_us = at_us
    if pending.headless:
        pending = run.pending[key] = recall(run, key, line)
        if pending.headless and pending.answered is None:
            del run.pending[key]
            batch.unreadable.append(unreadable(run, line, "reports a request that never came in"))
            return
    if pending.settled:
        make_row(run, pending, batch)
        batch.touched.discard(key)
        run.settle(key)
    else:
        batch.touched.add(key)


def recall(run: Run, key: str, until: Line) -> Pending:
    """What the spool holds of a request, from a line back to the one with which it came in."""
    pending = Pending(begins=until)
    for line in lines_mentioning(key.encode(), run.folder, until):
        with contextlib.suppress(*UNREADABLE_LINE):
            record = read_record(line.data)
            if record.request_key == key:
                pending.hear(record, line.data)
        if pending.entered_line is not None:
            break
    return pending


def make_row(run: Run, pending: Pending, batch: Batch) -> None:
    """The row of a request, in the place of one that less was known of; a note where there can be none."""
    try:
        row = normalize(pending, run.gateway_id)
        batch.keep(row[_REQUEST_KEY], row, row[_SESSION_ID])
    except NO_ROW as error:
        batch.unreadable.append(rowless(run, pending, type(error).__name__))


def make_up_for_damage(run: Run, batch: Batch) -> None:
    """Make those rows from their records of which the gateway's own turns out to be damaged."""
    for key, line in [(key, kept) for key, kept in batch.made.items() if isinstance(kept, bytes)]:
        try:
            read_row(line)
        except UNREADABLE_LINE as error:
            del batch.made[key]
            damaged = next(lines_mentioning(line, run.folder, run.last))
            batch.unreadable.append(unreadable(run, damaged, _QUOTED.sub("…", str(error))))
            make_row(run, recall(run, key, run.last), batch)


def unreadable(run: Run, line: Line, reason: str) -> UnreadableRecord:
    """The note of a line."""
    data = line.data.removesuffix(b"\n")
    return UnreadableRecord(run.gateway_id, line.segment, line.offset_bytes, len(data), digest_bytes(data), reason)


def rowless(run: Run, pending: Pending, reason: str) -> UnreadableRecord:
    """The note of the line that says most of a request of which there can be no row."""
    told = pending.answered_line or pending.entered_line or b""
    line = next(lines_mentioning(told, run.folder, run.last), pending.begins)
    return unreadable(run, line, f"makes no row: {reason}")
