"""A headless run in the ledger: its plan, claims, attempts, and what is counted of them."""

from __future__ import annotations

import dataclasses

import pytest
import sqlalchemy as sa
from tests.integration.ledgers import TASK_CARD, Ledgers, add_session, dump, opened, refuse_inserts
from tests.integration.store.request_rows import request_row
from tests.integration.store.run_rows import (
    ARMS,
    EXPERIMENT,
    HOST,
    add_runner,
    claim_some,
    ended,
    plan_run,
    run_row,
    runner_row,
)

from agentdyno.core.plan import planned
from agentdyno.core.records import Runner, Verdict
from agentdyno.store.run_queries import (
    AttemptCounts,
    CellCounts,
    RunCost,
    RunCounts,
    attempts,
    cells,
    cost_so_far,
    counts,
    run,
    runs,
    unfinished_run,
)
from agentdyno.store.run_statements import run_statements
from agentdyno.store.runs import (
    RunnerEnded,
    Settlement,
    add_run,
    beat,
    claim,
    dead_runners,
    join,
    recover,
    reopen,
    settle,
    settle_many,
)


def test_a_run_is_kept_with_its_whole_plan(ledgers: Ledgers) -> None:
    with opened(ledgers) as ledger:
        planned_run = plan_run(ledger, cells=6)
        assert run(ledger, "run_1") == planned_run
        assert cells(ledger, "run_1") == tuple(planned("run_1", ARMS, [TASK_CARD], 3, planned_run.seed))
        assert counts(ledger, "run_1") == RunCounts(CellCounts(total=6, open=6), AttemptCounts())
        assert run(ledger, "run_2") is None
        assert counts(ledger, "run_2") == RunCounts(CellCounts(), AttemptCounts())


def test_a_plan_that_cannot_be_kept_whole_is_not_kept_at_all(ledgers: Ledgers) -> None:
    with opened(ledgers) as ledger:
        ledger.remember([TASK_CARD, EXPERIMENT])
        refuse_inserts(ledger, "cell", "NEW.position = 3")
        with pytest.raises(sa.exc.IntegrityError):
            add_run(ledger, run_row(), planned("run_1", ARMS, [TASK_CARD], 2, 7))
        assert (dump(ledger)["run"], dump(ledger)["cell"]) == ([], [])


def test_the_runs_of_an_experiment_and_the_newest_that_is_not_finished(ledgers: Ledgers) -> None:
    with opened(ledgers) as ledger:
        assert unfinished_run(ledger, "trial") is None
        first = plan_run(ledger, created_at_us=1)
        second = plan_run(ledger, "run_2", cells=2, created_at_us=2)
        assert runs(ledger, "trial") == (first, second)
        assert runs(ledger, "another") == ()
        assert unfinished_run(ledger, "trial") == second
        add_runner(ledger, "b", "run_2")
        claims = claim(ledger, "run_2", "b", 5, ["ses_1", "ses_2"])
        assert unfinished_run(ledger, "trial") == second
        settle_many(ledger, [Settlement(ended(item, "failed"), scores=True) for item in claims], 6)
        assert unfinished_run(ledger, "trial") == first
        assert unfinished_run(ledger, "another") is None


def test_cells_are_claimed_in_their_order_and_none_twice(ledgers: Ledgers) -> None:
    with opened(ledgers) as ledger:
        plan_run(ledger, cells=4)
        add_runner(ledger, "a")
        add_runner(ledger, "b")
        [first], rest = claim_some(ledger, "a"), claim_some(ledger, "b", 5)
        assert [item.cell.position for item in (first, *rest)] == [0, 1, 2, 3]
        assert claim_some(ledger, "a", 5) == ()
        assert claim_some(ledger, "a", 0) == ()
        assert cells(ledger, "run_1") == (first.cell, *(item.cell for item in rest))
        assert first.cell.runner_id == "a"
        assert first.cell.state == "open"
        assert attempts(ledger, "run_1") == (first.attempt, *(item.attempt for item in rest))
        assert first.attempt.attempt_id == f"{first.cell.cell_id}.1"
        assert (first.attempt.number, first.attempt.session_id) == (1, "ses_a_2000_0")


