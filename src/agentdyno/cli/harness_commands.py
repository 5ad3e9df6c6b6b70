"""`dyno harness list|show|check`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentdyno.cli.completion import harness_profiles
from agentdyno.cli.edges import HARNESSES, current_folder, environ_with
from agentdyno.cli.printing import Json, passing_line, print_json, print_page
from agentdyno.clock import now_us

if TYPE_CHECKING:
    from agentdyno.core.config import Config
    from agentdyno.core.records import HarnessProfile
    from agentdyno.reporting.harnesses import HarnessReport

harness_app = typer.Typer(help="Look at harness profiles, and verify harnesses.", no_args_is_help=True)
Programs = Annotated[
    Path, typer.Option("--harnesses", help="Folder with harnesses' programs, looked in before the PATH.")
]


@harness_app.command("list")
def list_harnesses(harnesses: Programs = HARNESSES, as_json: Json = False) -> None:
    """List the profiles, and what is installed of them."""
    import tempfile

    from agentdyno.core.jsonable import to_jsonable
    from agentdyno.reporting.harnesses import render_harnesses
    from agentdyno.runner.harness_check import look_up

    profiles = list(_config().harness_profiles.values())
    with tempfile.TemporaryDirectory() as folder, passing_line("asking for versions"):
        listed = look_up(profiles, environ_with(harnesses), Path(folder) / "versions.json")
    if as_json:
        print_json([{**to_jsonable(item.profile), "program": item.program, "version": item.version} for item in listed])
    else:
        print_page(render_harnesses(listed))


@harness_app.command()
def show(name: Annotated[str, typer.Argument(help="Harness profile.", autocompletion=harness_profiles)]) -> None:
    """Print a profile as it was written.

    It is what one of your own may begin with.
    """
    from agentdyno.sessions.project import profile_text

    _config().harness_profile(name)
    typer.echo(profile_text(current_folder(), name), nl=False)


@harness_app.command()
def check(
    names: Annotated[
        list[str] | None, typer.Argument(help="Harness profiles.", autocompletion=harness_profiles)
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Check every profile.")] = False,
    refused: Annotated[
        bool, typer.Option("--refused", help="Also run each with every call refused, and show how it ends.")
    ] = False,
    limit_s: Annotated[float, typer.Option("--limit", min=1, help="Seconds that a run may take.")] = 120.0,
    page: Annotated[
        Path | None, typer.Option("--page", help="Markdown page whose status table is written anew.")
    ] = None,
    harnesses: Programs = HARNESSES,
    as_json: Json = False,
) -> None:
    """Run harnesses for real, against scripted answers.

    What the stand recorded is compared with what the provider counted. A harness works on a task of two turns, in a
    folder and a HOME of its own, on a stand that is started for it. Ends with exit code 1 when one of them is installed
    and not verified.
    """
    from agentdyno.core.jsonable import to_jsonable
    from agentdyno.reporting.harnesses import last_words, render_reports
    from agentdyno.runner.harness_check import Options, check_harnesses

    profiles = _chosen(_config(), names or (), every=every)
    if page is not None:
        _require_marks(page)
    reports: list[HarnessReport] = []
    for report in check_harnesses(
        profiles, environ_with(harnesses), Options(refused, limit_s), now_us, lambda line: typer.echo(line, err=True)
    ):
        reports.append(report)
        typer.echo(f"{len(reports)} of {len(profiles)}: {report.harness_profile} {report.state}", err=True)
    if as_json:
        print_json([to_jsonable(report) for report in reports])
    else:
        print_page(render_reports(reports))
        if words := last_words(reports):
            typer.echo(words)
    if page is not None:
        _write_page(page, reports)
    if any(report.state == "differs" for report in reports):
        raise typer.Exit(1)


def _config() -> Config:
    """The project's configuration; outside of one, what a new project would have."""
    from agentdyno.core.errors import UserError
    from agentdyno.sessions.project import find_project, first_configuration, load_project

    try:
        project = find_project(current_folder())
    except UserError:
        return first_configuration()
    return load_project(project)


def _chosen(config: Config, names: Sequence[str], *, every: bool) -> list[HarnessProfile]:
    from agentdyno.core.errors import UserError

    if every == bool(names):
        raise UserError("name the harnesses to check, or say --all", "`dyno harness list` shows them")
    if every:
        return [profile for profile in config.harness_profiles.values() if profile.command]
    return [config.harness_profile(name) for name in dict.fromkeys(names)]


def _require_marks(page: Path) -> None:
    """Raise UserError for a page into which no table can be written: before the time is spent, not after."""
    import os

    from agentdyno.core.errors import UserError
    from agentdyno.reporting.harnesses import BEGIN, END, with_table

    if with_table(_text_of(page), "") is None:
        raise UserError(f"{page} has no place for the table", f"write `{BEGIN}` and `{END}` around it")
    if not os.access(page, os.W_OK):
        raise UserError(f"{page} cannot be written", "name a page of your own")


def _text_of(page: Path) -> str:
    from agentdyno.core.errors import UserError

    try:
        return page.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{page} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{page} is no text in UTF-8") from error


def _write_page(page: Path, reports: Sequence[HarnessReport]) -> None:
    from agentdyno.core.errors import UserError
    from agentdyno.reporting.harnesses import status_table, with_table

    written = with_table(_text_of(page), status_table(reports))
    if written is not None:
        try:
            page.write_text(written, encoding="utf-8")
        except OSError as error:
            raise UserError(f"{page} cannot be written: {error.strerror}") from error
        typer.echo(f"the status table in {page} is written anew", err=True)
