"""Every example of docs/checks.md is a task card that can be loaded, and no kind of check is without one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from tests.unit.core.config.small_project import TASK_CARD, added

from agentdyno.core.config import load
from agentdyno.core.records import Check, CheckKind, TaskCard

PAGE = Path(__file__).parents[4] / "docs" / "checks.md"
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
NEEDED = "goal: g\nprompt: p\n"


def task_card(example: str) -> TaskCard:
    text = example if "goal:" in example else NEEDED + example
    return load(added(TASK_CARD, text)).task_card("hello")


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_of_the_page(example: str) -> None:
    assert task_card(example).checks


def test_every_kind_has_an_example_and_a_row() -> None:
    shown = {check.kind for example in EXAMPLES for check in task_card(example).checks}
    rows = set(re.findall(r"^\| `(\w+)` \| .* \|$", PAGE.read_text(), re.MULTILINE))

    assert shown == rows == set(get_args(CheckKind))


def test_the_page_says_which_fields_there_are() -> None:
    named = set(re.findall(r"`(\w+)`", PAGE.read_text().partition("## Kinds")[2].partition("\n###")[0]))

    assert named >= set(Check.__dataclass_fields__) - {"kind"}