def test_the_next_cell_is_found_by_its_index_however_many_are_done(sqlite_ledgers: Ledgers) -> None:
    with opened(sqlite_ledgers) as ledger, ledger.read() as connection:
        explain = f"EXPLAIN QUERY PLAN {run_statements(sqlite=True).claim}"
        steps = [row.detail for row in connection.exec_driver_sql(explain, ("run_1", 1, "a"))]
    assert "SEARCH cell USING INDEX ix_cell_run_id_state_position (run_id=? AND state=?)" in steps
    assert not any("SCAN" in step or "ORDER BY" in step for step in steps)


def test_a_claim_is_a_sign_of_life(ledgers: Ledgers) -> None:
    with opened(ledgers) as ledger:
        plan_run(ledger)
        add_runner(ledger, "a", host="elsewhere", seen_at_us=1_000)
        assert dead_runners(ledger, "run_1", HOST, nobody, 2_001, lease_us=1_000)
        claim_some(ledger, "a", now_us=1_500)
        assert not dead_runners(ledger, "run_1", HOST, nobody, 2_001, lease_us=1_000)


def test_an_attempt_is_settled_with_all_its_facts_and_scores_its_cell(ledgers: Ledgers) -> None:
    with opened(ledgers) as ledger:
        plan_run(ledger)
        add_runner(ledger, "a")
        [claimed] = claim_some(ledger, "a")
        told = ended(
            claimed,
            "failed",
            failure="timed_out",
            reason="it took longer than 2 s",
            sandbox="bubblewrap",
            unenforced=("disk", "größe"),
            timebox_s=2.0,
            setup_cached=False,
            command_ms=2_003.5,
            exit_code=-9,
            output_bytes=0,
            checks="[]",
        )
        assert settle(ledger, told, scores=True, now_us=9_000)
        [kept] = attempts(ledger, "run_1")
        assert kept == dataclasses.replace(told, ended_at_us=9_000, scored=True)
        cell = cells(ledger, "run_1")[0]
        assert cell == dataclasses.replace(
            claimed.cell, state="scored", runner_id=None, session_id=told.session_id, verdict="failed"
        )
        assert counts(ledger, "run_1").cells == CellCounts(4, open=3, scored=1, begun_attempts=1)


@pytest.mark.parametrize(("verdict", "failures"), [("stand_failure", 1), ("interrupted", 0)])
def test_an_attempt_that_scores_nothing_frees_its_cell(ledgers: Ledgers, verdict: Verdict, failures: int) -> None:
    with opened(ledgers) as ledger:
        plan_run(ledger)
        add_runner(ledger, "a")
        [claimed] = claim_some(ledger, "a")
        assert settle(ledger, ended(claimed, verdict), scores=False, now_us=3_000)
        assert cells(ledger, "run_1")[0] == dataclasses.replace(claimed.cell, runner_id=None, failures=failures)
        [again] = claim_some(ledger, "a", now_us=4_000)
        assert (again.cell.position, again.attempt.number) == (0, 2)
        assert [attempt.verdict for attempt in attempts(ledger, "run_1")] == [verdict, None]


def test_a_cell_that_the_stand_fails_too_often_is_given_up_until_the_run_is_resumed(ledgers: Ledgers) -> None:
    with opened(ledgers) as ledger:
        plan_run(ledger, cells=2, max_attempts=2)
        add_runner(ledger, "a")
        verdicts: list[Verdict] = ["stand_failure", "interrupted", "stand_failure"]
        for turn, verdict in enumerate(verdicts):
            [claimed] = claim_some(ledger, "a", now_us=turn)
            assert claimed.cell.position == 0
            settle(ledger, ended(claimed, verdict), scores=False, now_us=turn)
        given_up, other = cells(ledger, "run_1")
        assert (given_up.state, given_up.failures, given_up.attempts, given_up.runner_id) == ("given_up", 2, 3, None)
        [claimed] = claim_some(ledger, "a")
        assert claimed.cell.cell_id == other.cell_id
        assert settle(ledger, ended(claimed, "passed"), scores=True, now_us=5)
        assert unfinished_run(ledger, "trial") is not None
        assert (reopen(ledger, "run_1"), reopen(ledger, "run_1")) == (1, 0)
        assert cells(ledger, "run_1")[0] == dataclasses.replace(given_up, state="open", failures=0)
        [again] = claim_some(ledger, "a")
        assert again.attempt.number == 4
        assert counts(ledger, "run_1").reconciled


