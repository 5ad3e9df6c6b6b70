"""What a run is to do, and whether it still is what it was when it began."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.core.config.small_project import added

from agentdyno.core.config import Config, load
from agentdyno.core.errors import UserError
from agentdyno.core.records import Experiment, Run
from agentdyno.runner.planning import DEFAULT_SEED, Asked, new_run, plan, plan_again

VARIANT = "provider: mine\nmodel: small\nharness_profile: client\n"
CARD = "goal: a second\nprompt: Go.\n"
TRIAL = Experiment("trial", ("first", "other"), ("hello", "bye"), repeats=2, baseline="other", aa_arm=True)
ASKED = Asked("trial")


def config(experiment: Experiment = TRIAL, card: str = CARD, variant: str = VARIANT) -> Config:
    """The small project with an experiment of two variants on two task cards."""
    files = {"configs/variants/other.yaml": variant}
    known = load({**added("configs/task_cards/bye.yaml", card), **files})
    return replace(known, experiments={**known.experiments, experiment.name: experiment})


def begun(known: Config, asked: Asked = ASKED) -> Run:
    return new_run(plan(known, asked, "process"), "run_1", "process", 1_000)


def test_what_is_not_asked_for_is_the_experiment_s_to_say() -> None:
    made = plan(config(), ASKED, "process")
    assert [arm.name for arm in made.arms] == ["first", "other", "other-aa"]
    assert [card.name for card in made.task_cards] == ["hello", "bye"]
    assert (made.repeats, made.seed, made.size) == (2, DEFAULT_SEED, 3 * 2 * 2)
    assert [cell.position for cell in made.cells("run_1")] == list(range(12))


def test_a_pilot_has_what_is_asked_for() -> None:
    made = plan(config(), Asked("trial", 1, ("other-aa",), ("bye",), 7), "process")
    assert [(cell.arm, cell.variant, cell.task_card) for cell in made.cells("run_1")] == [("other-aa", "other", "bye")]
    assert made.seed == 7


@pytest.mark.parametrize("asked", [Asked("trial", arms=("marmalade",)), Asked("trial", task_cards=("marmalade",))])
def test_what_an_experiment_does_not_have_is_named(asked: Asked) -> None:
    with pytest.raises(UserError, match="marmalade"):
        plan(config(), asked, "process")


def test_what_was_made_for_an_ablation_is_a_variant_of_the_run_s_configuration() -> None:
    rich = f"{VARIANT}workspace_files: {{AGENTS.md: Be brief.}}\n"
    known = config(replace(TRIAL, ablate="other"), variant=rich)
    made = plan(known, ASKED, "process")
    without = made.arms[-1].name
    assert without not in known.variants
    assert made.config(known).variant(without).workspace_files == {}
    assert without in made.config(known).experiment("trial").variants


@given(
    repeats=st.none() | st.integers(1, 3),
    arms=st.sets(st.sampled_from(["first", "other", "other-aa"])),
    cards=st.sets(st.sampled_from(["hello", "bye"])),
    seed=st.none() | st.integers(0, 5),
)
def test_a_run_is_planned_again_as_it_was(
    repeats: int | None, arms: set[str], cards: set[str], seed: int | None
) -> None:
    known = config()
    made = plan(known, Asked("trial", repeats, tuple(arms), tuple(cards), seed), "process")

    again = plan_again(known, new_run(made, "run_1", "process", 1_000))

    assert again == made
    assert list(again.cells("run_1")) == list(made.cells("run_1"))


@pytest.mark.parametrize(
    "now",
    [
        config(card=CARD.replace("Go.", "Run.")),
        config(variant=f"{VARIANT}env: {{A: b}}\n"),
        config(replace(TRIAL, variants=("first",), baseline="first")),
        config(replace(TRIAL, task_cards=("hello",))),
        config(replace(TRIAL, aa_arm=False)),
    ],
    ids=["task card", "variant", "variants", "task cards", "arms"],
)
def test_a_run_is_not_gone_on_with_once_its_experiment_is_another(now: Config) -> None:
    with pytest.raises(UserError, match="was changed since run run_1 began"):
        plan_again(now, begun(config()))


def test_an_experiment_that_is_gone_cannot_be_gone_on_with() -> None:
    known = config()
    with pytest.raises(UserError, match="was changed"):
        plan_again(replace(known, experiments={}), begun(known))
