"""What must hold of a configuration beyond the types of its fields.

Each function yields the faults of one entity; `CHECKS` says which are asked for which kind. They read what is sound and
pass over the rest, which has its fault already: what depends on an unsound value is not judged.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import get_args, get_origin

from agentdyno.core.config.documents import Path
from agentdyno.core.config.entities import Entity, Registry
from agentdyno.core.config.sound import Sound
from agentdyno.core.config.work import experiment_faults, task_card_faults
from agentdyno.core.errors import Fault
from agentdyno.core.fields import fields_of
from agentdyno.core.names import is_path_below, suggestion
from agentdyno.core.records import CONFIGURED, Surface
from agentdyno.core.templates import (
    COMMAND_NAMES,
    KEY_IN_ADDRESS,
    SECRET_NAMES,
    SETUP_NAMES,
    STAND_NAMES,
    is_broken,
    names_in,
)

ENVIRONMENT_REFERENCE = "os.environ/"
"""How LiteLLM is told to take a parameter's value from the environment."""
_SECRET_NAME = re.compile(r"[A-Z_][A-Z0-9_]*")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SETTING_NAME = re.compile(r"[a-z][a-z0-9_]*")
_ADDRESS = re.compile(r"https?://[^\s/@]+(/\S*)?")
_MODEL = re.compile(r"[^\s?#]+")
_ROUTE_PATH = re.compile(r"(/[^\s/?#]+)*")
_SURFACES = frozenset(get_args(Surface))
_NOTHING = Sound({}, frozenset())


def reference_faults(entity: Entity, registry: Registry) -> Iterator[Fault]:
    """Names of other entities that are not defined."""
    for spec in fields_of(CONFIGURED[entity.kind]):
        if spec.field.ref is None:
            continue
        valid = registry[spec.field.ref.partition(".")[0]]
        paths: list[Path] = [(spec.name,)]
        if get_origin(spec.type) is tuple:
            paths = [(spec.name, position) for position in entity.sound.keys(spec.name)]
        for path in paths:
            name = entity.sound.get(*path)
            if name is not None and name not in valid:
                yield entity.fault(path, f'"{name}" is not defined; {suggestion(name, valid)}')


def provider_faults(entity: Entity, _: Registry) -> Iterator[Fault]:
    """A secret that is not named, an address that is none, a managed provider's address, a path that does not fit."""
    sound = entity.sound
    secret, managed, address = sound.get("api_key_env"), sound.get("managed"), sound.get("base_url")
    if secret is not None and not _SECRET_NAME.fullmatch(secret):
        yield entity.fault(
            ("api_key_env",),
            "is not the NAME of an environment variable, such as OPENAI_API_KEY; the value is not shown, "
            "for it may be a secret",
        )
    if managed is not None and address is not None:
        yield entity.fault(("base_url",), f"is not used: the stand itself starts the provider ({managed})")
    if address is not None and not _ADDRESS.fullmatch(address):
        yield entity.fault(("base_url",), "is not an address; expected http://… or https://…, without credentials")
    nowhere = managed is None and address is None and not sound.is_faulty("base_url")
    if nowhere and sound.get("metering") == "pass_through":
        yield entity.fault(("metering",), "needs the provider's address; give it as base_url")
    yield from _deployment_faults(entity)
    yield from _price_faults(entity)
    for position in sound.keys("models"):
        model = sound.get("models", position)
        if model is not None and (not _MODEL.fullmatch(model) or ".." in model.split("/")):
            yield entity.fault(
                ("models", position), f'"{model}" can be no part of a path; expected no blanks, ?, # or ..'
            )
    for surface in sound.keys("routes"):
        path = sound.get("routes", surface, "path")
        if path is not None and not _ROUTE_PATH.fullmatch(path):
            what = f'is "{path}"; expected a slash in front and none at the end, such as /v1'
            yield entity.fault(("routes", surface, "path"), what)
    for name in sound.keys("options"):
        value = sound.get("options", name)
        if value is None or not value.startswith(ENVIRONMENT_REFERENCE):
            continue
        if not _SECRET_NAME.fullmatch(value.removeprefix(ENVIRONMENT_REFERENCE)):
            yield entity.fault(("options", name), f"names no environment variable after {ENVIRONMENT_REFERENCE}")


