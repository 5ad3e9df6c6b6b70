"""What `dyno doctor` found, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from agentdyno.reporting.wording import harmless, plural
from agentdyno.stand.installation import Finding, State

_STYLES: dict[State, str] = {"ok": "green", "warning": "yellow", "fault": "red"}


def render_findings(findings: Sequence[Finding]) -> Table:
    """A row for every check, and below it what to do."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        state = Text(finding.state, style=_STYLES[finding.state])
        table.add_row(state, Text(finding.name), Text(harmless(finding.found)))
        if finding.mend is not None:
            table.add_row("", "", Text(f"→ {harmless(finding.mend)}"))
    return table


def summary(findings: Sequence[Finding]) -> str:
    """All of it in a few words."""
    faults, warnings = (count(findings, state) for state in ("fault", "warning"))
    if not faults and not warnings:
        return "all is well"
    return f"{plural(faults, 'fault')}, {plural(warnings, 'warning')}"


def count(findings: Sequence[Finding], state: State) -> int:
    """How many findings are of a state."""
    return sum(finding.state == state for finding in findings)
