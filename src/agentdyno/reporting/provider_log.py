"""A provider's own count of its requests against the ledger: line by line, each difference with its cause.

A line is tied to an attempt by the provider's request id. A row has the id of its last attempt, and its discrepancies
those of all, where there were several. A line whose id nobody has belongs to an attempt whose head never came: to one
that died with its gateway, or that a harness left early, if one is there that fits in time. One that came to the
provider while no session was at work is not of these sessions: others use a provider too.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal, NamedTuple, get_args

import msgspec

from agentdyno.core.discrepancies import Cause, Said, TokenField, records_of, said_by
from agentdyno.core.errors import UserError
from agentdyno.core.records import Request
from agentdyno.reporting.reconciliation import Disputed
from agentdyno.store.accounts import TokenSums

LogCause = Cause | Literal["not_told", "not_counted"]
"""As of a discrepancy, and two more: what no wire tells, and what a provider does not count."""
LoggedField = Literal["input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"]
LOGGED_FIELDS: Final[tuple[LoggedField, ...]] = get_args(LoggedField)
_SKEW_US = 1_000_000
"""How far the provider's clock may be from ours."""
_LINGERS_US = 60_000_000
"""How long after the last request of which a gateway could write the end it may have asked a provider."""


_Count = Annotated[int, msgspec.Meta(ge=0)]


class LogLine(msgspec.Struct, frozen=True):
    """What a provider says of one request. It may say more, which is not read. To say 0 tokens is to say none."""

    request_id: str
    input_tokens: _Count | None = None
    output_tokens: _Count | None = None
    cache_read_tokens: _Count | None = None
    cache_write_tokens: _Count | None = None
    status: int | None = None
    at_us: int | None = None
    """When the request came in, if it says so."""


@dataclass(frozen=True)
class LogDifference:
    """Where a provider's log and the ledger differ."""

    field: Literal["record", "status"] | LoggedField
    cause: LogCause
    request_id: str
    request_key: str | None = None
    """None where no request could be found for it."""
    log: Said = None
    provider: Said = None
    """What the provider's wire says, or the row where no meter saw the provider."""


@dataclass(frozen=True)
class LogComparison:
    """A provider's log beside the ledger."""

    lines: int
    matched: int
    """Lines whose id a request of these sessions has."""
    elsewhere: int
    """Lines whose id a request of another session has: they are left aside."""
    outside: int
    """Lines whose id nobody has, of a time at which none of these sessions was at work: they are left aside too."""
    tokens: TokenSums
    """What the log says of the matched lines."""
    file_tokens: TokenSums
    """What it says of all lines."""
    differences: tuple[LogDifference, ...]

    @property
    def unexplained(self) -> int:
        """Differences without a cause."""
        return sum(found.cause == "unexplained" for found in self.differences)


