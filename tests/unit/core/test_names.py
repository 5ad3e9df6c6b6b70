from __future__ import annotations

import pytest

from agentdyno.core.names import NAME, nearest, suggestion


@pytest.mark.parametrize(
    ("typed", "near"), [("claud-code", "claude-code"), ("LLM", "llm"), ("opncode", "opencode"), ("zzz", None)]
)
def test_the_nearest_name(typed: str, near: str | None) -> None:
    assert nearest(typed, ["claude-code", "llm", "opencode"]) == near


def test_a_suggestion_is_the_nearest_or_all_or_none() -> None:
    assert suggestion("clent", ["client", "other"]) == 'did you mean "client"?'
    assert suggestion("zzz", ["client", "other"]) == 'there is "client", "other"'
    assert suggestion("zzz", []) == "there is none"


@pytest.mark.parametrize(
    ("name", "valid"), [("a", True), ("gpt-5.1_x", True), ("", False), ("-a", False), ("A", False), ("a/b", False)]
)
def test_what_a_name_is(name: str, valid: bool) -> None:
    assert bool(NAME.fullmatch(name)) is valid
