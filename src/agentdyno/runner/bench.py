"""What the cells of a run share: where they run, what they start from, and what is known of their arms."""

from __future__ import annotations

import functools
import os
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from agentdyno.core.arms import Arm
from agentdyno.core.config import without_admin_keys
from agentdyno.core.errors import HarnessMissing, SetupFailed, UserError
from agentdyno.core.ids import canonical_json
from agentdyno.core.jsonable import to_jsonable
from agentdyno.core.records import Experiment, Session, TaskCard, Variant
from agentdyno.sessions.environment import setup_values
from agentdyno.sessions.opening import Choice, Context, Wanted, choose, model_session
from agentdyno.sessions.repository import RepositoryFacts
from agentdyno.sessions.sandboxes import Gateway, Sandbox, Stop, toolchain_of
from agentdyno.sessions.sandboxes.named import PROCESS
from agentdyno.sessions.setup_steps import Setup, run_setup
from agentdyno.sessions.workspaces import Source
from agentdyno.store.address import without_ledger

_ALLOWED_VARIABLES = ("PATH", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TERM", "TZ")
"""What a cell has of the stand's own environment, unless the settings name more."""

_GIT_IDENTITY = MappingProxyType(
    {
        "GIT_AUTHOR_NAME": "cell",
        "GIT_AUTHOR_EMAIL": "cell@localhost",
        "GIT_COMMITTER_NAME": "cell",
        "GIT_COMMITTER_EMAIL": "cell@localhost",
    }
)
"""Whose a commit in a workspace is: the operator's name is no business of a cell's."""

_GATEWAY_TIMEOUT_S = 5.0


class Ready(NamedTuple):
    """What a session of an arm on a task card is made of."""

    choice: Choice
    session: Session
    """The model of its kind."""


class Prepared(NamedTuple):
    """An arm on a task card, as far as it is the same for every repeat."""

    arm: Arm
    task_card: TaskCard
    source: Source
    ready: Ready | HarnessMissing
    readable: tuple[Path, ...]
    timebox_s: float


class Bench:
    """Everything that cells need and do not own. May be shared by threads."""

    def __init__(self, context: Context, experiment: Experiment, sandbox: Sandbox, stop: Stop) -> None:
        self.context = context
        self.experiment = experiment
        self.sandbox = sandbox
        self.stop = stop
        self._prepared: dict[tuple[str, str], Prepared] = {}
        self._setups: dict[str, Setup | SetupFailed | None] = {}
        self._setting_up = threading.Lock()

    def prepare(self, arms: tuple[Arm, ...], task_cards: tuple[TaskCard, ...], sources: Mapping[str, Source]) -> None:
        """Find everything that the cells of these arms and task cards are made of.

        A harness that is missing is told by its cells. Raises UserError for all else that does not exist or does not
        fit.
        """
        for arm in arms:
            self._require_reachable(arm)
            for card in task_cards:
                self._prepared[arm.name, card.name] = self._prepare(arm, card, sources[card.name])

    def missing(self) -> tuple[str, ...]:
        """What is said of each harness whose program is not there."""
        found = (prepared.ready for prepared in self._prepared.values())
        return tuple(dict.fromkeys(str(each) for each in found if isinstance(each, HarnessMissing)))

    def prepared(self, arm: str, task_card: str) -> Prepared:
        """What was found of an arm on a task card."""
        return self._prepared[arm, task_card]

    def remember(self) -> None:
        """Keep in the ledger what the sessions of the cells are made of."""
        config = self.context.config
        entities: list[Any] = [self.experiment]
        for prepared in self._prepared.values():
            variant = prepared.arm.variant
            entities += [
                variant,
                config.provider(variant.provider),
                config.harness_profile(variant.harness_profile),
                prepared.task_card,
            ]
        self.context.ledger.remember(entities)

    def setup_of(self, variant: Variant) -> Setup | None:
        """What a variant had built: tried once in a run, by one cell for all. Raises SetupFailed, SetupStopped."""
        if not variant.setup:
            return None
        profile = self.context.config.harness_profile(variant.harness_profile)
        cache = self.context.home.cache
        values = {**profile.settings, **variant.settings, **setup_values(variant, cache)}
        with self._setting_up:
            if variant.name not in self._setups:
                try:
                    built = run_setup(variant, values, self.environ, cache, self.stop)
                except SetupFailed as failed:
                    self._setups[variant.name] = failed
                else:
                    # To the cells after this one it was there before.
                    self._setups[variant.name] = None if built is None else built._replace(cached=True)
                    return built
            found = self._setups[variant.name]
        if isinstance(found, SetupFailed):
            raise found
        return found

    @functools.cached_property
    def gateway(self) -> Gateway:
        """The gateway, as a sandbox lets it through."""
        state = self.context.require_stand()
        host, _, port = state.gateway_url.removeprefix("http://").rpartition(":")
        return Gateway(host.strip("[]"), int(port), Path(state.gateway_socket))

    @functools.cached_property
    def confinement(self) -> dict[str, Any]:
        """What is recorded of every attempt: where it ran, and within what limits."""
        limits = self.experiment.limits
        return {
            "sandbox": self.sandbox.name,
            "unenforced": self.sandbox.unenforced(limits),
            "limits": canonical_json(to_jsonable(limits)),
        }

    def gateway_lives(self) -> bool:
        """Whether the gateway that this run began with still takes requests. Each has a socket of its own."""
        if self.context.stand is None:
            return True  # all its cells go to LiteLLM deployments
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asked:
            asked.settimeout(_GATEWAY_TIMEOUT_S)
            try:
                asked.connect(self.context.stand.gateway_socket)
                asked.sendall(b"GET /health/live HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n")
                return b" 200 " in asked.recv(64)
            except OSError:
                return False

    @functools.cached_property
    def environ(self) -> dict[str, str]:
        """What of the stand's own environment a cell may have."""
        allowed = {*_ALLOWED_VARIABLES, *self.context.config.settings.cells.environ}
        environ = without_admin_keys(without_ledger(self.context.environ), self.context.config.providers.values())
        return {**_GIT_IDENTITY, **{name: value for name, value in environ.items() if name in allowed}}

    def _require_reachable(self, arm: Arm) -> None:
        provider = self.context.config.provider(arm.variant.provider)
        if provider.deployment_key_env is not None and self.sandbox.name != PROCESS:
            raise UserError(
                f"provider {provider.name} is a LiteLLM deployment, which nothing in {self.sandbox.name} can reach",
                f"let the experiment say: sandbox: {PROCESS}",
            )

    def _prepare(self, arm: Arm, task_card: TaskCard, source: Source) -> Prepared:
        context, variant = self.context, arm.variant
        timebox_s = task_card.timebox_s
        if timebox_s is None:
            timebox_s = context.config.settings.cells.timebox_s
        repository = RepositoryFacts(source.root or str(source.template), None, source.commit, dirty=False)
        wanted = Wanted(variant.name, task_card.name, self.experiment.name)
        readable = [Path(path) for path in context.config.settings.cells.readable]
        ready: Ready | HarnessMissing
        try:
            choice = choose(context, wanted, repository)
            ready = Ready(choice, model_session(context, choice, self.experiment.name))
            if choice.program is not None and self.sandbox.name != PROCESS:
                path = self.environ.get("PATH", os.defpath)
                readable += toolchain_of(choice.program, path, context.home.folder, tuple(readable))
        except HarnessMissing as missing:
            ready = missing
        return Prepared(arm, task_card, source, ready, tuple(readable), timebox_s)
