"""The spool: append-only files of exchange records, written by a gateway and read by collectors.

    spool/<gateway id>/lock            held (flock) for as long as the gateway lives, kill -9 included
    spool/<gateway id>/000001.jsonl    segments, one record a line; the raw archive of which every row can be made again

A line is appended by one `write` to the page cache: it survives the death of the process. A line without its newline
is torn (the machine or the disk gave up in the middle) and is reported as such, never repaired.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import itertools
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from agentdyno.core.errors import SpoolFull
from agentdyno.core.exchange import SpoolRecord

SEGMENT_BYTES = 64 * 1024 * 1024
_BLOCK_BYTES = 256 * 1024
_LOCK = "lock"
_REFUSED_BY_THE_DISK = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE}
)


class Line(msgspec.Struct, frozen=True, order=True, gc=False):
    """One line of a segment, with where it begins."""

    segment: int
    offset_bytes: int
    data: bytes
    """With its newline, if it is not torn."""
    torn: bool = False

    @property
    def end_bytes(self) -> int:
        """Offset behind the line."""
        return self.offset_bytes + len(self.data)


class Block(NamedTuple):
    """Lines that follow one another in a segment, and where they begin. There is at least one."""

    segment: int
    offset_bytes: int
    lines: list[bytes]
    size_bytes: int
    torn: bool = False
    """Its one line has no end."""

    def offsets_bytes(self) -> Iterator[int]:
        """Where each line begins."""
        return itertools.accumulate(map(len, self.lines[:-1]), initial=self.offset_bytes)

    @property
    def last(self) -> Line:
        """The last line."""
        data = self.lines[-1]
        return Line(self.segment, self.offset_bytes + self.size_bytes - len(data), data, self.torn)


def _segment_path(run: Path, segment: int) -> Path:
    return run / f"{segment:06d}.jsonl"


@contextlib.contextmanager
def _refusals_named(run: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _REFUSED_BY_THE_DISK:
            raise
        raise SpoolFull(f"the spool {run} cannot be written: {error.strerror}", "free some disk") from error


class SpoolWriter:
    """The one writer of a gateway run's segments. Not for use by several threads.

    Raises SpoolFull from the start when there is no room even for an empty run.
    """

    def __init__(self, spool: Path, gateway_id: str, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.gateway_id = gateway_id
        self._run = spool / gateway_id
        self._segment_bytes = segment_bytes
        self._segment = 0
        self._encoder = msgspec.json.Encoder()
        self._backlog: deque[bytes] = deque()
        self._lock = self._file = -1
        self._size_bytes = 0
        with _refusals_named(self._run):
            self._appear(spool / f".{gateway_id}")
            self._next_segment()

    def _appear(self, nascent: Path) -> None:
        """Make the run's folder. It gets its name once locked: whoever sees it can tell whether its gateway lives."""
        nascent.mkdir(parents=True)
        self._lock = os.open(nascent / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        nascent.rename(self._run)

    def _next_segment(self) -> None:
        path = _segment_path(self._run, self._segment + 1)
        fresh = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if self._file >= 0:
            os.close(self._file)
        self._file, self._segment, self._size_bytes = fresh, self._segment + 1, 0

    @property
    def backlog(self) -> int:
        """Records that wait in memory for the disk to take them."""
        return len(self._backlog)

    def append(self, record: SpoolRecord) -> bytes:
        """Write a record, after whatever waits; its line. Raises SpoolFull, with nothing half-written."""
        self.flush()
        line = self._encoder.encode(record) + b"\n"
        self._write(line)
        return line

    def append_or_hold(self, record: SpoolRecord) -> bytes:
        """Write a record, or hold it in memory until the disk takes it; its line. For facts that cannot be refused.

        What is held `backlog` counts, and no further request is admitted until it is written.
        """
        line = self._encoder.encode(record) + b"\n"
        self._backlog.append(line)
        with contextlib.suppress(SpoolFull):
            self.flush()
        return line

    def flush(self) -> None:
        """Write what waits, in order. Raises SpoolFull."""
        while self._backlog:
            self._write(self._backlog[0])
            self._backlog.popleft()

    def _write(self, line: bytes) -> None:
        with _refusals_named(self._run):
            if self._size_bytes and self._size_bytes + len(line) > self._segment_bytes:
                self._next_segment()
            written = os.write(self._file, line)
            if written < len(line):
                os.ftruncate(self._file, self._size_bytes)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size_bytes += written

    def close(self) -> None:
        """Close the segment and give up the lock: from now on the run counts as ended, and every write fails."""
        file, lock = self._file, self._lock
        self._file = self._lock = -1  # so that a late write cannot land in another file of the same number
        os.close(file)
        os.close(lock)


def runs(spool: Path) -> tuple[Path, ...]:
    """The folders of all gateway runs, oldest first."""
    if not spool.is_dir():
        return ()
    return tuple(sorted(run for run in spool.iterdir() if run.is_dir() and not run.name.startswith(".")))


def is_live(run: Path) -> bool:
    """Whether the gateway that writes this run still lives."""
    try:
        lock = os.open(run / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(lock)


def read_blocks(
    run: Path, segment: int = 1, offset_bytes: int = 0, *, ended: bool, limit_bytes: int
) -> Iterator[Block]:
    """Lines of a run from a place on, about `limit_bytes` of them. Segments that are gone are passed over.

    `ended` says that nobody writes the run any more: only then is a tail without newline given, as torn. In a segment
    that has a successor such a tail is torn in any case.
    """
    numbers = _segments(run)
    for number in numbers:
        if number < segment:
            continue
        start_bytes = offset_bytes if number == segment else 0
        for block in _read_segment(run, number, start_bytes, limit_bytes, complete=ended or number < numbers[-1]):
            yield block
            limit_bytes -= block.size_bytes
            if limit_bytes <= 0:
                return


def _segments(run: Path) -> list[int]:
    """Numbers of a run's segments, oldest first."""
    return sorted(int(path.stem) for path in run.glob("*.jsonl") if path.stem.isdecimal())


def lines_mentioning(needle: bytes, run: Path, until: Line) -> Iterator[Line]:
    """Whole lines that hold some bytes, from a line backwards, that line included."""
    for segment in reversed(_segments(run)):
        if segment > until.segment:
            continue
        path = _segment_path(run, segment)
        with path.open("rb") as file:
            data = file.read(until.end_bytes if segment == until.segment else -1)
        end_bytes = len(data)
        while (found := data.rfind(needle, 0, end_bytes)) >= 0:
            end_bytes = data.rfind(b"\n", 0, found) + 1
            newline = data.find(b"\n", found)
            if newline >= 0:
                yield Line(segment, end_bytes, data[end_bytes : newline + 1])


def _read_segment(run: Path, segment: int, offset_bytes: int, limit_bytes: int, *, complete: bool) -> Iterator[Block]:
    """The lines of a segment from an offset on, by blocks of about `limit_bytes`.

    A tail without newline is given only when the segment is complete, as torn.
    """
    with _segment_path(run, segment).open("rb") as file:
        # Each block is one read, and its unfinished end is read again with the next: a writer may take a half-written
        # line back and write another in its place, and a line must not be glued together from both.
        size_bytes = min(_BLOCK_BYTES, limit_bytes)
        while read := os.pread(file.fileno(), size_bytes, offset_bytes):
            whole_bytes = read.rfind(b"\n") + 1
            if whole_bytes:
                lines = io.BytesIO(read).readlines()  # twice as fast as `split`
                if whole_bytes < len(read):
                    lines.pop()
                yield Block(segment, offset_bytes, lines, whole_bytes)
                offset_bytes += whole_bytes
            elif len(read) == size_bytes:
                size_bytes *= 2  # a line longer than the block
            else:
                if complete:
                    yield Block(segment, offset_bytes, [read], len(read), torn=True)
                return
