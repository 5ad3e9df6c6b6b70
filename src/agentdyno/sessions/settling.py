"""Bringing into the ledger what the spool holds of some sessions, before somebody draws up their account."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from agentdyno.collectors.spool import SpoolCollector

REPORT_TIMEOUT_S = 2.0
"""How long the records of an answered request are waited for by whoever needs its row now."""
_POLL_S = 0.05


class Unsettled(NamedTuple):
    """Requests of which not everything is in the ledger."""

    in_flight: int
    """Not answered yet."""
    awaited: int
    """Answered, and a record of it may still come."""


def settle(collector: SpoolCollector, session_ids: Sequence[str], timeout_s: float = REPORT_TIMEOUT_S) -> Unsettled:
    """Collect until every answered request of the sessions has all its records, or time is up."""
    deadline = time.monotonic() + timeout_s
    while True:
        collector.collect()
        awaited = sum(collector.unrouted(session_id) for session_id in session_ids)
        if not awaited or time.monotonic() > deadline:
            return Unsettled(sum(collector.in_flight(session_id) for session_id in session_ids), awaited)
        time.sleep(_POLL_S)
