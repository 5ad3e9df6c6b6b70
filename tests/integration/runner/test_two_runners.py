"""Two runners at one run: either may be killed, one of them for good, and the other takes over what it held."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.chaos.ordeal import EXPERIMENT, Outcome, Plan, attempts_of, endure_two, faults, write_experiment
from tests.integration.ledgers import PostgresLedgers
from tests.integration.runner.lab import Lab
from tests.integration.runner.provider import Provider

from agentdyno.store.address import PostgresAddress

PLAN = Plan(seed=3, kills=6, jobs=2)
WALLED = replace(PLAN, sandbox="bubblewrap")


@pytest.fixture
def shared(postgres_ledgers: PostgresLedgers, provider: Provider, tmp_path: Path) -> Iterator[tuple[Lab, Lab]]:
    """Two homes, each with a stand of its own, on one ledger."""
    address = postgres_ledgers.empty()
    assert isinstance(address, PostgresAddress)
    labs = (Lab(tmp_path / "a", provider, address.url), Lab(tmp_path / "b", provider, address.url))
    for each in labs:
        write_experiment(each, WALLED)
    with labs[0].up(), labs[1].up():
        yield labs
    postgres_ledgers.give_back(address)


@pytest.mark.timeout(600)
def test_one_of_two_on_a_shared_ledger_is_killed_for_good(shared: tuple[Lab, Lab]) -> None:
    outcome = endure_two(shared, WALLED)
    gone, other = shared
    assert faults(outcome, WALLED, [other]) == []
    assert_taken_over(outcome)
    # What the dead one left in its own home goes with the next run there.
    assert gone.run(gone.trial("next")).exit_code == 0
    assert (gone.cell_folders(), gone.session_folders()) == ([], [])


@pytest.mark.timeout(600)
def test_two_in_one_home_with_a_ledger_of_its_own(lab: Lab) -> None:
    write_experiment(lab, PLAN)
    with lab.up():
        outcome = endure_two((lab, lab), PLAN)
    assert faults(outcome, PLAN, [lab]) == []
    assert_taken_over(outcome)


def assert_taken_over(outcome: Outcome) -> None:
    """What the one held that was killed for good was lost by it, and scored by the one that was left."""
    assert outcome.record.run.experiment == EXPERIMENT
    assert set(outcome.record.verdicts) == {"passed", "lost"}
    gone, left = (attempts_of(outcome.record, pid) for pid in outcome.last_pids)
    lost = {attempt.cell_id for attempt in gone if attempt.verdict == "lost"}
    assert lost
    assert lost <= {attempt.cell_id for attempt in left if attempt.scored}
