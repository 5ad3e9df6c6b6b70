"""The arms of an experiment: its variants, an A/A arm, and arms with one part left out."""

from __future__ import annotations

import dataclasses

import pytest
from tests.unit.core.config.small_project import SMALL_PROJECT, VARIANT, added

from agentdyno.core.arms import Arm, arms, parts_of, selected_arms, selected_task_cards
from agentdyno.core.config import Config, load
from agentdyno.core.errors import UserError
from agentdyno.core.fingerprints import fingerprint
from agentdyno.core.names import NAME
from agentdyno.core.records import Experiment

RICH = """\
provider: mine
model: small
harness_profile: client
settings: {retries: "3"}
env: {DEBUG: "1", debug: "0"}
setup:
  - {command: [make]}
  - {command: [make, install]}
workspace_files: {AGENTS.md: Be brief., docs/Größe x.md: Big.}
home_files: {.client/config.json: "{}"}
"""
PARTS = (
    "workspace_files/AGENTS.md",
    "workspace_files/docs/Größe x.md",
    "home_files/.client/config.json",
    "settings/retries",
    "env/DEBUG",
    "env/debug",
    "setup/1",
    "setup/2",
)
CARD = "goal: a second\nprompt: Go.\n"


def config(**variants: str) -> Config:
    """The small project with more variants and two task cards."""
    files = {f"configs/variants/{name.replace('_', '-')}.yaml": text for name, text in variants.items()}
    return load({**added("configs/task_cards/bye.yaml", CARD), **files})


def experiment(*variants: str, **fields: object) -> Experiment:
    return Experiment("trial", variants, ("hello", "bye"), **fields)  # type: ignore[arg-type]  # fields by name


def names(found: tuple[Arm, ...]) -> list[str]:
    return [arm.name for arm in found]


def test_each_variant_is_an_arm_by_its_name_and_fingerprint() -> None:
    known = config(rich=RICH)
    found = arms(known, experiment("rich", "first"))
    assert names(found) == ["rich", "first"]
    for arm in found:
        assert arm.variant == known.variants[arm.name]
        assert arm.fingerprint == fingerprint(arm.variant, known.provider("mine"), known.harness_profile("client"))
        assert arm.of == "variant"


def test_the_aa_arm_is_the_baseline_under_another_name() -> None:
    first, rich, again = arms(config(rich=RICH), experiment("first", "rich", baseline="rich", aa_arm=True))
    assert again == Arm("rich-aa", rich.variant, rich.fingerprint, "aa")
    assert again.fingerprint != first.fingerprint


def test_a_variant_has_the_parts_that_it_adds_to_its_harness() -> None:
    assert parts_of(config(rich=RICH).variant("rich")) == PARTS


def test_an_ablated_arm_is_its_variant_without_one_part() -> None:
    chosen = ("setup/1", "env/DEBUG", "workspace_files/docs/Größe x.md")
    known = config(rich=RICH)
    whole, *ablated = arms(known, experiment("rich", ablate="rich", ablate_parts=chosen))
    # In the variant's order, whatever the order in which they were chosen.
    assert [(arm.name, arm.of) for arm in ablated] == [
        ("rich-without-workspace_files-docs-gr-e-x.md", "without workspace_files/docs/Größe x.md"),
        ("rich-without-env-debug", "without env/DEBUG"),
        ("rich-without-setup-1", "without setup/1"),
    ]
    left = {
        "workspace_files": {"AGENTS.md": "Be brief."},
        "env": {"debug": "0"},
        "setup": whole.variant.setup[1:],
    }
    for arm, (field, value) in zip(ablated, left.items(), strict=True):
        assert arm.variant == dataclasses.replace(whole.variant, name=arm.name, **{field: value})  # type: ignore[arg-type]  # one field by name
        assert arm.fingerprint not in (whole.fingerprint, "")
    assert len({arm.fingerprint for arm in ablated}) == len(ablated)


def test_all_parts_are_left_out_one_by_one_and_every_name_is_one() -> None:
    text = RICH.replace(', debug: "0"', "")
    found = arms(config(rich=text), experiment("rich", "first", ablate="rich"))
    assert [arm.of for arm in found[2:]] == [f"without {part}" for part in PARTS if part != "env/debug"]
    assert all(NAME.fullmatch(arm.name) for arm in found)
    assert len({arm.name for arm in found}) == len(found)


def test_a_part_that_there_is_not_is_told_with_those_there_are() -> None:
    with pytest.raises(UserError) as raised:
        arms(config(rich=RICH), experiment("rich", ablate="rich", ablate_parts=("setup/3",)))
    assert str(raised.value) == f'variant "rich" has no part "setup/3"; it has {", ".join(PARTS)}'


def test_a_variant_that_adds_nothing_cannot_be_ablated() -> None:
    bare = SMALL_PROJECT[VARIANT].partition("settings")[0]
    with pytest.raises(UserError, match='variant "bare" has no part to leave out'):
        arms(config(bare=bare), experiment("bare", ablate="bare"))


def test_no_arm_takes_the_name_of_another_or_of_a_variant() -> None:
    bare = SMALL_PROJECT[VARIANT]
    with pytest.raises(UserError, match=r'"first-aa" \(aa\) would have the name of another'):
        arms(config(first_aa=bare), experiment("first", baseline="first", aa_arm=True))
    with pytest.raises(UserError, match=r'"first-without-settings-retries" \(without settings/retries\)'):
        arms(config(first_without_settings_retries=bare), experiment("first", ablate="first"))
    with pytest.raises(UserError, match=r'"rich-without-env-debug" \(without env/debug\)'):
        arms(config(rich=RICH), experiment("rich", ablate="rich"))


def test_a_pilot_takes_some_arms_in_their_own_order() -> None:
    found = arms(config(rich=RICH), experiment("first", "rich", baseline="first", aa_arm=True))
    assert names(selected_arms(found, ["first-aa", "first", "first"])) == ["first", "first-aa"]
    assert selected_arms(found, []) == found
    with pytest.raises(UserError, match=r'arm "frist" is not in this experiment; did you mean "first"\?'):
        selected_arms(found, ["rich", "frist"])


def test_a_pilot_takes_some_task_cards() -> None:
    known, trial = config(), experiment("first")
    assert [card.name for card in selected_task_cards(known, trial, [])] == ["hello", "bye"]
    assert selected_task_cards(known, trial, ["bye"]) == (known.task_card("bye"),)
    with pytest.raises(UserError, match=r'task card "helo" is not in this experiment; did you mean "hello"\?'):
        selected_task_cards(known, trial, ["helo"])
