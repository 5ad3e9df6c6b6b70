"""Opening a session: the first five of its eight steps, in order, each of them in the ledger before the next begins."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from agentdyno.core.config import Config, entity_digest, fingerprint, without_admin_keys
from agentdyno.core.errors import HarnessMissing, UserError
from agentdyno.core.ids import time_ordered_id
from agentdyno.core.lifecycle import PHASES, require_next
from agentdyno.core.price_table import declared_version
from agentdyno.core.records import HarnessProfile, Provider, Session, TaskCard, Variant
from agentdyno.core.spend_logs import price_table
from agentdyno.interruption import Interrupted, Interruptions
from agentdyno.sessions.closing import finalize, require_session
from agentdyno.sessions.deployments import DeploymentAccess, deployment_at
from agentdyno.sessions.environment import (
    Rendered,
    program_of,
    render_environment,
    template_values,
    write_files,
)
from agentdyno.sessions.issuing import DeploymentKeys, GatewayKeys
from agentdyno.sessions.repository import RepositoryFacts, read_repository, storable
from agentdyno.sessions.steps import log_step, take_step
from agentdyno.stand.home import Home
from agentdyno.stand.inventory import Versions, read_harness, read_machine, read_versions
from agentdyno.stand.state import StandState, not_up
from agentdyno.store.ledger import Ledger

_ABORTED_DRAIN_TIMEOUT_S = 5.0


class Context(NamedTuple):
    """What sessions are opened with: the edges of the system, handed in."""

    config: Config
    ledger: Ledger
    home: Home
    stand: StandState | None
    """None while none is up: only sessions of LiteLLM deployments need none."""
    environ: Mapping[str, str]
    clock_us: Callable[[], int]
    random: Callable[[int], bytes]
    interruptions: Interruptions

    def require_stand(self) -> StandState:
        """The stand that is up. Raises UserError where there is none."""
        if self.stand is None:
            raise not_up(self.home)
        return self.stand

    def deployment_access(self, told: Callable[[str], object] = lambda _: None) -> DeploymentAccess:
        """What it takes to deal with the deployments of sessions; `told` is told what is waited for."""
        settings = self.config.settings.deployment
        return DeploymentAccess(self.environ, settings.logs_quiet_s, settings.logs_limit_s, told)


class Wanted(NamedTuple):
    """What a person asks for."""

    variant: str
    task_card: str
    experiment: str | None = None
    label: str | None = None
    repo: Path = Path()
    program: str | None = None
    """The program that will be launched, where it is known; else the profile's."""


class CellPlace(NamedTuple):
    """Where a headless cell's session works, and under which id."""

    session_id: str
    workspace: Path
    setup_dir: Path
    lifetime_s: float
    """After that its key expires, whatever becomes of its runner."""


class Opened(NamedTuple):
    """A session that is ready to be worked in. The key is in `env` (and perhaps in files), and nowhere else."""

    session: Session
    env: dict[str, str]
    values: dict[str, str]
    """What the profile's command templates may name."""
    profile: HarnessProfile
    task_card: TaskCard
    workspace_files: dict[str, str]
    """What the variant lays into the workspace of a headless cell."""
    home_files: dict[str, str]
    """What it lays into its HOME."""


class Choice(NamedTuple):
    """Step one of a session: everything that was chosen, found to exist and to fit."""

    variant: Variant
    provider: Provider
    profile: HarnessProfile
    task_card: TaskCard
    repository: RepositoryFacts
    program: str | None


def open_session(context: Context, wanted: Wanted) -> Opened:
    """Take a new session to the step `rendered`.

    Raises UserError, before anything is written, for what does not exist or does not fit. Whatever goes wrong after
    that, an interruption included, leaves the session finalized as aborted.
    """
    choice = choose(context, wanted)
    session = _new_session(context, wanted, choice)
    context.ledger.remember([choice.provider, choice.profile, choice.variant, choice.task_card])
    if wanted.experiment is not None:
        context.ledger.remember([context.config.experiment(wanted.experiment)])
    require_next("chosen", session.phase)
    context.ledger.add_session(session)
    log_step(session.session_id, session.phase)
    with aborted_on_failure(context, session.session_id):
        key = _issue_key(context, session, choice.provider)
        take_step(context.ledger, session.session_id, "created", "credentialed")
        take_step(context.ledger, session.session_id, "credentialed", "recorded", **facts_of(context, choice))
        values = _values(context, session, choice)
        rendered = _render(context, session, choice, values, key)
        take_step(context.ledger, session.session_id, "recorded", "rendered")
    return _opened(require_session(context.ledger, session.session_id), choice, values, rendered)


