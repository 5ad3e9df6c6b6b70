"""A reconciliation for a terminal, and as one JSON document."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

import msgspec
from rich.console import RenderableType
from rich.text import Text

from agentdyno.core.discrepancies import Discrepancy, Said
from agentdyno.core.jsonable import to_jsonable
from agentdyno.reporting.provider_log import LogComparison, LogDifference
from agentdyno.reporting.reconciliation import Account, Disputed, Reconciliation
from agentdyno.reporting.tables import Column, Group, grouped_table, plain_table
from agentdyno.reporting.wording import UNKNOWN, moment, number, plural, usd
from agentdyno.store.accounts import TokenSums

_TOKENS = tuple(
    Column(heading, "right")
    for heading in ("tokens\nin", "tokens\nout", "cache\nread", "cache\nwritten", "of output\nreasoning")
)
_ACCOUNTS = (Column("witness"), Column("requests", "right"), Column("records", "right"), *_TOKENS)
_DISPUTES = (
    Column("differs in"),
    *(Column(heading, "right") for heading in ("provider", "proxy", "harness")),
    Column("cause"),
)
_LOG = (Column("differs in"), *(Column(heading, "right") for heading in ("log", "provider")), Column("cause"))


def render_reconciliation(found: Reconciliation, log: LogComparison | None = None) -> list[RenderableType]:
    """The accounts of the witnesses, every discrepancy, and what it comes to."""
    parts: list[RenderableType] = [plain_table(_ACCOUNTS, _account_rows(found, log), _title(found))]
    if found.disputed:
        parts.append(grouped_table(_DISPUTES, map(_dispute_group, found.disputed)))
    if log is not None and log.differences:
        parts.append(grouped_table(_LOG, _log_groups(log.differences)))
    remarks = _remarks(found)
    if remarks:
        parts.append(Text("\n".join(remarks), style="yellow"))
    parts.append(Text(verdict_line(found, log)))
    return parts


def is_explained(found: Reconciliation, log: LogComparison | None = None) -> bool:
    """Whether every discrepancy has a cause."""
    return not found.unexplained and (log is None or not log.unexplained)


def verdict_line(found: Reconciliation, log: LogComparison | None = None) -> str:
    """What it comes to: `11 of 12 requests agree; 1 differs, all explained`."""
    agree = "agrees" if 1 in (found.agreed, found.requests) else "agree"
    line = f"{number(found.agreed)} of {plural(found.requests, 'request')} {agree}"
    if found.disputed:
        differ = "differs" if len(found.disputed) == 1 else "differ"
        line += f"; {number(len(found.disputed))} {differ}, {_explained(found.unexplained)}"
    if log is not None:
        line += f"; the provider's log: {plural(log.lines, 'line')}, {number(log.matched)} matched"
        line += f", {number(log.elsewhere)} of other sessions" if log.elsewhere else ""
        line += f", {number(log.outside)} outside the session's time" if log.outside else ""
        line += f", {plural(len(log.differences), 'difference')}"
        line += f", {_explained(log.unexplained)}" if log.differences else ""
    return line


def document(found: Reconciliation, log: LogComparison | None = None) -> dict[str, Any]:
    """All of it as JSON values."""
    return {
        "title": found.title,
        **{name: getattr(found, name) for name in ("requests", "beside", "in_flight", "awaited", "unreadable")},
        "accounts": [
            {"witness": account.witness, "requests": account.requests, "records": account.records}
            | account.tokens._asdict()
            for account in found.accounts
        ],
        "agreed": found.agreed,
        "disputed": [_disputed_document(one) for one in found.disputed],
        "unexplained": found.unexplained,
        "provider_log": None if log is None else to_jsonable(log) | {"unexplained": log.unexplained},
    }


def _disputed_document(one: Disputed) -> dict[str, Any]:
    names = ("request_key", "session_id", "started_at_us", "key_alias", "model_requested", "status")
    request = {name: getattr(one.request, name) for name in names}
    return request | {"discrepancies": [msgspec.structs.asdict(found) for found in one.discrepancies]}


def _title(found: Reconciliation) -> str:
    beside = f", and {number(found.beside)} beside that ask for no answer" if found.beside else ""
    return f"{found.title}: {plural(found.requests, 'request')}{beside}"


def _account_rows(found: Reconciliation, log: LogComparison | None) -> Iterable[tuple[str | None, ...]]:
    for account in found.accounts:
        yield _account_row(account)
    if log is not None:
        yield _log_row("its log", log.matched, log.tokens)
        if log.matched < log.lines:
            yield _log_row("whole log", log.lines, log.file_tokens)


def _log_row(name: str, lines: int, tokens: TokenSums) -> tuple[str | None, ...]:
    return (name, None, number(lines), *(number(count) for count in tokens))


def _account_row(account: Account) -> tuple[str | None, ...]:
    figures = (number(count) for count in (account.requests, account.records, *account.tokens))
    return ("in rows" if account.witness == "row" else account.witness, *figures)


def _dispute_group(one: Disputed) -> Group:
    request = one.request
    heading = (
        moment(request.started_at_us),
        request.request_key,
        request.key_alias or UNKNOWN,
        request.model_requested or UNKNOWN,
        request.status,
    )
    return Group("  ".join(heading), [_told(found) for found in one.discrepancies])


def _told(found: Discrepancy) -> tuple[str, ...]:
    return (found.field, _said(found.provider), _said(found.proxy), _said(found.harness), found.cause)


def _said(value: Said) -> str:
    if isinstance(value, float):
        return usd(value, 6)
    return number(value) if isinstance(value, int) else value or UNKNOWN


def _log_groups(differences: Iterable[LogDifference]) -> Iterable[Group]:
    by_request = groupby(differences, lambda one: (one.request_id, one.request_key or UNKNOWN))
    for names, found in by_request:
        yield Group("  ".join(names), [(one.field, _said(one.log), _said(one.provider), one.cause) for one in found])


def _remarks(found: Reconciliation) -> list[str]:
    told = (
        (found.in_flight, "request", "still in flight"),
        (found.awaited, "request", "answered, with a record that may still come"),
        (found.unreadable, "record", "that could not be read, of the gateways that served these sessions"),
    )
    return [f"{plural(count, noun)} {what}" for count, noun, what in told if count]


def _explained(unexplained: int) -> str:
    return f"{number(unexplained)} unexplained" if unexplained else "all explained"
