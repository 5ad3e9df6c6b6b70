"""What must hold of a configuration beyond the types of its fields.

Each function yields the faults of one entity; `CHECKS` says which are asked for which kind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import get_args

from agentdyno.core.config.documents import Path
from agentdyno.core.config.entities import Entity, Registry
from agentdyno.core.errors import Fault
from agentdyno.core.fields import fields_of
from agentdyno.core.names import suggestion
from agentdyno.core.records import CONFIGURED, Check, Experiment, HarnessProfile, Provider, Surface, TaskCard, Variant
from agentdyno.core.templates import COMMAND_NAMES, STAND_NAMES, is_broken, names_in

ENVIRONMENT_REFERENCE = "os.environ/"
"""How LiteLLM is told to take a parameter's value from the environment."""
_SECRET_NAME = re.compile(r"[A-Z_][A-Z0-9_]*")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SETTING_NAME = re.compile(r"[a-z][a-z0-9_]*")
_ADDRESS = re.compile(r"https?://[^\s/@]+(/\S*)?")
_USED_BY_CHECK: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"file_exists": (), "file_matches": ("pattern",), "json_equals": ("path", "value")}
)


def reference_faults(entity: Entity, registry: Registry) -> Iterator[Fault]:
    """Names of other entities that are not defined."""
    for spec in fields_of(CONFIGURED[entity.kind]):
        if spec.field.ref is None:
            continue
        valid = registry[spec.field.ref.partition(".")[0]]
        value = getattr(entity.record, spec.name)
        if value is None:
            continue
        named = (
            [((spec.name,), value)] if isinstance(value, str) else [((spec.name, i), v) for i, v in enumerate(value)]
        )
        for path, name in named:
            if name not in valid:
                yield entity.fault(path, f'"{name}" is not defined; {suggestion(name, valid)}')


def provider_faults(entity: Entity, _: Registry) -> Iterator[Fault]:
    """A secret that is not named, an address that is none, a managed provider's address."""
    provider: Provider = entity.record
    if provider.api_key_env is not None and not _SECRET_NAME.fullmatch(provider.api_key_env):
        yield entity.fault(
            ("api_key_env",),
            "is not the NAME of an environment variable, such as OPENAI_API_KEY; the value is not shown, "
            "for it may be a secret",
        )
    if provider.managed is not None and provider.base_url is not None:
        yield entity.fault(("base_url",), f"is not used: the stand itself starts the provider ({provider.managed})")
    if provider.base_url is not None and not _ADDRESS.fullmatch(provider.base_url):
        yield entity.fault(("base_url",), "is not an address; expected http://… or https://…, without credentials")
    for name, value in provider.options.items():
        reference = value.removeprefix(ENVIRONMENT_REFERENCE)
        if reference != value and not _SECRET_NAME.fullmatch(reference):
            yield entity.fault(("options", name), f"names no environment variable after {ENVIRONMENT_REFERENCE}")


def harness_profile_faults(entity: Entity, _: Registry) -> Iterator[Fault]:
    """Templates that ask for what nobody gives, names that cannot be names, files that would lie elsewhere."""
    profile: HarnessProfile = entity.record
    settings = frozenset(profile.settings)
    for name in profile.settings:
        if not _SETTING_NAME.fullmatch(name):
            yield entity.fault(("settings", name), "is not a setting's name; expected lower-case letters, digits and _")
        if name in STAND_NAMES | COMMAND_NAMES:
            yield entity.fault(("settings", name), "is a name that the stand gives itself")
    yield from _env_faults(entity, profile.env, settings)
    for path, template in profile.files.items():
        if not _stays_inside(path):
            yield entity.fault(("files", path), "is not a path below ${files_dir}")
        yield from _template_faults(entity, ("files", path), template, STAND_NAMES | settings)
    for position, template in enumerate(profile.command):
        yield from _template_faults(entity, ("command", position), template, COMMAND_NAMES | settings)


