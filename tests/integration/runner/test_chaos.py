"""A run whose runner is killed without warning at twenty instants, and resumed each time: nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.chaos.ordeal import EXPERIMENT, Outcome, Plan, endure, faults, write_experiment
from tests.integration.runner.lab import Lab, Record
from tests.integration.runner.provider import Served

from agentdyno.core.records import Attempt

PLAN = Plan(seed=20, kills=20)


@pytest.fixture(scope="module")
def outcome(lab: Lab) -> Outcome:
    """The ordeal, with a stand that is up all the time."""
    write_experiment(lab, PLAN)
    with lab.up():
        return endure(lab, PLAN)


@pytest.mark.timeout(600)
def test_every_cell_is_scored_once_and_every_attempt_accounted_for(outcome: Outcome) -> None:
    assert faults(outcome, PLAN, [outcome.lab]) == []
    record = outcome.record
    assert len(outcome.killed) == PLAN.kills
    assert set(record.verdicts) == {"passed", "lost"}
    assert record.verdicts["passed"] == PLAN.cells
    # A runner that was killed before it joined has no row.
    assert PLAN.kills / 2 < len(record.runners) <= PLAN.kills + 1
    assert len(record.requests) >= PLAN.cells * 4 / 3  # 1, 2 and 1 by task card


def test_what_people_ask_about_such_a_run_is_answered(outcome: Outcome) -> None:
    lab = outcome.lab
    for attempt in (outcome.record.attempts[0], outcome.record.attempts[-1]):
        if attempt.session_id in outcome.record.sessions:
            assert attempt.session_id in lab.must("session", "show", attempt.session_id, "--requests", "--json")
    assert "aborted" in lab.must("session", "list")
    assert "plain" in lab.must("compare", EXPERIMENT)
    used = json.loads(lab.must("usage", "--by", "model", "--json"))
    assert sum(row["requests"] for row in used) == len(outcome.record.requests)
    reconciled = lab.dyno("reconcile", EXPERIMENT, "--json")
    assert reconciled.exit_code == 0, reconciled
    assert lab.dyno("run", EXPERIMENT, "--resume").exit_code == 2  # no cell is left
    assert lab.must("db", "check")


def first_scored(record: Record) -> Attempt:
    return next(attempt for attempt in record.attempts if attempt.scored)


def with_attempts(outcome: Outcome, change: Callable[[Attempt], list[Attempt]]) -> Outcome:
    """As if the ledger had other attempts in the place of one that scored."""
    target = first_scored(outcome.record)
    attempts = [new for old in outcome.record.attempts for new in (change(old) if old == target else [old])]
    return replace(outcome, record=outcome.record._replace(attempts=tuple(attempts)))


def with_session(whole: Outcome, **fields: Any) -> Outcome:
    """As if a session that scored were otherwise."""
    session_id = first_scored(whole.record).session_id
    changed = replace(whole.record.sessions[session_id], **fields)
    return replace(whole, record=whole.record._replace(sessions={**whole.record.sessions, session_id: changed}))


def with_requests(outcome: Outcome, *more: Any) -> Outcome:
    """As if the first request that went well had these rows."""
    first = first_ok(outcome)
    others = tuple(request for request in outcome.record.requests if request is not first)
    return replace(outcome, record=outcome.record._replace(requests=(*others, *more)))


def first_ok(outcome: Outcome) -> Any:
    return next(request for request in outcome.record.requests if request.status == "ok")


FALSIFIED: dict[str, Callable[[Outcome], Outcome]] = {
    "an attempt has vanished": lambda outcome: with_attempts(outcome, lambda _: []),
    "a cell is scored twice": lambda outcome: with_attempts(
        outcome, lambda old: [old, replace(old, attempt_id="another", number=old.number + 1)]
    ),
    "an attempt has no end": lambda outcome: with_attempts(outcome, lambda old: [replace(old, ended_at_us=None)]),
    "an attempt changed": lambda outcome: replace(outcome, changed=["attempt"]),
    "a session is open": lambda outcome: with_session(outcome, phase="rendered", outcome=None),
    "a session counts for nothing": lambda outcome: with_session(outcome, outcome="aborted"),
    "a row is lost": with_requests,
    "a row is doubled": lambda outcome: with_requests(outcome, first_ok(outcome), first_ok(outcome)),
    "a row is another session's": lambda outcome: with_requests(
        outcome, replace(first_ok(outcome), session_id="ses_another")
    ),
    "the provider never saw it": lambda outcome: with_requests(
        outcome, replace(first_ok(outcome), provider_request_id="prov-0")
    ),
}


@pytest.mark.parametrize("falsified", FALSIFIED)
def test_what_does_not_hold_is_found(outcome: Outcome, falsified: str) -> None:
    assert faults(FALSIFIED[falsified](outcome), PLAN, []) != []


def test_what_is_left_behind_is_found(outcome: Outcome, tmp_path: Path) -> None:
    left = outcome.lab.project.home / "cells" / tmp_path.name
    left.mkdir(parents=True)
    assert faults(outcome, PLAN, [outcome.lab]) == [f"left behind: {left}"]
    left.rmdir()
    strange = Served("ses_of_nobody/1", "m", "prov-0", 200)
    assert faults(replace(outcome, served=[*outcome.served, strange]), PLAN, []) != []
