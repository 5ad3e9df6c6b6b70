"""One session for a terminal: what was recorded of it, and its requests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.table import Table

from agentdyno.core.records import Request, Session
from agentdyno.reporting.wording import UNKNOWN, moment, number, plural
from agentdyno.store.queries import SessionTotals

_GIB = 1024**3


class _Fact(NamedTuple):
    name: str
    text: str


def session_line(session: Session, totals: SessionTotals | None) -> str:
    """A session's end in one line."""
    parts = [f"session {session.session_id} {session.outcome or f'is open ({session.phase})'}", _requests(totals)]
    if totals is not None:
        parts.append(f"tokens {_tokens(totals)}")
    if session.checks_total is not None:
        parts.append(f"{session.checks_passed} of {plural(session.checks_total, 'check')} held")
    return ", ".join(parts)


def render_sessions(sessions: Iterable[Session], totals: Mapping[str, SessionTotals]) -> Table:
    """A row for every session."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("session", no_wrap=True)
    for heading in ("variant", "task card"):
        table.add_column(heading, overflow="fold")
    for heading in ("state", "created"):
        table.add_column(heading, no_wrap=True)
    for heading in ("requests", "checks"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("label", overflow="fold")
    for session in sessions:
        total = totals.get(session.session_id)
        judged = session.checks_total is not None
        table.add_row(
            session.session_id,
            session.variant,
            session.task_card,
            session.outcome or session.phase,
            moment(session.created_at_us),
            number(total.requests if total is not None else 0),
            f"{session.checks_passed}/{session.checks_total}" if judged else UNKNOWN,
            session.label,
        )
    return table


def render_session(session: Session, totals: SessionTotals | None) -> Table:
    """Everything that was recorded of a session, but for its requests; what is unknown is left out."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for fact in _facts(session, totals):
        table.add_row(*fact)
    return table


def render_requests(requests: Iterable[Request]) -> Table:
    """A row for every request."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("came in", "surface", "model", "status"):
        table.add_column(heading, no_wrap=heading in ("came in", "status"), overflow="fold")
    for heading in ("latency\nms", "ttft\nms", "tokens\nin", "tokens\nout"):
        table.add_column(heading, justify="right")
    for heading in ("tokens\ncounted by", "error"):
        table.add_column(heading, overflow="fold")
    for request in requests:
        table.add_row(
            moment(request.started_at_us),
            request.surface or request.path,
            request.model_requested or UNKNOWN,
            request.status + (" (late)" if request.late else ""),
            number(request.latency_ms),
            number(request.ttft_ms),
            number(request.input_tokens),
            number(request.output_tokens),
            request.usage_source or UNKNOWN,
            request.error_class,
        )
    return table


def _facts(session: Session, totals: SessionTotals | None) -> Iterator[_Fact]:
    yield _Fact("session", session.session_id)
    yield _Fact("state", session.outcome or f"open: {session.phase}, until {moment(session.expires_at_us)}")
    yield from _given(("label", session.label), ("notes", session.notes), ("experiment", session.experiment))
    yield _Fact("variant", f"{session.variant} ({session.variant_fingerprint})")
    yield _Fact("task card", session.task_card)
    yield _Fact("model", f"{session.model} of provider {session.provider}")
    yield _Fact("harness", _in_brackets(session.harness_profile, session.harness_binary, session.harness_version))
    yield _Fact("created", moment(session.created_at_us))
    yield from _given(
        ("launched", None if session.launched_at_us is None else moment(session.launched_at_us)),
        ("ended", None if session.ended_at_us is None else moment(session.ended_at_us)),
    )
    yield _Fact("requests", _requests(totals))
    if totals is not None:
        yield _Fact("tokens", _tokens(totals))
    if session.checks_total is not None:
        yield _Fact("checks", f"{session.checks_passed} of {session.checks_total} held")
    if session.command_exit_code is not None:
        yield _Fact("exit code", str(session.command_exit_code))
    yield from _given(("repository", _repository(session)), ("stand", _stand(session)), ("machine", _machine(session)))


def _given(*facts: tuple[str, str | None]) -> Iterator[_Fact]:
    yield from (_Fact(name, text) for name, text in facts if text is not None)


def _in_brackets(outside: str, *inside: str | None) -> str:
    known = [part for part in inside if part is not None]
    return f"{outside} ({', '.join(known)})" if known else outside


def _requests(totals: SessionTotals | None) -> str:
    if totals is None:
        return "0 requests"
    failed = totals.requests - totals.ok
    return plural(totals.requests, "request") + (f" ({number(failed)} failed)" if failed else "")


def _tokens(totals: SessionTotals) -> str:
    return f"{number(totals.input_tokens)} in, {number(totals.output_tokens)} out"


def _repository(session: Session) -> str | None:
    if session.repository_root is None:
        return None
    state = {True: "with uncommitted changes", False: "clean", None: None}[session.repository_dirty]
    commit = session.repository_commit or "no commit yet"
    return _in_brackets(session.repository_root, session.repository_branch or "detached", commit, state)


def _stand(session: Session) -> str | None:
    if session.agentdyno_version is None:
        return None
    versions = (f"LiteLLM {session.litellm_version}", f"prices {session.price_table_version}")
    return ", ".join((f"agentdyno {session.agentdyno_version}", *versions))


def _machine(session: Session) -> str | None:
    if session.os is None:
        return None
    memory = None if session.memory_bytes is None else f"{session.memory_bytes / _GIB:.1f} GiB"
    cores = None if session.cpu_cores is None else plural(session.cpu_cores, "core")
    parts = (session.os, session.cpu, cores, memory, session.gpu, session.gpu_driver)
    return ", ".join(part for part in parts if part is not None)
