"""`dyno demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentdyno.cli.printing import Json, people_console, print_json

if TYPE_CHECKING:
    from rich.console import Console

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
    """Compare two variants on a real local model, and run a tool-calling harness: no account needed."""
    import os
    import signal

    from agentdyno.cli.edges import now_us
    from agentdyno.runner.demo import run_demo

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    environ = dict(os.environ)
    if harnesses.is_dir():
        environ["PATH"] = f"{harnesses.resolve()}{os.pathsep}{environ.get('PATH', os.defpath)}"
    count = repeats or (_SMOKE_REPEATS if smoke else _REPEATS)
    console = people_console(stderr=as_json)
    with _Live(console) as live:
        result = run_demo(folder.resolve(), environ, count, live.progress, now_us)
    if as_json:
        _print_machine(result)
    else:
        _print_people(console, result, folder)


class _Live:
    """The demo's progress on a terminal: sessions done, rate, time left."""

    def __init__(self, console: Console) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("preparing", total=None)

    def __enter__(self) -> _Live:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    @property
    def progress(self) -> DemoProgress:
        from agentdyno.runner.demo import Progress

        return Progress(self._said, self._planned, self._finished)

    def _said(self, line: str) -> None:
        self._bar.update(self._task, description=line)

    def _planned(self, sessions: int) -> None:
        self._bar.update(self._task, description="measuring", total=sessions)

    def _finished(self, step: Step, session: object) -> None:
        self._bar.update(self._task, description=f"{step.variant} on {step.task_card}", advance=1)


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


def _print_people(console: Console, result: DemoResult, folder: Path) -> None:
    from agentdyno.reporting.terminal import render_variant_table
    from agentdyno.reporting.wording import number, plural

    console.print(render_variant_table(result.table))
    session = result.tool_session
    tokens = sum(request.output_tokens or 0 for request in result.tool_requests)
    console.print(
        f"{session.harness_profile} on {session.task_card}: {plural(len(result.tool_requests), 'request')}, "
        f"{number(tokens)} output tokens, {session.checks_passed} of {plural(session.checks_total or 0, 'check')} held"
    )
    console.print(f"\nledger  {result.home.ledger}\nspool   {result.home.spool}\nproject {result.project}")
    console.print(
        f"\nNothing is left running. Next, in {folder}:\n"
        f"  dyno compare {result.table.experiment}\n"
        f"  dyno session show {session.session_id} --requests\n"
        "  dyno config list          what can be measured\n"
        "  dyno up                   then `dyno session start --variant … --task-card …` in another terminal",
        soft_wrap=True,
    )
