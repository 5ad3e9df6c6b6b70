"""Closing a session that others close too."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.integration.ledgers import add_session, empty_ledger

from agentdyno.core.errors import UserError
from agentdyno.core.lifecycle import OutOfOrder
from agentdyno.core.records import Credential, Outcome, Session
from agentdyno.sessions.closing import finalize, require_session
from agentdyno.stand.home import Home
from agentdyno.store.ledger import Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with empty_ledger(tmp_path) as ledger:
        yield ledger


def credential(key_hash: str) -> Credential:
    return Credential(key_hash, "ses_1", "alias", created_at_us=1, expires_at_us=9_000)


def close(ledger: Ledger, folder: Path, outcome: Outcome = "completed") -> Session:
    return finalize(ledger, Home(folder), "ses_1", outcome, None, lambda: 5_000, drain_timeout_s=0)


def test_many_may_close_one_session_at_once(ledger: Ledger, tmp_path: Path) -> None:
    add_session(ledger, phase="launched")

    with ThreadPoolExecutor(8) as pool:
        closed = list(pool.map(lambda _: close(ledger, tmp_path), range(8)))

    assert {session.phase for session in closed} == {"finalized"}
    assert len(set(closed)) == 1


@pytest.mark.parametrize("named", ["ses_01abcd", "ses_01a", "abcd"])
def test_a_session_may_be_named_by_its_beginning_or_end(ledger: Ledger, tmp_path: Path, named: str) -> None:
    for session_id in ("ses_01abcd", "ses_02abce"):
        add_session(ledger, session_id, phase="launched")

    assert require_session(ledger, named).session_id == "ses_01abcd"
    closed = finalize(ledger, Home(tmp_path), named, "completed", None, lambda: 5_000, drain_timeout_s=0)
    assert (closed.session_id, closed.phase) == ("ses_01abcd", "finalized")


def test_a_whole_id_is_meant_even_where_another_goes_on(ledger: Ledger) -> None:
    for session_id in ("ses_1", "ses_12"):
        add_session(ledger, session_id)

    assert require_session(ledger, "ses_1").session_id == "ses_1"


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("ses_01", '"ses_01" fits 2 sessions; give more of the id: ses_01abcd, ses_01bbcd'),
        (
            "ses_",
            '"ses_" fits 7 sessions; give more of the id: '
            "ses_02a, ses_02b, ses_02c, ses_02d, ses_02e or one of 2 older ones",
        ),
        ("bcd", 'there is no session "bcd"; `dyno session list` shows all'),
        ("ses_01abdc", 'there is no session "ses_01abdc"; did you mean "ses_01abcd"?'),
    ],
)
def test_a_name_that_fits_not_exactly_one_session(ledger: Ledger, named: str, said: str) -> None:
    for session_id in ("ses_01abcd", "ses_01bbcd", *(f"ses_02{letter}" for letter in "abcde")):
        add_session(ledger, session_id)

    with pytest.raises(UserError) as raised:
        require_session(ledger, named)

    assert str(raised.value) == said


@pytest.mark.parametrize("phase", ["created", "credentialed", "recorded"])
def test_what_never_began_can_only_be_given_up(ledger: Ledger, tmp_path: Path, phase: str) -> None:
    add_session(ledger, phase=phase)

    with pytest.raises(UserError, match=f"session ses_1 never began: it is only {phase}; finalize it as aborted"):
        close(ledger, tmp_path)

    assert close(ledger, tmp_path, "aborted").outcome == "aborted"


def test_a_closing_that_died_half_way_is_taken_up(ledger: Ledger, tmp_path: Path) -> None:
    add_session(ledger, phase="launched")
    ledger.advance("ses_1", "launched", "collected", outcome="completed")

    assert close(ledger, tmp_path).ended_at_us == 5_000


def test_no_key_outlives_its_session(ledger: Ledger) -> None:
    add_session(ledger, phase="collected")
    # Rotated after the session's keys were revoked, and before it was closed.
    ledger.issue(credential("late"))

    ledger.close_session("ses_1", "completed", 5_000, None)

    scope = ledger.credential_scope("late")
    assert scope is not None
    assert scope.revoked_at_us == 5_000
    with pytest.raises(OutOfOrder, match="session ses_1 is over; create another"):
        ledger.issue(credential("later"))
    assert ledger.credential_scope("later") is None
