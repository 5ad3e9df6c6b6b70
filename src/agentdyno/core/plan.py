"""The order in which a run's cells are worked on.

Each repeat is a block that has every arm on every task card once, in an order of its own: whatever drifts while a run
goes on, such as a provider's load or a laptop's heat, then hits all arms alike. After any number of cells, no arm is
ahead of another by more than one cell for each task card.

The order is drawn by sorting a block's cells by the SHA-256 of `seed/repeat/arm/task card`. So it depends on nothing
but these four, on no process, platform or version of Python, and to leave an arm out does not change the order of the
others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from agentdyno.core.arms import Arm
from agentdyno.core.ids import digest
from agentdyno.core.jsonable import content_digest
from agentdyno.core.records import Cell, Experiment, TaskCard


def planned(
    run_id: str, arms: Sequence[Arm], task_cards: Sequence[TaskCard], repeats: int, seed: int
) -> Iterator[Cell]:
    """The cells of a run in their order, `repeats` of each arm on each task card."""
    digests = {task_card.name: content_digest(task_card) for task_card in task_cards}
    position = 0
    for repeat in range(repeats):
        for arm, task_card in _block(arms, task_cards, f"{seed}/{repeat}"):
            yield Cell(
                cell_id=f"{run_id}.{position:05d}",
                run_id=run_id,
                position=position,
                arm=arm.name,
                variant=arm.variant.name,
                variant_fingerprint=arm.fingerprint,
                task_card=task_card.name,
                task_card_digest=digests[task_card.name],
                repeat=repeat,
            )
            position += 1


def plan_digest(
    experiment: Experiment,
    arms: Sequence[Arm],
    task_cards: Sequence[TaskCard],
    *,
    sandbox: str,
    timebox_s: float,
    repeats: int,
    seed: int,
) -> str:
    """The digest of all in the configuration that a cell's result may depend on.

    `sandbox` is where the cells run, `timebox_s` the time of task cards that give none: what the experiment leaves open
    is settled when it is planned.
    """
    return digest(
        {
            "experiment": experiment.name,
            "arms": {arm.name: arm.fingerprint for arm in arms},
            "task_cards": {task_card.name: content_digest(task_card) for task_card in task_cards},
            "limits": content_digest(experiment.limits),
            "sandbox": sandbox,
            "timebox_s": timebox_s,
            "repeats": repeats,
            "seed": seed,
        }
    )


def _block(arms: Sequence[Arm], task_cards: Sequence[TaskCard], which: str) -> list[tuple[Arm, TaskCard]]:
    """Every arm on every task card, once."""
    pairs = [(arm, task_card) for arm in arms for task_card in task_cards]
    return sorted(pairs, key=lambda pair: _draw(f"{which}/{pair[0].name}/{pair[1].name}"))


def _draw(of: str) -> bytes:
    return hashlib.sha256(of.encode()).digest()
