"""The order of a run's cells: complete blocks, drawn from the seed alone."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentdyno.core.arms import Arm
from agentdyno.core.jsonable import content_digest
from agentdyno.core.plan import plan_digest, planned
from agentdyno.core.records import Cell, Experiment, Limits, TaskCard, Variant

NAMES = st.lists(st.from_regex(r"[a-z0-9][a-z0-9._-]{0,8}", fullmatch=True), min_size=1, max_size=5, unique=True)
SEEDS = st.integers(-(2**63), 2**63 - 1)
EXPERIMENT = Experiment("trial", ("a", "b"), ("t", "u"))
WRITTEN_DOWN = [
    ("a", "t", 0),
    ("b", "u", 0),
    ("b", "t", 0),
    ("a", "u", 0),
    ("b", "u", 1),
    ("a", "u", 1),
    ("b", "t", 1),
    ("a", "t", 1),
]


def arms_named(*names: str) -> tuple[Arm, ...]:
    return tuple(Arm(name, Variant(name, "p", "m", "h"), f"sha256:{name}", "variant") for name in names)


def cards_named(*names: str) -> tuple[TaskCard, ...]:
    return tuple(TaskCard(name, "goal", "prompt") for name in names)


def order(seed: int, arms: str = "abc", task_cards: str = "tu", repeats: int = 4) -> list[tuple[str, str, int]]:
    cells = planned("run_1", arms_named(*arms), cards_named(*task_cards), repeats, seed)
    return [(cell.arm, cell.task_card, cell.repeat) for cell in cells]


@given(NAMES, NAMES, st.integers(1, 4), SEEDS)
def test_each_repeat_is_a_block_of_every_arm_on_every_task_card(
    arms: list[str], task_cards: list[str], repeats: int, seed: int
) -> None:
    cells = list(planned("run_1", arms_named(*arms), cards_named(*task_cards), repeats, seed))
    size = len(arms) * len(task_cards)
    assert [cell.position for cell in cells] == list(range(size * repeats))
    assert [cell.repeat for cell in cells] == [position // size for position in range(size * repeats)]
    for repeat in range(repeats):
        block = {(cell.arm, cell.task_card) for cell in cells[repeat * size : (repeat + 1) * size]}
        assert block == {(arm, task_card) for arm in arms for task_card in task_cards}


@given(NAMES, NAMES, st.integers(1, 4), SEEDS)
def test_whenever_a_run_stops_no_arm_is_ahead_by_more_than_a_block(
    arms: list[str], task_cards: list[str], repeats: int, seed: int
) -> None:
    done: Counter[str] = Counter(dict.fromkeys(arms, 0))
    for cell in planned("run_1", arms_named(*arms), cards_named(*task_cards), repeats, seed):
        done[cell.arm] += 1
        assert max(done.values()) - min(done.values()) <= len(task_cards)


@given(NAMES, st.data(), SEEDS)
def test_to_leave_an_arm_out_does_not_change_the_order_of_the_others(
    arms: list[str], data: st.DataObject, seed: int
) -> None:
    chosen = data.draw(st.lists(st.sampled_from(arms), unique=True))
    whole = planned("run_1", arms_named(*arms), cards_named("t", "u"), 3, seed)
    pilot = planned("run_1", arms_named(*chosen), cards_named("t", "u"), 3, seed)
    of_chosen = [(cell.arm, cell.task_card, cell.repeat) for cell in whole if cell.arm in chosen]
    assert [(cell.arm, cell.task_card, cell.repeat) for cell in pilot] == of_chosen


def test_the_order_is_the_same_wherever_and_whenever_it_is_drawn() -> None:
    # Written down once: another order would be another plan for a run that is half done.
    assert order(7, "ab", "tu", 2) == WRITTEN_DOWN


def test_every_seed_and_every_repeat_has_an_order_of_its_own() -> None:
    orders = {tuple(order(seed)) for seed in range(50)}
    assert len(orders) == 50  # of 720 ** 4
    blocks = {tuple((arm, card) for arm, card, repeat in order(1) if repeat == number) for number in range(4)}
    assert len(blocks) == 4


def test_each_arm_is_first_about_as_often_as_another() -> None:
    # 3,000 blocks of three arms: 1,000 times each, give or take 5 standard deviations of 26.
    first = Counter(arm for position, (arm, _, _) in enumerate(order(3, "abc", "t", 3_000)) if position % 3 == 0)
    assert all(abs(first[arm] - 1_000) < 130 for arm in "abc")


def test_a_cell_says_what_it_runs_and_is_open() -> None:
    [arm], [card] = arms_named("a"), cards_named("t")
    again = arm._replace(name="a-aa", of="aa")
    cells = {cell.arm: cell for cell in planned("run_1", [arm, again], [card], 1, 0)}
    position = cells["a-aa"].position
    assert cells["a-aa"] == Cell(
        cell_id=f"run_1.0000{position}",
        run_id="run_1",
        position=position,
        arm="a-aa",
        variant="a",
        variant_fingerprint="sha256:a",
        task_card="t",
        task_card_digest=content_digest(card),
        repeat=0,
    )


def digest_with(
    experiment: Experiment = EXPERIMENT,
    arms: tuple[Arm, ...] = arms_named("a", "b"),
    task_cards: tuple[TaskCard, ...] = cards_named("t", "u"),
    **fields: object,
) -> str:
    known = {"sandbox": "process", "timebox_s": 60.0, "repeats": 3, "seed": 1, **fields}
    return plan_digest(experiment, arms, task_cards, **known)  # type: ignore[arg-type]  # fields by name


@pytest.mark.parametrize(
    "changed",
    [
        {"experiment": dataclasses.replace(EXPERIMENT, limits=Limits(cpu_cores=1))},
        {"experiment": dataclasses.replace(EXPERIMENT, name="other")},
        {"arms": arms_named("a")},
        {"arms": (arms_named("a")[0], arms_named("b")[0]._replace(fingerprint="sha256:c"))},
        {"arms": (arms_named("a")[0], arms_named("b")[0]._replace(name="c"))},
        {"task_cards": cards_named("t")},
        {"task_cards": (TaskCard("t", "goal", "prompt"), TaskCard("u", "goal", "another prompt"))},
        {"sandbox": "bubblewrap"},
        {"timebox_s": 61.0},
        {"repeats": 4},
        {"seed": 2},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_plan_is_another_when_a_result_may_depend_on_what_changed(changed: dict[str, object]) -> None:
    assert digest_with(**changed) != digest_with()  # type: ignore[arg-type]  # fields by name


@pytest.mark.parametrize(
    "changed",
    [
        {"description": "better said"},
        {"keep_output": True},
        {"max_attempts": 9},
        {"limits": Limits()},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_what_no_result_depends_on_leaves_a_plan_as_it_is(changed: dict[str, object]) -> None:
    assert digest_with(dataclasses.replace(EXPERIMENT, **changed)) == digest_with()  # type: ignore[arg-type]  # fields by name
