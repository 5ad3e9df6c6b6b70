"""How an attempt is judged: rule by rule in the order of the docstring, and what holds whatever the evidence is."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.core.request_rows import request_row

from agentdyno.core.judgement import (
    EndedBy,
    Evidence,
    Judgement,
    error_class_of,
    failed,
    is_stand_failure,
    judge,
    scores,
)
from agentdyno.core.records import Failure, Purpose, Request, Status, Verdict

OK = request_row(status="ok", purpose="work")
OUTAGE = request_row(status="provider_error", purpose="work", error_class="overloaded", http_status=529)
REFUSED = request_row(status="rejected", purpose="work", error_code="model_not_allowed", http_status=403)
LOST = request_row(status="proxy_error", purpose="work", error_class="gateway_lost")
STAND = {
    "provider_outage",
    "sandbox_killed",
    "sandbox_failed",
    "missing_telemetry",
    "workspace_failed",
    "gateway_down",
    "stand_error",
}
LIMITS = {
    "memory": "memory_limit",
    "processes": "process_limit",
    "disk": "disk_limit",
    "output": "output_limit",
}


def evidence(
    *requests: Request,
    ended_by: EndedBy = "itself",
    checks: tuple[int, int] = (1, 1),
    in_flight: int = 0,
) -> Evidence:
    """By default, of a harness that ended by itself and whose one check held."""
    return Evidence(ended_by, *checks, requests, in_flight)


def verdict_of(*requests: Request, **more: Any) -> tuple[Verdict, Failure | None]:
    judgement = judge(evidence(*requests, **more))
    return judgement.verdict, judgement.failure


# ── one rule after the other ─────────────────────────────────────────────────────────────────────────────────────────


def test_what_a_person_ended_is_interrupted_whatever_else_there_is() -> None:
    for requests in ((), (OK,), (LOST,), (OUTAGE,)):
        assert verdict_of(*requests, ended_by="stopped", in_flight=1) == ("interrupted", None)


def test_missing_records_come_before_any_success() -> None:
    assert verdict_of(OK, in_flight=1) == ("stand_failure", "missing_telemetry")
    assert verdict_of(OK, LOST, OK) == ("stand_failure", "missing_telemetry")
    # Two of them: one whose end never came, one that was lost with its gateway.
    assert judge(evidence(OK, LOST, in_flight=1)).reason == "2 of its requests have no end on record"


@pytest.mark.parametrize("ended_by", ["killed", *LIMITS])
def test_missing_records_come_before_what_ended_it(ended_by: EndedBy) -> None:
    assert verdict_of(OK, ended_by=ended_by, in_flight=1) == ("stand_failure", "missing_telemetry")


def test_who_kills_from_outside_is_no_fault_of_the_harness() -> None:
    assert verdict_of(OK, ended_by="killed") == ("stand_failure", "sandbox_killed")


@pytest.mark.parametrize(("ended_by", "failure"), LIMITS.items())
def test_a_limit_is_the_harness_s_own_failure_even_where_all_checks_hold(ended_by: EndedBy, failure: Failure) -> None:
    assert verdict_of(OK, ended_by=ended_by) == ("failed", failure)
    assert verdict_of(OK, OUTAGE, ended_by=ended_by) == ("failed", failure)


def test_it_passed_when_every_check_held_and_the_model_answered() -> None:
    assert judge(evidence(OK)) == Judgement("passed")
    assert verdict_of(OK, checks=(3, 3)) == ("passed", None)
    assert verdict_of(OK, checks=(2, 3)) == ("failed", "checks_failed")


def test_an_outage_on_the_way_or_at_the_end_does_not_undo_work_that_is_done() -> None:
    assert verdict_of(OUTAGE, OK) == ("passed", None)
    assert verdict_of(OK, OUTAGE) == ("passed", None)


@pytest.mark.parametrize(
    ("status", "error_class", "failure"),
    [
        ("provider_error", "overloaded", "provider_outage"),
        ("provider_error", "authentication", "provider_outage"),
        ("provider_error", None, "provider_outage"),
        ("timeout", "timeout", "provider_outage"),
        ("proxy_error", None, "gateway_down"),
    ],
)
def test_what_ended_in_an_outage_is_the_stand_s_failure(
    status: Status, error_class: str | None, failure: Failure
) -> None:
    last = request_row(status=status, purpose="work", error_class=error_class)
    for checks in ((0, 1), (0, 0)):
        assert verdict_of(OK, last, checks=checks) == ("stand_failure", failure)
        assert verdict_of(last, checks=checks, ended_by="timebox") == ("stand_failure", failure)
    # A check that holds without any answer is no work of a model.
    assert verdict_of(last) == ("stand_failure", failure)


@pytest.mark.parametrize("error_class", ["invalid_request", "context_length", "content_policy"])
@pytest.mark.parametrize("status", ["provider_error", "proxy_error"])
def test_what_no_provider_would_take_is_the_harness_s_failure(status: Status, error_class: str) -> None:
    last = request_row(status=status, purpose="work", error_class=error_class)
    assert verdict_of(last) == ("failed", "no_answer")
    assert verdict_of(OK, last, checks=(0, 1)) == ("failed", "checks_failed")


def test_an_outage_that_was_overcome_is_no_excuse() -> None:
    assert verdict_of(OUTAGE, OK, checks=(0, 1)) == ("failed", "checks_failed")


def test_a_token_count_after_it_does_not_hide_an_outage() -> None:
    count = request_row(status="ok", purpose="token_count")
    assert verdict_of(OK, OUTAGE, count, checks=(0, 1)) == ("stand_failure", "provider_outage")


def test_the_end_of_the_timebox_is_never_a_success() -> None:
    assert verdict_of(OK, ended_by="timebox") == ("failed", "timed_out")
    assert verdict_of(ended_by="timebox") == ("failed", "timed_out")


def test_without_an_answer_for_its_work_nothing_is_a_success() -> None:
    assert verdict_of() == ("failed", "no_answer")
    assert verdict_of(checks=(0, 0)) == ("failed", "no_answer")
    left = request_row(status="client_disconnect", purpose="work")
    assert verdict_of(left) == ("failed", "no_answer")


@pytest.mark.parametrize("purpose", sorted(set(get_args(Purpose)) - {"work"}))
def test_a_side_call_is_no_work(purpose: Purpose) -> None:
    assert verdict_of(request_row(status="ok", purpose=purpose)) == ("failed", "no_answer")


def test_requests_that_the_stand_refused_are_told() -> None:
    judgement = judge(evidence(REFUSED, REFUSED))
    assert (judgement.verdict, judgement.failure) == ("failed", "requests_refused")
    assert judgement.reason == "the stand refused 2 of its requests, and no model answered"
    assert verdict_of(REFUSED, OK) == ("passed", None)
    assert verdict_of(OK, REFUSED, checks=(0, 1)) == ("failed", "checks_failed")


def test_without_checks_it_is_unjudged() -> None:
    assert verdict_of(OK, checks=(0, 0)) == ("unjudged", None)


# ── whatever the evidence ────────────────────────────────────────────────────────────────────────────────────────────

WORDS = st.none() | st.sampled_from(["overloaded", "gateway_lost", "context_length", "invalid_request", "marmalade"])
requests = st.builds(
    request_row,
    status=st.sampled_from(get_args(Status)),
    purpose=st.sampled_from(get_args(Purpose)),
    error_class=WORDS,
)
checks = st.integers(0, 3).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total)))
some_evidence = st.builds(
    lambda seen, ended_by, checks, in_flight: evidence(*seen, ended_by=ended_by, checks=checks, in_flight=in_flight),
    st.lists(requests, max_size=4),
    st.sampled_from(get_args(EndedBy)),
    checks,
    st.integers(0, 1),
)


@given(some_evidence)
def test_every_evidence_has_a_verdict_that_fits_its_failure(seen: Evidence) -> None:
    judgement = judge(seen)

    assert judgement.verdict != "lost"  # only a runner that died loses an attempt
    assert (judgement.failure is not None) == (judgement.verdict in ("failed", "stand_failure"))
    if judgement.failure is not None:
        assert is_stand_failure(judgement.failure) == (judgement.verdict == "stand_failure")
    assert (judgement.reason is None) == (judgement.verdict == "passed")


@given(some_evidence)
def test_a_success_has_an_answer_for_its_work_and_all_its_checks(seen: Evidence) -> None:
    if judge(seen).verdict == "passed":
        assert any(request.status == "ok" and request.purpose == "work" for request in seen.requests)
        assert seen.checks_passed == seen.checks_total > 0
        assert (seen.ended_by, seen.in_flight) == ("itself", 0)


@given(some_evidence, st.integers(0, 3))
def test_one_more_check_that_fails_makes_no_success(seen: Evidence, at: int) -> None:
    worse = seen._replace(checks_total=seen.checks_total + 1)

    assert judge(worse).verdict != "passed"
    if judge(seen).verdict != "passed" and judge(seen).failure is not None:
        assert judge(worse).failure == judge(seen).failure


@given(some_evidence)
def test_a_record_that_is_missing_lets_nothing_score(seen: Evidence) -> None:
    judgement = judge(seen._replace(in_flight=seen.in_flight + 1))

    assert not scores(judgement.verdict)


# ── its parts ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("failure", get_args(Failure))
def test_whose_failure_it_is(failure: Failure) -> None:
    assert is_stand_failure(failure) == (failure in STAND)
    verdict: Verdict = "stand_failure" if failure in STAND else "failed"
    assert failed(failure, "so it was") == Judgement(verdict, failure, "so it was")


@pytest.mark.parametrize("verdict", get_args(Verdict))
def test_what_scores_a_cell(verdict: Verdict) -> None:
    assert scores(verdict) == (verdict in ("passed", "failed", "unjudged"))


@pytest.mark.parametrize(
    ("tail", "named"),
    [
        (b"", None),
        (b"all is well", None),
        (b"urllib3.exceptions.ConnectionError: refused", "ConnectionError"),
        (b"KeyError: 'a'\nduring that:\nReadTimeout: late\n", "ReadTimeout"),
        (b"an Error of no kind", None),
        (b"\xff\xfe ValueError\x00", "ValueError"),
    ],
)
def test_the_error_that_the_end_of_an_output_names(tail: bytes, named: str | None) -> None:
    assert error_class_of(tail) == named


@given(st.binary(max_size=300))
def test_what_an_output_names_is_short_and_plain(tail: bytes) -> None:
    named = error_class_of(tail)

    assert named is None or (named.isascii() and named.isalpha() and len(named) < 60)
