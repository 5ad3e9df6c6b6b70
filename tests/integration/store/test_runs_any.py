"""Whatever runners do and whenever they die: each cell is scored at most once, and no attempt vanishes."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from typing import get_args

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from tests.integration.ledgers import Ledgers, opened
from tests.integration.store.run_rows import HOST, add_runner, claim_some, ended, plan_run

from agentdyno.core.judgement import SCORING
from agentdyno.core.records import Attempt, Cell, Runner, Verdict
from agentdyno.store.run_queries import attempts, cells, counts
from agentdyno.store.runs import (
    Claim,
    RunnerEnded,
    Settlement,
    beat,
    dead_runners,
    recover,
    reopen,
    settle_many,
)

CELLS, MAX_ATTEMPTS, LEASE_US = 6, 2, 10
PLACES = st.integers(0, 2)
VERDICTS = st.sampled_from([verdict for verdict in get_args(Verdict) if verdict != "lost"])


class Runners(RuleBasedStateMachine):
    """Three places at which processes work on one run of six cells."""

    def __init__(self, ledgers: Ledgers) -> None:
        super().__init__()
        self.context = contextlib.ExitStack()
        self.ledger = self.context.enter_context(opened(ledgers))
        plan_run(self.ledger, cells=CELLS, max_attempts=MAX_ATTEMPTS)
        self.now_us = 0
        self.places: dict[int, Runner] = {}
        self.unsettled: list[Claim] = []
        """Claims whose runner knows no better than to settle them."""
        self.claimed: set[str] = set()
        self.over: set[str] = set()
        """Attempts whose claims do not stand any more: they were settled, or lost."""
        self.scored: dict[str, str] = {}
        """Session that scored a cell, by what settling answered."""

    def teardown(self) -> None:
        self.context.close()

    def at(self, place: int) -> Runner:
        """Who works at a place: another process if the last one there is gone."""
        if place not in self.places:
            self.now_us += 1
            host = HOST if place else "elsewhere"
            self.places[place] = add_runner(
                self.ledger, f"r{self.now_us}", host=host, pid=place, seen_at_us=self.now_us
            )
        return self.places[place]

    @rule(place=PLACES, count=st.integers(0, 3))
    def claim(self, place: int, count: int) -> None:
        self.now_us += 1
        runner = self.at(place)
        try:
            claims = claim_some(self.ledger, runner.runner_id, count, self.now_us)
        except RunnerEnded:
            assert not beat(self.ledger, runner.runner_id, self.now_us)
            del self.places[place]
            return
        assert len(claims) <= count
        for item in claims:
            assert item.cell.cell_id not in self.scored
            assert item.attempt.attempt_id not in self.claimed
            self.claimed.add(item.attempt.attempt_id)
        self.unsettled += claims

    @rule(data=st.data(), again=st.booleans())
    def settle(self, data: st.DataObject, again: bool) -> None:
        self.now_us += 1
        some = st.lists(st.sampled_from(self.unsettled), max_size=3, unique_by=lambda item: item.attempt.attempt_id)
        chosen = data.draw(some) if self.unsettled else []
        settlements = [
            Settlement(ended(item, verdict), scores=verdict in SCORING)
            for item in chosen
            for verdict in [data.draw(VERDICTS)]
        ]
        stood = settle_many(self.ledger, settlements, self.now_us)
        for item, settlement, held in zip(chosen, settlements, stood, strict=True):
            assert held == (item.attempt.attempt_id not in self.over)
            self.over.add(item.attempt.attempt_id)
            if held and settlement.scores:
                assert item.cell.cell_id not in self.scored
                self.scored[item.cell.cell_id] = item.attempt.session_id
        if not again:
            self.unsettled = [item for item in self.unsettled if item not in chosen]

    @rule(place=PLACES)
    def kill(self, place: int) -> None:
        """Its process is gone: what it held is settled by nobody."""
        gone = self.places.pop(place, None)
        self.unsettled = [item for item in self.unsettled if gone is None or item.attempt.runner_id != gone.runner_id]

    @rule(place=PLACES)
    def leave(self, place: int) -> None:
        if place in self.places:
            runner_id = self.places.pop(place).runner_id
            self.over |= {item.attempt_id for item in self.under_way() if item.runner_id == runner_id}
            recover(self.ledger, runner_id, self.now_us)

    @rule(wrongly=st.booleans(), later_us=st.integers(0, LEASE_US))
    def recover_dead_runners(self, wrongly: bool, later_us: int) -> None:
        self.now_us += later_us
        living = {runner.runner_id for runner in self.places.values()}
        found = dead_runners(
            self.ledger, "run_1", HOST, lambda it: it.runner_id in living and not wrongly, self.now_us, LEASE_US
        )
        for runner in found:
            lost = {attempt.attempt_id for attempt in recover(self.ledger, runner.runner_id, self.now_us)}
            assert not lost & self.over
            assert recover(self.ledger, runner.runner_id, self.now_us) == ()
            self.over |= lost

    @rule()
    def resume(self) -> None:
        given_up = [cell for cell in cells(self.ledger, "run_1") if cell.state == "given_up"]
        assert reopen(self.ledger, "run_1") == len(given_up)

    def under_way(self) -> list[Attempt]:
        return [attempt for attempt in attempts(self.ledger, "run_1") if attempt.ended_at_us is None]

    @invariant()
    def everything_tallies(self) -> None:
        found = counts(self.ledger, "run_1")
        assert found.reconciled
        assert found.cells.total == CELLS
        now_cells, now_attempts = cells(self.ledger, "run_1"), attempts(self.ledger, "run_1")
        self.no_attempt_vanished(now_attempts)
        self.each_cell_has_its_one_score_for_good(now_cells, now_attempts)
        self.who_holds_a_cell_works_at_its_last_attempt(now_cells, now_attempts)
        for cell in now_cells:
            assert (cell.state == "given_up") == (cell.failures >= MAX_ATTEMPTS and cell.state != "scored")

    def no_attempt_vanished(self, now: Sequence[Attempt]) -> None:
        assert {attempt.attempt_id for attempt in now} == self.claimed

    def each_cell_has_its_one_score_for_good(self, now: Sequence[Cell], tried: Sequence[Attempt]) -> None:
        assert {cell.cell_id: cell.session_id for cell in now if cell.state == "scored"} == self.scored
        by_attempts = [(attempt.cell_id, attempt.session_id) for attempt in tried if attempt.scored]
        assert sorted(by_attempts) == sorted(self.scored.items())

    def who_holds_a_cell_works_at_its_last_attempt(self, now: Sequence[Cell], tried: Sequence[Attempt]) -> None:
        held = {(cell.cell_id, cell.runner_id, cell.attempts) for cell in now if cell.runner_id is not None}
        assert held == {(it.cell_id, it.runner_id, it.number) for it in tried if it.ended_at_us is None}
        with self.ledger.read() as connection:
            ids = set(connection.exec_driver_sql("SELECT runner_id FROM runner WHERE ended_at_us IS NULL").scalars())
        assert {runner_id for _, runner_id, _ in held} <= ids


def test_any_order_of_claims_settlements_deaths_and_recoveries(ledgers: Ledgers) -> None:
    few = settings(max_examples=25 if ledgers.kind == "sqlite" else 8, stateful_step_count=30, deadline=None)
    run_state_machine_as_test(functools.partial(Runners, ledgers), settings=few)  # type: ignore[arg-type]  # makes one
