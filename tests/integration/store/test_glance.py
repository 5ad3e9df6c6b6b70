"""A ledger at a glance, in either database."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.integration.ledgers import Ledgers, add_session, opened

from agentdyno.core.errors import LedgerUnavailable
from agentdyno.store.address import LedgerAddress, PostgresAddress
from agentdyno.store.glance import newest_session_ids, schema_revision
from agentdyno.store.ledger import Ledger
from agentdyno.store.migrate import HEAD


def test_the_newest_sessions_come_first(ledgers: Ledgers) -> None:
    address = ledgers.empty()
    ledger = Ledger.open(address)
    for session_id, ended_at_us in (("ses_2", None), ("ses_1", None), ("ses_3", 5)):
        add_session(ledger, session_id, ended_at_us=ended_at_us)
    ledger.close()

    assert newest_session_ids(address, 10, only_open=False) == ("ses_3", "ses_2", "ses_1")
    assert newest_session_ids(address, 2, only_open=False) == ("ses_3", "ses_2")
    assert newest_session_ids(address, 10, only_open=True) == ("ses_2", "ses_1")


def test_it_is_read_while_somebody_has_it_open(ledgers: Ledgers) -> None:
    with opened(ledgers) as ledger:
        add_session(ledger)
        assert newest_session_ids(ledger.address, 10, only_open=False) == ("ses_1",)


def test_the_revision_of_a_schema(ledgers: Ledgers) -> None:
    address = ledgers.empty()

    assert schema_revision(address) == HEAD


def test_a_database_without_a_schema_stays_without(ledgers: Ledgers) -> None:
    address = ledgers.nothing_yet()
    if isinstance(address, Path):
        address.touch()

    for _ in range(2):
        assert schema_revision(address) is None
    assert newest_session_ids(address, 10, only_open=False) == ()


@pytest.mark.parametrize(
    "address", [Path("/nowhere/ledger.sqlite"), PostgresAddress("postgresql://me:secret@127.0.0.1:9/none")], ids=str
)
def test_a_ledger_that_is_away(address: LedgerAddress) -> None:
    assert newest_session_ids(address, 10, only_open=False) == ()
    with pytest.raises(LedgerUnavailable) as fault:
        schema_revision(address)
    assert "secret" not in str(fault.value)
    assert str(address) in str(fault.value)
