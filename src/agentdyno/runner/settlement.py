"""Settling attempts, many at a time: their traffic is collected, they are judged, and they go into the ledger at once.

A session's last requests come a moment after its key was revoked, and waiting for them costs nobody anything when many
sessions wait together. An attempt and its session end in one transaction: whatever dies in between, no session counts
without its cell.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from agentdyno.collectors.spool import SpoolCollector
from agentdyno.core.ids import canonical_json
from agentdyno.core.judgement import Evidence, Judgement, failed, judge, scores
from agentdyno.core.records import Attempt, Outcome, Request, Verdict
from agentdyno.core.trace import Trace
from agentdyno.runner.bench import Bench
from agentdyno.runner.cell import Worked
from agentdyno.runner.removals import Removals
from agentdyno.sessions.checks import Held, Subject, run_checks, tool_calls_of
from agentdyno.sessions.closing import POLL_S, Draining
from agentdyno.sessions.trace import read_trace, trace_file
from agentdyno.store.ledger import Closing
from agentdyno.store.queries import requests_of
from agentdyno.store.runs import Claim, End, Settlement, close_and_settle
from agentdyno.store.traces import write_trace

_LOOK_EVERY_S = 0.5
_AT_ONCE = 64
"""So many attempts may wait to be settled; a worker that ends one more waits too."""
_OUTCOMES: Mapping[Verdict, Outcome] = MappingProxyType(
    {
        "passed": "completed",
        "failed": "completed",
        "unjudged": "completed",
        "stand_failure": "invalid",
        "interrupted": "aborted",
    }
)


class Settled(NamedTuple):
    """An attempt that is over."""

    claim: Claim
    attempt: Attempt
    stood: bool
    """False when another runner had taken the cell meanwhile: it scores nothing then."""
    requests: tuple[Request, ...]
    last: bool = True
    """Whether all that were settled at the same moment have been told of."""


class _Waiting(NamedTuple):
    worked: Worked
    draining: Draining | None
    """None where there is no session."""


class Settler:
    """Takes what workers hand over, from any thread, and settles it in `run`, which is a thread of its own."""

    def __init__(self, bench: Bench, removals: Removals, told: Callable[[Settled], object]) -> None:
        self._bench = bench
        self._removals = removals
        self._told = told
        self.hurried: Callable[[], bool] = lambda: False
        """Once it says so, nothing is waited for any more."""
        self._over = threading.Event()
        self._queue: queue.Queue[Worked | None] = queue.Queue(_AT_ONCE)
        context = bench.context
        self._collector = SpoolCollector(context.home.spool, context.ledger, context.clock_us)

    def put(self, worked: Worked) -> None:
        """Hand over an attempt whose harness has ended. What nobody settles any more stays under way, and is lost."""
        self._put(worked)

    def close(self) -> None:
        """Nothing more is handed over."""
        self._put(None)

    def _put(self, item: Worked | None) -> None:
        while not self._over.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put(item, timeout=_LOOK_EVERY_S)
                return

    def run(self) -> None:
        """Settle until `close`, and what was handed over before."""
        try:
            self._run()
        finally:
            self._over.set()

    def _run(self) -> None:
        waiting: list[_Waiting] = []
        closed = False
        while waiting or not closed:
            fresh, ended = self._taken(block=not waiting)
            closed = closed or ended
            waiting += self._revoked(fresh)
            if any(item.draining is not None for item in waiting):
                # The pause comes first: a request admitted at the very moment of the revocation has then entered.
                time.sleep(POLL_S)
                self._collector.collect()
            ready: list[_Waiting] = []
            still: list[_Waiting] = []
            for item in waiting:
                (ready if self._is_ready(item) else still).append(item)
            if ready:
                self._settle(ready)
            waiting = still

    def _taken(self, *, block: bool) -> tuple[list[Worked], bool]:
        """What was handed over since the last time; and whether that was all."""
        taken: list[Worked] = []
        try:
            while True:
                item = self._queue.get(block=block and not taken)
                if item is None:
                    return taken, True
                taken.append(item)
        except queue.Empty:
            return taken, False

    def _revoked(self, fresh: list[Worked]) -> list[_Waiting]:
        opened = [worked.claim.attempt.session_id for worked in fresh if worked.opened is not None]
        if opened:
            self._bench.context.ledger.revoke(opened, self._bench.context.clock_us())
        return [
            _Waiting(worked, None if worked.opened is None else Draining(worked.claim.attempt.session_id))
            for worked in fresh
        ]

    def _is_ready(self, item: _Waiting) -> bool:
        # Looked at even in a hurry: what is in flight is what is not known.
        return item.draining is None or item.draining.is_done(self._collector) or self.hurried()

    def _settle(self, ready: list[_Waiting]) -> None:
        context = self._bench.context
        session_ids = [item.worked.claim.attempt.session_id for item in ready if item.draining is not None]
        requests = requests_of(context.ledger, session_ids)
        gateway_lives = self._bench.gateway_lives()
        ends, seen = [], []
        for item in ready:
            own = requests.get(item.worked.claim.attempt.session_id, ())
            ends.append(self._end(item, own, gateway_lives=gateway_lives))
            seen.append(own)
        now_us = context.clock_us()
        stood = close_and_settle(context.ledger, ends, now_us)
        for item, end, stands, own in zip(ready, ends, stood, seen, strict=True):
            session_id, settlement = item.worked.claim.attempt.session_id, end.settlement
            self._removals.add(context.home.cell(session_id), context.home.session(session_id))
            attempt = replace(settlement.attempt, ended_at_us=now_us, scored=settlement.scores and stands)
            self._told(Settled(item.worked.claim, attempt, stands, own, last=item is ready[-1]))

    def _end(self, item: _Waiting, requests: tuple[Request, ...], *, gateway_lives: bool) -> End:
        """What there is to be written of an attempt. Its trace is written here: twice changes nothing."""
        worked = item.worked
        trace = self._kept_trace(worked)
        held = _all_held(worked, trace, requests)
        judgement = _judgement(item, held, requests)
        if judgement.verdict == "failed" and item.draining is not None and not gateway_lives:
            # What it asked for after the gateway's end has left no row.
            judgement = failed("gateway_down", "the gateway was gone when it ended")
        elif judgement.failure == "checks_failed":
            judgement = judgement._replace(reason=f"{judgement.reason}: {_why_not(held)}")
        elif judgement.verdict == "interrupted":
            held = ()  # they were cut short
        attempt = _judged(worked, judgement, held, trace)
        return End(Settlement(attempt, scores(judgement.verdict)), _closing(worked, judgement, held))

    def _kept_trace(self, worked: Worked) -> Trace:
        if worked.opened is None:
            return Trace()
        context, session_id = self._bench.context, worked.claim.attempt.session_id
        trace = read_trace(trace_file(context.home.session(session_id)), session_id, context.clock_us())
        if trace.steps or trace.metrics:
            write_trace(context.ledger, session_id, trace)
        return trace


def _judgement(item: _Waiting, held: tuple[Held, ...], requests: tuple[Request, ...]) -> Judgement:
    worked = item.worked
    if worked.judgement is not None:
        return worked.judgement
    if worked.ended is None:
        raise ValueError(f"attempt {worked.attempt.attempt_id} neither ran nor says why not")
    in_flight = 0 if item.draining is None else item.draining.in_flight
    passed = sum(each.passed for each in held)
    return judge(Evidence(worked.ended.ended_by, passed, len(held), requests, in_flight))


def _why_not(held: tuple[Held, ...]) -> str:
    return "; ".join(f"{each.kind}: {each.reason}" for each in held if not each.passed)


def _all_held(worked: Worked, trace: Trace, requests: tuple[Request, ...]) -> tuple[Held, ...]:
    """Every check's result; those that ask for requests and traces are made now."""
    if not any(each is None for each in worked.held):
        return tuple(each for each in worked.held if each is not None)
    subject = Subject(
        worked.prepared.source.template,
        lambda command, limit_s: None,
        steps=trace.steps,
        tool_calls=tool_calls_of(requests),
    )
    checks = worked.prepared.task_card.checks
    return tuple(
        run_checks([check], subject)[0] if each is None else each
        for check, each in zip(checks, worked.held, strict=True)
    )


def _judged(worked: Worked, judgement: Judgement, held: tuple[Held, ...], trace: Trace) -> Attempt:
    return replace(
        worked.attempt,
        verdict=judgement.verdict,
        failure=judgement.failure,
        reason=judgement.reason,
        checks=canonical_json([each._asdict() for each in held]) if held else None,
        trace_faults=None if worked.opened is None else len(trace.faults),
    )


def _closing(worked: Worked, judgement: Judgement, held: tuple[Held, ...]) -> Closing | None:
    if worked.opened is None:
        return None
    return Closing(
        worked.claim.attempt.session_id,
        _OUTCOMES[judgement.verdict],
        judgement.reason,
        worked.launched_at_us,
        None if worked.ended is None else worked.ended.exit_code,
        sum(each.passed for each in held) if held else None,
        len(held) if held else None,
    )
