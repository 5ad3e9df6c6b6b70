"""One session for a terminal: what was recorded of it, and its requests."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from agentdyno.core.jsonable import to_jsonable
from agentdyno.core.records import Request, Session
from agentdyno.reporting.tables import Column, PlainTable, plain_table
from agentdyno.reporting.traces import SessionTrace, figure
from agentdyno.reporting.wording import (
    UNKNOWN,
    at_least,
    ending,
    harmless,
    moment,
    number,
    plural,
    usd,
    whose_tokens,
)
from agentdyno.store.queries import SessionTotals

_GIB = 1024**3
_NONE: Mapping[str, int] = MappingProxyType({})
_NO_TRACE = SessionTrace()
_JSON_FIELDS = ("discrepancies", "tags", "harness_ids", "prefix")
"""Fields of a request that hold JSON text."""


class _Fact(NamedTuple):
    name: str
    text: str


def is_fruitless(totals: SessionTotals | None) -> bool:
    """Whether no request of a session's work succeeded, or it made none."""
    return totals is None or totals.work_ok == 0


def session_line(
    session: Session, totals: SessionTotals | None, first: Request | None = None, unexplained: int = 0
) -> str:
    """A session's end in one line; of one without any good answer, why: from its first request.

    `unexplained` is in how many of its requests the witnesses differ for no cause that is known.
    """
    parts = [f"session {session.session_id} {session.outcome or f'is open ({session.phase})'}"]
    if totals is not None:
        parts += [f"{plural(totals.requests, 'request')}{_failed(totals)}", f"tokens {_tokens(totals)}"]
    elif session.outcome is None:
        parts.append("no request yet")
    if unexplained:
        parts.append(f"discrepancies unexplained in {plural(unexplained, 'request')}")
    if session.command_exit_code:
        parts.append(f"the command ended with {ending(session.command_exit_code)}")
    if session.checks_total is not None:
        parts.append(f"{session.checks_passed} of {plural(session.checks_total, 'check')} held")
    remark = _remark(session, totals)
    if remark is None:
        return ", ".join(parts)
    if _made_none(totals):
        why = ": was the harness pointed at it?"
    else:
        why = f": {_error(first)}" if first is not None else ""
    return f"{', '.join(parts)}; {remark}{why}"


def _made_none(totals: SessionTotals | None) -> bool:
    return totals is None or totals.requests == 0


def _remark(session: Session, totals: SessionTotals | None) -> str | None:
    """What must be said of a session without any good answer, above all of one whose command claims success."""
    if not is_fruitless(totals) or (_made_none(totals) and session.outcome is None):
        return None
    if totals is not None and totals.ok:
        said = "exit code 0, though " if session.command_exit_code == 0 else ""
        return f"{said}none of its work succeeded, only side calls"
    if session.command_exit_code != 0:
        return "no request to a model came through the gateway" if _made_none(totals) else "no request succeeded"
    if totals is None or totals.requests == 0:
        return "exit code 0, though it made no request to a model through the gateway"
    if totals.requests == 1:
        return "exit code 0, though its only request failed"
    return f"exit code 0, though none of its {number(totals.requests)} requests succeeded"


def render_sessions(
    sessions: Iterable[Session], totals: Mapping[str, SessionTotals], unexplained: Mapping[str, int] = _NONE
) -> PlainTable:
    """A row for every session; `unexplained` as in `session_line`, by the sessions' ids."""
    columns = (
        *(Column(heading) for heading in ("session", "variant", "task card", "state", "created")),
        Column("requests", "right"),
        Column("counted by", optional=True),
        Column("unexplained", "right", optional=True),
        Column("checks", "right", optional=True),
        Column("label", optional=True, prose=True),
    )
    rows = (
        _session_row(session, totals.get(session.session_id), unexplained.get(session.session_id, 0))
        for session in sessions
    )
    return plain_table(columns, rows)


def _session_row(session: Session, totals: SessionTotals | None, unexplained: int) -> tuple[str | None, ...]:
    return (
        session.session_id,
        session.variant,
        session.task_card,
        session.outcome or session.phase,
        moment(session.created_at_us),
        "0" if totals is None else f"{number(totals.requests)}{_failed(totals)}",
        None if totals is None else _others(totals),
        number(unexplained) if unexplained else None,
        f"{session.checks_passed}/{session.checks_total}" if session.checks_total is not None else None,
        session.label,
    )


