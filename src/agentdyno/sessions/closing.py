"""Closing a session: revoke, drain what is in flight, collect, roll up. Twice changes nothing."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable

from agentdyno.collectors.spool import SpoolCollector
from agentdyno.core.errors import DeploymentFault, UserError
from agentdyno.core.lifecycle import MovedMeanwhile
from agentdyno.core.names import nearest
from agentdyno.core.records import Outcome, Session
from agentdyno.sessions.deployments import DeploymentAccess, deployment_of, read_logs_to_the_end
from agentdyno.sessions.issuing import DeploymentKeys, GatewayKeys
from agentdyno.sessions.removal import remove
from agentdyno.sessions.settling import REPORT_TIMEOUT_S
from agentdyno.sessions.steps import log_step, take_step
from agentdyno.sessions.trace import read_trace, trace_file
from agentdyno.stand.home import Home
from agentdyno.store import queries
from agentdyno.store.ledger import Ledger
from agentdyno.store.traces import write_trace

log = logging.getLogger(__name__)
DRAIN_TIMEOUT_S = 30.0
POLL_S = 0.05
"""Between a revocation, or one look, and the next."""
_LEAST_PART = 4
_NAMED_AT_MOST = 5
_HANDED_OVER = ("rendered", "launched", "collected")
"""Steps at which somebody may have used a session's key."""


def require_session(ledger: Ledger, named: str) -> Session:
    """The session of that id, or the one whose id begins or ends so. Raises UserError unless there is exactly one."""
    session = ledger.session(named)
    if session is not None:
        return session
    known = {session.session_id: session for session in queries.sessions(ledger)}
    fitting = [session_id for session_id in known if _is_part(named, session_id)]
    if not fitting:
        near = nearest(named, known)
        hint = f'did you mean "{near}"?' if near is not None else "`dyno session list` shows all"
        raise UserError(f'there is no session "{named}"', hint)
    if len(fitting) > 1:
        some, more = fitting[-_NAMED_AT_MOST:], len(fitting) - _NAMED_AT_MOST
        raise UserError(
            f'"{named}" fits {len(fitting)} sessions',
            f"give more of the id: {', '.join(some)}" + (f" or one of {more} older ones" if more > 0 else ""),
        )
    return known[fitting[0]]


def _is_part(named: str, session_id: str) -> bool:
    return len(named) >= _LEAST_PART and (session_id.startswith(named) or session_id.endswith(named))


def finalize(
    ledger: Ledger,
    home: Home,
    session_id: str,
    outcome: Outcome,
    notes: str | None,
    clock_us: Callable[[], int],
    drain_timeout_s: float = DRAIN_TIMEOUT_S,
    *,
    given_up: Callable[[], bool] = lambda: False,
    waiting: Callable[[int], object] = lambda _: None,
    access: DeploymentAccess | None = None,
    told: Callable[[str], object] = lambda _: None,
) -> Session:
    """Take a session through its last steps; one that is finalized already stays as it is.

    Requests in flight are waited for, up to the timeout; what comes even later is kept and marked. `waiting` is told
    how many there are. The trace is read once they are through, and `told` is told if some of it cannot be. Once
    `given_up` says so nothing is waited for any more, and the session is aborted. A session of a LiteLLM deployment is
    closed there too, and its logs are read, if there is `access`. Raises UserError when a session that never got as far
    as its environment is to be called completed, and DeploymentFault when one is to be whose deployment does not do its
    part: it stays open then.
    """
    session = require_session(ledger, session_id)
    session_id = session.session_id
    if session.phase == "finalized":
        return session
    if outcome == "completed" and session.phase not in _HANDED_OVER:
        raise UserError(f"session {session_id} never began: it is only {session.phase}", "finalize it as aborted")
    if access is None or not end_at_deployment(
        ledger, session, access, clock_us, given_up, forced=outcome == "aborted"
    ):
        GatewayKeys(ledger, clock_us).revoke(session)
        drain(SpoolCollector(home.spool, ledger, clock_us), session_id, drain_timeout_s, given_up, waiting)
    if given_up():
        outcome = "aborted"
    _keep_trace(ledger, home, session_id, clock_us, told)
    while (session := require_session(ledger, session_id)).phase != "finalized":
        # The stand, or another command, may be closing the same session: then each finds some of the steps taken.
        with contextlib.suppress(MovedMeanwhile):
            _approach_end(ledger, session, outcome, notes, clock_us)
    remove(home.session(session_id))  # what cannot be removed holds a revoked key at most
    return session


