"""What a run is to do: its arms, task cards and order, from what a person asks for or from what the ledger keeps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from agentdyno.core.arms import Arm, arms, selected_arms, selected_task_cards
from agentdyno.core.config import Config, entity_digest
from agentdyno.core.errors import UserError
from agentdyno.core.plan import plan_digest, planned
from agentdyno.core.records import Cell, Experiment, Run, TaskCard

DEFAULT_SEED = 20200  # any; the same one makes the same order everywhere


class Asked(NamedTuple):
    """What a person asks for; what is left out is the experiment's to say."""

    experiment: str
    repeats: int | None = None
    arms: tuple[str, ...] = ()
    task_cards: tuple[str, ...] = ()
    seed: int | None = None


class Plan(NamedTuple):
    """What is to be run, without an id."""

    experiment: Experiment
    arms: tuple[Arm, ...]
    task_cards: tuple[TaskCard, ...]
    repeats: int
    seed: int
    digest: str

    @property
    def size(self) -> int:
        """How many cells it has."""
        return len(self.arms) * len(self.task_cards) * self.repeats

    def cells(self, run_id: str) -> Iterator[Cell]:
        """Its cells, in their order."""
        return planned(run_id, self.arms, self.task_cards, self.repeats, self.seed)

    def config(self, config: Config) -> Config:
        """The configuration, with the variants that were made for an ablation."""
        variants = {arm.variant.name: arm.variant for arm in self.arms}
        experiment = replace(self.experiment, variants=tuple(variants))
        return replace(
            config,
            variants={**config.variants, **variants},
            experiments={**config.experiments, experiment.name: experiment},
        )


def plan(config: Config, asked: Asked, sandbox: str) -> Plan:
    """The plan of an experiment. Raises UserError for what it does not have."""
    experiment = config.experiment(asked.experiment)
    chosen = selected_arms(arms(config, experiment), asked.arms)
    task_cards = selected_task_cards(config, experiment, asked.task_cards)
    repeats = experiment.repeats if asked.repeats is None else asked.repeats
    seed = DEFAULT_SEED if asked.seed is None else asked.seed
    digest = plan_digest(
        experiment,
        chosen,
        task_cards,
        sandbox=sandbox,
        timebox_s=config.settings.cells.timebox_s,
        repeats=repeats,
        seed=seed,
    )
    return Plan(experiment, chosen, task_cards, repeats, seed, digest)


def plan_again(config: Config, run: Run) -> Plan:
    """The plan of a run that was begun. Raises UserError when the configuration says something else now."""
    asked = Asked(run.experiment, run.repeats, run.arms, run.task_cards, run.seed)
    changed = UserError(
        f"experiment {run.experiment} was changed since run {run.run_id} began",
        "change it back, or start a new run: leave out --resume",
    )
    try:
        again = plan(config, asked, run.sandbox)
    except UserError as error:
        raise changed from error
    if again.digest != run.plan_digest:
        raise changed
    return again


def new_run(made: Plan, run_id: str, sandbox: str, now_us: int) -> Run:
    """The ledger's row of a plan."""
    return Run(
        run_id=run_id,
        experiment=made.experiment.name,
        experiment_digest=entity_digest(made.experiment),
        created_at_us=now_us,
        seed=made.seed,
        repeats=made.repeats,
        arms=tuple(arm.name for arm in made.arms),
        task_cards=tuple(card.name for card in made.task_cards),
        commits=(),
        cells=made.size,
        plan_digest=made.digest,
        sandbox=sandbox,
        max_attempts=made.experiment.max_attempts,
    )
