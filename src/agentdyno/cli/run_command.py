"""`dyno run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentdyno.cli import completion
from agentdyno.cli.edges import HARNESSES, current_folder, environ_with, session_context
from agentdyno.cli.printing import Json, print_json, print_page
from agentdyno.cli.run_progress import progress

if TYPE_CHECKING:
    from agentdyno.core.records import Run
    from agentdyno.runner.planning import Asked
    from agentdyno.sessions.opening import Context
    from agentdyno.store.ledger import Ledger

_UNSCORED = 1


def run(
    experiment: Annotated[str, typer.Argument(help="Experiment to run.", autocompletion=completion.experiments)],
    repeats: Annotated[
        int | None, typer.Option("--repeats", min=1, help="Sessions for each arm and task card.")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Cells that run at the same time.")] = 1,
    variants: Annotated[
        list[str] | None, typer.Option("--variants", help="Only these arms; may be given again, or with commas.")
    ] = None,
    task_cards: Annotated[
        list[str] | None, typer.Option("--task-cards", help="Only these task cards; likewise.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="What the order is drawn from.")] = None,
    harnesses: Annotated[Path, typer.Option("--harnesses", help="Folder with the harnesses' programs.")] = HARNESSES,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be run.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the newest run that has cells left.")] = False,
    as_json: Json = False,
) -> None:
    """Run an experiment headless: every variant on every task card.

    Each cell has a sandbox of its own, and is judged by the task card's checks. Killed at any instant and resumed,
    exactly the cells without a score are run. Ends with exit code 1 while a cell has none.
    """
    from agentdyno.core.errors import UserError
    from agentdyno.runner.experiment import Wishes, run_experiment
    from agentdyno.runner.planning import Asked
    from agentdyno.sessions.project import find_project

    asked = Asked(experiment, repeats, _listed(variants), _listed(task_cards), seed)
    with session_context(environ_with(harnesses)) as context:
        if dry_run and resume:
            raise UserError("a dry run shows a new plan, not what is left of one", "leave out --dry-run or --resume")
        if dry_run:
            _show_plan(context, asked, jobs, as_json=as_json)
            return
        with progress(context.ledger, as_json=as_json) as observer:
            project = find_project(current_folder())
            done = run_experiment(context, project, Wishes(asked, jobs, resume), observer)
        unscored = _show_result(context.ledger, done, as_json=as_json)
        context.interruptions.raise_if_any()
    if unscored:
        raise typer.Exit(_UNSCORED)


def _listed(given: list[str] | None) -> tuple[str, ...]:
    """Names that were given one by one, or with commas between them."""
    return tuple(name for text in given or () for name in text.split(",") if name)


def _show_plan(context: Context, asked: Asked, jobs: int, *, as_json: bool) -> None:
    from agentdyno.core.jsonable import to_jsonable
    from agentdyno.reporting.forecasts import render_forecast
    from agentdyno.runner.forecast import forecast

    told = forecast(context, asked, jobs)
    if as_json:
        print_json(to_jsonable(told))
    else:
        print_page(render_forecast(told))


def _show_result(ledger: Ledger, done: Run, *, as_json: bool) -> int:
    """Show what the arms did; how many cells have no score."""
    from agentdyno.core.jsonable import to_jsonable
    from agentdyno.reporting.runs import render_run, run_report

    report = run_report(ledger, done)
    if as_json:
        print_json({"event": "ended", "report": to_jsonable(report)}, indent=None)
    else:
        print_page(render_run(report))
    return report.counts.cells.total - report.counts.cells.scored
