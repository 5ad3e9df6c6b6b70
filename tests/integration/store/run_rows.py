"""Runs for tests of the ledger."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tests.integration.ledgers import TASK_CARD

from agentdyno.core.arms import Arm
from agentdyno.core.jsonable import content_digest
from agentdyno.core.plan import planned
from agentdyno.core.records import Attempt, Experiment, Run, Runner, TaskCard, Variant, Verdict
from agentdyno.store.ledger import Ledger
from agentdyno.store.runs import Claim, add_run, claim, join

EXPERIMENT = Experiment("trial", variants=("plain", "other"), task_cards=(TASK_CARD.name,))
ARMS = tuple(Arm(name, Variant(name, "p", "m", "h"), f"sha256:{name}", "variant") for name in EXPERIMENT.variants)
HOST = "here"


def run_row(
    run_id: str = "run_1", cells: int = 4, task_cards: Sequence[TaskCard] = (TASK_CARD,), **fields: object
) -> Run:
    """A run of half as many repeats as cells."""
    known = {
        "experiment": EXPERIMENT.name,
        "experiment_digest": content_digest(EXPERIMENT),
        "created_at_us": 1_000,
        "seed": 7,
        "repeats": cells // len(ARMS) // len(task_cards),
        "arms": EXPERIMENT.variants,
        "task_cards": tuple(card.name for card in task_cards),
        "commits": ("0" * 40,) * len(task_cards),
        "cells": cells,
        "plan_digest": "sha256:plan",
        "sandbox": "process",
        "max_attempts": 3,
    }
    return Run(run_id, **(known | fields))  # type: ignore[arg-type]  # fields by name


def plan_run(ledger: Ledger, run_id: str = "run_1", cells: int = 4, **fields: object) -> Run:
    """Put a run and its cells into the ledger, two arms on one task card."""
    run = run_row(run_id, cells, **fields)  # type: ignore[arg-type]  # fields by name
    ledger.remember([TASK_CARD, EXPERIMENT])
    add_run(ledger, run, planned(run_id, ARMS, [TASK_CARD], run.repeats, run.seed))
    return run


def runner_row(runner_id: str, run_id: str = "run_1", **fields: object) -> Runner:
    """A process of this host, seen at 1 ms."""
    known = {"host": HOST, "pid": 7, "pid_started_ticks": 150, "started_at_us": 1_000, "seen_at_us": 1_000}
    return Runner(runner_id, run_id, **(known | fields))  # type: ignore[arg-type]  # fields by name


def add_runner(ledger: Ledger, runner_id: str, run_id: str = "run_1", **fields: object) -> Runner:
    """Let that process work on the run."""
    runner = runner_row(runner_id, run_id, **fields)
    join(ledger, runner)
    return runner


def claim_some(ledger: Ledger, runner_id: str, count: int = 1, now_us: int = 2_000) -> tuple[Claim, ...]:
    """Claim cells of the one run, for sessions that are named by the runner and the time."""
    return claim(ledger, "run_1", runner_id, now_us, [f"ses_{runner_id}_{now_us}_{n}" for n in range(count)])


def ended(claimed: Claim, verdict: Verdict, **facts: object) -> Attempt:
    """The attempt of a claim as it ended."""
    return dataclasses.replace(claimed.attempt, verdict=verdict, **facts)  # type: ignore[arg-type]  # fields by name