def model_session(context: Context, choice: Choice, experiment: str) -> Session:
    """What the sessions of an arm's cells on a task card have in common, found out once for all of them."""
    session = _new_session(context, Wanted(choice.variant.name, choice.task_card.name, experiment), choice)
    return replace(session, **facts_of(context, choice))


def open_cell(context: Context, choice: Choice, model: Session, cell: CellPlace) -> Opened:
    """A session of a headless cell, ready to be worked in, after the model of its kind.

    Nothing is left to write but the session and its key: both are in the ledger, together, before anything can use the
    key. Whoever calls this keeps the cell's claim, by which a session is found and closed that was cut short here. What
    the session is made of must be remembered already. A session of a LiteLLM deployment is in the ledger before it has
    its key: whatever goes wrong after that leaves it finalized as aborted, and its key revoked.
    """
    now_us = context.clock_us()
    expires_at_us = now_us + round(cell.lifetime_s * 1e6)
    session = replace(model, session_id=cell.session_id, created_at_us=now_us, expires_at_us=expires_at_us)
    values = _values(context, session, choice, cell)
    if deployment_at(choice.provider, context.environ) is None:
        credential, key = GatewayKeys(context.ledger, context.clock_us).made(session, context.random)
        rendered = _render(context, session, choice, values, key)
        session = replace(session, phase="rendered")
        context.ledger.begin_session(session, credential)
    else:
        context.ledger.add_session(session)
        with contextlib.ExitStack() as failing:
            failing.callback(_abort, context, session.session_id)
            rendered = _render(context, session, choice, values, _issue_key(context, session, choice.provider))
            for current, following in pairwise(PHASES[PHASES.index("created") : PHASES.index("rendered") + 1]):
                take_step(context.ledger, session.session_id, current, following)
            failing.pop_all()
        session = replace(session, phase="rendered")
    return _opened(session, choice, values, rendered)


def _opened(session: Session, choice: Choice, values: dict[str, str], rendered: Rendered) -> Opened:
    return Opened(
        session,
        rendered.env,
        values,
        choice.profile,
        choice.task_card,
        rendered.workspace_files,
        rendered.home_files,
    )


def _abort(context: Context, session_id: str) -> Session:
    """Finalize a session as aborted, without waiting long."""
    return finalize(
        context.ledger,
        context.home,
        session_id,
        "aborted",
        None,
        context.clock_us,
        _ABORTED_DRAIN_TIMEOUT_S,
        given_up=context.interruptions.more(),
        access=context.deployment_access().in_haste(_ABORTED_DRAIN_TIMEOUT_S),
    )


@contextlib.contextmanager
def aborted_on_failure(context: Context, session_id: str) -> Iterator[None]:
    """Whatever goes wrong while this lasts, an interruption included, leaves the session finalized as aborted."""

    def abort() -> None:
        session = _abort(context, session_id)
        error = sys.exception()
        if isinstance(error, Interrupted):
            error.add_note(f"session {session_id} is {session.outcome}")

    with contextlib.ExitStack() as failing:
        failing.callback(abort)
        yield
        context.interruptions.raise_if_any()
        failing.pop_all()


def _issue_key(context: Context, session: Session, provider: Provider) -> str:
    """Make the session's one live key, revoking any older one, and return it: it is kept nowhere."""
    deployment = deployment_at(provider, context.environ)
    if deployment is None:
        return GatewayKeys(context.ledger, context.clock_us).issue(session, context.random)
    return DeploymentKeys(deployment, context.ledger, context.clock_us).issue(session, context.random)


def rotate_key(context: Context, session: Session) -> dict[str, str]:
    """Issue a new key to an open session, revoke the old one, and render its environment again."""
    if session.ended_at_us is not None:
        raise UserError(f"session {session.session_id} is over", "create another")
    variant = context.config.variant(session.variant)
    profile = context.config.harness_profile(variant.harness_profile)
    choice = Choice(
        variant,
        context.config.provider(variant.provider),
        profile,
        context.config.task_card(session.task_card),
        RepositoryFacts(session.repository_root or ".", None, None, False),
        None,
    )
    if fingerprint(choice.variant, choice.provider, choice.profile) != session.variant_fingerprint:
        raise UserError(
            f"variant {variant.name} was changed since session {session.session_id} began", "create another"
        )
    key = _issue_key(context, session, choice.provider)
    return _render(context, session, choice, _values(context, session, choice), key).env


