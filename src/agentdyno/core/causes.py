"""Why the witnesses of a request differ: the rules by which a discrepancy is given its cause. Pure.

A rule asks for evidence of its own, out of the request's records; docs/reconciliation.md tells the same in words. What
fits no rule is unexplained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple

from agentdyno.core.dialects.table import DIALECTS
from agentdyno.core.dialects.wire import Tokens
from agentdyno.core.discrepancies import PARTS, Cause, TokenField, Witness
from agentdyno.core.evidence import Attempt, Came, Heard, Reported
from agentdyno.core.records import Status, UsageSource
from agentdyno.core.witnesses import UNKNOWN, attempt_tokens, harness_tokens, proxy_tokens, proxy_usage

Ending = Literal["ok", "failed"]
_DROPPED: Mapping[TokenField, Cause] = MappingProxyType(
    {
        "input_tokens": "proxy_dropped_cache",
        "cache_read_tokens": "proxy_dropped_cache",
        "cache_write_tokens": "proxy_dropped_cache",
        "output_tokens": "proxy_dropped_reasoning",
        "reasoning_tokens": "proxy_dropped_reasoning",
    }
)
_DISCONNECT = "ClientDisconnected"
"""How LiteLLM's record names that the client went away."""


class Chosen(NamedTuple):
    """What the row says."""

    status: Status
    tokens: Tokens = UNKNOWN
    source: UsageSource | None = None
    cost_usd: float | None = None
    price_version: str | None = None


@dataclass(frozen=True)
class Case:
    """The evidence of one request, as the rules ask for it."""

    entered: Came
    answered: Heard | None
    reports: Sequence[Reported]
    """The one that speaks for LiteLLM comes last."""
    tried: Sequence[Attempt]
    row: Chosen
    tokens: Mapping[Witness, Tokens]
    """Of those witnesses that have a record."""
    endings: Mapping[Witness, Ending | None]
    """Whether the request succeeded, by each witness; None where it says nothing of that."""

    @property
    def report(self) -> Reported | None:
        """LiteLLM's last word."""
        return self.reports[-1] if self.reports else None

    @property
    def last(self) -> Attempt | None:
        """The last attempt."""
        return self.tried[-1] if self.tried else None

    @property
    def begun(self) -> int | None:
        """Attempts that the meter saw begin; None without a meter."""
        return None if self.answered is None else self.answered.attempts

    @property
    def left(self) -> bool:
        """Whether the harness went away before it had a whole answer."""
        return self.answered is not None and self.answered.disconnected and self.endings["harness"] == "failed"

    @property
    def harness_has_error(self) -> bool:
        """Whether the harness was told of an error."""
        answered = self.answered
        if answered is None:
            return False
        return answered.error_code is not None or (answered.http_status is not None and answered.http_status >= 400)

    @property
    def translated(self) -> bool:
        """Whether the harness and the provider were spoken to in two languages."""
        return self.last is not None and self.last.surface in DIALECTS and self.last.surface != self.entered.surface

    @property
    def cut(self) -> bool:
        """Whether the last attempt began to answer, and did not come to its end."""
        return self.last is not None and self.last.succeeded and self.endings["provider"] != "ok"

    @property
    def endless(self) -> bool:
        """Whether the harness waited for the end of a stream to which the provider gave none.

        Of a translated stream LiteLLM makes the end.
        """
        return self.last is not None and self.last.endless and not self.translated


def case_of(
    entered: Came, answered: Heard | None, reports: Sequence[Reported], tried: Sequence[Attempt], row: Chosen
) -> Case:
    """The case of a request's records and what its row says."""
    tokens: dict[Witness, Tokens] = {}
    endings: dict[Witness, Ending | None] = dict.fromkeys(("provider", "proxy", "harness"))
    if tried:
        tokens["provider"] = row.tokens if row.source == "provider" else UNKNOWN
        endings["provider"] = ending_at_provider(tried[-1])
    if reports:
        tokens["proxy"] = proxy_tokens(entered, reports[-1])
        endings["proxy"] = "failed" if reports[-1].status == "failure" else "ok"
    if answered is not None:
        tokens["harness"] = harness_tokens(entered, answered)
        endings["harness"] = _ending_at_harness(answered)
    return Case(entered, answered, reports, tried, row, tokens, endings)


