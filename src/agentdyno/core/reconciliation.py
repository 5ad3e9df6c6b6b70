"""Where the three witnesses of one request differ. Pure.

The provider's wire, LiteLLM's report and the harness's wire each say whether there was a request, how it ended and what
it used. What a discrepancy tells is defined in `discrepancies`, and why it is there found in `causes`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

from agentdyno.core.causes import (
    Case,
    Chosen,
    Ending,
    case_of,
    count_of,
    ending_at_provider,
    why_attempts_differ,
    why_count_differs,
    why_endings_differ,
    why_no_attempt,
    why_reports_differ,
    why_tool_calls_differ,
)
from agentdyno.core.dialects.table import DIALECTS
from agentdyno.core.dialects.wire import Tokens
from agentdyno.core.discrepancies import PARTS, TOKEN_FIELDS, WITNESSES, Cause, Discrepancy, TokenField, Witness
from agentdyno.core.evidence import Attempt, Came, Heard, Reported
from agentdyno.core.side_calls import is_inference
from agentdyno.core.witnesses import harness_tokens, proxy_tokens

_LITELLMS_TABLE = "litellm-"
"""How the versions of LiteLLM's own price table begin."""
# Of witnesses that keep silent the provider's reason says most, and LiteLLM's least.
_MOST_TELLING: Final[tuple[Witness, ...]] = ("provider", "harness", "proxy")


def discrepancies(
    entered: Came, answered: Heard | None, reports: Sequence[Reported], tried: Sequence[Attempt], row: Chosen
) -> tuple[Discrepancy, ...]:
    """Where the witnesses of a request differ. Of the reports, the one that speaks for LiteLLM comes last.

    What the stand refused or answered by itself has one witness, and so has what no model answers.
    """
    if not is_inference(entered.purpose):
        return ()
    by_itself = answered is not None and not answered.forwarded and not answered.attempts
    if by_itself and not reports and not tried:
        return ()
    if _all_is_well(entered, answered, reports, tried, row):
        return ()
    return tuple(_found(case_of(entered, answered, reports, tried, row)))


def _all_is_well(
    entered: Came, answered: Heard | None, reports: Sequence[Reported], tried: Sequence[Attempt], row: Chosen
) -> bool:
    """Whether everybody tells of one attempt, which succeeded, and of the same figures: so it is with nearly all."""
    if answered is None or len(reports) != 1 or len(tried) != 1 or row.status != "ok" or row.source != "provider":
        return False
    report, attempt = reports[0], tried[0]
    return (
        answered.attempts == 1
        and report.status != "failure"
        and attempt.tool_calls == answered.tool_calls
        and ending_at_provider(attempt) == "ok"
        and _same(row.tokens, proxy_tokens(entered, report))
        and (_passed_on(entered, answered, attempt) or _same(row.tokens, harness_tokens(entered, answered)))
        and not _priced_otherwise(report, row)
    )


def _passed_on(entered: Came, answered: Heard, attempt: Attempt) -> bool:
    """Whether the harness was given the provider's own words: then they need not be read twice."""
    return (
        answered.usages == attempt.usages
        and entered.surface == attempt.surface
        and answered.in_events == attempt.streamed
    )


def _same(first: Tokens, second: Tokens) -> bool:
    """Whether two witnesses tell the same, where a part of which nothing is said is none."""
    return (
        first.input == second.input
        and first.output == second.output
        and (first.cache_read or 0) == (second.cache_read or 0)
        and (first.cache_write or 0) == (second.cache_write or 0)
        and (first.reasoning or 0) == (second.reasoning or 0)
    )


def _priced_otherwise(report: Reported, row: Chosen) -> bool:
    """Whether LiteLLM and the row come by one table to two costs. LiteLLM's 0 is a price that it does not know."""
    if not report.cost_usd or row.cost_usd is None or row.price_version is None:
        return False
    same_table = row.price_version.startswith(_LITELLMS_TABLE)
    return same_table and not math.isclose(report.cost_usd, row.cost_usd, rel_tol=1e-6)


def _found(case: Case) -> Iterator[Discrepancy]:
    yield from _of_records(case)
    yield from _of_attempts(case)
    ending: Ending = "ok" if case.row.status == "ok" else "failed"
    if any(said is not None and said != ending for said in case.endings.values()):
        yield Discrepancy("status", why_endings_differ(case), *(case.endings[witness] for witness in WITNESSES))
    of_tokens = [found for field in TOKEN_FIELDS for found in _of_tokens(case, field)]
    yield from of_tokens
    yield from _of_tool_calls(case)
    if case.report is not None and _priced_otherwise(case.report, case.row):
        same = _same(case.row.tokens, case.tokens["proxy"])
        cause = "priced_otherwise" if same else _one([found.cause for found in of_tokens])
        yield Discrepancy("cost_usd", cause, proxy=case.report.cost_usd)


def _of_records(case: Case) -> Iterator[Discrepancy]:
    """Every request has an attempt, a report and an answer; one that LiteLLM refused itself, no attempt."""
    causes = [why for why in (why_no_attempt(case), why_reports_differ(case)) if why is not None]
    if case.answered is None:
        causes = ["gateway_lost"]
    if causes:
        answers = 0 if case.answered is None else 1
        yield Discrepancy("record", _one(causes), len(case.tried), len(case.reports), answers)


def _of_attempts(case: Case) -> Iterator[Discrepancy]:
    """Attempts recorded against those begun when the answer ended, and the provider's ids where there are several."""
    recorded = len(case.tried)
    if recorded and case.begun is not None and recorded != case.begun:
        yield Discrepancy("attempts", why_attempts_differ(case), provider=recorded, harness=case.begun)
    ids = [attempt.provider_request_id for attempt in case.tried if attempt.provider_request_id is not None]
    if recorded > 1 and ids:
        told = (None if seen is None else seen.provider_request_id for seen in (case.report, case.answered))
        yield Discrepancy("provider_request_id", "retried", " ".join(ids), *told)


def _of_tool_calls(case: Case) -> Iterator[Discrepancy]:
    attempt, answered = case.last, case.answered
    if attempt is None or answered is None or not attempt.succeeded or attempt.surface not in DIALECTS:
        return
    if answered.http_status is None or answered.http_status >= 400 or attempt.tool_calls == answered.tool_calls:
        return
    cause = why_tool_calls_differ(case, attempt.tool_calls, answered.tool_calls)
    yield Discrepancy("tool_calls", cause, provider=attempt.tool_calls, harness=answered.tool_calls)


def _of_tokens(case: Case, field: TokenField) -> Iterator[Discrepancy]:
    chosen = count_of(case.row.tokens, field)
    told = {witness: count_of(tokens, field) for witness, tokens in case.tokens.items()}
    differing = [w for w in _MOST_TELLING if w in told and not _agrees(field, told[w], chosen)]
    # A wrong figure says more of what happened than none.
    differing.sort(key=lambda witness: not told[witness])
    if differing:
        yield Discrepancy(field, _one([why_count_differs(case, witness, field) for witness in differing]), **told)


def _agrees(field: TokenField, count: int | None, chosen: int | None) -> bool:
    return (count or 0) == (chosen or 0) if field in PARTS else count == chosen


def _one(causes: Sequence[Cause]) -> Cause:
    """One cause for all that differs; none where some of it is not explained."""
    return "unexplained" if not causes or "unexplained" in causes else causes[0]
