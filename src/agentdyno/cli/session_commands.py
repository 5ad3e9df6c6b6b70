"""`dyno session create|start|env|list|show|finalize`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from agentdyno.cli.edges import current_home, now_us, open_ledger, session_context
from agentdyno.cli.printing import Json, moment, people_console, print_json

if TYPE_CHECKING:
    from agentdyno.core.records import Request, Session

session_app = typer.Typer(help="Open, look at and close sessions.", no_args_is_help=True)

VariantName = Annotated[str, typer.Option("--variant", help="Variant to measure.")]
TaskCardName = Annotated[str, typer.Option("--task-card", help="Task card to work on.")]
ExperimentName = Annotated[str | None, typer.Option("--experiment", help="Experiment that it belongs to.")]
Label = Annotated[str | None, typer.Option("--label", help="A name of your own.")]
Repo = Annotated[Path, typer.Option("--repo", help="Repository that is worked in.")]
EnvFile = Annotated[Path | None, typer.Option("--env-file", help="Write the variables there instead of printing them.")]
SessionId = Annotated[str, typer.Argument(help="Session's id.")]


@session_app.command()
def create(
    variant: VariantName,
    task_card: TaskCardName,
    experiment: ExperimentName = None,
    label: Label = None,
    repo: Repo = Path(),
    env_file: EnvFile = None,
    as_json: Json = False,
) -> None:
    """Open a session and print, once, what points the harness at the gateway."""
    from agentdyno.sessions.opening import Wanted, open_session

    with session_context() as context:
        opened = open_session(context, Wanted(variant, task_card, experiment, label, repo))
    _hand_over(opened.session.session_id, opened.session.expires_at_us, opened.env, env_file, as_json=as_json)


@session_app.command()
def start(
    variant: VariantName,
    task_card: TaskCardName,
    command: Annotated[
        list[str] | None, typer.Argument(help="Command to measure, after `--`; by default the profile's headless one.")
    ] = None,
    experiment: ExperimentName = None,
    label: Label = None,
    repo: Repo = Path(),
    as_json: Json = False,
) -> None:
    """Do it all around one command: open, run, check, collect, finalize. Ends with the command's exit code."""
    from agentdyno.sessions.launching import start_session
    from agentdyno.sessions.opening import Wanted

    wanted = Wanted(variant, task_card, experiment, label, repo, program=command[0] if command else None)
    with session_context() as context:
        session = start_session(context, wanted, command or (), folder=Path.cwd())
        _print_session(context.ledger, session, with_requests=False, as_json=as_json, to_stderr=not as_json)
    exit_code = session.command_exit_code or 0
    raise typer.Exit(exit_code if exit_code >= 0 else 128 - exit_code)


@session_app.command()
def env(
    session_id: SessionId,
    rotate: Annotated[bool, typer.Option("--rotate", help="Issue a new key and revoke the old one.")] = False,
    env_file: EnvFile = None,
    as_json: Json = False,
) -> None:
    """Print a session's environment again, with a new key: the old one is kept nowhere."""
    from agentdyno.core.errors import UserError
    from agentdyno.sessions.closing import require_session
    from agentdyno.sessions.opening import rotate_key

    if not rotate:
        raise UserError("a session's key is shown once and kept nowhere", "issue a new one: --rotate")
    with session_context() as context:
        session = require_session(context.ledger, session_id)
        rendered = rotate_key(context, session)
    _hand_over(session_id, session.expires_at_us, rendered, env_file, as_json=as_json)


@session_app.command("list")
def list_sessions(
    experiment: ExperimentName = None,
    only_open: Annotated[bool, typer.Option("--open", help="Only sessions that are not finalized.")] = False,
    as_json: Json = False,
) -> None:
    """List sessions, oldest first."""
    from agentdyno.core.jsonable import to_jsonable
    from agentdyno.store.queries import session_totals, sessions

    with open_ledger(current_home()) as ledger:
        found = sessions(ledger, experiment=experiment, only_open=only_open)
        totals = session_totals(ledger, [session.session_id for session in found])
    if as_json:
        print_json([to_jsonable(session) for session in found])
        return
    from rich.table import Table

    table = Table("session", "variant", "task card", "state", "began", "requests", "right", "label")
    for session in found:
        total = totals.get(session.session_id)
        table.add_row(
            session.session_id,
            session.variant,
            session.task_card,
            session.outcome or session.phase,
            moment(session.created_at_us),
            str(total.requests if total else 0),
            _right(session),
            session.label or "",
        )
    people_console().print(table)


