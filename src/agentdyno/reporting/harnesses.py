"""What checks of harnesses found, for a terminal and for the documentation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from agentdyno.core.records import HarnessProfile, Purpose, Surface
from agentdyno.reporting.markdown import markdown_table, rewritten
from agentdyno.reporting.tables import Column, PlainTable, plain_table
from agentdyno.reporting.wording import UNKNOWN, harmless, number

State = Literal["verified", "differs", "not installed", "deferred"]
BEGIN, END = "<!-- status: begin -->", "<!-- status: end -->"
"""What stands around the table in a page: all between them is written anew."""


@dataclass(frozen=True)
class Refused:
    """How a harness behaved when the provider refused every call with 401."""

    exit_code: int | None
    """None: it was still at it when its time was over."""
    requests: int


@dataclass(frozen=True)
class HarnessReport:
    """What became of one harness."""

    harness_profile: str
    surface: Surface
    state: State
    findings: tuple[str, ...] = ()
    """Why it is not verified."""
    program: str | None = None
    version: str | None = None
    exit_code: int | None = None
    wall_s: float | None = None
    requests: int | None = None
    """Inference requests with a row."""
    served: int | None = None
    """Inference requests that the provider counted."""
    side_calls: Mapping[Purpose, int] | None = None
    """Requests beside the work, by what they were for."""
    models: tuple[str, ...] = ()
    """Models that it asked for."""
    harness_ids: tuple[str, ...] = ()
    """Headers in which it sent ids of its own."""
    refused: Refused | None = None
    last_words: str | None = None
    """The end of what it printed, where it is not verified: shown, and kept nowhere."""


class Listed(NamedTuple):
    """A profile, and what is installed of it."""

    profile: HarnessProfile
    program: str | None
    version: str | None


_COLUMNS = (
    Column("harness"),
    Column("version", optional=True),
    Column("surface"),
    Column("state"),
    Column("requests", "right", optional=True),
    Column("served", "right", optional=True),
    Column("side calls", optional=True),
    Column("models asked for", optional=True, prose=True),
    Column("ids in", optional=True, prose=True),
    Column("exit code", "right", optional=True),
    Column("all calls\nrefused", "right", optional=True),
    Column("s", "right", optional=True),
    Column("why not", optional=True, prose=True),
)


def render_harnesses(listed: Iterable[Listed]) -> PlainTable:
    """A row for every profile: what it is, and whether it is installed."""
    columns = (
        *(Column(heading) for heading in ("harness", "surface", "installed")),
        Column("version", optional=True),
        Column("what it is", prose=True),
        Column("to install it", optional=True),
    )
    rows = [
        (
            item.profile.name,
            item.profile.surface,
            _installed(item),
            item.version,
            item.profile.description,
            (item.profile.install or None) if item.program is None else None,
        )
        for item in listed
    ]
    return plain_table(columns, rows)


def _installed(item: Listed) -> str:
    if not (item.profile.command or item.profile.version_command):
        return UNKNOWN  # a client of one's own: the profile names no program
    return "no" if item.program is None else "yes"


def render_reports(reports: Iterable[HarnessReport]) -> PlainTable:
    """A row for every harness that was checked."""
    return plain_table(_COLUMNS, map(_cells, reports))


def last_words(reports: Iterable[HarnessReport]) -> str:
    """What those that are not verified printed at their end; empty where there is nothing to show."""
    blocks = []
    for report in reports:
        if report.last_words is not None:
            lines = (f"  {harmless(line)}".rstrip() for line in report.last_words.splitlines())
            blocks.append("\n".join((f"\nlast words of {report.harness_profile}:", *lines)))
    return "\n".join(blocks)


def status_table(reports: Sequence[HarnessReport]) -> str:
    """The same as a Markdown table."""
    return markdown_table([column.heading.replace("\n", " ") for column in _COLUMNS], map(_cells, reports))


def with_table(page: str, table: str) -> str | None:
    """A page with the table between its two marks; None where it has none."""
    return rewritten(page, BEGIN, END, table)


def _cells(report: HarnessReport) -> tuple[str | None, ...]:
    side_calls = ", ".join(f"{count} {purpose}" for purpose, count in sorted((report.side_calls or {}).items()))
    return (
        report.harness_profile,
        report.version,
        report.surface,
        report.state,
        None if report.requests is None else number(report.requests),
        None if report.served is None else number(report.served),
        side_calls or None,
        ", ".join(report.models) or None,
        ", ".join(report.harness_ids) or None,
        None if report.exit_code is None else str(report.exit_code),
        None if report.refused is None else _refused(report.refused),
        number(report.wall_s, 1) if report.wall_s is not None else None,
        "; ".join(report.findings) or None,
    )


def _refused(refused: Refused) -> str:
    code = UNKNOWN if refused.exit_code is None else str(refused.exit_code)
    return f"{code} after {number(refused.requests)}"