def test_several_are_settled_together_each_by_itself(ledgers: Ledgers) -> None:
    with opened(ledgers) as ledger:
        plan_run(ledger, cells=4)
        add_runner(ledger, "a")
        runner = add_runner(ledger, "b")
        [lost] = claim_some(ledger, "b")
        mine = claim_some(ledger, "a", 2)
        recover(ledger, runner.runner_id, 3_000)
        settlements = [
            Settlement(ended(mine[1], "passed"), scores=True),
            Settlement(ended(lost, "passed"), scores=True),
            Settlement(ended(mine[0], "stand_failure"), scores=False),
        ]
        assert settle_many(ledger, settlements, 4_000) == (True, False, True)
        assert [cell.state for cell in cells(ledger, "run_1")] == ["open", "open", "scored", "open"]
        assert settle_many(ledger, [], 4_000) == ()


def test_to_settle_an_attempt_twice_changes_no_score(ledgers: Ledgers) -> None:
    with opened(ledgers) as ledger:
        plan_run(ledger)
        add_runner(ledger, "a")
        [claimed] = claim_some(ledger, "a")
        settle(ledger, ended(claimed, "passed"), scores=True, now_us=3_000)
        once = dump(ledger)
        assert not settle(ledger, ended(claimed, "failed"), scores=True, now_us=4_000)
        assert not settle(ledger, ended(claimed, "interrupted"), scores=False, now_us=4_000)
        assert dump(ledger) == once


def test_a_claim_is_of_one_attempt_and_not_of_the_next_by_the_same_runner(ledgers: Ledgers) -> None:
    with opened(ledgers) as ledger:
        plan_run(ledger)
        add_runner(ledger, "a")
        [first] = claim_some(ledger, "a")
        assert settle(ledger, ended(first, "interrupted"), scores=False, now_us=3_000)
        [second] = claim_some(ledger, "a", now_us=3_500)
        assert second.cell.cell_id == first.cell.cell_id
        assert not settle(ledger, ended(first, "passed"), scores=True, now_us=4_000)
        assert cells(ledger, "run_1")[0] == second.cell
        assert counts(ledger, "run_1").attempts == AttemptCounts(2, under_way=1, superseded=1)


@pytest.mark.parametrize("verdict", [None, "stand_failure"])
def test_what_is_no_verdict_on_a_cell_scores_none(ledgers: Ledgers, verdict: Verdict) -> None:
    with opened(ledgers) as ledger:
        plan_run(ledger)
        add_runner(ledger, "a")
        [claimed] = claim_some(ledger, "a")
        before = dump(ledger)
        with pytest.raises(ValueError, match=f"{verdict} cannot be settled with scores=True"):
            settle(ledger, ended(claimed, verdict), scores=True, now_us=3_000)
        assert dump(ledger) == before


def test_what_a_dead_runner_held_is_lost_and_free_again(ledgers: Ledgers) -> None:
    with opened(ledgers) as ledger:
        plan_run(ledger, cells=4)
        dead, other = add_runner(ledger, "a"), add_runner(ledger, "b")
        settled, *held = claim_some(ledger, "a", 3)
        settle(ledger, ended(settled, "passed"), scores=True, now_us=2_500)
        [others] = claim_some(ledger, "b")
        lost = recover(ledger, dead.runner_id, 3_000)
        assert lost == tuple(dataclasses.replace(item.attempt, verdict="lost", ended_at_us=3_000) for item in held)
        assert recover(ledger, dead.runner_id, 4_000) == ()
        assert dead_runners(ledger, "run_1", HOST, nobody, 5_000, lease_us=1) == (
            dataclasses.replace(other, seen_at_us=2_000),
        )
        found = counts(ledger, "run_1")
        assert found.cells == CellCounts(4, open=3, claimed=1, scored=1, passed=1, begun_attempts=4)
        assert found.attempts == AttemptCounts(4, under_way=1, scored=1, lost=2)
        again = claim_some(ledger, "b", 3)
        assert [item.cell.cell_id for item in again] == [item.cell.cell_id for item in held]
        assert [item.attempt.number for item in again] == [2, 2]
        assert others.cell.runner_id == "b"


