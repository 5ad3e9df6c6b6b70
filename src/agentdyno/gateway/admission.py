"""Who may pass: every request needs the key of a live session, and may ask for its variant's model only."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple, Protocol

from agentdyno.core.errors import LedgerUnavailable
from agentdyno.core.ids import key_hash
from agentdyno.store.ledger import CredentialScope

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


class CredentialSource(Protocol):
    """Where credentials are looked up: the ledger."""

    def credential_scope(self, key_hash: str) -> CredentialScope | None:
        """The scope of the key with this hash. Raises LedgerUnavailable."""
        ...


def presented_key(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The session key that a request carries: a bearer token or `x-api-key`."""
    for name, value in headers:
        token = value.decode("latin-1").strip()
        if name == b"authorization":
            scheme, _, token = token.partition(" ")
            token = token.strip() if scheme.lower() == "bearer" else ""
        elif name != b"x-api-key":
            continue
        if token:
            return token
    return None


class Admission:
    """Checks a key against the ledger on every request, so that a revocation holds from the next one on.

    While the ledger cannot be reached, keys that were seen before live on until they expire; others are told so.
    """

    def __init__(self, credentials: CredentialSource, clock_us: Callable[[], int]) -> None:
        self._credentials = credentials
        self._clock_us = clock_us
        self._seen: OrderedDict[str, CredentialScope] = OrderedDict()

    def admit(self, key: str | None) -> CredentialScope | Refusal:
        """The scope of a live key, or why it is none."""
        if key is None:
            return Refusal(
                "missing_key", 401, "This gateway needs the key of a live session: see `dyno session create`."
            )
        hashed = key_hash(key)
        try:
            scope = self._credentials.credential_scope(hashed)
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


def refuse_model(scope: CredentialScope, model: str | None) -> Refusal | None:
    """A refusal, unless the request names the one model of the session's variant."""
    if model is None:
        message = f"The request is no JSON object that names a model; this session's is {scope.model!r}."
        return Refusal("model_missing", 400, message, scope)
    if model != scope.model:
        return Refusal(
            "model_not_allowed",
            403,
            f"Model {model[:100]!r} is outside variant {scope.variant!r}, whose model is {scope.model!r}.",
            scope,
        )
    return None