def render_session(
    session: Session, totals: SessionTotals | None, unexplained: int = 0, trace: SessionTrace = _NO_TRACE
) -> Table:
    """Everything that was recorded of a session, but for its requests; what is unknown is left out.

    `unexplained` as in `session_line`.
    """
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for fact in _facts(session, totals, unexplained, trace):
        table.add_row(fact.name, Text(harmless(fact.text)))
    return table


def request_document(request: Request) -> dict[str, Any]:
    """A request as JSON values, what it holds as JSON text too."""
    document: dict[str, Any] = to_jsonable(request)
    texts = {name: document[name] for name in _JSON_FIELDS}
    return document | {name: None if text is None else json.loads(text) for name, text in texts.items()}


def render_requests(requests: Iterable[Request]) -> PlainTable:
    """A row for every request. What all have in common stands once, above; what none has is left out."""
    requests = tuple(requests)
    traits = [_traits(request) for request in requests]
    values = {name: {getattr(one, name) for one in traits} - {None} for name in _Traits._fields}
    common = {name: found.pop() for name, found in values.items() if len(found) == 1}
    columns = (
        Column("came in"),
        *(Column(heading, optional=True) for heading in ("surface", "purpose", "model")),
        Column("status"),
        Column("latency\nms", "right"),
        *(Column(heading, "right", optional=True) for heading in ("provider\nms", "proxy\nms", "ttft\nms")),
        Column("tokens\nin/out", "right"),
        Column("cost\nusd", "right", optional=True),
        *(Column(heading, optional=True) for heading in ("counted by", "error")),
    )
    title = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in common.items())
    rows = (_request_row(request, one, common) for request, one in zip(requests, traits, strict=True))
    return plain_table(columns, rows, escape(harmless(title)) or None)


class _Traits(NamedTuple):
    """What the requests of a session often have in common."""

    day: str
    surface: str
    purpose: str
    model: str
    counted_by: str | None
    """By whom its tokens were; None where nobody did, or there are none."""


def _traits(request: Request) -> _Traits:
    return _Traits(
        moment(request.started_at_us).partition(" ")[0],
        request.surface or request.path or UNKNOWN,
        request.purpose,
        request.model_requested or UNKNOWN,
        request.usage_source,
    )


def _request_row(request: Request, traits: _Traits, common: Collection[str]) -> tuple[str | None, ...]:
    came_in = moment(request.started_at_us)
    own = {name: None if name in common else value for name, value in traits._asdict().items()}
    measured = (request.provider_latency_ms, request.proxy_overhead_ms, request.ttft_ms)
    return (
        came_in.partition(" ")[2] if "day" in common else came_in,
        *(own[name] for name in ("surface", "purpose", "model")),
        request.status + (" (late)" if request.late else ""),
        number(request.latency_ms),
        *(None if value is None else number(value) for value in measured),
        f"{number(request.input_tokens)}/{number(request.output_tokens)}",
        None if request.cost_usd is None else usd(request.cost_usd),
        own["counted_by"],
        request.error_class,
    )


def _facts(session: Session, totals: SessionTotals | None, unexplained: int, trace: SessionTrace) -> Iterator[_Fact]:
    yield _Fact("session", session.session_id)
    yield _Fact("state", session.outcome or f"open: {session.phase}, until {moment(session.expires_at_us)}")
    yield from _given(("label", session.label), ("notes", session.notes), ("experiment", session.experiment))
    yield _Fact("variant", f"{session.variant} ({session.variant_fingerprint})")
    yield _Fact("task card", session.task_card)
    yield _Fact("model", f"{session.model} of provider {session.provider}")
    yield _Fact("harness", session.harness_profile)
    yield from _given(("program", session.harness_binary), ("its version", session.harness_version))
    yield _Fact("created", moment(session.created_at_us))
    yield from _given(
        ("launched", None if session.launched_at_us is None else moment(session.launched_at_us)),
        ("ended", None if session.ended_at_us is None else moment(session.ended_at_us)),
    )
    yield _Fact("requests", "none" if totals is None else f"{number(totals.requests)}{_failed(totals)}")
    if totals is not None:
        yield _Fact("tokens", _tokens(totals))
        yield from _given(("cost", _cost(totals)))
    if unexplained:
        yield _Fact("unexplained", f"discrepancies in {plural(unexplained, 'request')}; `dyno reconcile` shows them")
    yield from _traced(trace)
    if session.checks_total is not None:
        yield _Fact("checks", f"{session.checks_passed} of {session.checks_total} held")
    if session.command_exit_code is not None:
        remark = _remark(session, totals) if session.command_exit_code == 0 else None
        yield _Fact("command", f"ended with {remark or ending(session.command_exit_code)}")
    yield from _given(
        ("repository", _repository(session)), ("stand", _stand(session, totals)), ("machine", _machine(session))
    )


