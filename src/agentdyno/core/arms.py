"""The arms of an experiment: what its cells are compared by.

Every variant is an arm. The baseline may be one twice (an A/A arm: what differs between the two is noise), and a
variant may be run with each of its parts left out (an ablation: what does the part do?). A part is one entry of what a
variant adds to its harness:

    workspace_files/<path>  home_files/<path>  settings/<name>  env/<name>  setup/<position, from 1>
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from agentdyno.core.config import Config
from agentdyno.core.errors import UserError
from agentdyno.core.fingerprints import fingerprint
from agentdyno.core.names import suggestion
from agentdyno.core.records import Experiment, TaskCard, Variant

_MAPPINGS: Final = ("workspace_files", "home_files", "settings", "env")
_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9._-]+")


class Arm(NamedTuple):
    """A variant as it takes part in an experiment."""

    name: str
    variant: Variant
    fingerprint: str
    of: str
    """What it is: `variant`, `aa`, or `without` and a part."""


def arms(config: Config, experiment: Experiment) -> tuple[Arm, ...]:
    """The arms of an experiment: its variants, then the baseline once more, then the ablated ones.

    Raises UserError for a part that there is not, and for a name that something else has already.
    """
    found = [_arm(config, config.variant(name), "variant") for name in experiment.variants]
    if experiment.aa_arm and experiment.baseline is not None:
        repeated = _arm(config, config.variant(experiment.baseline), "aa")
        found.append(repeated._replace(name=f"{experiment.baseline}-aa"))
    if experiment.ablate is not None:
        parts = _parts_to_leave_out(config.variant(experiment.ablate), experiment.ablate_parts)
        found += [_arm(config, variant, f"without {part}") for part, variant in parts.items()]
    _require_unique(found, config)
    return tuple(found)


def parts_of(variant: Variant) -> tuple[str, ...]:
    """The parts of a variant that can be left out, in the order that it gives them."""
    named = [f"{field}/{name}" for field in _MAPPINGS for name in getattr(variant, field)]
    return (*named, *(f"setup/{position}" for position, _ in enumerate(variant.setup, start=1)))


def selected_arms(known: Sequence[Arm], names: Iterable[str]) -> tuple[Arm, ...]:
    """The arms of these names, in their own order; all when none is named.

    Raises UserError for a name that no arm has.
    """
    wanted = _required("arm", names, [arm.name for arm in known])
    return tuple(arm for arm in known if not wanted or arm.name in wanted)


def selected_task_cards(config: Config, experiment: Experiment, names: Iterable[str]) -> tuple[TaskCard, ...]:
    """The experiment's task cards of these names, in its order; all when none is named.

    Raises UserError for a name that none of them has.
    """
    wanted = _required("task card", names, experiment.task_cards)
    return tuple(config.task_card(name) for name in experiment.task_cards if not wanted or name in wanted)


def _arm(config: Config, variant: Variant, of: str) -> Arm:
    provider, profile = config.provider(variant.provider), config.harness_profile(variant.harness_profile)
    return Arm(variant.name, variant, fingerprint(variant, provider, profile), of)


def _parts_to_leave_out(variant: Variant, chosen: Sequence[str]) -> Mapping[str, Variant]:
    """The variant without each of its parts, or of the chosen ones, under the part's name."""
    parts = parts_of(variant)
    if not parts:
        raise UserError(f'variant "{variant.name}" has no part to leave out', "name another variant as ablate")
    for part in chosen:
        if part not in parts:
            raise UserError(f'variant "{variant.name}" has no part "{part}"', f"it has {', '.join(parts)}")
    return {part: _without(variant, part) for part in parts if not chosen or part in chosen}


def _without(variant: Variant, part: str) -> Variant:
    """The variant less one part, under a name that says so."""
    field, _, name = part.partition("/")
    called = f"{variant.name}-without-{_NOT_IN_NAMES.sub('-', part.lower())}"
    kept: dict[str, Any] = {}
    if field == "setup":
        kept[field] = tuple(step for position, step in enumerate(variant.setup, start=1) if str(position) != name)
    else:
        kept[field] = {key: value for key, value in getattr(variant, field).items() if key != name}
    return replace(variant, name=called, **kept)


def _require_unique(found: Sequence[Arm], config: Config) -> None:
    """Raise UserError where a name that was made is also another arm's, or a variant's that is configured."""
    taken = {arm.name for arm in found if arm.of == "variant"} | set(config.variants)
    for arm in found:
        if arm.of == "variant":
            continue
        if arm.name in taken:
            hint = "rename that one, or choose other parts as ablate_parts"
            raise UserError(f'the arm "{arm.name}" ({arm.of}) would have the name of another', hint)
        taken.add(arm.name)


def _required(kind: str, names: Iterable[str], known: Sequence[str]) -> frozenset[str]:
    wanted = tuple(names)
    for name in wanted:
        if name not in known:
            raise UserError(f'{kind} "{name}" is not in this experiment', suggestion(name, known))
    return frozenset(wanted)
