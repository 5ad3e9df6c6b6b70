"""A provider's own count of its requests against the ledger: line by line, each difference with its cause.

A line is tied to an attempt by the provider's request id. A row has the id of its last attempt, and its discrepancies
those of all, where there were several. A line whose id nobody has belongs to an attempt whose head never came: to one
that died with its gateway, or that a harness left early, if one is there that fits in time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import msgspec

from agentdyno.core.discrepancies import Cause, Said, TokenField, records_of, said_by
from agentdyno.core.errors import UserError
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


class LogLine(msgspec.Struct, frozen=True):
    """What a provider says of one request. It may say more, which is not read. To say 0 tokens is to say none."""

    request_id: str
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
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
    ledger: Said = None


@dataclass(frozen=True)
class LogComparison:
    """A provider's log beside the ledger."""

    lines: int
    matched: int
    """Lines whose id a request of these sessions has."""
    elsewhere: int
    """Lines whose id a request of another session has: they are left aside."""
    tokens: TokenSums
    """What the log says of all lines but those."""
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
    owners = {request_id: one for one in requests for request_id in _ids_of(one)}
    ours = [line for line in lines if line.request_id in owners or line.request_id not in elsewhere]
    by_id = {line.request_id: line for line in ours}
    nobodys = [line for line in ours if line.request_id not in owners]
    return LogComparison(
        lines=len(lines),
        matched=len(ours) - len(nobodys),
        elsewhere=len(lines) - len(ours),
        tokens=_sums(ours),
        differences=(
            *(found for one in requests for found in _differences(one, by_id)),
            *_claimed(nobodys, requests),
        ),
    )


def _ids_of(one: Disputed) -> tuple[str, ...]:
    """The provider's ids of a request's attempts, as far as they are known."""
    of_all = next((found.provider for found in one.discrepancies if found.field == "provider_request_id"), None)
    if isinstance(of_all, str):
        return tuple(of_all.split())
    return () if one.request.provider_request_id is None else (one.request.provider_request_id,)


def _differences(one: Disputed, lines: Mapping[str, LogLine]) -> Iterable[LogDifference]:
    ids = _ids_of(one)
    missing = [request_id for request_id in ids if request_id not in lines]
    for request_id in missing:
        yield LogDifference("record", _why_not_in_log(one), request_id, one.request.request_key, log=0, ledger=1)
    if missing or not ids:
        return
    told = [lines[request_id] for request_id in ids]
    for name in LOGGED_FIELDS:
        logged = [getattr(line, name) for line in told]
        if None in logged:
            continue
        log, ledger = sum(logged), _figure(one, name)
        if log != (ledger or 0):
            cause = _why_log_differs(one, name, ledger)
            yield LogDifference(name, cause, ids[-1], one.request.request_key, log, ledger)
    status, request = told[-1].status, one.request
    if status is not None and status >= 400 and request.status == "ok":
        yield LogDifference("status", "unexplained", ids[-1], request.request_key, status, request.status)


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


def _why_log_differs(one: Disputed, name: TokenField, ledger: int | None) -> LogCause:
    """A figure that the ledger has otherwise is wrong; one that it has not, no wire told."""
    if ledger:
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
    """Lines that no id ties to a request: each to an attempt without an id that it fits, the earliest first."""
    free = {one.request.request_key: _attempts_without_id(one) for one in requests}
    last_signs_us: dict[str, int] = {}
    for request in (one.request for one in requests):
        last_signs_us[request.gateway_id] = max(request.ended_at_us, last_signs_us.get(request.gateway_id, 0))
    for line in sorted(lines, key=lambda line: (line.at_us is None, line.at_us, line.request_id)):
        unclaimed = (one for one in requests if free[one.request.request_key])
        fitting = next((one for one in unclaimed if _fits(line, one, last_signs_us[one.request.gateway_id])), None)
        if fitting is None:
            yield LogDifference("record", "unexplained", line.request_id, log=1, ledger=0)
            continue
        key = fitting.request.request_key
        free[key] -= 1
        yield LogDifference("record", _why_untold(fitting), line.request_id, key, log=1, ledger=0)


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
