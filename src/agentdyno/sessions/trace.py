"""A session's trace: the file that its processes append to, and how it is read when they are done."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from agentdyno.core.trace import Trace, parse_trace

TRACE_VARIABLE = "DYNO_TRACE"
"""The environment variable that names the file, in every session."""
_CHUNK_BYTES = 1024**2


def trace_file(files_dir: Path) -> Path:
    """Where the trace of a session lies: beside what was rendered for it."""
    return files_dir / "trace.jsonl"


def read_trace(path: Path, session_id: str, read_at_us: int) -> Trace:
    """What a trace says; nothing where there is none.

    Whoever wrote it may have put anything in its place: what is no regular file, or a link to one, is not read.
    """
    try:
        # Opening a pipe must not wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return Trace()
    except OSError as error:
        return Trace(faults=(f"the trace cannot be read: {error.strerror}",))
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return Trace(faults=("the trace is no regular file",))
        return parse_trace(_chunks(descriptor), session_id, read_at_us)
    except OSError as error:
        return Trace(faults=(f"the trace cannot be read: {error.strerror}",))
    finally:
        os.close(descriptor)


def _chunks(descriptor: int) -> Iterator[bytes]:
    while chunk := os.read(descriptor, _CHUNK_BYTES):
        yield chunk
