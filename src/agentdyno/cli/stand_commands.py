"""`dyno up|status|down`, `dyno normalize`, `dyno compare`."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Annotated

import typer

from agentdyno.cli.edges import current_folder, current_home, every_deployment_access, open_ledger, shell_exit_code
from agentdyno.cli.options import ExperimentToCompare
from agentdyno.cli.printing import Json, passing_line, print_json, print_page
from agentdyno.clock import now_us


def up(
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on; loopback by default.")] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Leave it running in the background, once it is up.")
    ] = False,
) -> None:
    """Start the stand: managed providers, the gateway, a collector.

    It stays in this terminal, and ends with Ctrl-C or `dyno down`; detached, it survives the terminal, and says what
    it has to say in logs/up.log of its home.
    """
    import os

    from agentdyno.interruption import held_interruptions
    from agentdyno.logs import configure_logging
    from agentdyno.sessions.closing import close_expired
    from agentdyno.sessions.project import find_project, load_project
    from agentdyno.stand.detached import UP
    from agentdyno.stand.supervisor import Stand

    if detach:
        _up_detached(host, port)
        return
    config = load_project(find_project(current_folder()))
    home, gateway = current_home(), config.settings.gateway
    configure_logging(home.log("stand"))
    address = (host or gateway.host, gateway.port if port is None else port)
    with (
        held_interruptions() as interruptions,
        Stand(home, config, *address, os.environ, lambda line: typer.echo(line, err=True), interruptions) as stand,
    ):
        used = {variant.provider for variant in config.variants.values()}
        missed = {name: secret for name, secret in stand.state.missing_secrets.items() if name in used}
        if missed:
            typer.echo(_not_served(missed), err=True)
        typer.echo(f"{UP}{stand.state.gateway_url}; Ctrl-C or `dyno down` ends it", err=True)
        with open_ledger(home, log="stand") as ledger:
            stand.run(lambda: close_expired(ledger, home, now_us))
            interruptions.answered()


def _up_detached(host: str | None, port: int | None) -> None:
    """Start the stand in the background, and pass on what it says until it is up; an interruption ends it."""
    import os

    from agentdyno.interruption import held_interruptions
    from agentdyno.reporting.wording import ending
    from agentdyno.stand.detached import UP, Detached
    from agentdyno.stand.state import require_stand, running_stand, up_already

    home = current_home()
    if running_stand(home) is not None:
        raise up_already(home)
    options = [*(() if host is None else ("--host", host)), *(() if port is None else ("--port", str(port)))]
    with held_interruptions() as interruptions:
        detached = Detached(options, home.log("up"), os.environ)
        with contextlib.ExitStack() as failing:
            failing.callback(detached.stop)
            with interruptions.released():
                for line in detached.start():
                    if not line.startswith(UP):
                        typer.echo(line, err=True)
            failing.pop_all()
    code = detached.exit_code
    if code is not None:
        typer.echo(f"the stand did not come up: {ending(code)}; all that it said is in {home.log('up')}", err=True)
        raise typer.Exit(shell_exit_code(code))
    state = require_stand(home)
    typer.echo(f"{UP}{state.gateway_url}, process {state.pid}; `dyno down` ends it")
    typer.echo(f"log      {home.log('up')}\npid file {home.pid}")


def status(as_json: Json = False) -> None:
    """Say whether the stand is up, where, and what it serves."""
    import msgspec

    from agentdyno.core.jsonable import to_jsonable
    from agentdyno.reporting.wording import moment
    from agentdyno.stand.state import running_stand

    home = current_home()
    state = running_stand(home)
    if as_json:
        facts = {**to_jsonable(msgspec.to_builtins(state)), "logs": str(home.logs)} if state else {}
        print_json({"up": state is not None, **facts})
    elif state is None:
        typer.echo("the stand is not up; `dyno up` starts it")
    else:
        typer.echo(f"the stand is up at {state.gateway_url} since {moment(state.started_at_us)}, process {state.pid}")
        for name, address in state.providers.items():
            typer.echo(f"provider {name} at {address}")
        typer.echo(f"logs in {home.logs}")
        typer.echo(f"served: {', '.join(state.served)}")
        if state.missing_secrets:
            typer.echo(_not_served(state.missing_secrets))
    if state is None:
        raise typer.Exit(1)


def down() -> None:
    """Stop the stand that is up."""
    from agentdyno.stand.state import running_stand, stop_stand

    state = running_stand(current_home())
    if state is None:
        typer.echo("the stand is not up; there is nothing to stop")
        return
    with passing_line("stopping the stand"):
        stop_stand(state)
    typer.echo("the stand is down")


def normalize(
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Make every row again from the raw archive.")] = False,
    as_json: Json = False,
) -> None:
    """Bring into the ledger what the spool and deployments hold."""
    from agentdyno.collectors.spool import SpoolCollector
    from agentdyno.sessions.deployments import read_known_logs

    home = current_home()
    with open_ledger(home) as ledger:
        collector = SpoolCollector(home.spool, ledger, now_us)
        with passing_line("reading the spool"):
            done = collector.rebuild() if rebuild else collector.collect()
        logs = read_known_logs(ledger, every_deployment_access(), now_us(), of_all=rebuild)
    if as_json:
        print_json({**done._asdict(), "spend_logs": logs._asdict()})
    else:
        typer.echo(f"{done.records} records read, {done.written} rows written, {done.unreadable} unreadable")
        if logs.logs:
            typer.echo(f"{logs.logs} spend logs read, {logs.written} rows written, {logs.unreadable} unreadable")
    if logs.sessions_missed:
        raise typer.Exit(1)


def compare(
    experiment: ExperimentToCompare = None,
    as_json: Json = False,
) -> None:
    """Show what each variant did, side by side. It describes; it draws no conclusion."""
    from agentdyno.cli.session_commands import require_experiment
    from agentdyno.core.errors import UserError
    from agentdyno.core.jsonable import to_jsonable
    from agentdyno.reporting.terminal import render_variant_table
    from agentdyno.reporting.variants import variant_table
    from agentdyno.reporting.wording import plural

    with open_ledger(current_home()) as ledger:
        require_experiment(ledger, experiment)
        table = variant_table(ledger, experiment)
    if experiment is not None and not table.variants and not table.invalid_sessions:
        still_open = f"{plural(table.open_sessions, 'session')} still open" if table.open_sessions else None
        raise UserError(f'experiment "{experiment}" has no finalized session yet', still_open)
    if as_json:
        print_json(to_jsonable(table))
    else:
        print_page(render_variant_table(table))


def _not_served(missing_secrets: Mapping[str, str]) -> str:
    each = ", ".join(f"{provider} ({secret})" for provider, secret in missing_secrets.items())
    return f"not served, for want of a secret: {each}"
