"""Headless runs whose runners are killed without warning, and resumed; and what must hold of the ledger then."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from tests.integration.runner.lab import Lab, Record, left_running
from tests.integration.runner.life import Life, Moment
from tests.integration.runner.provider import Served

from agentdyno.core.records import Attempt, Request

EXPERIMENT = "chaos"
_UNPLANNED_SHARE = 0.2
_MOST_EVENTS = 8
_MOST_DELAY_S = 0.1
_LONGEST_START_S = 2.0
_PAUSE_SHARE = 0.6
"""Of the time that a runner takes to start: how long the provider thinks, with two of them."""
_HELD_S = 3.0
"""How much longer it thinks when one is killed for good: that one surely holds a cell then."""
_WORK_TIMEOUT_S = 60
_LAST_CELLS = 12
"""With so few left, a runner is killed before it can finish the run."""


@dataclass(frozen=True)
class Plan:
    """How long an ordeal is."""

    seed: int = 1
    kills: int = 20
    repeats: int = 10
    """Of two variants on three task cards."""
    jobs: int = 3
    sandbox: str = "process"

    @property
    def cells(self) -> int:
        """How many there are."""
        return 6 * self.repeats


@dataclass
class Outcome:
    """What came of an ordeal."""

    lab: Lab
    record: Record
    served: list[Served]
    """The provider's own account."""
    killed: list[Moment]
    changed: list[str]
    """Attempts that were gone, or other than before, after some kill."""
    took_s: float
    last_pids: tuple[int, ...] = ()
    """Of two runners, the one that was killed for good and the one that ended the run."""


def write_experiment(lab: Lab, plan: Plan) -> str:
    """Two variants on three task cards: one request, two with a pause between, and one beside a daemon."""
    lab.variant("other", description="the same again")
    cards = [
        lab.card("once"),
        lab.card("twice", "ask && sleep 0.05 && ask && echo done > done.txt"),
        lab.card("daemon", "sleep 300 & ask && echo done > done.txt"),
    ]
    variants = ["plain", "other"]
    return lab.experiment(EXPERIMENT, *cards, variants=variants, repeats=plan.repeats, sandbox=plan.sandbox)


def endure(lab: Lab, plan: Plan, say: Callable[[str], object] = lambda _: None) -> Outcome:
    """Have a run whose runner is killed again and again, and at last goes on to its end."""
    began_s, before = time.monotonic(), len(lab.provider.log)
    moments = _moments(plan)
    killed: list[Moment] = []
    watch = Watch()
    while len(killed) < plan.kills:
        life = Life(lab, EXPERIMENT, plan.jobs, resume=bool(lab.runs(EXPERIMENT)))
        moment = next(moments)
        if watch.scored > plan.cells - _LAST_CELLS:
            moment = Moment(min(moment.events, 1), 0.0)
        ran = life.kill_at(moment)
        assert ran.exit_code == -9, (moment, ran)
        killed.append(moment)
        watch.look(lab)
        say(f"killed {len(killed)} times, {watch.scored} of {plan.cells} cells scored")
    done = Life(lab, EXPERIMENT, plan.jobs, resume=bool(lab.runs(EXPERIMENT))).end()
    assert done.exit_code == 0, done
    watch.look(lab)
    lab.must("normalize")
    served = lab.provider.log[before:]
    return Outcome(lab, lab.record(EXPERIMENT), served, killed, watch.changed, time.monotonic() - began_s)


def endure_two(labs: tuple[Lab, Lab], plan: Plan) -> Outcome:
    """Have two runners at one run, either of which is killed now and then, and the first one at last for good."""
    began_s, before = time.monotonic(), len(labs[0].provider.log)
    random, moments, watch = Random(plan.seed), _moments(plan), Watch()
    killed: list[Moment] = []
    provider = labs[0].provider
    first = Life(labs[0], EXPERIMENT, plan.jobs, resume=False)
    assert first.hear(1), first.end()
    # The slower a runner is to start, the slower the cells: a killed one is back before the other did all of them.
    provider.pause_s = _PAUSE_SHARE * (time.monotonic() - began_s)
    lives = [first, Life(labs[1], EXPERIMENT, plan.jobs, resume=True)]
    while len(killed) < plan.kills - 1:
        which, moment = random.randrange(2), next(moments)
        killed.append(moment)
        assert lives[which].kill_at(moment).exit_code == -9, (which, moment)
        watch.look(labs[0])
        lives[which] = Life(labs[which], EXPERIMENT, plan.jobs, resume=True)
    provider.pause_s += _HELD_S
    pids = tuple(life.process.pid for life in lives)
    _await_work_of(labs[0], pids[0])
    assert lives[0].kill().exit_code == -9
    killed.append(Moment(0, 0.0))
    provider.pause_s = 0.0
    done = lives[1].end()
    assert done.exit_code == 0, done
    watch.look(labs[0])
    for lab in labs:
        lab.must("normalize")
    served, record = provider.log[before:], labs[0].record(EXPERIMENT)
    return Outcome(labs[0], record, served, killed, watch.changed, time.monotonic() - began_s, pids)


