"""A headless run as a page: what each arm sent for the same work, and how long it took. It draws no conclusion.

Figures are of the sessions that scored a cell. Each is the median over the repeats, with the lowest and the highest
where they differ. A session waits for its model while at least one of its requests is under way, by the gateway's
clock; what is left of its time is the harness's own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from agentdyno.core.records import Attempt, Request, Run, Session
from agentdyno.core.rollups import summarize
from agentdyno.core.side_calls import is_inference
from agentdyno.reporting.markdown import markdown_table
from agentdyno.reporting.wording import UNKNOWN, moment, number, plural
from agentdyno.store import queries, run_queries
from agentdyno.store.ledger import Ledger

BEGIN, END = "<!-- run: begin -->", "<!-- run: end -->"
"""What stands around a run in a page: all between them is written anew."""
_GIB = 1024**3


class Scored(NamedTuple):
    """One scored cell of a run: its attempt, its session, and the requests that a model was to answer."""

    arm: str
    task_card: str
    attempt: Attempt
    session: Session
    requests: tuple[Request, ...]


Measure = Callable[[Scored], float | None]
"""A figure of one session; None where it is unknown."""


def run_page(ledger: Ledger, run: Run) -> str:
    """The tables of a run, in Markdown. What no session was scored of has no row."""
    scored = _scored(ledger, run)
    cards = [card for card in run.task_cards if any(each.task_card == card for each in scored)]
    parts = ["\n".join(f"- {line}" for line in _told(ledger, run, scored)) + "\n", _arms(run, scored)]
    if len(cards) > 1:
        parts.append(f"### Each task card once\n\n{_once(run, cards, scored)}")
    for card in cards:
        own = [each for each in scored if each.task_card == card]
        parts.append(f"### {card}\n\n{_table(run, own, _SENT)}\n{_table(run, own, _TOOK)}")
    return "\n" + "\n".join(parts) + "\n"


def _scored(ledger: Ledger, run: Run) -> list[Scored]:
    cells = {cell.cell_id: cell for cell in run_queries.cells(ledger, run.run_id)}
    attempts = [attempt for attempt in run_queries.attempts(ledger, run.run_id) if attempt.scored]
    sessions = {session.session_id: session for session in queries.sessions(ledger, experiment=run.experiment)}
    requests = queries.requests_of(ledger, [attempt.session_id for attempt in attempts])
    return [
        Scored(
            cells[attempt.cell_id].arm,
            cells[attempt.cell_id].task_card,
            attempt,
            sessions[attempt.session_id],
            tuple(each for each in requests.get(attempt.session_id, ()) if is_inference(each.purpose)),
        )
        for attempt in attempts
        if attempt.session_id in sessions
    ]


# ── what it was ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _told(ledger: Ledger, run: Run, scored: Sequence[Scored]) -> Iterator[str]:
    """Where and with what it was measured; a fact that is not the same in all sessions is told with all it was."""
    cells = run_queries.counts(ledger, run.run_id).cells
    attempts = run_queries.attempts(ledger, run.run_id)
    yield f"planned {moment(run.created_at_us)}, {plural(run.repeats, 'repeat')}, order drawn from seed {run.seed}"
    yield f"{cells.scored} of {plural(cells.total, 'cell')} scored, {cells.passed} passed, {len(attempts)} attempts"
    yield f"sandbox: {run.sandbox}; not enforced: {'; '.join(_distinct(a.unenforced for a in attempts)) or 'nothing'}"
    sessions = [each.session for each in scored]
    memory = [s.memory_bytes for s in sessions if s.memory_bytes is not None]
    machine = [
        *_named(s.os for s in sessions),
        *_named(s.cpu for s in sessions),
        *(f"{cores} cores" for cores in _named(s.cpu_cores for s in sessions)),
        *dict.fromkeys(f"{size / _GIB:.0f} GiB of memory" for size in memory),
        *_named(s.gpu for s in sessions),
    ]
    yield f"machine: {', '.join(machine) or UNKNOWN}"
    versions = [
        *(f"agentdyno {version}" for version in _named(s.agentdyno_version for s in sessions)),
        *(f"LiteLLM {version}" for version in _named(s.litellm_version for s in sessions)),
    ]
    yield f"versions: {', '.join(versions) or UNKNOWN}"


def _named(values: Iterable[object]) -> list[str]:
    return list(dict.fromkeys(str(value) for value in values if value is not None))


def _distinct(values: Iterable[Sequence[str]]) -> list[str]:
    return sorted({each for several in values for each in several})


def _arms(run: Run, scored: Sequence[Scored]) -> str:
    heads = ("arm", "harness", "version", "model", "exit code", "scored", "passed", "why not")
    rows = []
    for arm in run.arms:
        own = [each for each in scored if each.arm == arm]
        if own:
            passed = sum(each.attempt.verdict == "passed" for each in own)
            rows.append(
                (
                    arm,
                    *(
                        ", ".join(_named(getattr(each.session, name) for each in own)) or UNKNOWN
                        for name in ("harness_profile", "harness_version", "model")
                    ),
                    ", ".join(sorted(_named(each.attempt.exit_code for each in own))) or UNKNOWN,
                    str(len(own)),
                    str(passed),
                    "; ".join(_failures(own)),
                )
            )
    return markdown_table(heads, rows)


def _failures(own: Iterable[Scored]) -> list[str]:
    """Why cells did not pass, and on which task card; of checks, which kind did not hold."""
    told = []
    for each in own:
        if each.attempt.failure is not None:
            held = [] if each.attempt.checks is None else json.loads(each.attempt.checks)
            kinds = sorted({check["kind"] for check in held if not check["passed"]})
            missed = f" ({', '.join(kinds)})" if kinds else ""
            told.append(f"{each.task_card}: {each.attempt.failure}{missed}")
    return list(dict.fromkeys(told))


# ── figures ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Column(NamedTuple):
    heading: str
    measure: Measure
    digits: int = 0


def _summed(name: str) -> Measure:
    """A field of the requests, all together; unknown when one is unknown."""

    def measure(scored: Scored) -> float | None:
        values = [getattr(request, name) for request in scored.requests]
        return None if None in values else float(sum(values))

    return measure


def _most(name: str) -> Measure:
    """A field of the request that has the most of it."""

    def measure(scored: Scored) -> float | None:
        values = [value for request in scored.requests if (value := getattr(request, name)) is not None]
        return float(max(values)) if values else None

    return measure


def _counted(*, work: bool) -> Measure:
    return lambda scored: float(sum((request.purpose == "work") is work for request in scored.requests))


def took_s(scored: Scored) -> float | None:
    """From the harness's start to its end, in seconds."""
    took_ms = scored.attempt.command_ms
    return None if took_ms is None else took_ms / 1000


