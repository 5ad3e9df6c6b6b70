"""Who may pass: every request needs the key of a live session, and may ask for its variant's models only."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Literal, NamedTuple

from agentdyno.core.errors import LedgerUnavailable
from agentdyno.core.ids import key_hash
from agentdyno.core.secrets import redact
from agentdyno.store.credentials import CredentialScope

RefusalCode = Literal[
    "missing_key",
    "unknown_key",
    "expired_key",
    "revoked_key",
    "path_not_allowed",
    "model_missing",
    "model_not_allowed",
    "body_too_large",
    "body_encoded",
    "body_unreadable",
    "ledger_unreachable",
    "spool_full",
]
_REMEMBERED = 10_000


class Refusal(NamedTuple):
    """Why a request does not pass, in words for the harness's user."""

    code: RefusalCode
    http_status: int
    message: str
    scope: CredentialScope | None = None
    """The credential, where it is known: a refused request still belongs to its session."""


CredentialLookUp = Callable[[str], Awaitable[CredentialScope | None]]
"""Gives the scope of the key with a hash; None when no such key was ever issued. Raises LedgerUnavailable."""


class Admission:
    """Checks a key against the ledger on every request, so that a revocation holds from the next one on.

    While the ledger cannot be reached, keys that were seen before live on until they expire; others are told so.
    """

    def __init__(self, look_up: CredentialLookUp, clock_us: Callable[[], int]) -> None:
        self._look_up = look_up
        self._clock_us = clock_us
        self._seen: OrderedDict[str, CredentialScope] = OrderedDict()

    async def admit(self, key: str | None) -> CredentialScope | Refusal:
        """The scope of a live key, or why it is none."""
        if key is None:
            return Refusal(
                "missing_key", 401, "This gateway needs the key of a live session: see `dyno session create`."
            )
        hashed = key_hash(key)
        try:
            scope = await self._look_up(hashed)
        except LedgerUnavailable:
            scope = self._seen.get(hashed)
            if scope is None:
                return Refusal(
                    "ledger_unreachable", 503, "The ledger cannot be reached, so a new key cannot be checked."
                )
        if scope is None:
            return Refusal("unknown_key", 401, "This key is unknown: no session was given it.")
        self._remember(hashed, scope)
        # A session past its time-to-live is closed, and so its key revoked: its user is told what came first.
        if scope.revoked_at_us is not None and scope.revoked_at_us < scope.expires_at_us:
            return Refusal("revoked_key", 401, f"The key of session {scope.session_id} was revoked.", scope)
        if self._clock_us() >= scope.expires_at_us:
            return Refusal("expired_key", 401, f"The key of session {scope.session_id} has expired.", scope)
        return scope

    def _remember(self, hashed: str, scope: CredentialScope) -> None:
        self._seen[hashed] = scope
        self._seen.move_to_end(hashed)
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)


def models_of(scope: CredentialScope) -> tuple[str, ...]:
    """The models that a session may ask for: its variant's, and the one for side calls where that is another."""
    if scope.small_model is None or scope.small_model == scope.model:
        return (scope.model,)
    return (scope.model, scope.small_model)


def refuse_model(scope: CredentialScope, model: str | None) -> Refusal | None:
    """A refusal, unless the request names a model of the session's variant."""
    models = models_of(scope)
    if model in models:
        return None
    allowed = " and ".join(map(repr, models))
    if model is None:
        message = f"The request is no JSON object that names a model; this session may ask for {allowed}."
        return Refusal("model_missing", 400, message, scope)
    message = f"Model {redact(model)[:100]!r} is outside variant {scope.variant!r}, which may ask for {allowed}."
    return Refusal("model_not_allowed", 403, message, scope)