def _price_faults(entity: Entity) -> Iterator[Fault]:
    """Prices of models that the provider does not have, and prices below nothing."""
    sound = entity.sound
    models = [sound.get("models", position) for position in sound.keys("models")]
    for model in sound.keys("prices"):
        if model not in models and not sound.is_faulty("models"):
            known = [known for known in models if known is not None]
            yield entity.fault(("prices", model), f"is none of the provider's models; {suggestion(str(model), known)}")
        for name in sound.keys("prices", model):
            price = sound.get("prices", model, name)
            if price is not None and not 0 <= price < math.inf:
                yield entity.fault(("prices", model, name), f"is {price:g}; expected 0 or more USD")


def _deployment_faults(entity: Entity) -> Iterator[Fault]:
    """What does not fit a LiteLLM deployment that issues its keys itself."""
    sound, field = entity.sound, "deployment_key_env"
    secret = sound.get(field)
    if secret is None:
        return
    if not _SECRET_NAME.fullmatch(secret):
        yield entity.fault(
            (field,),
            "is not the NAME of an environment variable, such as LITELLM_ADMIN_KEY; the value is not shown, "
            "for it may be a secret",
        )
    if sound.get("managed") is not None:
        yield entity.fault((field,), f"is not used: the stand itself starts the provider ({sound.get('managed')})")
    elif sound.get("base_url") is None and not sound.is_faulty("base_url"):
        yield entity.fault((field,), "needs the deployment's address; give it as base_url")
    for unused in ("api_key_env", "options", "prices"):
        if sound.get(unused):
            yield entity.fault((unused,), "is not used: the deployment at base_url has its own way to its models")
    if sound.get("metering") == "pass_through":
        yield entity.fault(("metering",), "is not used: no request to a deployment passes the gateway")


def harness_profile_faults(entity: Entity, _: Registry) -> Iterator[Fault]:
    """Templates that ask for what nobody gives, names that cannot be names, files that would lie elsewhere."""
    sound = entity.sound
    settings = sound.all_keys("settings")
    for name in sound.keys("settings"):
        if not _SETTING_NAME.fullmatch(name):
            yield entity.fault(("settings", name), "is not a setting's name; expected lower-case letters, digits and _")
        if name in STAND_NAMES | COMMAND_NAMES:
            yield entity.fault(("settings", name), "is a name that the stand gives itself")
    yield from _env_faults(entity, settings)
    for path in sound.keys("files"):
        if not is_path_below(path):
            yield entity.fault(("files", path), "is not a path below ${files_dir}")
        yield from _template_faults(entity, ("files", path), STAND_NAMES, settings)
    for position in sound.keys("command"):
        yield from _template_faults(entity, ("command", position), COMMAND_NAMES, settings)
    for position in sound.keys("side_calls"):
        conditions = ("offers_tools", "small_model", "at_most_output_tokens")
        given = any(
            sound.get(*path) is not None or sound.is_faulty(*path)
            for path in [("side_calls", position, name) for name in conditions]
        )
        if not given:
            yield entity.fault(("side_calls", position), f"fits every request; expected one of {', '.join(conditions)}")
        limit = sound.get("side_calls", position, "at_most_output_tokens")
        if limit is not None and limit < 1:
            yield entity.fault(("side_calls", position, "at_most_output_tokens"), f"is {limit}; expected at least 1")


