"""What a request is for: the first rule that fits says it, and what no model answers is told apart."""

from __future__ import annotations

import pytest

from agentdyno.core.dialects.wire import RequestFacts
from agentdyno.core.records import Purpose, SideCall
from agentdyno.core.side_calls import is_inference, purpose_of

RULES = (
    SideCall("probe", at_most_output_tokens=1),
    SideCall("title", offers_tools=False, small_model=True),
    SideCall("summary", offers_tools=False),
)


def facts(*, tools: bool = True, limit_tokens: int | None = None) -> RequestFacts:
    return RequestFacts("m", True, offers_tools=tools, output_limit_tokens=limit_tokens)


@pytest.mark.parametrize(
    ("asked", "small_model", "purpose"),
    [
        (facts(), False, "work"),
        (facts(), True, "small_model"),
        (facts(tools=False), True, "title"),
        (facts(tools=False), False, "summary"),
        (facts(limit_tokens=0), False, "probe"),
        (facts(limit_tokens=1), True, "probe"),
        (facts(limit_tokens=2), False, "work"),
        (facts(tools=False, limit_tokens=1), True, "probe"),  # the first rule that fits
    ],
)
def test_the_first_rule_that_fits(asked: RequestFacts, small_model: bool, purpose: Purpose) -> None:
    assert purpose_of(asked, RULES, small_model=small_model) == purpose


def test_all_that_a_rule_says_must_hold() -> None:
    rule = SideCall("title", offers_tools=False, small_model=True, at_most_output_tokens=50)
    assert purpose_of(facts(tools=False, limit_tokens=50), (rule,), small_model=True) == "title"
    assert purpose_of(facts(tools=True, limit_tokens=50), (rule,), small_model=True) == "small_model"
    assert purpose_of(facts(tools=False, limit_tokens=51), (rule,), small_model=True) == "small_model"
    assert purpose_of(facts(tools=False, limit_tokens=50), (rule,), small_model=False) == "work"


def test_without_rules_the_model_alone_tells() -> None:
    assert purpose_of(facts(tools=False), (), small_model=False) == "work"
    assert purpose_of(facts(tools=False), (), small_model=True) == "small_model"


def test_what_no_model_answers() -> None:
    purposes = ("work", "title", "summary", "probe", "small_model", "token_count", "model_list")
    assert [purpose for purpose in purposes if not is_inference(purpose)] == ["token_count", "model_list"]
