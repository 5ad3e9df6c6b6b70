"""Whatever the evidence: what each witness says can be told from the row and its discrepancies."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.core.chat_corpus import chat_usage
from tests.unit.core.evidence import answered, heard, routed, row, tried
from tests.unit.core.test_normalize_any import answereds, entereds, routeds, trieds

from agentdyno.core.dialects.wire import Tokens
from agentdyno.core.discrepancies import PARTS, TOKEN_FIELDS, TokenField, Witness, decode, records_of, said_by
from agentdyno.core.evidence import Evidence
from agentdyno.core.exchange import Answered, Entered, Routed, Tried
from agentdyno.core.side_calls import is_inference
from agentdyno.core.witnesses import UNKNOWN, answered_attempts, attempt_tokens, harness_tokens, proxy_tokens, summed

figures = st.builds(
    chat_usage,
    st.integers(1, 10**6),
    st.integers(0, 10**6),
    cached=st.integers(0, 10),
    written=st.integers(0, 10),
    reasoning=st.integers(0, 10),
)


def witnesses_of(evidence: Evidence, reports: list[Routed]) -> dict[Witness, Tokens]:
    """What each witness that has a record told."""
    entered, answer = evidence.entered, evidence.answered
    assert entered is not None
    tokens: dict[Witness, Tokens] = {}
    if evidence.tried:
        tokens["provider"] = summed([attempt_tokens(attempt) for attempt in answered_attempts(evidence.tried)])
    if answer is not None:
        tokens["harness"] = harness_tokens(entered, answer)
    if reports:
        tokens["proxy"] = next(
            proxy_tokens(entered, report)
            for report in reversed(evidence.routed)
            if report.status != "failure" or all(other.status == "failure" for other in evidence.routed)
        )
    return tokens


def count(tokens: Tokens, field: TokenField) -> int | None:
    told: int | None = getattr(tokens, field.removesuffix("_tokens"))
    return (told or 0) if field in PARTS else told


@given(
    entereds,
    st.none() | answereds,
    st.lists(routeds, max_size=1),
    st.lists(trieds, max_size=3, unique_by=msgspec.json.encode),
)
def test_the_witnesses_own_figures(
    entered: Entered, answer: Answered | None, reports: list[Routed], attempts: list[Tried]
) -> None:
    reports = [msgspec.structs.replace(report, litellm_call_id="call") for report in reports]
    made = row(answer, *reports, *attempts, entered=entered)
    evidence = heard(entered, answer, *reports, *attempts)
    if evidence.entered is None or not is_inference(evidence.entered.purpose):
        return
    found = decode(made.discrepancies)
    told = witnesses_of(evidence, reports)
    for witness in ("provider", "proxy", "harness"):
        for field in TOKEN_FIELDS:
            said = said_by(witness, field, made, found)
            assert ((said or 0) if field in PARTS else said) == count(told.get(witness, UNKNOWN), field)
    held = answer is not None and (answer.forwarded or reports or attempts)
    if held or answer is None:
        assert records_of("provider", made, found) == len(attempts)
        assert records_of("proxy", made, found) == len(reports)
        assert records_of("harness", made, found) == (answer is not None)


@given(figures, st.integers(0, 3), st.booleans())
def test_clean_evidence_has_none(usage: dict[str, int], tool_calls: int, streamed: bool) -> None:
    events = [("content", 900, 10), ("done", 990, 6)] if streamed else []
    answer = answered(attempts=1, usages=[usage], tool_calls=tool_calls, events=events)
    attempt = tried(usages=[usage], tool_calls=tool_calls, streamed=streamed)
    assert row(answer, routed(usage=usage), attempt).discrepancies == "[]"
    # A harness to which the same was told in other words.
    retold = msgspec.structs.replace(answer, usages=[{**usage, "service_tier": "default"}])
    assert row(retold, routed(usage=usage), attempt).discrepancies == "[]"
