"""The wall clock, for the edges: whatever lies below them is handed the time."""

from __future__ import annotations

import time


def now_us() -> int:
    """UTC wall clock in microseconds."""
    return time.time_ns() // 1000