def read_log(name: str, content: bytes) -> tuple[LogLine, ...]:
    """The lines of a log: JSON objects, one a line. Raises UserError, naming the line, for anything else."""
    decoder = msgspec.json.Decoder(LogLine)
    lines: list[LogLine] = []
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            lines.append(decoder.decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UserError(f"{name}:{number}: {error}", "each line is a JSON object with a request_id") from error
    return tuple(lines)


def compare_log(
    lines: Sequence[LogLine], requests: Sequence[Disputed], elsewhere: Collection[str] = frozenset()
) -> LogComparison:
    """Compare a log with all inference requests of some sessions. `elsewhere` are ids of other sessions' requests."""
    ids = {request_id for one in requests for request_id in _ids_of(one)}
    matched = [line for line in lines if line.request_id in ids]
    nobodys = [line for line in lines if line.request_id not in ids and line.request_id not in elsewhere]
    spans = _spans(requests)
    inside = [line for line in nobodys if _is_inside(line, spans)]
    by_id = _by_id(matched)
    return LogComparison(
        lines=len(lines),
        matched=len(matched),
        elsewhere=len(lines) - len(matched) - len(nobodys),
        outside=len(nobodys) - len(inside),
        tokens=_sums(matched),
        file_tokens=_sums(lines),
        differences=(
            *(found for one in requests for found in _differences(one, by_id)),
            *_claimed(inside, requests),
        ),
    )


def _by_id(lines: Iterable[LogLine]) -> dict[str, list[LogLine]]:
    found: defaultdict[str, list[LogLine]] = defaultdict(list)
    for line in lines:
        found[line.request_id].append(line)
    return dict(found)


class _Span(NamedTuple):
    """When requests of a session can have been with a provider, by the provider's clock."""

    since_us: int
    until_us: int


def _spans(requests: Sequence[Disputed]) -> list[_Span]:
    """One for each session, from its first request to its last."""
    times: defaultdict[str | None, list[Request]] = defaultdict(list)
    for request in (one.request for one in requests):
        times[request.session_id].append(request)
    return [
        _Span(
            min(request.started_at_us for request in own) - _SKEW_US,
            max(request.ended_at_us for request in own) + _LINGERS_US,
        )
        for own in times.values()
    ]


def _is_inside(line: LogLine, spans: Iterable[_Span]) -> bool:
    """Whether a line may be of these sessions: one that tells no time may."""
    return line.at_us is None or any(span.since_us <= line.at_us <= span.until_us for span in spans)


def _ids_of(one: Disputed) -> tuple[str, ...]:
    """The provider's ids of a request's attempts, as far as they are known."""
    of_all = next((found.provider for found in one.discrepancies if found.field == "provider_request_id"), None)
    if isinstance(of_all, str):
        return tuple(of_all.split())
    return () if one.request.provider_request_id is None else (one.request.provider_request_id,)


def _differences(one: Disputed, lines: Mapping[str, Sequence[LogLine]]) -> Iterable[LogDifference]:
    attempts = Counter(_ids_of(one))
    counts = Counter({request_id: len(lines.get(request_id, ())) for request_id in attempts})
    for request_id in attempts:
        logged, made = counts[request_id], attempts[request_id]
        if logged != made:
            cause = _why_not_in_log(one) if logged < made else "unexplained"
            yield LogDifference("record", cause, request_id, one.request.request_key, logged, made)
    if counts != attempts or not attempts:
        return
    told = [line for request_id in attempts for line in lines[request_id]]
    last = told[-1]
    for name in LOGGED_FIELDS:
        figures = [getattr(line, name) for line in told]
        if None in figures:
            continue
        log, provider = sum(figures), _figure(one, name)
        if log != (provider or 0):
            cause = _why_log_differs(one, name, provider)
            yield LogDifference(name, cause, last.request_id, one.request.request_key, log, provider)
    status, request = last.status, one.request
    if status is not None and status >= 400 and request.status == "ok":
        yield LogDifference("status", "unexplained", last.request_id, request.request_key, status, request.status)


def _figure(one: Disputed, name: TokenField) -> int | None:
    """The provider's own figure, or the row's where no meter saw the provider."""
    if records_of("provider", one.request, one.discrepancies):
        return said_by("provider", name, one.request, one.discrepancies)
    figure: int | None = getattr(one.request, name)
    return figure


def _why_not_in_log(one: Disputed) -> LogCause:
    """A log may leave out what failed, and cost nothing."""
    told = [_figure(one, name) for name in LOGGED_FIELDS]
    return "not_counted" if one.request.status != "ok" and not any(told) else "unexplained"


def _why_log_differs(one: Disputed, name: TokenField, provider: int | None) -> LogCause:
    """A figure that the wire has otherwise is wrong; one that it has not, no wire told."""
    if provider:
        return "unexplained"
    untold = _why_untold(one)
    named = next((found.cause for found in one.discrepancies if found.field == name), None)
    return untold if untold != "not_told" or named is None or named == "unexplained" else named


def _why_untold(one: Disputed) -> LogCause:
    """Why a provider counts what its wire did not tell."""
    match one.request.status:
        case "client_disconnect":
            return "harness_left"
        case "provider_error":
            return "provider_cut"
        case "proxy_error" if one.request.error_class == "gateway_lost":
            return "gateway_lost"
        case _:
            return "not_told"


def _claimed(lines: Sequence[LogLine], requests: Sequence[Disputed]) -> Iterable[LogDifference]:
    """Lines that no id ties to a request: each to an attempt without an id that it fits, the earliest first.

    Several lines of one id are of no attempt: each has an id of its own.
    """
    by_id = _by_id(lines)
    for request_id, doubled in by_id.items():
        if len(doubled) > 1:
            yield LogDifference("record", "unexplained", request_id, log=len(doubled), provider=0)
    lines = [line for line in lines if len(by_id[line.request_id]) == 1]
    free = {one.request.request_key: _attempts_without_id(one) for one in requests}
    last_signs_us: dict[str, int] = {}
    for request in (one.request for one in requests):
        last_signs_us[request.gateway_id] = max(request.ended_at_us, last_signs_us.get(request.gateway_id, 0))
    for line in sorted(lines, key=lambda line: (line.at_us is None, line.at_us, line.request_id)):
        unclaimed = (one for one in requests if free[one.request.request_key])
        fitting = next((one for one in unclaimed if _fits(line, one, last_signs_us[one.request.gateway_id])), None)
        if fitting is None:
            yield LogDifference("record", "unexplained", line.request_id, log=1, provider=0)
            continue
        key = fitting.request.request_key
        free[key] -= 1
        yield LogDifference("record", _why_untold(fitting), line.request_id, key, log=1, provider=0)


def _attempts_without_id(one: Disputed) -> int:
    """How many attempts may have reached a provider whose answer never told its id."""
    if one.request.status == "ok":
        return 0
    lost = one.request.error_class == "gateway_lost"
    attempts = one.request.attempts
    begun = (1 if lost else 0) if attempts is None else attempts
    return max(0, begun - len(_ids_of(one)))


def _fits(line: LogLine, one: Disputed, last_sign_us: int) -> bool:
    """Whether a line's time is one at which the request can have been with the provider."""
    if line.at_us is None:
        return True
    request = one.request
    lost = request.error_class == "gateway_lost"
    until_us = last_sign_us + _LINGERS_US if lost else request.ended_at_us + _SKEW_US
    return request.started_at_us - _SKEW_US <= line.at_us <= until_us


def _sums(lines: Iterable[LogLine]) -> TokenSums:
    told = [[getattr(line, name) for line in lines if getattr(line, name) is not None] for name in LOGGED_FIELDS]
    return TokenSums(*(sum(column) if column else None for column in told))
