"""Closing a session: revoke, drain what is in flight, collect, roll up. Twice changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

from agentdyno.collectors.spool import SpoolCollector
from agentdyno.core.errors import UserError
from agentdyno.core.records import Outcome, Phase, Session
from agentdyno.sessions.environment import remove_files
from agentdyno.sessions.steps import log_step, take_step
from agentdyno.stand.home import Home
from agentdyno.store.ledger import Ledger

DRAIN_TIMEOUT_S = 30.0
_REPORT_TIMEOUT_S = 2.0
_POLL_S = 0.05


def require_session(ledger: Ledger, session_id: str) -> Session:
    """The session of that id. Raises UserError when there is none."""
    session = ledger.session(session_id)
    if session is None:
        raise UserError(f"there is no session {session_id}", "`dyno session list` shows all")
    return session


def finalize(
    ledger: Ledger,
    home: Home,
    session_id: str,
    outcome: Outcome,
    notes: str | None,
    clock_us: Callable[[], int],
    drain_timeout_s: float = DRAIN_TIMEOUT_S,
) -> Session:
    """Take a session through its last steps; one that is finalized already stays as it is.

    Requests in flight are waited for, up to the timeout; what comes even later is kept and marked. Raises UserError
    when a session that never got as far as its environment is to be called completed.
    """
    session = require_session(ledger, session_id)
    if session.phase == "finalized":
        return session
    if outcome == "completed" and session.phase not in ("rendered", "launched", "collected"):
        raise UserError(f"session {session_id} never began: it is only {session.phase}", "finalize it as aborted")
    ledger.revoke(session_id, clock_us())
    drain(SpoolCollector(home.spool, ledger, clock_us), session_id, drain_timeout_s)
    _to_collected(ledger, session, outcome)
    ledger.close_session(session_id, outcome, clock_us(), notes)
    log_step(session_id, "finalized")
    remove_files(home.session(session_id))
    return require_session(ledger, session_id)


def drain(collector: SpoolCollector, session_id: str, timeout_s: float) -> None:
    """Collect until every request of the session that had entered is answered and reported, or time is up."""
    deadline = time.monotonic() + timeout_s
    report_deadline: float | None = None
    while True:
        # The pause comes first: a request admitted at the very moment of the revocation has then entered.
        time.sleep(_POLL_S)
        collector.collect()
        now = time.monotonic()
        if now > deadline:
            return
        if collector.in_flight(session_id):
            report_deadline = None
            continue
        if not collector.unrouted(session_id):
            return
        report_deadline = report_deadline or now + _REPORT_TIMEOUT_S
        if now > report_deadline:
            return


def _to_collected(ledger: Ledger, session: Session, outcome: Outcome) -> None:
    phase: Phase = session.phase
    if phase == "rendered":
        requests = ledger.requests(session.session_id)
        launched_at_us = min((request.started_at_us for request in requests), default=None)
        take_step(ledger, session.session_id, "rendered", "launched", launched_at_us=launched_at_us)
        phase = "launched"
    if phase != "collected":
        take_step(ledger, session.session_id, phase, "collected", outcome=outcome)


def close_expired(ledger: Ledger, home: Home, clock_us: Callable[[], int]) -> tuple[str, ...]:
    """Finalize as aborted every open session whose time-to-live has ended; their ids."""
    expired = ledger.expired_sessions(clock_us())
    for session_id in expired:
        finalize(ledger, home, session_id, "aborted", "its time-to-live ended", clock_us, drain_timeout_s=0.0)
    return expired
