"""What a variant needs built or installed before its harness can work: done once, and kept under its digest.

    cache/setups/<name>/        ${setup_dir}: where the steps run, with bin/, first on their PATH, and home/, their HOME
    cache/setups/<name>.done    written last, with the time that it took; without it the folder is worth nothing
    cache/setups/<name>.log     what the step that failed printed, until it succeeds

Cells share the folder, and are to read it only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from agentdyno.core.errors import DynoError, SandboxFault, SetupFailed, SetupStopped
from agentdyno.core.ids import digest
from agentdyno.core.records import Limits, SetupStep, Variant
from agentdyno.core.templates import render_command
from agentdyno.sessions.locking import held_lock
from agentdyno.sessions.removal import remove
from agentdyno.sessions.repository import storable
from agentdyno.sessions.sandboxes.contract import Confined, Ended, Stop
from agentdyno.sessions.sandboxes.leftovers import sweep
from agentdyno.sessions.sandboxes.process import ProcessSandbox

SETUP_DIR = "setup_dir"
"""The name by which the templates of steps know their folder."""
# What stands for the folder's path in the digest, from which that path is made: no argument can hold it.
_NO_PATH = "\0"
_NAME_LENGTH = 32  # of 64 hexadecimal digits: a path in a `#!` line must not be long
_LIMITS = Limits(processes=None, disk_bytes=None)


class Setup(NamedTuple):
    """What the steps of a variant made."""

    folder: Path
    digest: str
    """Of the commands as rendered. How long they may take is no part of it."""
    setup_ms: float
    """The time of the run that built it, also where it was cached."""
    cached: bool


class _Place(NamedTuple):
    """Where one setup is kept."""

    folder: Path
    digest: str

    def beside(self, suffix: str) -> Path:
        return self.folder.with_name(f"{self.folder.name}.{suffix}")


def run_setup(
    variant: Variant, values: Mapping[str, str], environ: Mapping[str, str], cache: Path, stop: Stop
) -> Setup | None:
    """Run the setup steps of a variant in order, unless that was done before; None when it has none.

    Of several processes that need the same setup one builds it, and the others wait. Steps have the environment given,
    a HOME of their own, and the network. Raises SetupFailed for a step that does, SetupStopped once `stop` is set,
    SandboxFault for a step that could not be started or that a stranger killed, which says nothing of the variant, and
    UserError for a name that no template may use.
    """
    if not variant.setup:
        return None
    place = _place_of(variant.setup, values, cache.absolute())
    built_ms = _built_ms(place)
    if built_ms is not None:
        return Setup(place.folder, place.digest, built_ms, cached=True)
    with held_lock(place.beside("lock"), lambda: _require_going(stop)):
        built_ms = _built_ms(place)  # by the process that was waited for
        if built_ms is not None:
            return Setup(place.folder, place.digest, built_ms, cached=True)
        setup_ms = _build(variant, {**values, SETUP_DIR: str(place.folder)}, environ, place, stop)
    return Setup(place.folder, place.digest, setup_ms, cached=False)


def setup_digest(steps: Sequence[SetupStep], values: Mapping[str, str]) -> str:
    """What the steps are, whatever folder they run in: the digest of their commands as rendered."""
    commands = [render_command(step.command, {**values, SETUP_DIR: _NO_PATH}) for step in steps]
    return digest([[storable(argument) for argument in command] for command in commands])


def _place_of(steps: Sequence[SetupStep], values: Mapping[str, str], cache: Path) -> _Place:
    of_steps = setup_digest(steps, values)
    return _Place(cache / "setups" / of_steps.removeprefix("sha256:")[:_NAME_LENGTH], of_steps)


def _build(variant: Variant, values: Mapping[str, str], environ: Mapping[str, str], place: _Place, stop: Stop) -> float:
    """Run all steps in an empty folder, mark it as done, and return the milliseconds that they took."""
    mark, log = f"setup-{digest(storable(str(place.folder)))}", place.beside("log")
    sweep(mark)  # what a builder that was killed left running
    _emptied(place)
    own = _environment(environ, place.folder)
    sandbox, took_ms = ProcessSandbox(), 0.0
    for number, step in enumerate(variant.setup, 1):
        _require_going(stop)
        command = Confined(
            render_command(step.command, values), own, place.folder, log, step.timeout_s, limits=_LIMITS, mark=mark
        )
        ended = sandbox.run(command, stop)
        if ended.ended_by == "stopped":
            raise SetupStopped("a setup was given up: the end was asked for")
        if ended.ended_by == "killed":
            raise SandboxFault(f"setup step {number} of variant {variant.name} was killed, and not by the stand")
        if ended.exit_code != 0 or ended.ended_by != "itself":
            raise SetupFailed(variant.name, number, _how(ended, step), log)
        took_ms += ended.command_ms
    log.unlink(missing_ok=True)
    draft = place.beside("draft")
    draft.write_text(json.dumps({"setup_ms": took_ms}))
    draft.replace(place.beside("done"))
    return took_ms


def _environment(environ: Mapping[str, str], folder: Path) -> dict[str, str]:
    path = os.pathsep.join((str(folder / "bin"), environ.get("PATH", os.defpath)))
    return {**environ, "PATH": path, "HOME": str(folder / "home")}


def _emptied(place: _Place) -> None:
    place.beside("done").unlink(missing_ok=True)
    left = remove(place.folder)
    if left:
        raise DynoError(f"{left[0]} is left of an earlier setup, and cannot be removed", "remove it")
    for name in ("bin", "home"):
        (place.folder / name).mkdir(parents=True)


def _built_ms(place: _Place) -> float | None:
    """The time that building took; None where it was not built to the end."""
    try:
        done = json.loads(place.beside("done").read_text())
    except FileNotFoundError:
        return None
    return float(done["setup_ms"]) if place.folder.is_dir() else None


def _how(ended: Ended, step: SetupStep) -> str:
    """How a step ended that did not succeed."""
    if ended.ended_by == "timebox":
        return f"took longer than {step.timeout_s:g} s"
    if ended.ended_by == "output":
        return "printed too much"
    if ended.exit_code < 0:
        return f"was ended by signal {-ended.exit_code}"
    return f"ended with exit code {ended.exit_code}"


def _require_going(stop: Stop) -> None:
    if stop.is_set:
        raise SetupStopped("a setup was given up: the end was asked for")