def waited_s(scored: Scored) -> float:
    """While at least one request was under way, in seconds: what runs side by side is waited for once."""
    waited_us, until_us = 0, 0
    for request in sorted(scored.requests, key=lambda request: request.started_at_us):
        waited_us += max(0, request.ended_at_us - max(request.started_at_us, until_us))
        until_us = max(until_us, request.ended_at_us)
    return waited_us / 1e6


def own_s(scored: Scored) -> float | None:
    """What the harness took without a request under way, in seconds."""
    whole_s = took_s(scored)
    return None if whole_s is None else max(0.0, whole_s - waited_s(scored))


_SENT = (
    _Column("requests", _counted(work=True)),
    _Column("side calls", _counted(work=False)),
    _Column("tokens in", _summed("input_tokens")),
    _Column("tokens out", _summed("output_tokens")),
    _Column("bytes sent", _summed("request_bytes")),
    _Column("of it system", _summed("system_bytes")),
    _Column("tools", _summed("tools_bytes")),
    _Column("history", _summed("history_bytes")),
    _Column("tool results", _summed("tool_results_bytes")),
    _Column("tools offered", _most("tools")),
)
_TOOK = (
    _Column("s", took_s, 2),
    _Column("waiting for the model, s", waited_s, 2),
    _Column("its own, s", own_s, 2),
)
_ONCE = (*_SENT[:8], *_TOOK)


def _table(run: Run, scored: Sequence[Scored], columns: Sequence[_Column]) -> str:
    rows = []
    for arm in run.arms:
        own = [each for each in scored if each.arm == arm]
        if own:
            rows.append((arm, *(_spread([c.measure(each) for each in own], c.digits) for c in columns)))
    return markdown_table(("arm", *(column.heading for column in columns)), rows)


def _once(run: Run, cards: Sequence[str], scored: Sequence[Scored]) -> str:
    """The sum of an arm's medians over the task cards; unknown where one of them is."""
    rows = []
    for arm in run.arms:
        by_card = [[each for each in scored if (each.arm, each.task_card) == (arm, card)] for card in cards]
        if any(by_card):
            rows.append((arm, *(_sum_of_medians(by_card, column) for column in _ONCE)))
    return markdown_table(("arm", *(column.heading for column in _ONCE)), rows)


def _sum_of_medians(by_card: Iterable[Sequence[Scored]], column: _Column) -> str:
    medians = [_median([column.measure(each) for each in own]) for own in by_card]
    known = [median for median in medians if median is not None]
    return number(sum(known), column.digits) if len(known) == len(medians) else UNKNOWN


def _median(values: Sequence[float | None]) -> float | None:
    known = sorted(value for value in values if value is not None)
    return summarize(known).median if known and len(known) == len(values) else None


def _spread(values: Sequence[float | None], digits: int) -> str:
    """The median, and the range where there is one; unknown where one value is."""
    median = _median(values)
    if median is None:
        return UNKNOWN
    known = [value for value in values if value is not None]
    lowest, middle, highest = (number(value, digits) for value in (min(known), median, max(known)))
    return middle if lowest == highest else f"{middle} ({lowest}–{highest})"
