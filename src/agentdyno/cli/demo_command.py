"""`dyno demo`."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentdyno.cli.printing import Json, print_json, print_page

if TYPE_CHECKING:
    from agentdyno.core.records import Session
    from agentdyno.runner.demo import DemoResult, Step
    from agentdyno.runner.demo import Progress as DemoProgress

_REPEATS, _SMOKE_REPEATS = 2, 1


def demo(
    folder: Annotated[Path, typer.Option("--folder", help="Where the demo lives; made anew each time.")] = Path(
        ".dyno-demo"
    ),
    harnesses: Annotated[Path, typer.Option("--harnesses", help="Folder with the harnesses' programs.")] = Path(
        ".harnesses/bin"
    ),
    repeats: Annotated[int | None, typer.Option("--repeats", min=1, help="Sessions per variant and task card.")] = None,
    smoke: Annotated[bool, typer.Option("--smoke", help="One repeat of each: the fastest proof.")] = False,
    as_json: Json = False,
) -> None:
    """Compare two variants on a real local model; no account needed.

    A tool-calling harness is run too, with scripted answers.
    """
    import os

    from agentdyno.cli.edges import current_folder
    from agentdyno.clock import now_us
    from agentdyno.runner.demo import run_demo

    environ = dict(os.environ)
    if harnesses.is_dir():
        environ["PATH"] = f"{harnesses.resolve()}{os.pathsep}{environ.get('PATH', os.defpath)}"
    count = repeats or (_SMOKE_REPEATS if smoke else _REPEATS)
    with _progress() as progress:
        result = run_demo((current_folder() / folder).resolve(), environ, count, progress, now_us)
    if as_json:
        _print_machine(result)
    else:
        _print_people(result, folder)


def _progress() -> AbstractContextManager[DemoProgress]:
    """What tells, on standard error, how far the demo is."""
    return _live() if sys.stderr.isatty() else contextlib.nullcontext(_lines())


@contextlib.contextmanager
def _live() -> Iterator[DemoProgress]:
    """One bar on a terminal: sessions done, time taken, time left."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from agentdyno.cli.printing import people_console
    from agentdyno.runner.demo import Progress

    times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), *times)
    with Bar(*columns, console=people_console(stderr=True), transient=True) as bar:
        task = bar.add_task("preparing", total=None)
        yield Progress(
            said=lambda line: bar.update(task, description=line),
            planned=lambda sessions: bar.update(task, description="measuring", total=sessions),
            finished=lambda step, _: bar.update(task, description=f"{step.variant} on {step.task_card}", advance=1),
        )


def _lines() -> DemoProgress:
    """A line for every finished session: how many of all, and seconds since the start."""
    from agentdyno.runner.demo import Progress

    began_s = time.monotonic()
    total, done = 0, 0

    def planned(sessions: int) -> None:
        nonlocal total
        total = sessions

    def finished(step: Step, _: Session) -> None:
        nonlocal done
        done += 1
        elapsed_s = time.monotonic() - began_s
        typer.echo(f"{done} of {total} after {elapsed_s:.0f} s: {step.variant} on {step.task_card}", err=True)

    return Progress(said=lambda line: typer.echo(line, err=True), planned=planned, finished=finished)


def _print_machine(result: DemoResult) -> None:
    from agentdyno.core.jsonable import to_jsonable

    print_json(
        {
            "table": to_jsonable(result.table),
            "tool_session": to_jsonable(result.tool_session),
            "tool_requests": [to_jsonable(request) for request in result.tool_requests],
            "project": str(result.project),
            "ledger": str(result.home.ledger),
        }
    )


def _print_people(result: DemoResult, folder: Path) -> None:
    from agentdyno.reporting.terminal import render_variant_table
    from agentdyno.reporting.wording import number, plural

    print_page(render_variant_table(result.table))
    session = result.tool_session
    tokens = sum(request.output_tokens or 0 for request in result.tool_requests)
    typer.echo(
        f"{session.harness_profile} on {session.task_card}: {plural(len(result.tool_requests), 'request')}, "
        f"{number(tokens)} output tokens, {session.checks_passed} of {plural(session.checks_total or 0, 'check')} held"
    )
    typer.echo(f"\nledger  {result.home.ledger}\nspool   {result.home.spool}\nproject {result.project}")
    typer.echo(
        f"\nNothing is left running. Next, in {folder}:\n"
        f"  dyno compare {result.table.experiment}\n"
        f"  dyno session show {session.session_id} --requests\n"
        "  dyno config list          what can be measured\n"
        "  dyno up                   then `dyno session start --variant … --task-card …` in another terminal"
    )
