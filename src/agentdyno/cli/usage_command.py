"""`dyno usage`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import typer

from agentdyno.cli.edges import current_home, open_ledger
from agentdyno.cli.options import ExperimentName, SessionName
from agentdyno.cli.printing import Json, print_json, print_page

_FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]

Since = Annotated[
    datetime | None, typer.Option("--since", formats=_FORMATS, help="Only what came in then or later, in UTC.")
]
Until = Annotated[datetime | None, typer.Option("--until", formats=_FORMATS, help="Only what came in before, in UTC.")]


def usage(
    by: Annotated[
        Literal["key", "model", "provider", "harness", "day"],
        typer.Option("--by", help="key, model, provider, harness or day; days are UTC's."),
    ],
    session: SessionName = None,
    experiment: ExperimentName = None,
    since: Since = None,
    until: Until = None,
    as_json: Json = False,
) -> None:
    """Show requests, tokens and cost by one trait.

    By key, model, provider, harness or day.
    """
    from agentdyno.cli.session_commands import require_experiment
    from agentdyno.reporting.usage import render_usage, usage_document
    from agentdyno.sessions.closing import require_session
    from agentdyno.store import accounts, queries

    with open_ledger(current_home()) as ledger:
        require_experiment(ledger, experiment)
        session_ids = None
        if experiment is not None:
            session_ids = {found.session_id for found in queries.sessions(ledger, experiment=experiment)}
        if session is not None:
            named = {require_session(ledger, session).session_id}
            session_ids = named if session_ids is None else named & session_ids
        used = accounts.usage(ledger, by, accounts.Window(session_ids, _in_us(since), _in_us(until)))
    if as_json:
        print_json(usage_document(by, used))
    elif used:
        print_page(render_usage(by, used))
    else:
        typer.echo("there is no such request")


def _in_us(moment: datetime | None) -> int | None:
    from datetime import UTC, timedelta

    if moment is None:
        return None
    since_epoch = moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return since_epoch // timedelta(microseconds=1)
