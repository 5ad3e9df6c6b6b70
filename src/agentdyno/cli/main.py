"""The command `dyno`. Imports stand inside commands: asking for help loads nothing that it does not need."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from agentdyno import __version__
from agentdyno.cli import run_command, stand_commands
from agentdyno.cli.anatomy_command import anatomy
from agentdyno.cli.config_commands import config_app, init
from agentdyno.cli.db_commands import db_app
from agentdyno.cli.demo_command import demo
from agentdyno.cli.doctor_command import doctor
from agentdyno.cli.harness_commands import harness_app
from agentdyno.cli.reconcile_command import reconcile
from agentdyno.cli.session_commands import session_app
from agentdyno.cli.usage_command import usage


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"agentdyno {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """The dynamometer for LLM agents: one true row per request, and honest comparisons."""


class _Commands(TyperGroup):
    """Tells of a value that is wrong, or missing, in one line, as of any other mistake."""

    def invoke(self, ctx: Any) -> Any:
        """Run what was asked for. Raises UserError for such a value."""
        from agentdyno.core.errors import UserError

        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            command = ctx.command_path if error.ctx is None else error.ctx.command_path
            said = " ".join(error.format_message().split()).removesuffix(".")
            raise UserError(said, f"`{command} --help` tells more") from error


def build_app() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(cls=_Commands, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.callback()(_root)
    app.command()(init)
    app.command()(doctor)
    app.add_typer(config_app, name="config")
    app.command()(stand_commands.up)
    app.command()(stand_commands.status)
    app.command()(stand_commands.down)
    app.add_typer(session_app, name="session")
    app.add_typer(harness_app, name="harness")
    app.command("run")(run_command.run)
    app.command()(stand_commands.compare)
    app.command()(anatomy)
    app.command()(reconcile)
    app.command()(usage)
    app.command()(stand_commands.normalize)
    app.add_typer(db_app, name="db")
    app.command()(demo)
    return app


def run() -> None:
    """Entry point: a mistake of the person is one line and exit code 2, one of ours exit code 1."""
    from agentdyno.core.errors import DynoError
    from agentdyno.interruption import Interrupted

    _let_output_replace()
    try:
        build_app()()
    except DynoError as error:
        typer.echo(f"{error}", err=True)
        sys.exit(error.exit_code)
    except Interrupted as interrupted:
        typer.echo("; ".join([str(interrupted), *getattr(interrupted, "__notes__", ())]), err=True)
        sys.exit(128 + interrupted.signum)
    except Exception as error:  # noqa: BLE001 - the edge: one line for people, the trace for those who ask
        from agentdyno.cli.faults import report_fault

        sys.exit(report_fault(error))


def _let_output_replace() -> None:
    """What a terminal's encoding does not know is replaced instead of raising."""
    import io

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
