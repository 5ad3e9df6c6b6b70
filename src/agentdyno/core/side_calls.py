"""What a request is for, by the rules of its harness's profile and facts that hold no content. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agentdyno.core.dialects.wire import RequestFacts
from agentdyno.core.records import Purpose, SideCall

NO_INFERENCE: Final[frozenset[Purpose]] = frozenset({"token_count", "model_list", "other"})
"""What no model answers: it has a row, and is in no count of requests, no metric and no rollup."""


def is_inference(purpose: str) -> bool:
    """Whether a model was to answer."""
    return purpose not in NO_INFERENCE


def purpose_of(facts: RequestFacts, rules: Sequence[SideCall], *, small_model: bool) -> Purpose:
    """What an inference request is for: the first rule that fits says it.

    Where none does, a request for the variant's small model is a side call without a name, and any other is work.
    """
    for rule in rules:
        if _fits(rule, facts, small_model=small_model):
            return rule.purpose
    return "small_model" if small_model else "work"


def _fits(rule: SideCall, facts: RequestFacts, *, small_model: bool) -> bool:
    if rule.offers_tools is not None and rule.offers_tools != facts.offers_tools:
        return False
    if rule.small_model is not None and rule.small_model != small_model:
        return False
    limit = rule.at_most_output_tokens
    return limit is None or (facts.output_limit_tokens is not None and facts.output_limit_tokens <= limit)
