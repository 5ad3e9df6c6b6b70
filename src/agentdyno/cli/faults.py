"""What is said of a fault that nothing else named."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from pathlib import Path

from agentdyno.core.secrets import redact


def _give_up_output() -> None:
    """Let what still waits to be printed go nowhere: the interpreter would try once more at its end, and complain."""
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)


def report_fault(error: Exception) -> int:
    """Print one redacted line, or the whole redacted trace when DYNO_DEBUG is set; the exit code."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        where = error.filename or "the output"
        sys.stderr.write(f"{where} cannot be written: {error.strerror}; make room, or write elsewhere\n")
        _give_up_output()
        return 1
    text = "".join(traceback.format_exception(error)) if os.environ.get("DYNO_DEBUG") else ""
    sys.stderr.write(redact(f"{text}internal error: {type(error).__name__}: {error}"))
    sys.stderr.write("\nplease report it; DYNO_DEBUG=1 shows where it came from\n")
    return 1
