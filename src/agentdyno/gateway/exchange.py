"""One request on its way through the gateway, and how a task inside LiteLLM finds it."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field

import msgspec

from agentdyno.core.anatomy import anatomy_of, digest_key
from agentdyno.core.dialects.reading import identifier
from agentdyno.core.dialects.table import DIALECTS, Call
from agentdyno.core.dialects.wire import AnswerReader
from agentdyno.core.evidence import Evidence
from agentdyno.core.exchange import Anatomy, Entered, Identity, Price
from agentdyno.core.records import SideCall, Surface
from agentdyno.core.side_calls import purpose_of
from agentdyno.gateway.litellm_config import model_group
from agentdyno.store.credentials import CredentialScope


@dataclass
class Exchange:
    """One request on its way through the gateway."""

    entered: Entered
    scope: CredentialScope
    call: Call
    started_ns: int
    admitted_ns: int = 0
    """When its key was looked up: a ledger that is slow to say so is not asked again for that."""
    reader: AnswerReader | None = None
    http_status: int | None = None
    provider_request_id: str | None = None
    response_bytes: int = 0
    disconnected: bool = False
    forwarded: bool = False
    recorded: bool = False
    attempts: int = 0
    """Attempts at the provider that have begun."""
    hides_usage: bool = False
    """The stand asked for a stream's usage, and the harness did not: it is not shown it."""
    anatomy: Anatomy | None = None
    price: Price | None = None
    evidence: Evidence = field(default_factory=Evidence)
    """What was written of it so far."""
    rehearsal: bool = False
    """A call of the stand's own, to warm LiteLLM up: nobody's request."""

    @property
    def open_attempts(self) -> int:
        """Attempts that are not over: each is noted at its end."""
        return self.attempts - len(self.evidence.tried)

    @property
    def surface(self) -> Surface:
        """The wire protocol that the harness speaks."""
        return self.call.surface

    @property
    def model(self) -> str:
        """The model that was asked for: one of those that the session may ask for."""
        return self.scope.model if self.entered.model is None else self.entered.model

    @property
    def model_group(self) -> str:
        """LiteLLM's name of the route to that model at the session's provider."""
        return model_group(self.scope.provider, self.model, self.surface)

    def describe(self, body: bytes) -> None:
        """Add to what is known of the request what its body says, where its path does not."""
        facts, call, scope = DIALECTS[self.surface].read_request(body), self.call, self.scope
        model = facts.model if call.model is None else call.model
        small_model = model is not None and model == scope.small_model != scope.model
        self.entered = msgspec.structs.replace(
            self.entered,
            request_bytes=len(body),
            model=model,
            streamed=facts.streamed if call.streamed is None else call.streamed,
        )
        if not call.counts_tokens:
            purpose = purpose_of(facts, _rules(scope.side_calls), small_model=small_model)
            self.entered = msgspec.structs.replace(self.entered, purpose=purpose)

    def dissect(self, body: bytes, credential: str) -> None:
        """Measure the parts of the body that a model is to read. Its digests are keyed by the credential."""
        parts = None if self.call.counts_tokens else DIALECTS[self.surface].request_parts(body)
        self.anatomy = None if parts is None else anatomy_of(parts, digest_key(credential))

    def offset_us(self) -> int:
        """Microseconds since the first byte of the request."""
        return (time.monotonic_ns() - self.started_ns) // 1000


CURRENT: ContextVar[Exchange | None] = ContextVar("agentdyno_exchange", default=None)
"""The exchange that a task inside LiteLLM works for."""


def identity_of(scope: CredentialScope) -> Identity:
    """To whom the requests of a credential belong."""
    return Identity(
        session_id=scope.session_id,
        variant=scope.variant,
        task_card=scope.task_card,
        provider=scope.provider,
        key_hash=scope.key_hash,
        key_alias=scope.key_alias,
        experiment=scope.experiment,
    )


def harness_ids_of(scope: CredentialScope, headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The ids of its own that a harness sent, by the headers that its profile names; none that could hold a secret."""
    wanted = _id_headers(scope.id_headers)
    sent = ((name.decode("latin-1"), identifier(value.decode("latin-1"))) for name, value in headers if name in wanted)
    return {name: found for name, found in sent if found is not None}


@functools.lru_cache(maxsize=256)
def _id_headers(names: str | None) -> frozenset[bytes]:
    wanted = [] if names is None else msgspec.json.decode(names, type=list[str])
    return frozenset(name.lower().encode() for name in wanted)


@functools.lru_cache(maxsize=256)
def _rules(side_calls: str | None) -> tuple[SideCall, ...]:
    """A harness profile's rules for side calls, as the ledger keeps them."""
    return () if side_calls is None else msgspec.json.decode(side_calls, type=tuple[SideCall, ...])