def _keep_trace(
    ledger: Ledger, home: Home, session_id: str, clock_us: Callable[[], int], told: Callable[[str], object]
) -> None:
    """Bring a session's trace into the ledger, before its file is removed. Twice writes nothing twice."""
    trace = read_trace(trace_file(home.session(session_id)), session_id, clock_us())
    if trace.steps or trace.metrics:
        write_trace(ledger, session_id, trace)
    if trace.faults:
        said = f"{len(trace.faults):,} faults in the trace, the first: {trace.faults[0]}"
        if len(trace.faults) == 1:
            said = f"a fault in the trace: {trace.faults[0]}"
        log.warning("session %s: %s", session_id, said)
        told(said)


def end_at_deployment(
    ledger: Ledger,
    session: Session,
    access: DeploymentAccess,
    clock_us: Callable[[], int],
    given_up: Callable[[], bool],
    *,
    forced: bool,
) -> bool:
    """Revoke a session's key at its deployment and read what was logged of it; False for a session of the gateway.

    Raises DynoError when the deployment does not do its part; `forced`, that is told, and no more.
    """
    try:
        deployment = deployment_of(ledger, session, access.environ)
        if deployment is None:
            return False
        DeploymentKeys(deployment, ledger, clock_us).revoke(session)
        if session.phase in _HANDED_OVER:
            read_logs_to_the_end(deployment, ledger, session, access, given_up)
    except (DeploymentFault, UserError) as error:
        if not forced:
            raise
        log.warning("session %s was not ended at its deployment: %s", session.session_id, error)
        access.told(f"{error}; the key there ends by itself, and `dyno normalize` reads the logs")
        ledger.revoke([session.session_id], clock_us())
    return True


def drain(
    collector: SpoolCollector,
    session_id: str,
    timeout_s: float,
    given_up: Callable[[], bool] = lambda: False,
    waiting: Callable[[int], object] = lambda _: None,
) -> None:
    """Collect until every request of the session that had entered is answered and reported, or time is up."""
    draining = Draining(session_id, timeout_s)
    while True:
        # The pause comes first: a request admitted at the very moment of the revocation has then entered.
        time.sleep(POLL_S)
        collector.collect()
        if given_up() or draining.is_done(collector):
            return
        if draining.in_flight:
            waiting(draining.in_flight)


class Draining:
    """What of a session whose key is revoked is still waited for."""

    def __init__(self, session_id: str, timeout_s: float = DRAIN_TIMEOUT_S) -> None:
        self.session_id = session_id
        self.in_flight = 0
        """Requests without an end, as of the last look."""
        self._deadline_s = time.monotonic() + timeout_s
        self._report_deadline_s: float | None = None

    def is_done(self, collector: SpoolCollector) -> bool:
        """Whether, after a pass of the collector, nothing is waited for any more: all is there, or time is up."""
        now_s = time.monotonic()
        self.in_flight = collector.in_flight(self.session_id)
        if now_s > self._deadline_s:
            return True
        if self.in_flight:
            self._report_deadline_s = None
            return False
        if not collector.unrouted(self.session_id):
            return True
        self._report_deadline_s = self._report_deadline_s or now_s + REPORT_TIMEOUT_S
        return now_s > self._report_deadline_s


def _approach_end(
    ledger: Ledger, session: Session, outcome: Outcome, notes: str | None, clock_us: Callable[[], int]
) -> None:
    """One step towards the end. Raises MovedMeanwhile when somebody else took it."""
    session_id, phase = session.session_id, session.phase
    if phase == "collected":
        ledger.close_session(session_id, outcome, clock_us(), notes)
        log_step(session_id, "finalized")
    elif phase == "rendered":
        launched_at_us = min((request.started_at_us for request in ledger.requests(session_id)), default=None)
        take_step(ledger, session_id, phase, "launched", launched_at_us=launched_at_us)
    else:
        take_step(ledger, session_id, phase, "collected", outcome=outcome)


def close_expired(ledger: Ledger, home: Home, clock_us: Callable[[], int]) -> tuple[str, ...]:
    """Finalize as aborted every open session whose time-to-live has ended; their ids.

    A LiteLLM deployment is not asked: the key ended there too, and the logs are read by `read_known_logs`.
    """
    expired = ledger.expired_sessions(clock_us())
    for session_id in expired:
        finalize(ledger, home, session_id, "aborted", "its time-to-live ended", clock_us, drain_timeout_s=0.0)
    return expired