def variant_faults(entity: Entity, registry: Registry) -> Iterator[Fault]:
    """A model that the provider lacks, a surface that it does not serve, settings that the profile lacks."""
    variant: Variant = entity.record
    provider = _record(registry, "provider", variant.provider)
    profile = _record(registry, "harness_profile", variant.harness_profile)
    if isinstance(provider, Provider) and variant.model not in provider.models:
        instead = suggestion(variant.model, provider.models)
        yield entity.fault(("model",), f'"{variant.model}" is not a model of provider "{provider.name}"; {instead}')
    if not isinstance(profile, HarnessProfile):
        return
    if isinstance(provider, Provider) and profile.surface not in provider.routes:
        served = ", ".join(surface for surface in get_args(Surface) if surface in provider.routes) or "none"
        yield entity.fault(
            ("harness_profile",),
            f'"{profile.name}" speaks {profile.surface}, which provider "{provider.name}" has no route for; '
            f"it has {served}",
        )
    for name in variant.settings:
        if name not in profile.settings:
            instead = suggestion(name, profile.settings)
            yield entity.fault(("settings", name), f'is not a setting of harness profile "{profile.name}"; {instead}')
    yield from _env_faults(entity, variant.env, frozenset(profile.settings))


def task_card_faults(entity: Entity, _: Registry) -> Iterator[Fault]:
    """A timebox that is no time, files that would lie elsewhere, checks that cannot be carried out."""
    card: TaskCard = entity.record
    if card.timebox_s is not None and card.timebox_s <= 0:
        yield entity.fault(("timebox_s",), f"is {card.timebox_s:g}; expected more than 0 seconds")
    for path in card.files:
        if not _stays_inside(path):
            yield entity.fault(("files", path), "is not a path below the working folder")
    for position, check in enumerate(card.checks):
        yield from _check_faults(entity, ("checks", position), check)


def experiment_faults(entity: Entity, _: Registry) -> Iterator[Fault]:
    """A comparison of nothing, of something with itself, or with a baseline outside of it."""
    experiment: Experiment = entity.record
    for field, names in (("variants", experiment.variants), ("task_cards", experiment.task_cards)):
        if not names:
            yield entity.fault((field,), "is empty; expected at least one name")
        for position, name in enumerate(names):
            if name in names[:position]:
                yield entity.fault((field, position), f'"{name}" is listed twice')
    if experiment.baseline is not None and experiment.baseline not in experiment.variants:
        instead = suggestion(experiment.baseline, experiment.variants)
        yield entity.fault(("baseline",), f'"{experiment.baseline}" is not one of the variants; {instead}')
    if experiment.repeats < 1:
        yield entity.fault(("repeats",), f"is {experiment.repeats}; expected at least 1")


CHECKS: Mapping[str, Callable[[Entity, Registry], Iterator[Fault]]] = MappingProxyType(
    {
        "provider": provider_faults,
        "harness_profile": harness_profile_faults,
        "variant": variant_faults,
        "task_card": task_card_faults,
        "experiment": experiment_faults,
    }
)


def _record(registry: Registry, kind: str, name: str) -> object:
    entity = registry[kind].get(name)
    return None if entity is None else entity.record


def _env_faults(entity: Entity, env: Mapping[str, str], settings: frozenset[str]) -> Iterator[Fault]:
    for name, template in env.items():
        if not _ENV_NAME.fullmatch(name):
            yield entity.fault(("env", name), "is not the name of an environment variable")
        yield from _template_faults(entity, ("env", name), template, STAND_NAMES | settings)


def _template_faults(entity: Entity, path: Path, template: str, valid: Iterable[str]) -> Iterator[Fault]:
    if is_broken(template):
        yield entity.fault(path, "has a ${ that begins no ${name}; a dollar sign itself is written $$")
        return
    for name in names_in(template):
        if name == "session_key" and name not in valid:
            yield entity.fault(
                path, "uses ${session_key}, which everyone could read in the process list; pass it by env or files"
            )
        elif name not in valid:
            yield entity.fault(path, f'uses "{name}", which is not defined; {suggestion(name, valid)}')


def _check_faults(entity: Entity, path: Path, check: Check) -> Iterator[Fault]:
    if not _stays_inside(check.file):
        yield entity.fault((*path, "file"), "is not a path inside the session's working folder")
    for name in ("pattern", "path", "value"):
        given, used = getattr(check, name) is not None, name in _USED_BY_CHECK[check.kind]
        if used and not given:
            yield entity.fault((*path, name), f"is missing; a {check.kind} check needs it")
        if given and not used:
            yield entity.fault((*path, name), f"is not used by a {check.kind} check")
    if check.pattern is not None:
        try:
            re.compile(check.pattern)
        except (re.error, OverflowError, RecursionError) as error:
            yield entity.fault((*path, "pattern"), f"is not a regular expression: {error}")


def _stays_inside(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return bool(parts) and not path.startswith("/") and ".." not in parts
