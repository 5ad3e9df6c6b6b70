"""docs/experiments.md: its examples can be loaded, and its tables have every verdict and failure that there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from agentdyno.core.arms import arms, parts_of
from agentdyno.core.judgement import is_stand_failure, scores
from agentdyno.core.records import Failure, Verdict
from agentdyno.sessions.project import load_project, scaffold

PAGE = (Path(__file__).parents[2] / "docs" / "experiments.md").read_text("utf-8")


def rows(part: str) -> dict[str, str]:
    """The last cell of each row of a table, by the name in the first."""
    return dict(re.findall(r"^\| `(\w+)` \|.*\| ([^|]+) \|$", part, re.MULTILINE))


def test_every_failure_is_told_and_whose_it_is() -> None:
    told = rows(PAGE.partition("<!-- failures: begin -->")[2].partition("<!-- failures: end -->")[0])
    assert list(told) == list(get_args(Failure))
    assert told == {
        failure: "the stand's" if is_stand_failure(failure) else "the harness's" for failure in get_args(Failure)
    }


def test_every_verdict_is_told_and_whether_it_scores() -> None:
    told = rows(PAGE.partition("## Verdicts")[2].partition("<!-- failures: begin -->")[0])
    assert set(told) == set(get_args(Verdict))
    assert {name for name, last in told.items() if last == "yes"} == {
        verdict for verdict in get_args(Verdict) if scores(verdict)
    }


def test_the_examples_are_a_configuration(tmp_path: Path) -> None:
    """Put together from their pieces: one experiment, and the variant that it is about."""
    experiment, again, ablation, variant, setup, limits = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    scaffold(tmp_path)
    for file, text in {
        "experiments/instructions.yaml": experiment + again.replace("baseline: codex-plain\n", "") + ablation + limits,
        "variants/codex-instructed.yaml": variant + setup,
        "variants/codex-plain.yaml": "{provider: scripted, model: write-file, harness_profile: codex}",
        "task_cards/round-up.yaml": "{goal: rounded up, prompt: Round up.}",
        "task_cards/add-tax.yaml": "{goal: taxed, prompt: Add the tax.}",
    }.items():
        (tmp_path / "configs" / file).write_text(text)

    config = load_project(tmp_path)

    shown = config.experiment("instructions")
    assert {arm.name for arm in arms(config, shown)} == {
        *("codex-plain", "codex-plain-aa", "codex-instructed"),
        *("codex-instructed-without-workspace_files-agents.md", "codex-instructed-without-settings-config"),
    }
    assert {part.partition("/")[0] for part in parts_of(config.variant("codex-instructed"))} == {
        *("workspace_files", "home_files", "settings", "env", "setup")
    }
    assert shown.limits.guaranteed_memory_bytes == 2 * 1024**3