def _await_work_of(lab: Lab, pid: int) -> None:
    """Wait until the runner of that process has an attempt under way."""
    deadline_s = time.monotonic() + _WORK_TIMEOUT_S
    while not any(attempt.ended_at_us is None for attempt in attempts_of(lab.record(EXPERIMENT), pid)):
        assert time.monotonic() < deadline_s, "there is no cell left for it"
        time.sleep(0.05)


def attempts_of(record: Record, pid: int) -> list[Attempt]:
    """The attempts of the runner that was that process."""
    runners = {runner.runner_id for runner in record.runners if runner.pid == pid}
    return [attempt for attempt in record.attempts if attempt.runner_id in runners]


def _moments(plan: Plan) -> Iterator[Moment]:
    """Instants drawn from the seed: while it loads and plans, and amid claims, work and settlements."""
    random = Random(plan.seed)
    while True:
        if random.random() < _UNPLANNED_SHARE:
            yield Moment(0, random.uniform(0.0, _LONGEST_START_S))
        else:
            yield Moment(random.randint(1, _MOST_EVENTS), random.uniform(0.0, _MOST_DELAY_S))


class Watch:
    """Looks at the ledger now and then: no attempt may vanish, and none change once it has scored."""

    def __init__(self) -> None:
        self.changed: list[str] = []
        self.scored = 0
        self._last: dict[str, Attempt] = {}

    def look(self, lab: Lab) -> None:
        """Hold what is there against what was."""
        if not lab.runs(EXPERIMENT):
            return
        record = lab.record(EXPERIMENT)
        now = {attempt.attempt_id: attempt for attempt in record.attempts}
        self.changed += [
            attempt_id
            for attempt_id, before in self._last.items()
            if attempt_id not in now or (before.ended_at_us is not None and now[attempt_id] != before)
        ]
        if not record.counts.reconciled:
            self.changed.append(f"not reconciled: {record.counts}")
        self.scored = record.counts.cells.scored
        self._last = now


# ── what must hold ───────────────────────────────────────────────────────────────────────────────────────────────────


def faults(outcome: Outcome, plan: Plan, homes: Sequence[Lab]) -> list[str]:
    """Everything that does not hold; nothing when all is accounted for."""
    record = outcome.record
    return [
        *outcome.changed,
        *_faults_of_cells(record, plan),
        *_faults_of_sessions(record),
        *_faults_of_requests(record, outcome.served),
        *(f"process {pid} of a cell runs still" for pid in left_running(record)),
        *(f"left behind: {folder}" for lab in homes for folder in (*lab.cell_folders(), *lab.session_folders())),
    ]


def _faults_of_cells(record: Record, plan: Plan) -> Iterator[str]:
    """Each cell must be scored by exactly one attempt, and every attempt have an end."""
    counts = record.counts
    if not counts.reconciled or (counts.cells.total, counts.cells.scored) != (plan.cells, plan.cells):
        yield f"the counts do not reconcile: {counts}"
    scores = Counter(attempt.cell_id for attempt in record.attempts if attempt.scored)
    for cell in record.cells:
        numbers = sorted(attempt.number for attempt in record.attempts if attempt.cell_id == cell.cell_id)
        if scores[cell.cell_id] != 1 or numbers != list(range(1, cell.attempts + 1)):
            yield f"cell {cell.cell_id}: {scores[cell.cell_id]} scores, attempts {numbers}"
        if cell.verdict != "passed":
            yield f"cell {cell.cell_id}: {cell.verdict}"
    for attempt in record.attempts:
        if attempt.ended_at_us is None:
            yield f"attempt {attempt.attempt_id} has no end"
    for runner in record.runners:
        if runner.ended_at_us is None:
            yield f"runner {runner.runner_id} has no end"


def _faults_of_sessions(record: Record) -> Iterator[str]:
    """A session counts where its attempt scored, and nowhere else; none is open."""
    for attempt in record.attempts:
        session = record.sessions.get(attempt.session_id)
        if session is None:
            if attempt.verdict != "lost":
                yield f"attempt {attempt.attempt_id}, {attempt.verdict}, has no session"
        elif session.phase != "finalized" or (session.outcome == "completed") != attempt.scored:
            yield f"session {session.session_id} is {session.phase}, {session.outcome}; its attempt {attempt.verdict}"


def _faults_of_requests(record: Record, log: Sequence[Served]) -> Iterator[str]:
    """Each request that the provider served has one row, in the session that asked; each `ok` row was served."""
    rows: dict[str, list[Request]] = defaultdict(list)
    for request in record.requests:
        rows[json.loads(request.harness_ids)["x-call"]].append(request)
    served = {line.call: line for line in log}
    if len(served) != len(log):
        yield "the provider served a request twice"
    sessions = {attempt.session_id for attempt in record.attempts}
    for line in log:
        if line.call.partition("/")[0] not in sessions:
            yield f"the provider served {line.call}, of no attempt's session"
    for call in {*rows, *served}:
        found = rows.get(call, [])
        if len(found) != 1:
            yield f"call {call} has {len(found)} rows"
        for row in found:
            if row.session_id != call.partition("/")[0]:
                yield f"call {call} is in the account of {row.session_id}"
            if row.status == "ok" and (call not in served or served[call].request_id != row.provider_request_id):
                yield f"call {call} is ok, and the provider never served it"
