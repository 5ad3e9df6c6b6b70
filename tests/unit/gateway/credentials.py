"""Credentials as a ledger gives them, without a ledger."""

from __future__ import annotations

from agentdyno.core.errors import LedgerUnavailable
from agentdyno.core.ids import key_hash
from agentdyno.store.credentials import CredentialScope

KEY = "sk-dyno-of-a-test"
EXPIRES_AT_US = 1_000


def scope_of(
    key: str,
    revoked_at_us: int | None = None,
    model: str = "hello",
    small_model: str | None = None,
    side_calls: str | None = None,
    id_headers: str | None = None,
) -> CredentialScope:
    return CredentialScope(
        key_hash=key_hash(key),
        key_alias="alias",
        expires_at_us=EXPIRES_AT_US,
        revoked_at_us=revoked_at_us,
        session_id="ses_1",
        experiment=None,
        variant="variant",
        task_card="card",
        provider="scripted",
        model=model,
        ended_at_us=None,
        small_model=small_model,
        side_calls=side_calls,
        id_headers=id_headers,
    )


class Credentials:
    """A ledger's worth of credentials, which may be out of reach."""

    def __init__(self, *scopes: CredentialScope) -> None:
        self.scopes = {scope.key_hash: scope for scope in scopes}
        self.reachable = True

    async def look_up(self, key_hash: str) -> CredentialScope | None:
        if not self.reachable:
            raise LedgerUnavailable("the ledger is gone", "look for it")
        return self.scopes.get(key_hash)


class Clock:
    """A clock that stands until it is set."""

    now_us = 0

    def __call__(self) -> int:
        return self.now_us
