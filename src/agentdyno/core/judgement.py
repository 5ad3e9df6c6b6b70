"""How an attempt at a cell ended, and whose failure it was: the harness's or the stand's.

The order in which the evidence is asked:

1. the stand ended it on a person's behalf: `interrupted`;
2. records are missing (a gateway that died, a request that never ended): `missing_telemetry`. What was measured is not
   all there was, whatever the checks say;
3. its processes were killed by somebody other than the stand: `sandbox_killed`;
4. it used more than it may: the limit's own failure. The harness did that;
5. every check held, and the model answered at least once: `passed`. No exit code is asked;
6. the last thing that its model calls saw was the provider or the gateway failing: `provider_outage`, `gateway_down`.
   Wrong or exhausted accounts belong here too: the harness has no part in them;
7. its timebox ended: `timed_out`;
8. no model call for its work was answered: `requests_refused` where the stand refused one, else `no_answer`;
9. there are no checks: `unjudged`; else `checks_failed`.

Failures of the stand (2, 3, 6) are tried again and never score a cell.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from agentdyno.core.records import Failure, Request, Verdict
from agentdyno.core.side_calls import is_inference

EndedBy = Literal["itself", "timebox", "memory", "processes", "disk", "output", "stopped", "killed"]
"""What ended a command: itself, its timebox, one of its limits, the person who runs the stand, or somebody else.

Killed is by SIGKILL or SIGTERM, which the stand did not send.
"""

_LIMITS: Mapping[str, Failure] = MappingProxyType(
    {
        "memory": "memory_limit",
        "processes": "process_limit",
        "disk": "disk_limit",
        "output": "output_limit",
    }
)
_STAND_FAILURES: frozenset[Failure] = frozenset(
    {
        "provider_outage",
        "sandbox_killed",
        "sandbox_failed",
        "missing_telemetry",
        "workspace_failed",
        "gateway_down",
        "stand_error",
    }
)
SCORING: Final[tuple[Verdict, ...]] = ("passed", "failed", "unjudged")
"""Verdicts that score a cell."""
_HARNESS_CAUSED = frozenset({"invalid_request", "context_length", "content_policy"})
"""Errors that a provider gives to a request which no other provider would take either."""
_ERROR_NAME = re.compile(rb"\b([A-Z][A-Za-z]{2,40}(?:Error|Exception|Fault|Timeout))\b")


class Evidence(NamedTuple):
    """What there is to judge by."""

    ended_by: EndedBy
    checks_passed: int
    checks_total: int
    requests: Sequence[Request]
    """All of the session, in the order they came in."""
    in_flight: int
    """Requests of which no end was recorded, long after the harness had ended."""


class Judgement(NamedTuple):
    """The verdict, and why."""

    verdict: Verdict
    failure: Failure | None = None
    reason: str | None = None


def judge(evidence: Evidence) -> Judgement:
    """The verdict of one attempt whose harness was launched. No text of a harness or a model is in the reason."""
    if evidence.ended_by == "stopped":
        return Judgement("interrupted", None, "the runner was interrupted")
    lost = evidence.in_flight + sum(request.error_class == "gateway_lost" for request in evidence.requests)
    if lost:
        return failed("missing_telemetry", f"{lost} of its requests have no end on record")
    if evidence.ended_by == "killed":
        return failed("sandbox_killed", "its processes were killed, and not by the stand")
    limit = _LIMITS.get(evidence.ended_by)
    if limit is not None:
        return failed(limit, f"it used more than its limit of {evidence.ended_by}")
    return _judge_work(evidence)


def _judge_work(evidence: Evidence) -> Judgement:
    inference = [request for request in evidence.requests if is_inference(request.purpose)]
    answered = any(request.status == "ok" and request.purpose == "work" for request in inference)
    in_time = evidence.ended_by == "itself"
    if in_time and answered and evidence.checks_total and evidence.checks_passed == evidence.checks_total:
        return Judgement("passed")
    outage = _outage_at_the_end(inference)
    if outage is not None:
        return outage
    if not in_time:
        return failed("timed_out", "its timebox ended before it did")
    if not answered:
        refused = sum(request.status == "rejected" for request in evidence.requests)
        if refused:
            return failed("requests_refused", f"the stand refused {refused} of its requests, and no model answered")
        return failed("no_answer", "no model answered a request for its work")
    if not evidence.checks_total:
        return Judgement("unjudged", None, "its task card has no checks")
    missed = evidence.checks_total - evidence.checks_passed
    return failed("checks_failed", f"{missed} of {evidence.checks_total} checks did not hold")


def _outage_at_the_end(inference: Sequence[Request]) -> Judgement | None:
    """The stand's failure that the harness ended on, if the last request that it made of a model ended so."""
    if not inference:
        return None
    last = inference[-1]
    what = last.error_class or last.error_code or "no reason given"
    if last.status in ("provider_error", "timeout") and last.error_class not in _HARNESS_CAUSED:
        return failed("provider_outage", f"its last request failed at the provider: {what}")
    if last.status == "proxy_error" and last.error_class not in _HARNESS_CAUSED:
        return failed("gateway_down", f"its last request failed in the gateway: {what}")
    return None


def failed(failure: Failure, reason: str) -> Judgement:
    """The judgement of a failure, whosever it is."""
    return Judgement("stand_failure" if is_stand_failure(failure) else "failed", failure, reason)


def is_stand_failure(failure: Failure) -> bool:
    """Whether a failure is the stand's: such an attempt scores nothing, and the cell is tried again."""
    return failure in _STAND_FAILURES


def scores(verdict: Verdict) -> bool:
    """Whether an attempt with this verdict scores its cell."""
    return verdict in SCORING


def error_class_of(tail: bytes) -> str | None:
    """The kind of error that the end of a program's output names last, such as `ConnectionError`; None without any."""
    names = _ERROR_NAME.findall(tail)
    return names[-1].decode("ascii") if names else None
