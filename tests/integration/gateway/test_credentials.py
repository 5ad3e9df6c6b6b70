"""Credentials are looked up without keeping anybody waiting, whichever database the ledger is."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import psycopg
import pytest
from tests.integration.ledgers import Ledgers, PostgresLedgers, add_session

from agentdyno.core.errors import LedgerUnavailable
from agentdyno.core.records import Credential
from agentdyno.gateway.admission import CredentialLookUp
from agentdyno.gateway.credentials import credentials_of
from agentdyno.store.address import LedgerAddress, PostgresAddress
from agentdyno.store.ledger import Ledger

T = TypeVar("T")


def with_look_up(address: LedgerAddress, use: Callable[[CredentialLookUp], Awaitable[T]]) -> T:
    """What `use` makes of a ledger's look-up, in a loop of its own."""

    async def run() -> T:
        async with credentials_of(address) as look_up:
            return await use(look_up)

    return asyncio.run(run())


@pytest.fixture
def address(ledgers: Ledgers) -> Iterator[LedgerAddress]:
    """A ledger with one session, whose key has the hash `known`."""
    with filled(ledgers) as address:
        yield address


@contextlib.contextmanager
def filled(ledgers: Ledgers) -> Iterator[LedgerAddress]:
    address = ledgers.empty()
    with contextlib.closing(Ledger.open(address)) as ledger:
        add_session(ledger, small_model="small")
        ledger.issue(Credential("known", "ses_1", "alias", created_at_us=1, expires_at_us=9))
    yield address
    ledgers.give_back(address)


def test_what_the_ledger_says_is_found(address: LedgerAddress) -> None:
    async def use(look_up: CredentialLookUp) -> None:
        scope = await look_up("known")
        assert scope is not None
        assert (scope.session_id, scope.small_model, scope.revoked_at_us) == ("ses_1", "small", None)
        assert await look_up("unknown") is None

    with_look_up(address, use)


def test_a_revocation_is_seen_at_once(address: LedgerAddress) -> None:
    async def use(look_up: CredentialLookUp) -> int | None:
        assert await look_up("known") is not None
        with contextlib.closing(Ledger.open(address)) as ledger:
            ledger.revoke(["ses_1"], 5)
        scope = await look_up("known")
        assert scope is not None
        return scope.revoked_at_us

    assert with_look_up(address, use) == 5


def test_many_may_ask_at_once(address: LedgerAddress) -> None:
    async def use(look_up: CredentialLookUp) -> list[bool]:
        return [found is not None for found in await asyncio.gather(*(look_up("known") for _ in range(50)))]

    assert with_look_up(address, use) == [True] * 50


def test_a_server_that_was_away_is_asked_again(postgres_ledgers: PostgresLedgers) -> None:
    async def use(look_up: CredentialLookUp) -> None:
        assert await look_up("known") is not None
        postgres_ledgers.server.stop()
        try:
            for _ in range(2):
                with pytest.raises(LedgerUnavailable, match="cannot be used"):
                    await look_up("known")
        finally:
            postgres_ledgers.server.start()
        assert await look_up("known") is not None

    with filled(postgres_ledgers) as address:
        with_look_up(address, use)


def test_one_that_does_not_come_to_an_answer_is_not_waited_for(postgres_ledgers: PostgresLedgers) -> None:
    async def use(look_up: CredentialLookUp, url: str) -> None:
        assert await look_up("known") is not None
        with psycopg.connect(url) as connection:
            connection.execute("LOCK TABLE credential IN ACCESS EXCLUSIVE MODE")
            began = time.monotonic()
            asked = await asyncio.gather(*(look_up("known") for _ in range(5)), return_exceptions=True)
            assert [type(answer) for answer in asked] == [LedgerUnavailable] * 5
            assert time.monotonic() - began < 5  # each waits for a second, and none for another
        assert await look_up("known") is not None

    with filled(postgres_ledgers) as address:
        assert isinstance(address, PostgresAddress)
        url = address.url
        with_look_up(address, lambda look_up: use(look_up, url))


def test_a_server_is_not_blamed_for_a_loop_that_stood_still(postgres_ledgers: PostgresLedgers) -> None:
    async def stand_still() -> None:
        for _ in range(3):  # as LiteLLM does at the first request of each surface
            time.sleep(1.5)
            await asyncio.sleep(0)

    async def use(look_up: CredentialLookUp) -> list[bool]:
        *found, _ = await asyncio.gather(*(look_up("known") for _ in range(5)), stand_still())
        return [scope is not None for scope in found]

    with filled(postgres_ledgers) as address:
        assert with_look_up(address, use) == [True] * 5


def test_a_host_that_says_nothing_is_not_waited_for_and_no_password_is_told() -> None:
    async def use(look_up: CredentialLookUp) -> None:
        began = time.monotonic()
        with pytest.raises(LedgerUnavailable) as caught:
            await look_up("known")
        assert time.monotonic() - began < 5
        assert "secret" not in str(caught.value)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with_look_up(PostgresAddress(f"postgresql://user:secret@127.0.0.1:{port}/ledger"), use)
