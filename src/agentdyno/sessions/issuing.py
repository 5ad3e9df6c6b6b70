"""Who issues a session's key: the stand, for its own gateway, or a LiteLLM deployment, for itself."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

from agentdyno.collectors.litellm_deployment import Deployment
from agentdyno.core.ids import attribution, key_hash, session_key
from agentdyno.core.records import Credential, Session
from agentdyno.store.ledger import Ledger
from agentdyno.store.queries import credentials


class KeyIssuer(Protocol):
    """Gives a session its key, and takes it away again. The ledger keeps its hash."""

    def issue(self, session: Session, random: Callable[[int], bytes]) -> str:
        """Make the session's one live key, revoking any older one, and return it: it is kept nowhere.

        Raises OutOfOrder for a session that is over.
        """
        ...

    def revoke(self, session: Session) -> None:
        """Let no key of the session be good for anything any more. Twice changes nothing."""
        ...


class MadeKey(NamedTuple):
    """A key, and what the ledger may know of it."""

    credential: Credential
    key: str


class GatewayKeys:
    """Keys of our own making: the gateway looks them up in the ledger."""

    def __init__(self, ledger: Ledger, clock_us: Callable[[], int]) -> None:
        self._ledger = ledger
        self._clock_us = clock_us

    def issue(self, session: Session, random: Callable[[int], bytes]) -> str:
        made = self.made(session, random)
        self._ledger.issue(made.credential)
        return made.key

    def made(self, session: Session, random: Callable[[int], bytes]) -> MadeKey:
        """A key that is not issued yet: good for nothing before its credential is in the ledger."""
        key = session_key(random(32))
        alias = f"{session.variant}/{session.task_card}/{session.session_id[-6:]}"
        credential = Credential(key_hash(key), session.session_id, alias, self._clock_us(), session.expires_at_us)
        return MadeKey(credential, key)

    def revoke(self, session: Session) -> None:
        self._ledger.revoke([session.session_id], self._clock_us())


class DeploymentKeys:
    """Virtual keys of a LiteLLM deployment, which makes them, and knows them by their hash as the ledger does.

    The alias is the session's for good, so that a key is found again of which the ledger never heard.
    """

    def __init__(self, deployment: Deployment, ledger: Ledger, clock_us: Callable[[], int]) -> None:
        self._deployment = deployment
        self._ledger = ledger
        self._clock_us = clock_us

    def issue(self, session: Session, random: Callable[[int], bytes]) -> str:
        if credentials(self._ledger, session.session_id):
            self.revoke(session)  # a deployment has no two keys of one alias
        now_us, alias = self._clock_us(), _alias(session)
        key = self._deployment.generate_key(
            alias,
            max(1, math.ceil((session.expires_at_us - now_us) / 1e6)),
            [session.model] if session.small_model is None else [session.model, session.small_model],
            {name: value for name, value in attribution(session).items() if value is not None},
        )
        with contextlib.ExitStack() as failing:
            failing.callback(self._deployment.delete_keys, [key_hash(key)], alias)
            credential = Credential(
                key_hash(key), session.session_id, alias, now_us, session.expires_at_us, None, "litellm"
            )
            self._ledger.issue(credential)
            failing.pop_all()
        return key

    def revoke(self, session: Session) -> None:
        self._ledger.revoke([session.session_id], self._clock_us())
        issued = [each for each in credentials(self._ledger, session.session_id) if each.issuer == "litellm"]
        self._deployment.delete_keys([credential.key_hash for credential in issued], _alias(session))


def _alias(session: Session) -> str:
    """A readable name that no other key of the deployment has."""
    return f"{session.variant}/{session.task_card}/{session.session_id}"
