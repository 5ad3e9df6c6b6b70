"""The demo: a stand of its own, a small real experiment on it, and one tool-calling harness.

The project that it writes is the one that `dyno init` writes, so that whatever it shows can be tried by hand
afterwards.
"""

from __future__ import annotations

import contextlib
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from secrets import token_bytes
from typing import NamedTuple

from agentdyno.core.errors import UserError
from agentdyno.core.layout import HOME_FOLDER
from agentdyno.core.records import Request, Session
from agentdyno.interruption import held_interruptions
from agentdyno.reporting.variants import VariantTable, variant_table
from agentdyno.sessions.launching import Launch, start_session
from agentdyno.sessions.opening import Context, Wanted
from agentdyno.sessions.project import first_configuration, home_of, scaffold
from agentdyno.sessions.repository import new_repository
from agentdyno.stand.home import Home
from agentdyno.stand.state import running_stand
from agentdyno.stand.supervisor import Stand
from agentdyno.store.ledger import Ledger

EXPERIMENT = "free-text-or-schema"
TOOL_EXPERIMENT = "tool-call"
_MARKER = ".dyno-demo"
_WORK = "work"
_ANOTHER_FOLDER = "name another folder: `dyno demo --folder DIR`"
_SEED = 1


class Step(NamedTuple):
    """One session that the demo runs."""

    variant: str
    task_card: str
    experiment: str | None


class Progress(NamedTuple):
    """What a face is told as the demo goes on."""

    said: Callable[[str], None]
    planned: Callable[[int], None]
    finished: Callable[[Step, Session], None]


class DemoResult(NamedTuple):
    """What the demo found, and where it lies."""

    table: VariantTable
    tool_session: Session
    tool_requests: tuple[Request, ...]
    project: Path
    home: Home


def run_demo(
    project: Path, environ: Mapping[str, str], repeats: int, progress: Progress, clock_us: Callable[[], int]
) -> DemoResult:
    """Run the demo in the folder `project`, made anew. Nothing is left running, however it ends.

    Raises UserError when the folder is somebody else's or a harness is missing.
    """
    _require_ours(project)
    inner = {name: value for name, value in environ.items() if name != "DYNO_HOME"}
    # Read apart, so that nothing of an earlier demo is touched before this one can run.
    config = first_configuration()
    steps = plan(config.experiment(EXPERIMENT).variants, config.experiment(EXPERIMENT).task_cards, repeats)
    with_tool = config.experiment(TOOL_EXPERIMENT)
    tools = Step(with_tool.variants[0], with_tool.task_cards[0], TOOL_EXPERIMENT)
    _require_harnesses(
        {config.harness_profile(config.variant(s.variant).harness_profile).version_command[0] for s in (*steps, tools)},
        inner,
    )
    work = _prepare(project)
    home = Home(home_of(project, {}))
    with (
        held_interruptions() as interruptions,
        Stand(home, config, "127.0.0.1", 0, inner, progress.said, interruptions) as stand,
        contextlib.closing(Ledger.open(home.ledger)) as ledger,
    ):
        context = Context(config, ledger, home, stand.state, inner, clock_us, token_bytes, interruptions)
        progress.planned(len(steps) + 1)
        for number, step in enumerate((*steps, tools)):
            interruptions.raise_if_any()
            session = _run_step(context, step, work, number)
            progress.finished(step, session)
        requests = ledger.requests(session.session_id)
        return DemoResult(variant_table(ledger, EXPERIMENT), session, requests, project, home)


def plan(variants: tuple[str, ...], task_cards: tuple[str, ...], repeats: int, seed: int = _SEED) -> list[Step]:
    """Every variant on every task card, `repeats` times, interleaved: drift then hits all variants alike."""
    generator = random.Random(seed)  # noqa: S311 - an order, not a secret
    steps = []
    for _ in range(repeats):
        block = [Step(variant, task_card, EXPERIMENT) for variant in variants for task_card in task_cards]
        generator.shuffle(block)
        steps += block
    return steps


def _run_step(context: Context, step: Step, work: Path, number: int) -> Session:
    folder = work / "runs" / f"{number:03d}-{step.variant}-{step.task_card}"
    folder.mkdir(parents=True)
    with (folder / "output.txt").open("wb") as output:
        wanted = Wanted(step.variant, step.task_card, step.experiment, label="demo", repo=work)
        return start_session(context, wanted, (), Launch(folder, output, own_group=True)).session


def _prepare(project: Path) -> Path:
    """A fresh project with a repository to work in; what an earlier demo left is removed."""
    try:
        _clear(project)
    except OSError as error:
        raise UserError(f"{project} cannot be made anew: {error.strerror}", _ANOTHER_FOLDER) from error
    (project / ".gitignore").write_text("*\n")
    scaffold(project)
    work = project / _WORK
    new_repository(work, ignored="runs/\n")
    (work / "runs").mkdir()
    return work


def _require_ours(project: Path) -> None:
    """Raise UserError unless the folder is absent, empty, or an earlier demo's whose stand is down."""
    if project.exists() and (not project.is_dir() or any(project.iterdir())):
        if not (project / _MARKER).is_file():
            raise UserError(f"{project} is there already, and no demo made it", _ANOTHER_FOLDER)
        if running_stand(Home(project / HOME_FOLDER)) is not None:
            raise UserError(f"a stand is up in {project}", f"end it: `cd {project} && dyno down`")


def _clear(project: Path) -> None:
    if project.exists():
        shutil.rmtree(project)
    project.mkdir(parents=True, exist_ok=True)
    (project / _MARKER).write_text("made by `dyno demo`, and removed by the next one\n")


def _require_harnesses(programs: set[str], environ: Mapping[str, str]) -> None:
    missing = sorted(program for program in programs if shutil.which(program, path=environ.get("PATH")) is None)
    if missing:
        raise UserError(
            f"not installed: {', '.join(missing)}",
            "`make clients` installs them; or name their folder: --harnesses DIR",
        )
