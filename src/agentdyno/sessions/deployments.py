"""Sessions whose provider is a LiteLLM deployment: which one it is, and reading its logs until they are whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from agentdyno.collectors.litellm_deployment import Deployment
from agentdyno.collectors.spend_logs import LogsCollected, collect_spend_logs
from agentdyno.core.errors import DeploymentFault, DeploymentUnreachable, UserError
from agentdyno.core.fingerprints import fingerprint
from agentdyno.core.records import HarnessProfile, Provider, Session, Variant
from agentdyno.store import queries
from agentdyno.store.ledger import Ledger

_ASK_EVERY_S, _LEAST_PAUSE_S = 2.0, 0.1
_POLL_S = 0.05
_READ_AGAIN_US = 24 * 3600 * 1_000_000
"""How long after a session's end its logs are still looked for."""


class DeploymentAccess(NamedTuple):
    """What it takes to deal with the deployments of sessions."""

    environ: Mapping[str, str]
    """Where their admin keys are."""
    logs_quiet_s: float
    logs_limit_s: float
    told: Callable[[str], object] = lambda _: None
    """Is told, line by line, what is waited for, and what did not work."""

    def in_haste(self, limit_s: float) -> DeploymentAccess:
        """The same, with no more than so much time for logs."""
        return self._replace(logs_limit_s=min(self.logs_limit_s, limit_s))


def deployment_at(provider: Provider, environ: Mapping[str, str]) -> Deployment | None:
    """The deployment that a provider is; None for one behind the gateway. Raises UserError without its admin key."""
    if provider.deployment_key_env is None or provider.base_url is None:
        return None
    return Deployment(provider.name, provider.base_url, provider.deployment_key_env, environ)


def deployment_provider(ledger: Ledger, session: Session) -> Provider | None:
    """The provider of a session, as it was when the session began, if it was a deployment; None for any other."""
    providers = [p for p in queries.configured(ledger, Provider, session.provider) if p.deployment_key_env is not None]
    if not providers:
        return None
    variants = queries.configured(ledger, Variant, session.variant)
    profiles = queries.configured(ledger, HarnessProfile, session.harness_profile)
    for provider in providers:
        prints = {fingerprint(variant, provider, profile) for variant in variants for profile in profiles}
        if session.variant_fingerprint in prints:
            return provider
    return None


def deployment_of(ledger: Ledger, session: Session, environ: Mapping[str, str]) -> Deployment | None:
    """The deployment that a session's requests go to; None for one of the gateway. Raises UserError as above."""
    provider = deployment_provider(ledger, session)
    return None if provider is None else deployment_at(provider, environ)


def read_logs_to_the_end(
    deployment: Deployment, ledger: Ledger, session: Session, access: DeploymentAccess, given_up: Callable[[], bool]
) -> None:
    """Collect until no log has come for a while, or time is up, which is told; or until it is given up.

    A deployment that does not answer meanwhile is asked again. Raises DeploymentUnreachable when time is up by then.
    """
    began_s = changed_s = time.monotonic()
    pause_s = max(_LEAST_PAUSE_S, min(_ASK_EVERY_S, access.logs_quiet_s / 4))
    seen: int | None = None
    while not given_up():
        unreachable: DeploymentUnreachable | None = None
        try:
            found = collect_spend_logs(deployment, ledger, session).logs
        except DeploymentUnreachable as error:
            unreachable, found = error, seen or 0
        now_s = time.monotonic()
        if unreachable is None and found != seen:
            access.told(_waiting_for(deployment, found, access))
            seen, changed_s = found, now_s
        if unreachable is None and now_s - changed_s >= access.logs_quiet_s:
            return
        if now_s - began_s >= access.logs_limit_s:
            if unreachable is not None:
                raise unreachable
            access.told(
                f"the logs of {deployment} were not known to be whole after {access.logs_limit_s:g} s; "
                "`dyno normalize` reads what comes later"
            )
            return
        _pause(pause_s, given_up)


def _waiting_for(deployment: Deployment, found: int, access: DeploymentAccess) -> str:
    return (
        f"requests in the logs of {deployment.provider}: {found}; waiting until none has come for "
        f"{access.logs_quiet_s:g} s, at most {access.logs_limit_s:g} s; Ctrl-C ends the wait"
    )


def _pause(pause_s: float, given_up: Callable[[], bool]) -> None:
    until_s = time.monotonic() + pause_s
    while time.monotonic() < until_s and not given_up():
        time.sleep(_POLL_S)


def log_reader(ledger: Ledger, session: Session, access: DeploymentAccess) -> Callable[[], None]:
    """What brings in the logs of a session as far as they are there. What hinders it is told, once."""
    said: set[str] = set()

    def read() -> None:
        try:
            deployment = deployment_of(ledger, session, access.environ)
            if deployment is not None:
                collect_spend_logs(deployment, ledger, session)
        except (DeploymentFault, UserError) as error:
            if str(error) not in said:
                said.add(str(error))
                access.told(str(error))

    return read


def read_known_logs(ledger: Ledger, access: DeploymentAccess, now_us: int, *, of_all: bool) -> LogsCollected:
    """Collect what the deployments have by now of sessions that are open or ended within a day, or of all sessions.

    What one of them does not give keeps no other from being read: it is told.
    """
    totals = LogsCollected()
    for session in queries.sessions_with_virtual_keys(ledger, 0 if of_all else now_us - _READ_AGAIN_US):
        try:
            deployment = deployment_of(ledger, session, access.environ)
            if deployment is not None:
                totals = totals.plus(collect_spend_logs(deployment, ledger, session))
        except (DeploymentFault, UserError) as error:
            access.told(f"the logs of session {session.session_id} were not read: {error}")
            totals = totals.plus(LogsCollected(sessions_missed=1))
    return totals