def choose(context: Context, wanted: Wanted, repository: RepositoryFacts | None = None) -> Choice:
    """Everything that a session is made of; the repository is read where it is not given.

    Raises UserError for what does not exist or does not fit, HarnessMissing for a program that is not there.
    """
    config = context.config
    variant = config.variant(wanted.variant)
    task_card = config.task_card(wanted.task_card)
    if wanted.experiment is not None:
        experiment = config.experiment(wanted.experiment)
        for kind, name, names in (
            ("variant", variant.name, experiment.variants),
            ("task card", task_card.name, experiment.task_cards),
        ):
            if name not in names:
                raise UserError(f'{kind} "{name}" is not in experiment {experiment.name}', f"it has {', '.join(names)}")
    provider, profile = config.provider(variant.provider), config.harness_profile(variant.harness_profile)
    if deployment_at(provider, context.environ) is None:
        _require_served(context.require_stand(), provider)
    program = wanted.program or program_of(profile)
    if program is not None and shutil.which(program, path=context.environ.get("PATH")) is None:
        raise HarnessMissing(
            f"{program} is not installed", f"install it, or put its folder on PATH (profile {profile.name})"
        )
    if repository is None:
        repository = read_repository(wanted.repo)
    return Choice(variant, provider, profile, task_card, repository, program)


def _require_served(stand: StandState, provider: Provider) -> None:
    """Raise UserError unless the stand serves the provider as it is configured now."""
    again = "`dyno down`, then `dyno up` again"
    if provider.name in stand.missing_secrets:
        raise UserError(
            f"provider {provider.name} is not served: {stand.missing_secrets[provider.name]} was not set",
            "set it in the environment of `dyno up`, and start the stand again",
        )
    if provider.name not in stand.served:
        raise UserError(f"the stand that is up does not serve provider {provider.name}", again)
    if stand.served[provider.name] != entity_digest(provider):
        raise UserError(f"provider {provider.name} was changed since the stand came up", again)


def _new_session(context: Context, wanted: Wanted, choice: Choice) -> Session:
    now_us = context.clock_us()
    time_to_live_us = round(context.config.settings.session.time_to_live_s * 1e6)
    return Session(
        session_id=time_ordered_id("ses", now_us, context.random(10)),
        phase="created",
        variant=choice.variant.name,
        task_card=choice.task_card.name,
        harness_profile=choice.profile.name,
        provider=choice.provider.name,
        model=choice.variant.model,
        variant_fingerprint=fingerprint(choice.variant, choice.provider, choice.profile),
        task_card_digest=entity_digest(choice.task_card),
        created_at_us=now_us,
        expires_at_us=now_us + time_to_live_us,
        experiment=wanted.experiment,
        small_model=choice.variant.small_model,
        harness_profile_digest=entity_digest(choice.profile),
        label=wanted.label,
    )


def facts_of(context: Context, choice: Choice) -> dict[str, Any]:
    """What is recorded of a session beside what was chosen: repository, harness, versions, machine."""
    environ = without_admin_keys(context.environ, context.config.providers.values())
    harness = read_harness(choice.program, choice.profile.version_command, environ, context.home.harness_versions)
    repository = choice.repository
    return {
        "repository_root": storable(repository.root),
        "repository_branch": storable(repository.branch),
        "repository_commit": repository.commit,
        "repository_dirty": repository.dirty,
        "harness_binary": storable(harness.path),
        "harness_version": harness.version,
        **_versions(choice.provider, choice.variant.model)._asdict(),
        **read_machine()._asdict(),
    }


def _versions(provider: Provider, model: str) -> Versions:
    """What a session's numbers are made with: a deployment does not tell its version, and has prices of its own."""
    versions = read_versions()
    if provider.deployment_key_env is not None:
        return versions._replace(litellm_version=None, price_table_version=price_table(provider.name))
    declared = provider.prices.get(model)
    if declared is None:
        return versions
    return versions._replace(price_table_version=declared_version(provider.name, declared))


def _address(context: Context, provider: Provider) -> str:
    """Where the harness sends its requests."""
    if provider.deployment_key_env is not None and provider.base_url is not None:
        return provider.base_url.rstrip("/")
    return context.require_stand().gateway_url


def _values(context: Context, session: Session, choice: Choice, cell: CellPlace | None = None) -> dict[str, str]:
    """What the session's templates may name, less its key and the prompt."""
    folder = context.home.session(session.session_id)
    return template_values(
        choice.variant,
        choice.profile,
        gateway_url=_address(context, choice.provider),
        session_id=session.session_id,
        files_dir=folder,
        workspace=Path(choice.repository.root) if cell is None else cell.workspace,
        setup_dir=folder / "setup" if cell is None else cell.setup_dir,
    )


def _render(context: Context, session: Session, choice: Choice, values: dict[str, str], key: str) -> Rendered:
    folder = context.home.session(session.session_id)
    rendered = render_environment(choice.variant, choice.profile, values, key, folder)
    write_files(folder, rendered.files)
    return rendered
