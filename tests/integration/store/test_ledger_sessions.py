"""Sessions and their credentials: every step in its order, one live key at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from itertools import pairwise
from threading import Barrier, Thread

import pytest
import sqlalchemy as sa
from tests.integration.ledgers import Ledgers, add_session, dump, opened, session_row

from agentdyno.core.errors import DynoError
from agentdyno.core.lifecycle import PHASES, MovedMeanwhile, OutOfOrder
from agentdyno.core.records import Credential, Phase
from agentdyno.store.credentials import CredentialScope
from agentdyno.store.ledger import Ledger


@pytest.fixture
def ledger(ledgers: Ledgers) -> Iterator[Ledger]:
    """A ledger with one session."""
    with opened(ledgers) as ledger:
        add_session(ledger, experiment="e", label="mine")
        yield ledger


def credential(key_hash: str, created_at_us: int, session_id: str = "ses_1") -> Credential:
    return Credential(key_hash, session_id, f"alias of {key_hash}", created_at_us, expires_at_us=9_000)


def phase_of(ledger: Ledger, session_id: str = "ses_1") -> Phase:
    session = ledger.session(session_id)
    assert session is not None
    return session.phase


def take_to(ledger: Ledger, phase: Phase) -> None:
    for current, following in pairwise(PHASES[1 : PHASES.index(phase) + 1]):
        ledger.advance("ses_1", current, following)


def test_a_session_is_read_as_it_was_written(ledger: Ledger) -> None:
    assert ledger.session("ses_1") == session_row(experiment="e", label="mine")
    assert ledger.session("ses_2") is None


def test_each_step_keeps_what_it_found_out(ledger: Ledger) -> None:
    take_to(ledger, "credentialed")
    ledger.advance("ses_1", "credentialed", "recorded", repository_dirty=False, memory_bytes=0)
    assert ledger.session("ses_1") == session_row(
        experiment="e", label="mine", phase="recorded", repository_dirty=False, memory_bytes=0
    )


@pytest.mark.parametrize("phase", PHASES[1:-1])
def test_no_step_is_skipped_or_taken_back(ledger: Ledger, phase: Phase) -> None:
    take_to(ledger, phase)
    successor = PHASES[PHASES.index(phase) + 1]
    for following in set(PHASES) - {successor}:
        with pytest.raises(OutOfOrder):
            ledger.advance("ses_1", phase, following)
    assert phase_of(ledger) == phase


def test_the_last_step_comes_with_its_rollups_or_not_at_all(ledger: Ledger) -> None:
    take_to(ledger, "collected")
    with pytest.raises(OutOfOrder, match="rollups"):
        ledger.advance("ses_1", "collected", "finalized", outcome="completed", ended_at_us=5)
    ledger.close_session("ses_1", "completed", 5, "fine")
    closed = ledger.session("ses_1")
    assert closed is not None
    assert (closed.phase, closed.outcome, closed.ended_at_us, closed.notes) == ("finalized", "completed", 5, "fine")


@pytest.mark.parametrize("phase", PHASES[1:-2])
def test_a_session_is_closed_only_after_it_was_collected(ledger: Ledger, phase: Phase) -> None:
    take_to(ledger, phase)
    before = dump(ledger)
    with pytest.raises(MovedMeanwhile):
        ledger.close_session("ses_1", "completed", 5, None)
    assert dump(ledger) == before


def test_a_session_is_closed_once(ledger: Ledger) -> None:
    take_to(ledger, "collected")
    ledger.close_session("ses_1", "completed", 5, "first")
    before = dump(ledger)
    with pytest.raises(MovedMeanwhile):
        ledger.close_session("ses_1", "aborted", 6, "second")
    assert dump(ledger) == before


@pytest.mark.parametrize("phase", PHASES[1:-2])
def test_giving_up_is_possible_from_every_step(ledger: Ledger, phase: Phase) -> None:
    take_to(ledger, phase)
    ledger.advance("ses_1", phase, "collected", outcome="aborted")
    ledger.close_session("ses_1", "aborted", 5, None)
    assert phase_of(ledger) == "finalized"


def test_a_session_that_was_moved_meanwhile_is_not_moved_again(ledger: Ledger) -> None:
    ledger.advance("ses_1", "created", "credentialed")
    with pytest.raises(MovedMeanwhile, match="no longer created"):
        ledger.advance("ses_1", "created", "credentialed", notes="too late")
    with pytest.raises(MovedMeanwhile):
        ledger.advance("ses_none", "created", "credentialed")
    session = ledger.session("ses_1")
    assert session is not None
    assert session.notes is None


def test_of_several_that_take_a_step_at_once_one_succeeds(ledger: Ledger) -> None:
    start = Barrier(4)
    outcomes: list[str] = []

    def advance() -> None:
        start.wait()
        try:
            ledger.advance("ses_1", "created", "credentialed")
        except DynoError as error:
            outcomes.append(type(error).__name__)
        else:
            outcomes.append("moved")

    threads = [Thread(target=advance) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["MovedMeanwhile"] * 3 + ["moved"]


def test_results_are_noted_only_while_the_command_runs(ledger: Ledger) -> None:
    ledger.note_result("ses_1", 1, 2, 3)
    assert ledger.session("ses_1") == session_row(experiment="e", label="mine")
    take_to(ledger, "launched")
    ledger.note_result("ses_1", 0, None, None)
    assert ledger.session("ses_1") == session_row(experiment="e", label="mine", phase="launched", command_exit_code=0)


def test_expired_are_open_sessions_whose_time_is_over(ledger: Ledger) -> None:
    add_session(ledger, "ses_2", expires_at_us=5_000)
    add_session(ledger, "ses_3", expires_at_us=5_000, phase="finalized", ended_at_us=4_000)
    assert ledger.expired_sessions(4_999) == ()
    assert ledger.expired_sessions(5_000) == ("ses_2",)
    assert ledger.expired_sessions(9_000) == ("ses_1", "ses_2")


def test_a_new_key_revokes_the_older_ones_of_its_session(ledger: Ledger) -> None:
    add_session(ledger, "ses_2")
    ledger.issue(credential("other", 1_000, "ses_2"))
    for key_hash, created_at_us in (("first", 1_000), ("second", 2_000), ("third", 3_000)):
        ledger.issue(credential(key_hash, created_at_us))
    revoked = {name: scope_of(ledger, name).revoked_at_us for name in ("first", "second", "third", "other")}
    assert revoked == {"first": 2_000, "second": 3_000, "third": None, "other": None}


def test_a_revoked_key_keeps_the_time_of_its_revocation(ledger: Ledger) -> None:
    ledger.issue(credential("first", 1_000))
    ledger.issue(credential("second", 2_000))
    ledger.revoke(["ses_1"], 3_000)
    ledger.revoke(["ses_1"], 4_000)
    assert [scope_of(ledger, name).revoked_at_us for name in ("first", "second")] == [2_000, 3_000]


def test_a_session_that_is_over_gets_no_key(ledger: Ledger) -> None:
    ledger.issue(credential("first", 1_000))
    take_to(ledger, "collected")
    ledger.close_session("ses_1", "completed", 5_000, None)
    assert scope_of(ledger, "first").revoked_at_us == 5_000
    with pytest.raises(OutOfOrder, match="over"):
        ledger.issue(credential("second", 6_000))
    assert ledger.credential_scope("second") is None


def test_a_key_that_cannot_be_kept_revokes_nothing(ledger: Ledger) -> None:
    ledger.issue(credential("first", 1_000))
    with pytest.raises(sa.exc.IntegrityError):
        ledger.issue(dataclasses.replace(credential("first", 2_000), alias="again"))
    assert scope_of(ledger, "first").revoked_at_us is None


def test_the_scope_is_all_that_admission_needs(ledger: Ledger) -> None:
    ledger.issue(credential("first", 1_000))
    assert ledger.credential_scope("first") == CredentialScope(
        key_hash="first",
        key_alias="alias of first",
        expires_at_us=9_000,
        revoked_at_us=None,
        session_id="ses_1",
        experiment="e",
        variant="plain",
        task_card="sums",
        provider="scripted",
        model="m",
        ended_at_us=None,
    )
    assert ledger.credential_scope("unknown") is None


def scope_of(ledger: Ledger, key_hash: str) -> CredentialScope:
    scope = ledger.credential_scope(key_hash)
    assert scope is not None
    return scope