def ending_at_provider(attempt: Attempt) -> Ending | None:
    """Whether an attempt succeeded; None where the provider was not let finish, said nothing, or is not understood."""
    if attempt.error_code is not None or (attempt.http_status is not None and not attempt.succeeded):
        return "failed"
    if attempt.complete or attempt.finish_reason is not None:
        return "ok"
    if attempt.http_status is None or attempt.abandoned or attempt.surface not in DIALECTS:
        return None
    return "failed"


def _ending_at_harness(answered: Heard) -> Ending:
    """Whether the harness was given a whole answer, for all that it can see."""
    fine = answered.http_status is not None and answered.http_status < 400 and answered.error_code is None
    return "ok" if fine and answered.complete else "failed"


# ── records, attempts, endings ───────────────────────────────────────────────────────────────────────────────────────


def why_no_attempt(case: Case) -> Cause | None:
    """Why no attempt was recorded; None where there is one, or none was made."""
    if case.tried or case.answered is None:
        return None
    if case.begun:
        return "unexplained"
    succeeded = "ok" in (case.endings["proxy"], case.endings["harness"])
    return "went_round_meter" if succeeded or case.begun is None else None


def why_reports_differ(case: Case) -> Cause | None:
    """Why LiteLLM did not report once; None where it did."""
    if len(case.reports) == 1:
        return None
    if case.reports:
        statuses = {report.status for report in case.reports}
        if len(case.tried) >= len(case.reports) or (case.begun is None and len(statuses) > 1):
            return "retried"
        # A harness that leaves after the provider failed is reported beside that failure, as a success.
        twice = all(report.status == "failure" or report.error_class == _DISCONNECT for report in case.reports)
        return "proxy_record_twice" if twice else "unexplained"
    code = None if case.answered is None else case.answered.error_code
    if code == "gateway_stopped":
        return "gateway_lost"
    if code == "gateway_failed":
        return "proxy_failed"
    provider_failed = case.endings["provider"] == "failed" or (case.last is not None and case.last.failure is not None)
    refused_by_proxy = case.begun == 0 and case.harness_has_error
    # Also where it hung up on a stream behind its last event, which is whole then.
    hung_up = case.answered is not None and case.answered.disconnected
    return "no_proxy_record" if hung_up or provider_failed or refused_by_proxy else "unexplained"


def why_attempts_differ(case: Case) -> Cause:
    """Why not as many attempts were recorded as had begun when the answer ended."""
    went_on = case.begun is not None and len(case.tried) > case.begun
    return "harness_left" if went_on and case.left else "unexplained"


def why_endings_differ(case: Case) -> Cause:
    """Why the witnesses do not agree whether the request succeeded."""
    provider, proxy, harness = (case.endings[witness] for witness in ("provider", "proxy", "harness"))
    if case.answered is None:
        return "gateway_lost"
    if case.left and provider != "failed":
        return "harness_left" if provider == "ok" else "proxy_calls_cut_success"
    if provider == "failed":
        if case.cut and case.last is not None and case.last.error_code is None:
            return "provider_cut"
        return "proxy_calls_error_success" if proxy == "ok" else "unexplained"
    if harness == "failed":
        if not case.harness_has_error:
            return "provider_cut" if case.endless else "unexplained"
        return "proxy_failed" if provider == "ok" else "proxy_calls_error_success"
    # What a harness sees as whole, and no attempt contradicts, is an error only where nothing was said at all.
    hollow = provider is None and proxy != "failed" and case.answered.first_content_us is None
    return "provider_cut" if hollow else "unexplained"


