"""The whole configuration: texts by path in, every fault at once or records out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from agentdyno.core.config.checks import CHECKS, ENVIRONMENT_REFERENCE, reference_faults
from agentdyno.core.config.decode import Decoded, decode
from agentdyno.core.config.documents import Document, parse
from agentdyno.core.config.entities import (
    Entity,
    Registry,
    kind_of,
    misplaced,
    name_of,
    registered,
)
from agentdyno.core.config.settings import StandSettings, settings_faults
from agentdyno.core.errors import ConfigFaults, Fault, UserError
from agentdyno.core.jsonable import content_digest
from agentdyno.core.layout import SETTINGS_FILE
from agentdyno.core.names import suggestion
from agentdyno.core.records import CONFIGURED, Experiment, HarnessProfile, Provider, TaskCard, Variant
from agentdyno.core.secrets import find_secrets, redact

R = TypeVar("R")


@dataclass(frozen=True)
class Config:
    """A whole configuration without a fault: every name in it is defined, every template can be rendered."""

    settings: StandSettings
    providers: Mapping[str, Provider]
    harness_profiles: Mapping[str, HarnessProfile]
    variants: Mapping[str, Variant]
    task_cards: Mapping[str, TaskCard]
    experiments: Mapping[str, Experiment]

    def provider(self, name: str) -> Provider:
        """The provider of that name. Raises UserError, as do all of these, with the nearest name there is."""
        return _named("provider", name, self.providers)

    def harness_profile(self, name: str) -> HarnessProfile:
        """The harness profile of that name."""
        return _named("harness profile", name, self.harness_profiles)

    def variant(self, name: str) -> Variant:
        """The variant of that name."""
        return _named("variant", name, self.variants)

    def task_card(self, name: str) -> TaskCard:
        """The task card of that name."""
        return _named("task card", name, self.task_cards)

    def experiment(self, name: str) -> Experiment:
        """The experiment of that name."""
        return _named("experiment", name, self.experiments)


def load(files: Mapping[str, str], built_in: Mapping[str, str] = MappingProxyType({})) -> Config:
    """The configuration that texts by relative path describe. Raises ConfigFaults, with all there are.

    An entity of `built_in` gives way to one of the same kind and name in `files`.
    """
    faults: list[Fault] = []
    settings = _settings(files.get(SETTINGS_FILE, ""), faults)
    entities = list(_entities(files, faults))
    own = {(entity.kind, entity.name) for entity in entities}
    entities += [entity for entity in _entities(built_in, faults) if (entity.kind, entity.name) not in own]
    registry = registered(entities, faults)
    for entity in entities:
        faults.extend(reference_faults(entity, registry))
        faults.extend(CHECKS[entity.kind](entity, registry))
    if faults:
        raise ConfigFaults(sorted({_redacted(fault) for fault in faults}))
    return _config(settings, registry)


def secrets_of(provider: Provider) -> tuple[str, ...]:
    """The environment variables that hold a provider's secrets and other private parameters."""
    named = [] if provider.api_key_env is None else [provider.api_key_env]
    referred = [value for value in provider.options.values() if value.startswith(ENVIRONMENT_REFERENCE)]
    return tuple(dict.fromkeys([*named, *(value.removeprefix(ENVIRONMENT_REFERENCE) for value in referred)]))


def without_admin_keys(environ: Mapping[str, str], providers: Iterable[Provider]) -> dict[str, str]:
    """An environment for programs that have no business with the admin keys of LiteLLM deployments."""
    withheld = {provider.deployment_key_env for provider in providers}
    return {name: value for name, value in environ.items() if name not in withheld}


def missing_secrets(config: Config, variant: Variant, environ: Mapping[str, str]) -> list[str]:
    """The environment variables that a variant's provider needs and that are not set, or are empty."""
    return [name for name in secrets_of(config.provider(variant.provider)) if not environ.get(name)]


def entity_digest(entity: Provider | HarnessProfile | Variant | TaskCard | Experiment) -> str:
    """The digest of everything that an entity says."""
    return content_digest(entity)


def _named(kind: str, name: str, entities: Mapping[str, R]) -> R:
    if name not in entities:
        raise UserError(f'{kind} "{name}" is not defined', suggestion(name, entities))
    return entities[name]


def _settings(text: str, faults: list[Fault]) -> StandSettings:
    document = _document(SETTINGS_FILE, text, faults)
    decoded = _decoded(StandSettings, document, {}, faults)
    faults.extend(settings_faults(document, decoded.sound))
    return StandSettings() if decoded.record is None else decoded.record


def _entities(files: Mapping[str, str], faults: list[Fault]) -> Iterator[Entity]:
    for file in sorted(set(files) - {SETTINGS_FILE}):
        kind = kind_of(file)
        if kind is None:
            faults.append(misplaced(file))
            continue
        document = _document(file, files[file], faults)
        name = name_of(document)
        decoded: Decoded[Any] = _decoded(CONFIGURED[kind], document, {"name": name}, faults)
        yield Entity(kind, name, document, decoded.record, decoded.sound)


def _document(file: str, text: str, faults: list[Fault]) -> Document:
    document, found = parse(file, text)
    for number, line in enumerate(text.split("\n"), start=1):
        if find_secrets(line):
            what = "holds what looks like a secret; put it into the environment and name the variable here"
            found.append(Fault(file, number, document.field_at(number), what))
    faults.extend(found)
    return document


def _decoded(record: type[R], document: Document, defaults: Mapping[str, str], faults: list[Fault]) -> Decoded[R]:
    decoded = decode(record, document, defaults, [fault for fault in faults if fault.file == document.file])
    faults.extend(decoded.faults)
    return decoded


def _config(settings: StandSettings, registry: Registry) -> Config:
    records = {
        f"{kind}s": MappingProxyType({name: entity.record for name, entity in sorted(named.items())})
        for kind, named in registry.items()
    }
    return Config(settings=settings, **records)


def _redacted(fault: Fault) -> Fault:
    return Fault(redact(fault.file), fault.line, redact(fault.field), redact(fault.message))
