"""How a request can end, by what the witnesses saw of it."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from tests.unit.core.chat_corpus import chat_usage
from tests.unit.core.evidence import ANSWERED, ENTERED, STREAMED, answered, failure, routed, row, tried

from agentdyno.core.exchange import Answered, Routed, Tried


def ending(answer: Answered | None, *reports: Routed | Tried) -> tuple[str, str | None, str | None]:
    made = row(answer, *reports)
    return made.status, made.error_code, made.error_class


def test_a_whole_answer_is_ok() -> None:
    assert ending(ANSWERED, routed()) == ("ok", None, None)


def test_a_harness_that_hangs_up_after_the_end_has_a_whole_answer() -> None:
    assert ending(answered(disconnected=True)) == ("ok", None, None)


def test_a_cut_by_the_harness_is_no_success_whatever_litellm_says() -> None:
    assert ending(answered(complete=False, disconnected=True), routed()) == ("client_disconnect", None, None)


def test_a_harness_that_leaves_before_an_answer() -> None:
    assert ending(answered(http_status=None, complete=False, disconnected=True)) == ("client_disconnect", None, None)


def test_a_gateway_that_died() -> None:
    made = row(None)
    assert (made.status, made.error_class) == ("proxy_error", "gateway_lost")
    assert (made.latency_ms, made.ended_at_us) == (None, made.started_at_us)
    assert (made.response_bytes, made.tool_calls, made.records) == (None, None, 1)


@pytest.mark.parametrize(
    ("http_status", "refusal", "status", "error_class"),
    [
        (401, "expired_key", "rejected", "authentication"),
        (403, "model_not_allowed", "rejected", "permission"),
        (413, "body_too_large", "rejected", "invalid_request"),
        (503, "ledger_unreachable", "proxy_error", "internal"),
    ],
)
def test_refusals_of_the_stand(http_status: int, refusal: str, status: str, error_class: str) -> None:
    refused = answered(http_status=http_status, refusal=refusal, error_code=refusal, forwarded=False)
    assert ending(refused) == (status, refusal, error_class)


@pytest.mark.parametrize(
    ("http_status", "exception", "status", "error_class"),
    [
        (401, "AuthenticationError", "provider_error", "authentication"),
        (403, "PermissionDeniedError", "provider_error", "permission"),
        (429, "litellm.RateLimitError", "provider_error", "rate_limit"),
        (400, "BadRequestError", "provider_error", "invalid_request"),
        (400, "ContextWindowExceededError", "provider_error", "context_length"),
        (400, "ContentPolicyViolationError", "provider_error", "content_policy"),
        (404, "NotFoundError", "provider_error", "not_found"),
        (500, "InternalServerError", "provider_error", "server_error"),
        (503, "ServiceUnavailableError", "provider_error", "overloaded"),
        (500, "APIConnectionError", "provider_error", "connection"),
        (408, "Timeout", "timeout", "timeout"),
        (500, "httpx.ReadError", "provider_error", "connection"),
        (500, "RemoteProtocolError", "provider_error", "connection"),
        (500, "ConnectError", "provider_error", "connection"),
        (500, "ClientPayloadError", "provider_error", "connection"),
        (500, "ServerDisconnectedError", "provider_error", "connection"),
        (500, "ReadTimeout", "timeout", "timeout"),
        (500, "ServerTimeoutError", "timeout", "timeout"),
        (400, "BudgetExceededError", "rejected", "budget"),
        (400, "UnsupportedParamsError", "proxy_error", "invalid_request"),
        (500, "KeyError", "proxy_error", "internal"),
    ],
)
def test_litellm_tells_whose_error_it_was(http_status: int, exception: str, status: str, error_class: str) -> None:
    told = answered(http_status=http_status, error_code=str(http_status))
    assert ending(told, failure(exception)) == (status, str(http_status), error_class)


@pytest.mark.parametrize(
    ("http_status", "provider_request_id", "status", "error_class"),
    [
        (500, None, "proxy_error", "server_error"),
        (422, None, "proxy_error", "invalid_request"),
        (429, "req_provider_9", "provider_error", "rate_limit"),
        (504, None, "timeout", "timeout"),
    ],
)
def test_http_errors_without_a_record(
    http_status: int, provider_request_id: str | None, status: str, error_class: str
) -> None:
    told = answered(http_status=http_status, provider_request_id=provider_request_id)
    assert ending(told) == (status, None, error_class)


def test_a_provider_that_gave_its_request_id_was_asked() -> None:
    assert ending(answered(http_status=500), failure(provider_request_id="req_9"))[0] == "provider_error"
    assert ending(answered(http_status=500), failure())[0] == "proxy_error"


def test_the_wires_code_is_more_specific_than_a_bad_request() -> None:
    told = answered(http_status=400, error_code="context_length_exceeded")
    assert ending(told, failure("BadRequestError"))[2] == "context_length"


def test_without_a_code_on_the_wire_litellms_speaks() -> None:
    assert ending(answered(http_status=429), failure("RateLimitError", error_code="429"))[1] == "429"


def test_an_error_inside_a_200_is_the_providers() -> None:
    told = answered(complete=False, error_code="overloaded_error")
    assert ending(told, routed()) == ("provider_error", "overloaded_error", "overloaded")
    assert ending(answered(error_code="error")) == ("provider_error", "error", None)
    assert ending(answered(error_code="408")) == ("timeout", "408", "timeout")


def test_an_answer_that_stops_without_a_word() -> None:
    silent = answered(entered=STREAMED, complete=False)
    assert ending(silent, routed()) == ("proxy_error", None, "incomplete_stream")
    assert ending(silent, failure("Timeout", error_code="408")) == ("timeout", "408", "timeout")
    assert ending(silent, failure("ReadError")) == ("provider_error", None, "connection")
    assert ending(answered(complete=False)) == ("proxy_error", None, "unreadable_answer")
    assert ending(answered(complete=False, http_status=None)) == ("proxy_error", None, "internal")


HOLLOW = answered(entered=STREAMED, events=[("finish", 1, 9), ("done", 2, 6)], finish_reason="stop")


def test_a_chat_stream_that_litellm_made_of_no_answer() -> None:
    nothing = ("provider_error", None, "unreadable_answer")
    assert ending(HOLLOW) == ending(HOLLOW, routed()) == nothing
    assert ending(HOLLOW, routed(usage=chat_usage(0, 0))) == nothing  # zeros throughout are no count
    assert ending(HOLLOW, failure("ReadError", error_code="500")) == ("provider_error", "500", "connection")


@pytest.mark.parametrize(
    "changes",
    [
        {"usages": [chat_usage(9, 0)]},
        {"events": [("content", 1, 9), ("done", 2, 6)]},
        {"events": [("tool", 1, 9), ("done", 2, 6)]},
        {"finish_reason": "content_filter"},
    ],
)
def test_a_chat_stream_in_which_a_provider_said_anything_is_an_answer(changes: dict[str, Any]) -> None:
    assert ending(msgspec.structs.replace(HOLLOW, **changes)) == ("ok", None, None)


def test_an_empty_answer_whose_tokens_litellm_reports_is_one() -> None:
    assert ending(HOLLOW, routed(usage=chat_usage(9, 0))) == ("ok", None, None)


def test_a_path_that_is_not_inference_needs_no_terminal_event() -> None:
    other = answered(entered=msgspec.structs.replace(ENTERED, surface=None), complete=False)
    assert ending(other) == ("ok", None, None)
    assert row(other).tool_calls is None


def test_a_success_beats_failures_in_any_order() -> None:
    reports = (
        failure("RateLimitError", litellm_call_id="a", at_us=5),
        routed(litellm_call_id="b", at_us=3),
        failure("Timeout", at_us=9),
    )
    rows = {row(ANSWERED, *order) for order in itertools.permutations(reports)}
    [made] = rows
    assert (made.status, made.litellm_call_id, made.records) == ("ok", "b", 5)  # entered, answered, 3 reports


def test_of_failures_the_last_one_speaks() -> None:
    told = answered(http_status=500)
    assert ending(told, failure("Timeout", at_us=2), failure("RateLimitError", at_us=1))[0] == "timeout"


@pytest.mark.parametrize(
    ("code", "error_class"),
    [
        ("INVALID_ARGUMENT", "invalid_request"),
        ("FAILED_PRECONDITION", "invalid_request"),
        ("UNAUTHENTICATED", "authentication"),
        ("PERMISSION_DENIED", "permission"),
        ("NOT_FOUND", "not_found"),
        ("RESOURCE_EXHAUSTED", "rate_limit"),
        ("UNAVAILABLE", "overloaded"),
        ("INTERNAL", "server_error"),
        ("rate_limit_exceeded", "rate_limit"),
        ("server_error", "server_error"),
        ("invalid_prompt", "invalid_request"),
        ("image_too_large", "invalid_request"),
        ("bio_policy", "content_policy"),
        ("insufficient_quota", "budget"),
        ("SOMETHING_NEW", None),
    ],
)
def test_codes_of_gemini_and_of_responses_inside_a_200(code: str, error_class: str | None) -> None:
    for surface in ("gemini", "openai_responses"):
        entered = msgspec.structs.replace(STREAMED, surface=surface)
        told = answered(entered=entered, complete=False, error_code=code, events=[("error", 1, 9)])
        assert ending(told) == ending(told, routed()) == ("provider_error", code, error_class)


@pytest.mark.parametrize("code", ["DEADLINE_EXCEEDED", "request_timeout"])
def test_a_deadline_that_passed_is_a_timeout(code: str) -> None:
    assert ending(answered(complete=False, error_code=code)) == ("timeout", code, "timeout")


def test_a_cut_of_the_provider_that_litellm_reports_as_a_failed_response() -> None:
    entered = msgspec.structs.replace(STREAMED, surface="openai_responses")
    told = answered(entered=entered, error_code="server_error", finish_reason="failed", events=[("error", 1, 9)])
    assert ending(told, failure("APIConnectionError")) == ("provider_error", "server_error", "connection")


@pytest.mark.parametrize("purpose", ["token_count", "model_list"])
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("ok", None, None)),
        ({"complete": False}, ("ok", None, None)),
        ({"complete": False, "disconnected": True}, ("ok", None, None)),
        ({"http_status": 404}, ("proxy_error", None, "not_found")),
        ({"http_status": 500, "error_code": "INTERNAL"}, ("proxy_error", "INTERNAL", "server_error")),
        ({"http_status": 401, "refusal": "expired_key"}, ("rejected", "expired_key", "authentication")),
        ({"http_status": None, "complete": False, "disconnected": True}, ("client_disconnect", None, None)),
    ],
)
def test_what_no_model_answers_ends_as_its_http_status_says(
    purpose: str, changes: dict[str, Any], expected: tuple[str, str | None, str | None]
) -> None:
    entered = msgspec.structs.replace(ENTERED, surface="anthropic_messages", purpose=purpose)
    assert ending(answered(entered=entered, **changes)) == expected


def test_what_litellm_calls_a_connection_is_its_own_fault_where_it_never_asked() -> None:
    told = answered(http_status=500, error_code="500", attempts=0)
    assert ending(told, failure("APIConnectionError")) == ("proxy_error", "500", "internal")
    refused = tried(http_status=None, complete=False, failure="ConnectError")
    asked = msgspec.structs.replace(told, attempts=1)
    assert ending(asked, failure("APIConnectionError"), refused) == ("provider_error", "500", "connection")


# ── by the provider's own wire ───────────────────────────────────────────────────────────────────────────────────────


def test_an_end_that_litellm_made_hides_no_stream_that_broke_off() -> None:
    cut = tried(streamed=True, complete=False)
    assert ending(ANSWERED, routed(), cut) == ("provider_error", None, "incomplete_stream")
    assert ending(ANSWERED, routed(), tried(complete=False)) == ("provider_error", None, "unreadable_answer")


def test_a_stream_that_litellm_left_after_its_finish_reason_is_whole() -> None:
    left = tried(streamed=True, complete=False, abandoned=True, finish_reason="stop")
    assert ending(ANSWERED, routed(), left) == ("ok", None, None)
    assert ending(ANSWERED, routed(), msgspec.structs.replace(left, abandoned=False)) == ("ok", None, None)


def test_an_error_inside_the_providers_answer_that_litellm_kept_to_itself() -> None:
    told = tried(streamed=True, complete=False, error_code="overloaded_error")
    assert ending(ANSWERED, routed(), told) == ("provider_error", "overloaded_error", "overloaded")
    strange = tried(streamed=True, complete=False, error_code="error")
    assert ending(ANSWERED, routed(), strange) == ("provider_error", "error", "server_error")


def test_a_cut_by_the_harness_is_its_own_whatever_became_of_the_attempt() -> None:
    abandoned = tried(streamed=True, complete=False, abandoned=True)
    assert ending(answered(complete=False, disconnected=True), abandoned) == ("client_disconnect", None, None)


def test_an_answer_that_broke_off_at_the_provider_is_its_fault() -> None:
    cut = tried(streamed=True, complete=False)
    answer = answered(entered=STREAMED, complete=False)
    assert ending(answer, cut) == ("provider_error", None, "incomplete_stream")
    assert ending(answer, tried(streamed=True)) == ("proxy_error", None, "incomplete_stream")


def test_the_providers_own_words_on_an_error_say_more_than_litellms() -> None:
    told = answered(http_status=500, error_code="500")
    overloaded = tried(http_status=529, error_code="overloaded_error")
    assert ending(told, failure("InternalServerError"), overloaded) == (
        "provider_error",
        "overloaded_error",
        "overloaded",
    )


def test_an_error_after_a_whole_answer_of_the_provider_is_the_proxys() -> None:
    told = answered(http_status=500, error_code="500")
    assert ending(told, failure("APIConnectionError"), tried())[0] == "proxy_error"


@pytest.mark.parametrize(
    ("exception", "status", "error_class"),
    [("ConnectError", "provider_error", "connection"), ("ReadTimeout", "timeout", "timeout")],
)
def test_an_attempt_that_got_no_answer(exception: str, status: str, error_class: str) -> None:
    failed = tried(http_status=None, complete=False, failure=exception)
    report = failure("APIConnectionError" if status == "provider_error" else "Timeout")
    told = answered(http_status=500 if status == "provider_error" else 408, error_code="error")
    assert ending(told, report, failed) == (status, "error", error_class)


@pytest.mark.parametrize(("exception", "status"), [("ReadError", "provider_error"), ("ReadTimeout", "timeout")])
def test_an_attempt_that_broke_off_is_classed_by_what_broke_it(exception: str, status: str) -> None:
    broken = tried(complete=False, failure=exception)
    told = answered(http_status=500, error_code="500")
    error_class = "connection" if status == "provider_error" else "timeout"
    assert ending(told, failure("InternalServerError"), broken) == (status, "500", error_class)


def test_a_provider_that_answered_with_an_error_is_not_called_a_lost_connection() -> None:
    refused = tried(http_status=400, error_code="invalid_request_error")
    told = answered(http_status=500, error_code="500")
    expected = ("provider_error", "invalid_request_error", "invalid_request")
    assert ending(told, failure("APIConnectionError"), refused) == expected


ENDLESS = tried(streamed=True, complete=False, finish_reason="stop")


def test_a_stream_that_lacks_the_event_that_ends_it_is_the_providers_fault() -> None:
    waited = answered(entered=STREAMED, complete=False)
    assert ending(waited, routed(), ENDLESS) == ("provider_error", None, "incomplete_stream")
    assert ending(waited, failure("ReadError"), ENDLESS) == ("provider_error", None, "connection")
    left = msgspec.structs.replace(ENDLESS, abandoned=True)
    assert ending(waited, routed(), left) == ("proxy_error", None, "incomplete_stream")


def test_the_end_of_a_stream_that_litellm_translates_is_litellms_to_make() -> None:
    message = answered(entered=msgspec.structs.replace(STREAMED, surface="anthropic_messages"), complete=False)
    assert ending(message, routed(), ENDLESS) == ("proxy_error", None, "incomplete_stream")
    unread = msgspec.structs.replace(ENDLESS, surface=None)
    assert ending(answered(entered=STREAMED, complete=False), unread) == ("proxy_error", None, "incomplete_stream")


@pytest.mark.parametrize("http_status", [500, 200])
@pytest.mark.parametrize("exception", ["DecodingError", "APIConnectionError", None])
def test_an_answer_that_is_not_compressed_as_it_says_is_the_providers_fault(
    http_status: int, exception: str | None
) -> None:
    lied = tried(streamed=True, complete=False, abandoned=True, failure="BrokenEncoding")
    told = answered(entered=STREAMED, http_status=http_status, error_code="500", complete=False)
    assert ending(told, failure(exception), lied) == ("provider_error", "500", "unreadable_answer")


def test_a_provider_that_pointed_elsewhere_has_not_answered() -> None:
    pointed = tried(http_status=307, complete=False)
    assert ending(ANSWERED, routed(), pointed, tried(2)) == ("ok", None, None)
    assert ending(answered(http_status=500, error_code="500"), failure("X"), pointed)[0] == "provider_error"