def why_tool_calls_differ(case: Case, provider: int, harness: int) -> Cause:
    """Why the harness was not told of the provider's tool calls."""
    if harness > provider:
        return "unexplained"
    if case.left:
        return "harness_left"
    if case.cut:
        return "provider_cut"
    return "translated" if case.translated else "unexplained"


# ── tokens ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def count_of(tokens: Tokens, field: TokenField) -> int | None:
    """One figure of some tokens."""
    count: int | None = getattr(tokens, field.removesuffix("_tokens"))
    return count


def why_count_differs(case: Case, witness: Witness, field: TokenField) -> Cause:
    """Why a witness that has a record does not have the row's figure."""
    match witness:
        case "provider":
            unread = any(attempt.succeeded and attempt.surface not in DIALECTS for attempt in case.tried)
            return "provider_unread" if unread else "proxy_estimated"
        case "proxy":
            silent = _why_proxy_is_silent(case)
        case "harness":
            silent = _why_harness_is_silent(case)
    return _why_figure_differs(case, witness, field) if silent is None else silent


def _why_proxy_is_silent(case: Case) -> Cause | None:
    """Why LiteLLM's report holds no figure at all; None where it does, or nothing tells."""
    if case.report is None or case.tokens["proxy"] != UNKNOWN:
        return None
    if case.report.status == "failure":
        return "proxy_counts_no_failure"
    return None if proxy_usage(case.report) is None else "proxy_filled_zeros"


def _why_harness_is_silent(case: Case) -> Cause | None:
    """Why the harness's wire holds no figure at all; None where it does."""
    if case.answered is None or case.tokens["harness"] != UNKNOWN:
        return None
    if case.left:
        return "harness_left"
    if case.translated:
        return "translated"
    return "proxy_filled_zeros" if len(case.answered.usages) > len("[]") else "harness_not_told"


def _why_figure_differs(case: Case, witness: Witness, field: TokenField) -> Cause:
    """Why a witness that does not keep silent has another figure than the row, or not this one."""
    told, chosen = count_of(case.tokens[witness], field), count_of(case.row.tokens, field)
    if len(case.tried) > 1 and case.last is not None:
        by_last = count_of(attempt_tokens(case.last), field)
        if by_last == told or (by_last is None and case.row.source is None):
            return "retried"
    if chosen is None:
        return "proxy_estimated" if case.row.source == "provider" or case.cut or case.left else "unexplained"
    if witness == "harness" and told is None and case.left:
        return "harness_left"
    lost = not told or told in _without_parts(case.row.tokens, field)
    lost_on_the_way = case.translated and (lost or _fell_short(case, witness, field))
    if lost_on_the_way and witness == "harness":
        return "translated"
    if told is None and witness == "harness" and case.harness_has_error and case.endings["provider"] == "ok":
        return "proxy_failed"
    if lost and (told or field in PARTS):
        return _DROPPED[field]
    if told is not None and case.cut:
        return "proxy_estimated"
    return "translated" if lost_on_the_way else "unexplained"


def _without_parts(tokens: Tokens, field: TokenField) -> set[int]:
    """What a figure comes to without some of its parts."""
    whole = count_of(tokens, field)
    parts = [count for part, of in PARTS.items() if of == field and (count := count_of(tokens, part))]
    return set() if whole is None else {whole - part for part in (*parts, sum(parts)) if part}


def _fell_short(case: Case, witness: Witness, field: TokenField) -> bool:
    """Whether LiteLLM read less of a stream than there was: its report and the harness have no more of it."""
    if field != "output_tokens" or case.last is None or not case.last.streamed:
        return False
    told, chosen = count_of(case.tokens[witness], field), case.row.tokens.output
    reported = case.tokens["proxy"].output if "proxy" in case.tokens else None
    return told is not None and chosen is not None and told == reported and told < chosen