@session_app.command()
def show(
    session_id: SessionId,
    with_requests: Annotated[bool, typer.Option("--requests", help="With every request.")] = False,
    as_json: Json = False,
) -> None:
    """Show a session: what was recorded of it, and its requests."""
    from agentdyno.sessions.closing import require_session

    with open_ledger(current_home()) as ledger:
        session = require_session(ledger, session_id)
        _print_session(ledger, session, with_requests=with_requests, as_json=as_json)


@session_app.command()
def finalize(
    session_id: SessionId,
    outcome: Annotated[
        Literal["completed", "aborted", "invalid"], typer.Option("--outcome", help="completed, aborted or invalid.")
    ],
    notes: Annotated[str | None, typer.Option("--notes", help="Remarks to keep with it.")] = None,
    as_json: Json = False,
) -> None:
    """Close a session: revoke its key, wait for what is in flight, collect, roll up."""
    from agentdyno.sessions.closing import finalize as close

    home = current_home()
    with open_ledger(home) as ledger:
        session = close(ledger, home, session_id, outcome, notes, now_us)
        _print_session(ledger, session, with_requests=False, as_json=as_json)
    if session.outcome != outcome:
        typer.echo(f"it was finalized as {session.outcome} before; nothing was changed", err=True)


def _hand_over(
    session_id: str, expires_at_us: int, env: dict[str, str], env_file: Path | None, *, as_json: bool
) -> None:
    """Give the rendered environment to the person: the only time that its key is seen."""
    from agentdyno.core.templates import dotenv, shell_snippet

    if env_file is not None:
        _write_private(env_file, dotenv(env))
    if as_json:
        document: dict[str, Any] = {"session_id": session_id, "expires_at_us": expires_at_us}
        print_json({**document, "env_file": str(env_file)} if env_file else {**document, "env": env})
        return
    typer.echo(f"session {session_id}, until {moment(expires_at_us)}", err=True)
    if env_file is None:
        typer.echo(shell_snippet(env), nl=False)
    typer.echo(f"then: dyno session finalize {session_id} --outcome completed", err=True)


def _write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read."""
    from agentdyno.core.errors import UserError

    try:
        path.touch(mode=0o600)
        path.chmod(0o600)
        path.write_text(text)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}", "name another file") from error


def _right(session: Session) -> str:
    return f"{session.checks_passed}/{session.checks_total}" if session.checks_total is not None else "–"


def _print_session(
    ledger: Any, session: Session, *, with_requests: bool, as_json: bool, to_stderr: bool = False
) -> None:
    from agentdyno.core.jsonable import to_jsonable
    from agentdyno.store.queries import session_totals

    requests = ledger.requests(session.session_id) if with_requests else ()
    totals = session_totals(ledger, [session.session_id]).get(session.session_id)
    if as_json:
        document = {"session": to_jsonable(session), "totals": totals._asdict() if totals else None}
        if with_requests:
            document["requests"] = [to_jsonable(request) for request in requests]
        print_json(document)
        return
    from rich.table import Table

    console = people_console(stderr=to_stderr)
    facts = Table(show_header=False, box=None, pad_edge=False)
    for name, value in to_jsonable(session).items():
        if value is not None:
            facts.add_row(name.removesuffix("_at_us"), moment(value) if name.endswith("_at_us") else str(value))
    if totals is not None:
        facts.add_row("requests", f"{totals.requests}, {totals.ok} of them ok")
        facts.add_row("tokens in / out", f"{_or_dash(totals.input_tokens)} / {_or_dash(totals.output_tokens)}")
    else:
        facts.add_row("requests", "0")
    console.print(facts)
    if with_requests:
        console.print(_request_table(requests))


def _request_table(requests: tuple[Request, ...]) -> Any:
    from rich.table import Table

    table = Table("came in", "surface", "model", "status", "latency ms", "ttft ms", "in", "out", "source", "error")
    for request in requests:
        table.add_row(
            moment(request.started_at_us),
            request.surface or request.path,
            request.model_requested or "–",
            request.status + (" (late)" if request.late else ""),
            _or_dash(request.latency_ms),
            _or_dash(request.ttft_ms),
            _or_dash(request.input_tokens),
            _or_dash(request.output_tokens),
            request.usage_source or "–",
            request.error_class or "",
        )
    return table


def _or_dash(value: float | None) -> str:
    return "–" if value is None else f"{value:,.1f}".removesuffix(".0")