def test_a_runner_that_was_taken_for_dead_scores_nothing_and_claims_nothing(ledgers: Ledgers) -> None:
    with opened(ledgers) as ledger:
        plan_run(ledger, cells=2)
        runner = add_runner(ledger, "a")
        add_runner(ledger, "b")
        first, second = claim_some(ledger, "a", 2)
        recover(ledger, runner.runner_id, 3_000)
        [taken_over] = claim_some(ledger, "b", now_us=3_500)
        assert not settle(ledger, ended(first, "passed", exit_code=0), scores=True, now_us=4_000)
        assert not settle(ledger, ended(second, "stand_failure"), scores=False, now_us=4_000)
        assert cells(ledger, "run_1") == (taken_over.cell, dataclasses.replace(second.cell, runner_id=None))
        kept = {attempt.attempt_id: attempt for attempt in attempts(ledger, "run_1")}
        assert kept[first.attempt.attempt_id] == ended(first, "passed", exit_code=0, ended_at_us=4_000)
        found = counts(ledger, "run_1")
        assert found.attempts == AttemptCounts(3, under_way=1, superseded=1, stand_failure=1)
        assert found.reconciled
        assert not beat(ledger, "a", 5_000)
        with pytest.raises(RunnerEnded):
            claim_some(ledger, "a")
        join(ledger, runner_row("a2"))
        assert len(claim_some(ledger, "a2")) == 1


def test_a_runner_that_leaves_holds_nothing_more(ledgers: Ledgers) -> None:
    with opened(ledgers) as ledger:
        plan_run(ledger)
        add_runner(ledger, "a")
        claim_some(ledger, "a", 2)
        assert beat(ledger, "a", 2_500)
        recover(ledger, "a", 3_000)
        recover(ledger, "a", 4_000)
        assert counts(ledger, "run_1").attempts == AttemptCounts(2, lost=2)
        with ledger.read() as connection:
            row = connection.exec_driver_sql("SELECT seen_at_us, ended_at_us FROM runner").one()
        assert tuple(row) == (2_500, 3_000)


def test_who_is_dead_is_said_by_the_process_here_and_by_the_lease_elsewhere(ledgers: Ledgers) -> None:
    with opened(ledgers) as ledger:
        plan_run(ledger)
        plan_run(ledger, "run_2")
        add_runner(ledger, "a", pid=1, seen_at_us=1_000)
        killed = add_runner(ledger, "b", pid=2, seen_at_us=5_000)
        silent = add_runner(ledger, "c", pid=1, host="elsewhere", seen_at_us=3_999)
        add_runner(ledger, "d", pid=2, host="elsewhere", seen_at_us=4_000)
        add_runner(ledger, "e", pid=2)
        recover(ledger, "e", 4_500)
        add_runner(ledger, "f", "run_2", pid=2)
        found = dead_runners(ledger, "run_1", HOST, lambda runner: runner.pid == 1, 5_000, lease_us=1_000)
        assert found == (killed, silent)


def test_who_asks_is_not_dead(ledgers: Ledgers) -> None:
    with opened(ledgers) as ledger:
        plan_run(ledger)
        add_runner(ledger, "a")
        other = add_runner(ledger, "b")
        assert dead_runners(ledger, "run_1", HOST, lambda _: False, 5_000, lease_us=1, own="a") == (other,)


def test_the_cost_so_far_is_that_of_all_attempts(ledgers: Ledgers) -> None:
    with opened(ledgers) as ledger:
        plan_run(ledger)
        assert cost_so_far(ledger, "run_1") == RunCost(None, 0)
        add_runner(ledger, "a")
        first, second = claim_some(ledger, "a", 2)
        settle(ledger, ended(first, "stand_failure"), scores=False, now_us=3_000)
        for session_id in (first.attempt.session_id, second.attempt.session_id, "ses_of_no_run"):
            add_session(ledger, session_id)
        used = {"usage_source": "provider", "input_tokens": 1, "output_tokens": 1}
        ledger.absorb(
            [
                request_row("req_1", first.attempt.session_id, cost_usd=0.5, **used),
                request_row("req_2", second.attempt.session_id, cost_usd=0.25, **used),
                request_row("req_3", second.attempt.session_id, cost_usd=None, **used),
                request_row("req_4", second.attempt.session_id, purpose="model_list", cost_usd=None),
                request_row("req_5", "ses_of_no_run", cost_usd=8.0, **used),
            ]
        )
        assert cost_so_far(ledger, "run_1") == RunCost(0.75, 1)  # 0.5 + 0.25, and req_3


def nobody(_: Runner) -> bool:
    return False
