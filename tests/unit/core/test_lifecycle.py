from __future__ import annotations

import itertools

import pytest

from agentdyno.core.lifecycle import PHASES, OutOfOrder, require_next
from agentdyno.core.records import Outcome, Phase

PAIRS = list(itertools.product(PHASES, PHASES))


def test_the_eight_steps() -> None:
    assert (
        *("chosen", "created", "credentialed", "recorded", "rendered", "launched", "collected", "finalized"),
    ) == PHASES


@pytest.mark.parametrize("outcome", [None, "completed"])
def test_only_the_next_step_may_be_taken(outcome: Outcome | None) -> None:
    def allowed(current: Phase, following: Phase) -> bool:
        try:
            require_next(current, following, outcome)
        except OutOfOrder:
            return False
        return True

    assert [pair for pair in PAIRS if allowed(*pair)] == list(itertools.pairwise(PHASES))


@pytest.mark.parametrize("outcome", ["aborted", "invalid"])
def test_giving_up_leads_to_collected_from_every_earlier_step(outcome: Outcome) -> None:
    for phase in PHASES[:-2]:
        require_next(phase, "collected", outcome)
    for phase in PHASES[-2:]:
        with pytest.raises(OutOfOrder, match=f"a session that is {phase} cannot become collected"):
            require_next(phase, "collected", outcome)
