"""Credentials of a PostgreSQL ledger, looked up from inside an event loop that serves everybody else meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import psycopg

from agentdyno.core.errors import LedgerUnavailable
from agentdyno.store.address import PostgresAddress
from agentdyno.store.credentials import CredentialScope, scope_of, scope_sql
from agentdyno.store.engine import libpq_parameters

_SHARED_TIMEOUT_S = 1.0
_HELD_UP_S = 0.25
"""A wait that lasts so much longer than it was to says that the event loop stood still."""
_SQL = scope_sql("%s")


class SharedCredentials:
    """Looks credentials up in a PostgreSQL ledger, over one connection that is made anew when it was lost."""

    def __init__(self, address: PostgresAddress) -> None:
        self._address = address
        self._parameters = libpq_parameters(address, _SHARED_TIMEOUT_S)
        self._free: list[psycopg.AsyncConnection[Any]] = []
        self._turn = asyncio.Lock()
        self._abandoned: set[asyncio.Task[CredentialScope | None]] = set()

    async def look_up(self, key_hash: str) -> CredentialScope | None:
        """The scope of the key with that hash. Raises LedgerUnavailable, after a second at the latest.

        A second in which this process could have heard of an answer: not one in which LiteLLM was loading itself.
        """
        asking = asyncio.create_task(self._ask(key_hash))
        try:
            while await _overslept(asking, _SHARED_TIMEOUT_S):
                pass  # the answer may be there since, and nobody had the time to read it
        finally:
            if not asking.done():
                self._abandon(asking)
        if not asking.done():
            raise self._unavailable(f"it did not answer within {_SHARED_TIMEOUT_S:g} s")
        try:
            return asking.result()
        except psycopg.Error as error:
            raise self._unavailable(str(error).strip().partition("\n")[0] or type(error).__name__) from error

    async def close(self) -> None:
        """Give the connection back."""
        for asking in self._abandoned:
            asking.cancel()
        for connection in self._free:
            await connection.close()

    async def _ask(self, key_hash: str) -> CredentialScope | None:
        async with self._turn:
            connection = self._free.pop() if self._free else None
            if connection is None or connection.closed:
                connection = await psycopg.AsyncConnection.connect(autocommit=True, **self._parameters)
            async with contextlib.AsyncExitStack() as failing:
                failing.push_async_callback(connection.close)
                cursor = await connection.execute(_SQL, (key_hash,))
                row = await cursor.fetchone()
                failing.pop_all()
            self._free.append(connection)
        return scope_of(row)

    def _unavailable(self, reason: str) -> LedgerUnavailable:
        return LedgerUnavailable(
            f"the ledger {self._address} cannot be used: {reason}", "see that its server runs and can be reached"
        )

    def _abandon(self, asking: asyncio.Task[CredentialScope | None]) -> None:
        """Let go of a look-up, and let nobody wait for its end: the driver tries for seconds to stop the server."""
        self._turn = asyncio.Lock()
        self._abandoned.add(asking)
        asking.add_done_callback(self._abandoned.discard)
        asking.cancel()


async def _overslept(task: asyncio.Task[Any], timeout_s: float) -> bool:
    """Wait for a task; whether it is not done, and the event loop stood still meanwhile."""
    began_s = time.monotonic()
    await asyncio.wait((task,), timeout=timeout_s)
    return not task.done() and time.monotonic() - began_s > timeout_s + _HELD_UP_S
