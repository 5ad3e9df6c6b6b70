"""`dyno session create|start|env|list|show|watch|finalize`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from agentdyno.cli.edges import (
    configured_experiments,
    current_folder,
    current_home,
    deployment_access,
    open_ledger,
    session_context,
    shell_exit_code,
    tell,
)
from agentdyno.cli.options import (
    EnvFile,
    ExperimentName,
    Label,
    Notes,
    OpenSessionId,
    Repo,
    SessionId,
    TaskCardName,
    VariantName,
)
from agentdyno.cli.printing import Json, passing_line, print_json, print_page, require_output
from agentdyno.cli.watch_command import watch
from agentdyno.clock import now_us

if TYPE_CHECKING:
    from agentdyno.core.records import Session
    from agentdyno.store.ledger import Ledger
    from agentdyno.store.queries import SessionTotals

    _HandOver = Callable[[Session, dict[str, str]], None]

session_app = typer.Typer(help="Open, look at and close sessions.", no_args_is_help=True)


_OPENING = "opening a session"
_FRUITLESS = 3
"""Exit code of `session start` when the command's own is 0, and no request succeeded or there was none."""


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
    """Open a session, and print its environment once.

    The environment points a harness at the gateway, and holds the session's key, which is kept nowhere.
    """
    from agentdyno.sessions.opening import Wanted, aborted_on_failure, open_session

    with session_context() as context, _handing_over(env_file, as_json=as_json) as hand_over:
        with passing_line(_OPENING):
            opened = open_session(context, Wanted(variant, task_card, experiment, label, repo))
        with aborted_on_failure(context, opened.session.session_id):
            hand_over(opened.session, opened.env)


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
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON; what the command prints then goes to standard error.")
    ] = False,
) -> None:
    """Do it all around one command.

    Opens a session, runs the command, runs the task card's checks, collects, finalizes. Ends with the command's exit
    code; with 3 where that is 0 though no request succeeded, or none was made.
    """
    import sys

    from agentdyno.reporting.session_page import is_fruitless
    from agentdyno.sessions.launching import Launch, start_session
    from agentdyno.sessions.opening import Wanted

    wanted = Wanted(variant, task_card, experiment, label, repo, program=command[0] if command else None)
    launch = Launch(current_folder(), output=sys.stderr.buffer if as_json else None)
    with session_context() as context, contextlib.ExitStack() as opening:
        opening.enter_context(passing_line(_OPENING))

        def say_opened(session: Session) -> None:
            opening.close()
            typer.echo(f"session {session.session_id}", err=True)

        ended = start_session(
            *(context, wanted, command or (), launch), opened=say_opened, waiting=_say_waiting(), told=tell
        )
        totals = _print_end(context.ledger, ended.session, as_json=as_json, to_stderr=True)
    exit_code = shell_exit_code(ended.exit_code)
    raise typer.Exit(_FRUITLESS if exit_code == 0 and is_fruitless(totals) else exit_code)


@session_app.command()
def env(
    session_id: OpenSessionId,
    rotate: Annotated[bool, typer.Option("--rotate", help="Issue a new key and revoke the old one.")] = False,
    env_file: EnvFile = None,
    as_json: Json = False,
) -> None:
    """Print a session's environment again, with a new key.

    The old key is revoked; it is kept nowhere, so that it cannot be printed again.
    """
    from agentdyno.core.errors import UserError
    from agentdyno.sessions.closing import require_session
    from agentdyno.sessions.opening import rotate_key

    if not rotate:
        raise UserError("a session's key is shown once and kept nowhere", "issue a new one: --rotate")
    with session_context() as context:
        session = require_session(context.ledger, session_id)
        with _handing_over(env_file, as_json=as_json) as hand_over:
            hand_over(session, rotate_key(context, session))


