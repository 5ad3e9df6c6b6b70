"""`dyno doctor`."""

from __future__ import annotations

import typer

from agentdyno.cli.edges import current_folder
from agentdyno.cli.printing import Json, passing_line, print_json, print_page
from agentdyno.clock import now_us


def doctor(as_json: Json = False) -> None:
    """Check what a first run needs, and say how to mend it.

    Nothing is changed. Ends with exit code 1 where a fault would keep the stand from working; a warning is about a
    part of it.
    """
    import os

    from agentdyno.reporting.findings import count, render_findings, summary
    from agentdyno.sessions.doctor import examine

    with passing_line("looking"):
        findings = tuple(examine(current_folder(), os.environ, now_us() / 1e6))
    faults = count(findings, "fault")
    if as_json:
        each = [finding._asdict() for finding in findings]
        print_json({"faults": faults, "warnings": count(findings, "warning"), "findings": each})
    else:
        print_page(render_findings(findings), summary(findings))
    if faults:
        raise typer.Exit(1)
