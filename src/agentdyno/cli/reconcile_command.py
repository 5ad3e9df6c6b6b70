"""`dyno reconcile`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentdyno.cli.edges import configured_experiments, current_home, open_ledger
from agentdyno.cli.options import SessionOrExperiment
from agentdyno.cli.printing import Json, passing_line, print_json, print_page
from agentdyno.clock import now_us

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentdyno.reporting.provider_log import LogComparison
    from agentdyno.store.ledger import Ledger

UNEXPLAINED = 3
"""Exit code where a discrepancy has no cause: the command did its work, and what it found is not in order."""

ProviderLog = Annotated[
    Path | None, typer.Option("--provider-log", help="The provider's own count, a JSON object a line.")
]


def reconcile(
    name: SessionOrExperiment,
    provider_log: ProviderLog = None,
    as_json: Json = False,
) -> None:
    """Show what each of three witnesses says, and why they differ.

    Of a session or an experiment: the sums of provider, proxy and harness, then every discrepancy with its request and
    its cause.

    Ends with 3 where a discrepancy has no cause.
    """
    from agentdyno.collectors.spool import SpoolCollector
    from agentdyno.reporting.reconciliation import reconcile as draw_up
    from agentdyno.reporting.reconciliation_page import document, is_explained, render_reconciliation
    from agentdyno.sessions.settling import settle

    home = current_home()
    content = None if provider_log is None else _read(provider_log)
    with open_ledger(home) as ledger:
        title, session_ids = _sessions(ledger, name)
        with passing_line("reading the spool"):
            unsettled = settle(SpoolCollector(home.spool, ledger, now_us), session_ids)
        found = draw_up(ledger, title, session_ids, now_us(), **unsettled._asdict())
        log = None if content is None else _compare(ledger, session_ids, str(provider_log), content)
    if as_json:
        print_json(document(found, log))
    else:
        print_page(*render_reconciliation(found, log))
    if not is_explained(found, log):
        raise typer.Exit(UNEXPLAINED)


def _read(path: Path) -> bytes:
    from agentdyno.core.errors import UserError

    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def _sessions(ledger: Ledger, name: str) -> tuple[str, Sequence[str]]:
    """What is to be reconciled, in words, and its sessions. Raises UserError when there is no such thing."""
    from agentdyno.core.errors import UserError
    from agentdyno.core.names import nearest
    from agentdyno.sessions.closing import require_session
    from agentdyno.store.queries import experiment_names, sessions

    measured = experiment_names(ledger)
    if name in measured:
        found = sessions(ledger, experiment=name)
        return f"experiment {name}", [session.session_id for session in found]
    experiments = {*measured, *configured_experiments()}
    if name in experiments:
        raise UserError(f"experiment {name} has no session yet")
    try:
        session_id = require_session(ledger, name).session_id
    except UserError as error:
        near = nearest(name, {*experiments, *(session.session_id for session in sessions(ledger))})
        if near not in experiments:
            raise
        raise UserError(f'there is no session or experiment "{name}"', f'did you mean "{near}"?') from error
    return f"session {session_id}", [session_id]


def _compare(ledger: Ledger, session_ids: Sequence[str], name: str, content: bytes) -> LogComparison:
    from agentdyno.reporting.provider_log import compare_log, read_log
    from agentdyno.reporting.reconciliation import disputes
    from agentdyno.store import accounts

    lines = read_log(name, content)
    known = accounts.known_provider_request_ids(ledger, (line.request_id for line in lines))
    return compare_log(lines, disputes(ledger, accounts.inference_requests(ledger, session_ids), now_us()), known)
