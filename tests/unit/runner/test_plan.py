from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from agentdyno.runner.demo import EXPERIMENT, Step, plan

names = st.lists(st.text("abc", min_size=1), min_size=1, max_size=4, unique=True).map(tuple)


@given(variants=names, task_cards=names, repeats=st.integers(1, 4), seed=st.integers(0, 9))
def test_every_block_has_every_cell_once(
    variants: tuple[str, ...], task_cards: tuple[str, ...], repeats: int, seed: int
) -> None:
    steps = plan(variants, task_cards, repeats, seed)

    cells = {Step(variant, task_card, EXPERIMENT) for variant in variants for task_card in task_cards}
    assert Counter(steps) == dict.fromkeys(cells, repeats)
    for block in range(repeats):
        assert set(steps[block * len(cells) : (block + 1) * len(cells)]) == cells


def test_the_order_is_drawn_and_the_same_each_time() -> None:
    variants, task_cards = ("a", "b"), ("x", "y", "z")

    assert plan(variants, task_cards, 3) == plan(variants, task_cards, 3)
    assert len({tuple(plan(variants, task_cards, 1, seed)) for seed in range(20)}) > 1