@session_app.command("list")
def list_sessions(
    experiment: ExperimentName = None,
    only_open: Annotated[bool, typer.Option("--open", help="Only sessions that are not finalized.")] = False,
    as_json: Json = False,
) -> None:
    """List sessions, oldest first."""
    from agentdyno.reporting.reconciliation import unexplained_requests
    from agentdyno.reporting.session_page import render_sessions
    from agentdyno.store.queries import session_totals, sessions

    with open_ledger(current_home()) as ledger:
        require_experiment(ledger, experiment)
        found = sessions(ledger, experiment=experiment, only_open=only_open)
        session_ids = [session.session_id for session in found]
        totals, unexplained = session_totals(ledger, session_ids), unexplained_requests(ledger, session_ids, now_us())
    if as_json:
        print_json([_listed(session, totals, unexplained) for session in found])
    elif found:
        print_page(render_sessions(found, totals, unexplained))
    elif only_open:
        typer.echo("no session is open")
    elif experiment is not None:
        typer.echo(f'experiment "{experiment}" has no session yet')
    else:
        typer.echo("there is no session yet; `dyno session create` opens one")


@session_app.command()
def show(
    session_id: SessionId,
    with_requests: Annotated[bool, typer.Option("--requests", help="With every request.")] = False,
    as_json: Json = False,
) -> None:
    """Show a session: its record, what its trace told, its requests."""
    from agentdyno.core.jsonable import to_jsonable
    from agentdyno.reporting.session_page import render_requests, render_session, request_document
    from agentdyno.reporting.traces import session_trace
    from agentdyno.sessions.closing import require_session

    with open_ledger(current_home()) as ledger:
        session = require_session(ledger, session_id)
        totals, unexplained = _totals(ledger, session), _unexplained(ledger, session)
        requests = ledger.requests(session.session_id) if with_requests else ()
        trace = session_trace(ledger, session.session_id)
    if as_json:
        requested = {"requests": [request_document(request) for request in requests]} if with_requests else {}
        print_json({**_document(session, totals, unexplained), "trace": to_jsonable(trace), **requested})
        return
    parts = (render_session(session, totals, unexplained, trace), render_requests(requests))
    print_page(*(parts if requests else parts[:1]))


session_app.command()(watch)


@session_app.command()
def finalize(
    session_id: OpenSessionId,
    outcome: Annotated[
        Literal["completed", "aborted", "invalid"], typer.Option("--outcome", help="completed, aborted or invalid.")
    ],
    notes: Notes = None,
    as_json: Json = False,
) -> None:
    """Close a session that was opened by hand.

    Revokes its key, waits for what is in flight, collects, rolls up. It runs no checks: only `session start` does,
    which knows the folder that was worked in.
    """
    from agentdyno.core.errors import UserError
    from agentdyno.interruption import held_interruptions
    from agentdyno.sessions.closing import finalize as close
    from agentdyno.sessions.closing import require_session

    home = current_home()
    with open_ledger(home) as ledger, held_interruptions() as interruptions:
        before = require_session(ledger, session_id)
        if before.ended_at_us is not None and before.outcome != outcome:
            raise UserError(
                f"session {before.session_id} was finalized as {before.outcome} before", "nothing was changed"
            )
        given_up = interruptions.more()
        session = close(
            *(ledger, home, before.session_id, outcome, notes, now_us),
            given_up=given_up,
            waiting=_say_waiting(),
            access=deployment_access(ledger, before),
            told=tell,
        )
        if session.outcome != outcome and not given_up():
            raise UserError(f"session {session.session_id} was finalized as {session.outcome} meanwhile")
        _print_end(ledger, session, as_json=as_json)
    if before.ended_at_us is not None:
        typer.echo(f"it was finalized as {session.outcome} before; nothing was changed", err=True)


def require_experiment(ledger: Ledger, experiment: str | None) -> None:
    """Raise UserError for an experiment that is not configured, and that no session belongs to."""
    from agentdyno.core.errors import UserError
    from agentdyno.core.names import suggestion
    from agentdyno.store.queries import experiment_names

    if experiment is None or experiment in (measured := experiment_names(ledger)):
        return
    known = {*measured, *configured_experiments()}
    if experiment not in known:
        raise UserError(f'experiment "{experiment}" is not defined', suggestion(experiment, known))


