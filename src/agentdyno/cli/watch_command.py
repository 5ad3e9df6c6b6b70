"""`dyno session watch`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agentdyno.cli.edges import current_home, deployment_access, open_ledger
from agentdyno.cli.options import SessionId
from agentdyno.cli.printing import print_json

if TYPE_CHECKING:
    from agentdyno.core.records import Session
    from agentdyno.store.ledger import Ledger


def watch(
    session_id: SessionId,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Show a session's requests as they come, until it is finalized.

    Those that are there already come first. A request is shown when it has ended.
    """
    from agentdyno.interruption import held_interruptions
    from agentdyno.reporting.request_lines import HEADING, request_line
    from agentdyno.reporting.session_page import request_document
    from agentdyno.sessions import watching
    from agentdyno.sessions.closing import require_session
    from agentdyno.sessions.deployments import log_reader
    from agentdyno.stand.state import running_stand

    home = current_home()
    with held_interruptions() as interruptions, open_ledger(home) as ledger:
        session = require_session(ledger, session_id)
        access = None if session.ended_at_us is not None else deployment_access(ledger, session)
        if access is None and session.ended_at_us is None and running_stand(home) is None:
            typer.echo("the stand is not up: nothing new comes until it is; Ctrl-C ends the watch", err=True)
        if not as_json:
            typer.echo(HEADING)
        with interruptions.released():
            refresh = (lambda: None) if access is None else log_reader(ledger, session, access)
            for request in watching.watch(ledger, session.session_id, refresh=refresh):
                if as_json:
                    print_json(request_document(request), indent=None)
                else:
                    typer.echo(request_line(request))
        if not as_json:
            _print_end(ledger, require_session(ledger, session.session_id))


def _print_end(ledger: Ledger, session: Session) -> None:
    from agentdyno.reporting.session_page import session_line
    from agentdyno.store.queries import session_totals

    typer.echo(session_line(session, session_totals(ledger, [session.session_id]).get(session.session_id)), err=True)
