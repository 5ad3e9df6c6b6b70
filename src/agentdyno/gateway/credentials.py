"""How credentials are looked up from inside an event loop that serves everybody else meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from agentdyno.gateway.admission import CredentialLookUp
from agentdyno.store.address import LedgerAddress, PostgresAddress
from agentdyno.store.credentials import CredentialScope
from agentdyno.store.ledger import Ledger

# Readers of the file wait for no writer. Where they must, it is out of reach, and nothing else is served meanwhile.
_FILE_TIMEOUT_S = 0.05


@contextlib.asynccontextmanager
async def credentials_of(address: LedgerAddress) -> AsyncIterator[CredentialLookUp]:
    """The look-up of a ledger's credentials, for as long as the context lasts."""
    if isinstance(address, PostgresAddress):
        from agentdyno.gateway.shared_credentials import SharedCredentials  # its driver takes 8 MiB of memory

        shared = SharedCredentials(address)
        try:
            yield shared.look_up
        finally:
            await shared.close()
        return
    ledger = Ledger.open(address, _FILE_TIMEOUT_S)

    async def look_up(key_hash: str) -> CredentialScope | None:
        return ledger.credential_scope(key_hash)  # a file is read faster than another thread is asked to

    try:
        yield look_up
    finally:
        ledger.close()
