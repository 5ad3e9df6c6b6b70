"""Opening a session: the first five of its eight steps, in order, each of them in the ledger before the next begins."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from agentdyno.core.config import Config, entity_digest, fingerprint
from agentdyno.core.errors import UserError
from agentdyno.core.ids import key_hash, session_key, time_ordered_id
from agentdyno.core.lifecycle import require_next
from agentdyno.core.records import Credential, HarnessProfile, Provider, Session, TaskCard, Variant
from agentdyno.sessions.closing import finalize, require_session
from agentdyno.sessions.environment import program_of, render_environment, template_values, write_files
from agentdyno.sessions.interruption import Interrupted, Interruptions
from agentdyno.sessions.repository import RepositoryFacts, read_repository, storable
from agentdyno.sessions.steps import log_step, take_step
from agentdyno.stand.home import Home
from agentdyno.stand.inventory import read_harness, read_machine, read_versions
from agentdyno.stand.state import StandState
from agentdyno.store.ledger import Ledger

_ABORTED_DRAIN_TIMEOUT_S = 5.0


class Context(NamedTuple):
    """What sessions are opened with: the edges of the system, handed in."""

    config: Config
    ledger: Ledger
    home: Home
    stand: StandState
    environ: Mapping[str, str]
    clock_us: Callable[[], int]
    random: Callable[[int], bytes]
    interruptions: Interruptions


class Wanted(NamedTuple):
    """What a person asks for."""

    variant: str
    task_card: str
    experiment: str | None = None
    label: str | None = None
    repo: Path = Path()
    program: str | None = None
    """The program that will be launched, where it is known; else the profile's."""


class Opened(NamedTuple):
    """A session that is ready to be worked in. The key is in `env` (and perhaps in files), and nowhere else."""

    session: Session
    env: dict[str, str]
    values: dict[str, str]
    """What the profile's command templates may name."""
    profile: HarnessProfile
    task_card: TaskCard


class _Choice(NamedTuple):
    """Step one: everything that was chosen, found to exist and to fit."""

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
    choice = _choose(context, wanted)
    session = _new_session(context, wanted, choice)
    context.ledger.remember([choice.provider, choice.profile, choice.variant, choice.task_card])
    if wanted.experiment is not None:
        context.ledger.remember([context.config.experiment(wanted.experiment)])
    require_next("chosen", session.phase)
    context.ledger.add_session(session)
    log_step(session.session_id, session.phase)
    with aborted_on_failure(context, session.session_id):
        key = issue_key(context, session)
        take_step(context.ledger, session.session_id, "created", "credentialed")
        _record_facts(context, session, choice)
        env, values = _render(context, session, choice, key)
        take_step(context.ledger, session.session_id, "recorded", "rendered")
    return Opened(require_session(context.ledger, session.session_id), env, values, choice.profile, choice.task_card)


@contextlib.contextmanager
def aborted_on_failure(context: Context, session_id: str) -> Iterator[None]:
    """Whatever goes wrong while this lasts, an interruption included, leaves the session finalized as aborted."""
    try:
        yield
        context.interruptions.raise_if_any()
    except BaseException as error:
        session = finalize(
            context.ledger,
            context.home,
            session_id,
            "aborted",
            None,
            context.clock_us,
            _ABORTED_DRAIN_TIMEOUT_S,
            given_up=context.interruptions.more(),
        )
        if isinstance(error, Interrupted):
            error.add_note(f"session {session_id} is {session.outcome}")
        raise


def issue_key(context: Context, session: Session) -> str:
    """Make the session's one live key, revoking any older one, and return it: it is kept nowhere."""
    now_us = context.clock_us()
    key = session_key(context.random(32))
    alias = f"{session.variant}/{session.task_card}/{session.session_id[-6:]}"
    context.ledger.issue(Credential(key_hash(key), session.session_id, alias, now_us, session.expires_at_us))
    return key


def rotate_key(context: Context, session: Session) -> dict[str, str]:
    """Issue a new key to an open session, revoke the old one, and render its environment again."""
    if session.ended_at_us is not None:
        raise UserError(f"session {session.session_id} is over", "create another")
    variant = context.config.variant(session.variant)
    profile = context.config.harness_profile(variant.harness_profile)
    choice = _Choice(
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
    return _render(context, session, choice, issue_key(context, session))[0]


def _choose(context: Context, wanted: Wanted) -> _Choice:
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
    if provider.name in context.stand.missing_secrets:
        raise UserError(
            f"provider {provider.name} is not served: {context.stand.missing_secrets[provider.name]} was not set",
            "set it in the environment of `dyno up`, and start the stand again",
        )
    if provider.name not in context.stand.served:
        raise UserError(
            f"the stand that is up does not serve provider {provider.name}", "`dyno down`, then `dyno up` again"
        )
    if context.stand.served[provider.name] != entity_digest(provider):
        raise UserError(
            f"provider {provider.name} was changed since the stand came up", "`dyno down`, then `dyno up` again"
        )
    program = wanted.program or program_of(profile)
    if program is not None and shutil.which(program, path=context.environ.get("PATH")) is None:
        raise UserError(
            f"{program} is not installed", f"install it, or put its folder on PATH (profile {profile.name})"
        )
    return _Choice(variant, provider, profile, task_card, read_repository(wanted.repo), program)


def _new_session(context: Context, wanted: Wanted, choice: _Choice) -> Session:
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


def _record_facts(context: Context, session: Session, choice: _Choice) -> None:
    harness = read_harness(
        choice.program, choice.profile.version_command, context.environ, context.home.harness_versions
    )
    repository = choice.repository
    take_step(
        context.ledger,
        session.session_id,
        "credentialed",
        "recorded",
        repository_root=storable(repository.root),
        repository_branch=storable(repository.branch),
        repository_commit=repository.commit,
        repository_dirty=repository.dirty,
        harness_binary=storable(harness.path),
        harness_version=harness.version,
        **read_versions()._asdict(),
        **read_machine()._asdict(),
    )


def _render(context: Context, session: Session, choice: _Choice, key: str) -> tuple[dict[str, str], dict[str, str]]:
    folder = context.home.session(session.session_id)
    values = template_values(
        choice.variant,
        choice.profile,
        gateway_url=context.stand.gateway_url,
        session_id=session.session_id,
        files_dir=folder,
        workspace=Path(choice.repository.root),
    )
    rendered = render_environment(choice.variant, choice.profile, values, key, folder)
    write_files(folder, rendered.files)
    return rendered.env, values
