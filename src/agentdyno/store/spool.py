"""The spool: append-only files of exchange records, written by a gateway and read by collectors.

    spool/<gateway id>/lock            held (flock) for as long as the gateway lives, kill -9 included
    spool/<gateway id>/000001.jsonl    segments, one record a line; the raw archive from which every row can be made
    again

A line is appended by one `write` to the page cache: it survives the death of the process. A line without its newline
is torn
(the machine or the disk gave up in the middle) and is reported as such, never repaired.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from agentdyno.core.errors import SpoolFull
from agentdyno.core.exchange import SpoolRecord

SEGMENT_BYTES = 64 * 1024 * 1024
_LOCK = "lock"
_OUT_OF_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


class Line(NamedTuple):
    """One line of a segment, with where it begins and where the next one would."""

    segment: int
    offset_bytes: int
    data: bytes
    """Without its newline."""
    torn: bool = False

    @property
    def end_bytes(self) -> int:
        """Offset behind the line."""
        return self.offset_bytes + len(self.data) + (0 if self.torn else 1)


def _segment_path(run: Path, segment: int) -> Path:
    return run / f"{segment:06d}.jsonl"


class SpoolWriter:
    """The one writer of a gateway run's segments. Not for use by several threads."""

    def __init__(self, spool: Path, gateway_id: str, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.gateway_id = gateway_id
        self._run = spool / gateway_id
        self._segment_bytes = segment_bytes
        self._segment = 0
        self._encoder = msgspec.json.Encoder()
        self._backlog: list[bytes] = []
        spool.mkdir(parents=True, exist_ok=True)
        # The folder appears under its name only when its lock is held: whoever sees it can tell whether its gateway
        # lives.
        nascent = spool / f".{gateway_id}"
        nascent.mkdir()
        self._lock = os.open(nascent / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        nascent.rename(self._run)
        self._file = -1
        self._size_bytes = 0
        self._next_segment()

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

    def append(self, record: SpoolRecord) -> None:
        """Write a record, after whatever waits. Raises SpoolFull, with nothing half-written, when there is no room."""
        self.flush()
        self._write(self._encoder.encode(record) + b"\n")

    def append_or_hold(self, record: SpoolRecord) -> None:
        """Write a record, or hold it in memory until the disk takes it: for facts that cannot be refused any more."""
        self._backlog.append(self._encoder.encode(record) + b"\n")
        try:
            self.flush()
        except SpoolFull:
            return  # held; `backlog` says so, and no further request is admitted until it is written

    def flush(self) -> None:
        """Write what waits, in order. Raises SpoolFull."""
        while self._backlog:
            self._write(self._backlog[0])
            del self._backlog[0]

    def _write(self, line: bytes) -> None:
        try:
            if self._size_bytes and self._size_bytes + len(line) > self._segment_bytes:
                self._next_segment()
            written = os.write(self._file, line)
        except OSError as error:
            if error.errno in _OUT_OF_ROOM:
                raise SpoolFull(
                    f"the spool {self._run} cannot be written: {error.strerror}", "free some disk"
                ) from error
            raise
        if written < len(line):
            os.ftruncate(self._file, self._size_bytes)
            raise SpoolFull(f"the disk under the spool {self._run} is full", "free some disk")
        self._size_bytes += written

    def close(self) -> None:
        """Close the segment and give up the lock: from now on the run counts as ended."""
        os.close(self._file)
        os.close(self._lock)


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


def read_lines(run: Path, segment: int = 1, offset_bytes: int = 0, *, ended: bool, limit_bytes: int) -> Iterator[Line]:
    """Lines of a run from a place on, about `limit_bytes` of them.

    `ended` says that nobody writes the run any more: only then is a tail without newline given, as torn. In a segment
    that has a successor such a tail is torn in any case.
    """
    taken_bytes = 0
    while taken_bytes < limit_bytes and (path := _segment_path(run, segment)).exists():
        has_successor = _segment_path(run, segment + 1).exists()
        with path.open("rb") as file:
            file.seek(offset_bytes)
            for data in file:
                if data.endswith(b"\n"):
                    yield Line(segment, offset_bytes, data[:-1])
                elif has_successor or ended:
                    yield Line(segment, offset_bytes, data, torn=True)
                else:
                    return
                offset_bytes += len(data)
                taken_bytes += len(data)
                if taken_bytes >= limit_bytes:
                    return
        if not has_successor:
            return
        segment, offset_bytes = segment + 1, 0