def _traced(trace: SessionTrace) -> Iterator[_Fact]:
    """What its trace told: steps, and metrics with their own units."""
    if trace.steps.steps:
        failed = f"{number(trace.steps.failed)} failed" if trace.steps.failed else None
        yield _Fact("steps", _in_brackets(number(trace.steps.steps), failed))
    for name, unit, values in trace.metrics:
        spread = f"median of {number(values.n)}, from {figure(values.minimum)} to {figure(values.maximum)}"
        yield _Fact("metric", _in_brackets(f"{name} {figure(values.median)} {unit}", spread if values.n > 1 else None))


def _given(*facts: tuple[str, str | None]) -> Iterator[_Fact]:
    yield from (_Fact(name, text) for name, text in facts if text is not None)


def _in_brackets(outside: str, *inside: str | None) -> str:
    known = [part for part in inside if part is not None]
    return f"{outside} ({', '.join(known)})" if known else outside


def _failed(totals: SessionTotals) -> str:
    failed = totals.requests - totals.ok
    return f" ({number(failed)} failed)" if failed else ""


def _tokens(totals: SessionTotals) -> str:
    if totals.input_tokens is None and totals.output_tokens is None:
        return "unknown"
    sums = zip(totals.uncounted._fields, totals.uncounted, strict=True)
    into, out = (_sum(getattr(totals, name), unknown) for name, unknown in sums)
    return _in_brackets(f"{into} in, {out} out", *whose_tokens(totals.by_proxy, totals.estimated))


def _sum(tokens: int | None, unknown: int) -> str:
    return UNKNOWN if tokens is None else at_least(number(tokens), unknown)


def _cost(totals: SessionTotals) -> str | None:
    """What the requests cost, and by which prices; None where there was nothing to pay for."""
    if totals.cost_usd is None:
        return "unknown" if totals.unpriced else None
    cost = at_least(usd(totals.cost_usd), totals.unpriced)
    return _in_brackets(f"{cost} usd", *(f"prices {version}" for version in totals.price_tables))


def _others(totals: SessionTotals) -> str | None:
    """By whom tokens are counted, where not by the provider: `2 proxy, 1 estimated`."""
    counts = ((totals.by_proxy, "proxy"), (totals.estimated, "estimated"))
    return ", ".join(f"{number(count)} {whose}" for count, whose in counts if count) or None


def _error(request: Request) -> str:
    return _in_brackets(
        harmless(request.error_class or request.error_code or request.status),
        None if request.http_status is None else f"HTTP {request.http_status}",
    )


def _repository(session: Session) -> str | None:
    if session.repository_root is None:
        return None
    state = {True: "with uncommitted changes", False: "clean", None: None}[session.repository_dirty]
    commit = session.repository_commit or "no commit yet"
    return _in_brackets(session.repository_root, session.repository_branch or "detached", commit, state)


def _stand(session: Session, totals: SessionTotals | None) -> str | None:
    """What served it. The price table that was at hand is told where no request says which one it was priced by."""
    if session.agentdyno_version is None:
        return None
    parts = (
        ("agentdyno", session.agentdyno_version),
        ("LiteLLM", session.litellm_version),
        ("prices", None if totals is not None and totals.price_tables else session.price_table_version),
    )
    return ", ".join(f"{name} {version}" for name, version in parts if version is not None)


def _machine(session: Session) -> str | None:
    if session.os is None:
        return None
    memory = None if session.memory_bytes is None else f"{session.memory_bytes / _GIB:.1f} GiB"
    cores = None if session.cpu_cores is None else plural(session.cpu_cores, "core")
    parts = (session.os, session.cpu, cores, memory, session.gpu, session.gpu_driver)
    return ", ".join(part for part in parts if part is not None)