@contextlib.contextmanager
def _handing_over(env_file: Path | None, *, as_json: bool) -> Iterator[_HandOver]:
    """What gives a rendered environment to the person: the only time that its key is seen.

    That it can be seen is made sure of on entering, before there is a key.
    """
    from agentdyno.cli.env_file import env_file_at

    if env_file is None or as_json:
        require_output()
    with contextlib.nullcontext() if env_file is None else env_file_at(env_file) as write:
        yield lambda session, env: _hand_over(session, env, env_file, write, as_json=as_json)


def _hand_over(
    session: Session, env: dict[str, str], env_file: Path | None, write: Callable[[str], None] | None, *, as_json: bool
) -> None:
    import os

    from agentdyno.core.templates import dotenv, shell_snippet
    from agentdyno.reporting.wording import moment

    if write is not None:
        write(dotenv(env))
    if as_json:
        document: dict[str, Any] = {"session_id": session.session_id, "expires_at_us": session.expires_at_us}
        print_json({**document, "env_file": str(env_file)} if env_file else {**document, "env": env})
        return
    typer.echo(f"session {session.session_id}, until {moment(session.expires_at_us)}", err=True)
    if env_file is None:
        typer.echo(os.fsencode(shell_snippet(env)), nl=False)
    typer.echo(f"then: dyno session finalize {session.session_id} --outcome completed", err=True)


def _say_waiting() -> Callable[[int], None]:
    """What says, once, that requests are waited for."""
    said = False

    def say(in_flight: int) -> None:
        from agentdyno.reporting.wording import plural

        nonlocal said
        if not said:
            said = True
            typer.echo(f"waiting for {plural(in_flight, 'request')} in flight; Ctrl-C ends the wait", err=True)

    return say


def _totals(ledger: Ledger, session: Session) -> SessionTotals | None:
    from agentdyno.store.queries import session_totals

    return session_totals(ledger, [session.session_id]).get(session.session_id)


def _unexplained(ledger: Ledger, session: Session) -> int:
    """In how many requests of a session the witnesses differ for no cause that is known."""
    from agentdyno.reporting.reconciliation import unexplained_requests

    return unexplained_requests(ledger, [session.session_id], now_us()).get(session.session_id, 0)


def _document(session: Session, totals: SessionTotals | None, unexplained: int) -> dict[str, Any]:
    from agentdyno.core.jsonable import to_jsonable

    return {
        "session": to_jsonable(session),
        "totals": to_jsonable(totals),
        "unexplained": unexplained,
    }


def _listed(session: Session, totals: Mapping[str, SessionTotals], unexplained: Mapping[str, int]) -> dict[str, Any]:
    """The same of one of many sessions: its own fields, with what stands beside them."""
    session_id = session.session_id
    document = _document(session, totals.get(session_id), unexplained.get(session_id, 0))
    return {**document.pop("session"), **document}


def _print_end(ledger: Ledger, session: Session, *, as_json: bool, to_stderr: bool = False) -> SessionTotals | None:
    """What became of a session: a line for people, the whole of it for machines. Gives its totals."""
    from agentdyno.reporting.session_page import session_line

    totals, unexplained = _totals(ledger, session), _unexplained(ledger, session)
    if as_json:
        print_json(_document(session, totals, unexplained))
        return totals
    # What the work met is told rather than what a side call did, and only where nothing else tells of it.
    requests = ledger.requests(session.session_id) if totals is not None and totals.ok == 0 else ()
    first = min(requests, key=lambda request: request.purpose != "work", default=None)
    typer.echo(session_line(session, totals, first, unexplained), err=to_stderr)
    typer.echo(f"more: dyno session show {session.session_id} --requests", err=True)
    return totals
