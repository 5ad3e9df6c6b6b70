"""The published reports are of the experiments that come with agentdyno, as they are now."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from publish_reports import EXPERIMENTS

from agentdyno.core.arms import arms
from agentdyno.reporting.run_page import BEGIN, END
from agentdyno.sessions.project import first_configuration

PAGES = Path(__file__).parents[2] / "docs" / "reports"


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_a_report_has_every_arm_and_task_card_of_its_experiment(experiment: str) -> None:
    config = first_configuration()
    known = config.experiment(experiment)
    told, _, rest = (PAGES / f"{experiment}.md").read_text("utf-8").partition(BEGIN)
    tables, end, _ = rest.partition(END)
    assert end
    names = [arm.name for arm in arms(config, known)]
    assert re.findall(r"^\| ([^ |]+) \|", tables, re.MULTILINE)[2 : 2 + len(names)] == names
    assert re.findall(r"^### (\S+)$", tables, re.MULTILINE) == list(known.task_cards)
    cells = len(names) * len(known.task_cards) * known.repeats
    assert f"{cells} of {cells} cells scored" in tables
    assert f"dyno run {experiment}" in told


def test_every_arm_of_config_arms_is_explained() -> None:
    config = first_configuration()
    told = (PAGES / "config-arms.md").read_text("utf-8").partition(BEGIN)[0]
    assert sorted(re.findall(r"^\| `([^`]+)` \|", told, re.MULTILINE)) == sorted(
        arm.name for arm in arms(config, config.experiment("config-arms"))
    )


def test_what_a_report_says_of_models_is_what_its_variants_name() -> None:
    """All agents have the script of small tasks; those that cannot are named on the page."""
    config = first_configuration()
    told = (PAGES / "harness-overhead.md").read_text("utf-8").partition(BEGIN)[0]
    for name in config.experiment("harness-overhead").variants:
        variant = config.variant(name)
        if variant.model != "small-tasks":
            assert variant.model == f"small-tasks-{variant.harness_profile}"
            assert f"**{variant.harness_profile}**" in told
