"""Credentials as the gateway looks them up: one statement, and what its row means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class CredentialScope(NamedTuple):
    """A credential of ours with what its session allows: all the gateway needs to admit a request."""

    key_hash: str
    key_alias: str
    expires_at_us: int
    revoked_at_us: int | None
    session_id: str
    experiment: str | None
    variant: str
    task_card: str
    provider: str
    model: str
    ended_at_us: int | None
    small_model: str | None = None
    side_calls: str | None = None
    """The harness profile's rules for side calls, as JSON."""
    id_headers: str | None = None
    """The headers in which its harness sends ids of its own, as JSON."""


_SCOPE_SQL = """
SELECT c.key_hash, c.alias, c.expires_at_us, c.revoked_at_us, s.session_id, s.experiment, s.variant, s.task_card,
       s.provider, s.model, s.ended_at_us, s.small_model, p.side_calls, p.id_headers
FROM credential c
JOIN session s ON s.session_id = c.session_id
LEFT JOIN harness_profile p ON p.digest = s.harness_profile_digest
WHERE c.issuer = 'gateway' AND c.key_hash = """


def scope_sql(placeholder: str) -> str:
    """The statement that finds a credential by the hash of its key, its one parameter; `%s` is psycopg's."""
    return _SCOPE_SQL + placeholder


def scope_of(row: Sequence[Any] | None) -> CredentialScope | None:
    """What a row of that statement allows; None when there was none."""
    return None if row is None else CredentialScope(*row)
