"""What is said of a fault of our own."""

from __future__ import annotations

import os
import sys
import traceback

from agentdyno.core.secrets import redact


def report_fault(error: Exception) -> int:
    """Print one redacted line, or the whole redacted trace when DYNO_DEBUG is set; the exit code."""
    text = "".join(traceback.format_exception(error)) if os.environ.get("DYNO_DEBUG") else ""
    sys.stderr.write(redact(f"{text}internal error: {type(error).__name__}: {error}"))
    sys.stderr.write("\nplease report it; DYNO_DEBUG=1 shows where it came from\n")
    return 1