def variant_faults(entity: Entity, registry: Registry) -> Iterator[Fault]:
    """A model that the provider lacks, a surface that it does not serve, settings that the profile lacks."""
    sound = entity.sound
    provider, profile = _referred(entity, "provider", registry), _referred(entity, "harness_profile", registry)
    models = provider.get("models")
    for field in ("model", "small_model"):
        model = sound.get(field)
        if model is not None and models is not None and model not in models:
            what = f'"{model}" is not a model of provider "{sound.get("provider")}"; {suggestion(model, models)}'
            yield entity.fault((field,), what)
    surface, routes = profile.get("surface"), provider.all_keys("routes")
    if surface is not None and routes is not None and surface not in routes and routes <= _SURFACES:
        yield entity.fault(
            ("harness_profile",),
            f'"{sound.get("harness_profile")}" speaks {surface}, which provider "{sound.get("provider")}" '
            f"has no route for; it has {', '.join(sorted(routes)) or 'none'}",
        )
    if provider.get("deployment_key_env") is not None and _asks_for(KEY_IN_ADDRESS, profile, sound):
        what = f'"{sound.get("harness_profile")}" puts the key into the address, which only the stand\'s gateway takes'
        yield entity.fault(("harness_profile",), what)
    settings = profile.all_keys("settings")
    for name in sound.keys("settings"):
        if settings is not None and name not in settings:
            what = f'is not a setting of harness profile "{sound.get("harness_profile")}"; {suggestion(name, settings)}'
            yield entity.fault(("settings", name), what)
    yield from _env_faults(entity, settings)
    for field in ("workspace_files", "home_files"):
        for path in sound.keys(field):
            if not is_path_below(path):
                yield entity.fault((field, path), "is not a path below the folder that it is laid into")
            yield from _template_faults(entity, (field, path), STAND_NAMES, settings)
    for position in sound.keys("setup"):
        yield from _setup_faults(entity, ("setup", position), settings)


def _setup_faults(entity: Entity, path: Path, settings: frozenset[str] | None) -> Iterator[Fault]:
    """A step that does nothing, has no time, or asks for what there is only once a session is."""
    command, timeout_s = (*path, "command"), entity.sound.get(*path, "timeout_s")
    if entity.sound.get(*command) == []:
        yield entity.fault(command, "is empty; expected a command")
    if timeout_s is not None and not 0 < timeout_s < math.inf:
        yield entity.fault((*path, "timeout_s"), f"is {timeout_s:g}; expected more than 0 seconds")
    for position in entity.sound.keys(*command):
        yield from _template_faults(entity, (*command, position), SETUP_NAMES, settings)


CHECKS: Mapping[str, Callable[[Entity, Registry], Iterator[Fault]]] = MappingProxyType(
    {
        "provider": provider_faults,
        "harness_profile": harness_profile_faults,
        "variant": variant_faults,
        "task_card": task_card_faults,
        "experiment": experiment_faults,
    }
)


def _referred(entity: Entity, kind: str, registry: Registry) -> Sound:
    """What is sound of the entity that a field names; nothing where the name leads nowhere."""
    referred = registry[kind].get(entity.sound.get(kind))
    return _NOTHING if referred is None else referred.sound


def _asks_for(wanted: str, *documents: Sound) -> bool:
    """Whether a template of an environment or a file has the name."""
    templates = (
        document.get(field, name)
        for document in documents
        for field in ("env", "network_guards", "files", "workspace_files", "home_files")
        for name in document.keys(field)
    )
    return any(template is not None and wanted in names_in(template) for template in templates)


def _env_faults(entity: Entity, settings: frozenset[str] | None) -> Iterator[Fault]:
    for field in ("env", "network_guards"):
        for name in entity.sound.keys(field):
            if not _ENV_NAME.fullmatch(name):
                yield entity.fault((field, name), "is not the name of an environment variable")
            yield from _template_faults(entity, (field, name), STAND_NAMES, settings)


def _template_faults(
    entity: Entity, path: Path, given: frozenset[str], settings: frozenset[str] | None
) -> Iterator[Fault]:
    """What is wrong with a template, if it is text. Where the settings are not known, any name may be one of them."""
    template = entity.sound.get(*path)
    if template is None:
        return
    if is_broken(template):
        yield entity.fault(path, "has a ${ that begins no ${name}; a dollar sign itself is written $$")
    for name in names_in(template):
        if name in SECRET_NAMES - given and given >= COMMAND_NAMES:
            yield entity.fault(
                path, f"uses ${{{name}}}, which everyone could read in the process list; pass it by env or files"
            )
        elif settings is not None and name not in given | settings:
            yield entity.fault(path, f'uses "{name}", which is not defined; {suggestion(name, given | settings)}')
