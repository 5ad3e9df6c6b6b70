"""`dyno anatomy`."""

from __future__ import annotations

import typer

from agentdyno.cli.edges import current_home, open_ledger
from agentdyno.cli.options import SessionId
from agentdyno.cli.printing import Json, print_json, print_page


def anatomy(session_id: SessionId, as_json: Json = False) -> None:
    """Show what a harness sent, and where the cached prefix broke.

    Part by part over the turns of a session, by sizes and keyed digests: no text is stored.
    """
    from agentdyno.reporting.anatomy_page import document, render_anatomy, session_anatomy
    from agentdyno.sessions.closing import require_session

    with open_ledger(current_home()) as ledger:
        session = require_session(ledger, session_id)
        found = session_anatomy(session.session_id, ledger.requests(session.session_id))
    if as_json:
        print_json(document(found))
    elif found.conversations or found.unmeasured:
        print_page(*render_anatomy(found))
    else:
        typer.echo(f"session {session.session_id} made no request to a model")
