"""What must hold of the work and its comparison, beyond the types of the fields: task cards, checks, experiments."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from agentdyno.core.config.documents import Path
from agentdyno.core.config.entities import Entity, Registry
from agentdyno.core.errors import Fault
from agentdyno.core.fields import fields_of
from agentdyno.core.names import is_path_below, suggestion
from agentdyno.core.records import Check, CheckKind, Limits


class _Uses(NamedTuple):
    """Which fields a kind of check makes use of."""

    needed: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()


_USES: Mapping[CheckKind, _Uses] = MappingProxyType(
    {
        "file_exists": _Uses(("file",)),
        "file_matches": _Uses(("file", "pattern")),
        "json_equals": _Uses(("file", "path", "value")),
        "command": _Uses(("command",), ("exit_code", "timeout_s")),
        "tests_pass": _Uses(("command",), ("file", "at_least", "timeout_s")),
        "diff": _Uses(one_of=("max_files", "max_lines", "only")),
        "tool_used": _Uses(allowed=("tool", "at_least")),
    }
)
_WITH_PASSWORD = re.compile(r"[a-z+]+://[^/@:]*:[^/@]+@")
_LOWEST: Mapping[str, int] = MappingProxyType({"at_least": 1, "max_files": 0, "max_lines": 0})


def task_card_faults(entity: Entity, _: Registry) -> Iterator[Fault]:
    """A timebox that is no time, a commit of nothing, files that would lie elsewhere, checks that cannot be made."""
    sound = entity.sound
    yield from _time_faults(entity, ("timebox_s",))
    repository = sound.get("repository")
    if repository is not None and _WITH_PASSWORD.match(repository):
        yield entity.fault(("repository",), "holds a password; let Git's credential helper know it instead")
    if sound.get("commit") is not None and sound.get("repository") is None and not sound.is_faulty("repository"):
        yield entity.fault(("commit",), "is of no repository; name it as repository")
    for field in ("files", "check_files"):
        for path in sound.keys(field):
            if not is_path_below(path):
                yield entity.fault((field, path), "is not a path below the working folder")
    for position in sound.keys("checks"):
        yield from _check_faults(entity, ("checks", position))


def experiment_faults(entity: Entity, registry: Registry) -> Iterator[Fault]:
    """A comparison of nothing, or of something with itself, arms that cannot be, limits that leave nothing."""
    sound = entity.sound
    for field in ("variants", "task_cards"):
        if sound.get(field) == []:
            yield entity.fault((field,), "is empty; expected at least one name")
        listed: list[str] = []
        for position in sound.keys(field):
            name = sound.get(field, position)
            if name in listed:
                yield entity.fault((field, position), f'"{name}" is listed twice')
            elif name is not None:
                listed.append(name)
    yield from _arm_faults(entity, registry)
    for field in ("repeats", "max_attempts"):
        count = sound.get(field)
        if count is not None and count < 1:
            yield entity.fault((field,), f"is {count}; expected at least 1")
    yield from _limit_faults(entity)


def _arm_faults(entity: Entity, registry: Registry) -> Iterator[Fault]:
    """What the experiment says of its arms, beside their names."""
    sound = entity.sound
    variants, baseline = sound.get("variants"), sound.get("baseline")
    for field in ("baseline", "ablate"):
        name = sound.get(field)
        if variants is not None and name in registry["variant"] and name not in variants:
            yield entity.fault((field,), f'"{name}" is not one of the variants; {suggestion(name, variants)}')
    if sound.get("aa_arm") and baseline is None and not sound.is_faulty("baseline"):
        yield entity.fault(("aa_arm",), "repeats the baseline; name one as baseline")
    if sound.get("ablate_parts") and sound.get("ablate") is None and not sound.is_faulty("ablate"):
        yield entity.fault(("ablate_parts",), "are parts of no variant; name it as ablate")
    shared = sound.get("shared_model")
    for position in sound.keys("variants"):
        variant = registry["variant"].get(sound.get("variants", position))
        model = None if variant is None else variant.sound.get("model")
        if shared is not None and model is not None and model != shared:
            what = f'"{sound.get("variants", position)}" uses the model "{model}", not the shared one, "{shared}"'
            yield entity.fault(("variants", position), what)


def _limit_faults(entity: Entity) -> Iterator[Fault]:
    """Limits that leave nothing, and guarantees above them."""
    sound = entity.sound
    for spec in fields_of(Limits):
        value = sound.get("limits", spec.name)
        if value is not None and not 0 < value < math.inf:
            yield entity.fault(("limits", spec.name), f"is {value:g}; expected more than 0")
    for name in ("cpu_cores", "memory_bytes"):
        most, guaranteed = sound.get("limits", name), sound.get("limits", f"guaranteed_{name}")
        if most is not None and guaranteed is not None and guaranteed > most:
            yield entity.fault(("limits", f"guaranteed_{name}"), f"is {guaranteed:g}, more than {name}, {most:g}")


def _time_faults(entity: Entity, path: Path) -> Iterator[Fault]:
    time_s = entity.sound.get(*path)
    if time_s is not None and not 0 < time_s < math.inf:
        yield entity.fault(path, f"is {time_s:g}; expected more than 0 seconds")


def _check_faults(entity: Entity, path: Path) -> Iterator[Fault]:
    file, kind, pattern = (entity.sound.get(*path, name) for name in ("file", "kind", "pattern"))
    if file is not None and not is_path_below(file):
        yield entity.fault((*path, "file"), "is not a path inside the session's working folder")
    if kind is not None:
        yield from _use_faults(entity, path, kind)
    for name, lowest in _LOWEST.items():
        count = entity.sound.get(*path, name)
        if count is not None and count < lowest:
            yield entity.fault((*path, name), f"is {count}; expected at least {lowest}")
    yield from _time_faults(entity, (*path, "timeout_s"))
    if pattern is not None:
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            yield entity.fault((*path, "pattern"), f"is not a regular expression: {error}")


def _use_faults(entity: Entity, path: Path, kind: CheckKind) -> Iterator[Fault]:
    """Fields that a kind of check needs and lacks, or has and does not use."""
    uses = _USES[kind]
    given = {
        spec.name
        for spec in fields_of(Check)
        if spec.name != "kind" and entity.sound.get(*path, spec.name) not in (None, [])
    }
    faulty = {spec.name for spec in fields_of(Check) if entity.sound.is_faulty(*path, spec.name)}
    for name in uses.needed:
        if name not in given | faulty:
            yield entity.fault((*path, name), f"is missing; a {kind} check needs it")
    if uses.one_of and not (given | faulty) & set(uses.one_of):
        yield entity.fault(path, f"limits nothing; a {kind} check needs one of {', '.join(uses.one_of)}")
    for name in sorted(given - {*uses.needed, *uses.allowed, *uses.one_of}):
        yield entity.fault((*path, name), f"is not used by a {kind} check")
