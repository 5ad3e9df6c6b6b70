"""How a request ended: its status and the class of its error, from what the witnesses saw.

The order in which the evidence is asked:

1. no answer was recorded: the gateway died, `proxy_error` with `gateway_lost`;
2. the stand refused: `rejected`, or `proxy_error` where it could not serve at all (503);
3. an error was on the wire, as an HTTP status of 400 or more or as an error inside a 200: the last attempt at the
   provider says whose it was, else LiteLLM's failure record. Without either, a 200 with an error inside is the
   provider's, and so is an HTTP error that carries the provider's request id; any other HTTP error is the proxy's own,
   since nothing shows that a provider was asked;
4. the harness went away before the end: `client_disconnect`;
5. the answer is not whole though the harness stayed: the provider's fault where it ended the last attempt too early,
   else the one that LiteLLM recorded, else the provider's again where it left out the event that ends a stream which
   LiteLLM does not translate, else `proxy_error`, because it was the proxy that fell silent;
6. a chat stream in which nothing was said, and of which nobody counted a token: the provider's answer was none, and
   LiteLLM made the end of it. `provider_error` with `unreadable_answer`;
7. the answer looks whole, but the provider's own was not: it held an error, or broke off, and LiteLLM made the end of
   it. `provider_error`;
8. `ok`. A harness that hangs up after the terminal event has a whole answer.

Of a token count or a list of models, which no model answers, 4 to 7 are not asked: below 400 it is `ok`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

from agentdyno.core.evidence import Attempt, Heard
from agentdyno.core.exchange import Entered, Routed
from agentdyno.core.records import Status
from agentdyno.core.side_calls import is_inference

ErrorClass = Literal[
    "authentication",
    "permission",
    "budget",
    "rate_limit",
    "overloaded",
    "invalid_request",
    "context_length",
    "content_policy",
    "not_found",
    "timeout",
    "connection",
    "server_error",
    "incomplete_stream",
    "unreadable_answer",
    "internal",
    "gateway_lost",
]
"""What kind of error.

`internal` is a failure inside the proxy or the stand, `unreadable_answer` a document that is no whole JSON, an answer
that is not compressed as it says, or a stream that LiteLLM made of no answer.
"""


class Verdict(NamedTuple):
    """How a request ended."""

    status: Status
    error_code: str | None = None
    error_class: ErrorClass | None = None


class _Fault(NamedTuple):
    status: Status
    error_class: ErrorClass


# LiteLLM lets some exceptions of what it stands on through, unmapped: httpx's, aiohttp's, Python's.
_LOST_CONNECTIONS = (
    *("ConnectError", "ReadError", "WriteError", "CloseError", "NetworkError", "RemoteProtocolError"),
    *("ClientConnectionError", "ClientConnectionResetError", "ClientConnectorError", "ClientConnectorDNSError"),
    *("ClientConnectorSSLError", "ClientConnectorCertificateError", "ClientOSError", "ClientPayloadError"),
    *("ServerConnectionError", "ServerDisconnectedError", "TransferEncodingError", "ContentLengthError"),
    *("ConnectionError", "ConnectionRefusedError", "ConnectionResetError", "ConnectionAbortedError"),
    "IncompleteRead",
)
_TIMEOUTS = (
    *("Timeout", "APITimeoutError", "TimeoutError", "TimeoutException"),
    *("ConnectTimeout", "ReadTimeout", "WriteTimeout", "PoolTimeout"),
    *("ServerTimeoutError", "ConnectionTimeoutError", "SocketTimeoutError"),
)
_BROKEN_ENCODINGS = ("DecodingError", "BrokenEncoding")
"""Of an answer that is not compressed as it says: httpx's, and the meter's own."""
_BY_EXCEPTION: Mapping[str, _Fault] = MappingProxyType(
    {
        "AuthenticationError": _Fault("provider_error", "authentication"),
        "PermissionDeniedError": _Fault("provider_error", "permission"),
        "PaymentRequiredError": _Fault("provider_error", "budget"),
        "RateLimitError": _Fault("provider_error", "rate_limit"),
        "ServiceUnavailableError": _Fault("provider_error", "overloaded"),
        "BadRequestError": _Fault("provider_error", "invalid_request"),
        "InvalidRequestError": _Fault("provider_error", "invalid_request"),
        "UnprocessableEntityError": _Fault("provider_error", "invalid_request"),
        "ContextWindowExceededError": _Fault("provider_error", "context_length"),
        "ContentPolicyViolationError": _Fault("provider_error", "content_policy"),
        "NotFoundError": _Fault("provider_error", "not_found"),
        "APIConnectionError": _Fault("provider_error", "connection"),
        "APIError": _Fault("provider_error", "server_error"),
        "InternalServerError": _Fault("provider_error", "server_error"),
        "BadGatewayError": _Fault("provider_error", "server_error"),
        "APIResponseValidationError": _Fault("provider_error", "server_error"),
        "MidStreamFallbackError": _Fault("provider_error", "server_error"),
        **dict.fromkeys(_BROKEN_ENCODINGS, _Fault("provider_error", "unreadable_answer")),
        **dict.fromkeys(_LOST_CONNECTIONS, _Fault("provider_error", "connection")),
        **dict.fromkeys(_TIMEOUTS, _Fault("timeout", "timeout")),
        "BudgetExceededError": _Fault("rejected", "budget"),
        "ProxyModelNotFoundError": _Fault("rejected", "not_found"),
        "UnsupportedParamsError": _Fault("proxy_error", "invalid_request"),
        "RejectedRequestError": _Fault("proxy_error", "invalid_request"),
        "RouterRateLimitError": _Fault("proxy_error", "rate_limit"),
        "RouterRateLimitErrorBasic": _Fault("proxy_error", "rate_limit"),
    }
)
_NO_CONNECTION = _Fault("provider_error", "connection")
_OTHER_EXCEPTION = _Fault("proxy_error", "internal")
"""An exception that LiteLLM did not map is one of its own code."""
_UNUSABLE_INPUTS = (
    *("invalid_prompt", "invalid_image", "invalid_image_format", "invalid_base64_image", "invalid_image_url"),
    *("image_too_large", "image_too_small", "image_parse_error", "invalid_image_mode", "image_file_too_large"),
    *("unsupported_image_media_type", "empty_image_file", "failed_to_download_image", "image_file_not_found"),
)
_BY_CODE: Mapping[str, ErrorClass] = MappingProxyType(
    {
        "authentication_error": "authentication",
        "invalid_api_key": "authentication",
        "permission_error": "permission",
        "permission_denied": "permission",
        "insufficient_quota": "budget",
        "billing_error": "budget",
        "rate_limit_error": "rate_limit",
        "rate_limit_exceeded": "rate_limit",
        "overloaded_error": "overloaded",
        "invalid_request_error": "invalid_request",
        "request_too_large": "invalid_request",
        "context_length_exceeded": "context_length",
        "content_filter": "content_policy",
        "content_policy_violation": "content_policy",
        "image_content_policy_violation": "content_policy",
        "bio_policy": "content_policy",
        **dict.fromkeys(_UNUSABLE_INPUTS, "invalid_request"),
        "not_found_error": "not_found",
        "model_not_found": "not_found",
        "timeout_error": "timeout",
        "request_timeout": "timeout",
        "api_error": "server_error",
        "server_error": "server_error",
        "INVALID_ARGUMENT": "invalid_request",
        "FAILED_PRECONDITION": "invalid_request",
        "OUT_OF_RANGE": "invalid_request",
        "UNAUTHENTICATED": "authentication",
        "PERMISSION_DENIED": "permission",
        "NOT_FOUND": "not_found",
        "RESOURCE_EXHAUSTED": "rate_limit",
        "UNAVAILABLE": "overloaded",
        "DEADLINE_EXCEEDED": "timeout",
        "ABORTED": "server_error",
        "DATA_LOSS": "server_error",
        "INTERNAL": "server_error",
        "UNIMPLEMENTED": "server_error",
        "UNKNOWN": "server_error",
        "gateway_failed": "internal",
        "gateway_stopped": "internal",
    }
)
_BY_HTTP_STATUS: Mapping[int, ErrorClass] = MappingProxyType(
    {
        401: "authentication",
        402: "budget",
        403: "permission",
        404: "not_found",
        408: "timeout",
        429: "rate_limit",
        503: "overloaded",
        504: "timeout",
        529: "overloaded",
    }
)
_DISCONNECT = "ClientDisconnected"
"""How LiteLLM's record names no exception, but the client that went away."""
_REFUSED_BY_KEY = frozenset({"401", "402", "403"})
_GENERIC = frozenset({"invalid_request", "server_error"})
_OK = Verdict("ok")
_LOST = Verdict("proxy_error", None, "gateway_lost")
_LEFT = Verdict("client_disconnect")
_NO_ANSWER = Verdict("provider_error", None, "unreadable_answer")
_ENDLESS = Verdict("provider_error", None, "incomplete_stream")


def verdict(
    entered: Entered, answered: Heard | None, routed: Routed | None, attempt: Attempt | None, *, counted: bool
) -> Verdict:
    """How the request ended; the module's head says in which order the evidence is asked.

    `attempt` is the last one at the provider; `counted` says whether anybody told tokens of it.
    """
    if answered is None:
        return _LOST
    if answered.refusal is not None:
        return _refused(answered.refusal, answered.http_status)
    failure = routed if routed is not None and routed.status == "failure" else None
    if answered.error_code is not None or (answered.http_status is not None and answered.http_status >= 400):
        return _failed(answered, failure, attempt)
    if answered.http_status is not None and not is_inference(entered.purpose):
        return _OK
    if answered.complete and answered.http_status is not None:
        if not counted and _is_hollow(entered, answered):
            return _hollow(failure)
        return _OK if attempt is None else _verdict_on_attempt(attempt)
    if answered.disconnected:
        return _LEFT
    if attempt is not None and _broke_off(attempt):
        return _verdict_on_attempt(attempt)
    if failure is None and attempt is not None and attempt.endless and attempt.surface == entered.surface:
        return _ENDLESS
    if answered.http_status is None:
        return _cut_short(failure, "internal")
    if entered.surface is None:
        return _OK  # not inference: there is no dialect that could tell whether it is whole
    return _cut_short(failure, "incomplete_stream" if entered.streamed else "unreadable_answer")


def recorded_verdict(exception: str | None, code: str | None) -> Verdict:
    """The verdict on a failure of which LiteLLM's record alone tells: its exception's name, and its code.

    What a key may not do LiteLLM refuses by an exception of its own code; a provider's refusal has one that it mapped.
    """
    if exception == _DISCONNECT:
        return _LEFT
    fault = _OTHER_EXCEPTION if exception is None else _fault_of(exception)
    if fault is not _OTHER_EXCEPTION:
        return Verdict(fault.status, code, _most_specific(fault.error_class, _code_class(code)))
    error_class = _code_class(code) or fault.error_class
    return Verdict("rejected" if code in _REFUSED_BY_KEY else fault.status, code, error_class)


def _broke_off(attempt: Attempt) -> bool:
    """Whether the provider ended an answer before it was whole. Where no dialect reads it, nobody can tell."""
    whole = attempt.complete or attempt.finish_reason is not None
    return attempt.surface is not None and attempt.succeeded and not whole and not attempt.abandoned


def _verdict_on_attempt(attempt: Attempt) -> Verdict:
    """The verdict on an answer by the provider's own wire."""
    if attempt.error_code is not None:
        error_class = _most_specific(_code_class(attempt.error_code), _http_class(attempt.http_status))
        return Verdict("provider_error", attempt.error_code, error_class or "server_error")
    if _broke_off(attempt):
        return Verdict("provider_error", None, "incomplete_stream" if attempt.streamed else "unreadable_answer")
    return _OK


def _whose_fault(attempt: Attempt) -> Status | None:
    """Whose fault an error is that the harness was told, by the last attempt; None where that does not tell."""
    if attempt.error_code is not None or (attempt.http_status is not None and not attempt.succeeded):
        return "provider_error"
    if attempt.failure is not None:
        return _BY_EXCEPTION.get(attempt.failure, _NO_CONNECTION).status
    if attempt.surface is None or attempt.abandoned:
        return None
    return "provider_error" if _broke_off(attempt) else "proxy_error"


def _refused(refusal: str, http_status: int | None) -> Verdict:
    """The verdict on a request that never got to LiteLLM."""
    if http_status is not None and http_status >= 500:
        return Verdict("proxy_error", refusal, "internal")
    return Verdict("rejected", refusal, _http_class(http_status))


def _failed(answered: Heard, failure: Routed | None, attempt: Attempt | None) -> Verdict:
    """The verdict on an error that the harness was told."""
    fault = _recorded_fault(failure)
    error_class = _class_of_failure(answered, fault, attempt)
    code = answered.error_code
    if attempt is not None and attempt.error_code is not None:
        code = attempt.error_code
    elif code is None and failure is not None:
        code = failure.error_code
    if error_class == "timeout":
        return Verdict("timeout", code, error_class)
    if attempt is None and answered.attempts == 0 and fault is _BY_EXCEPTION["APIConnectionError"]:
        # LiteLLM has this word for faults of its own too, and was never heard to ask the provider.
        return Verdict("proxy_error", code, "internal")
    whose = None if attempt is None else _whose_fault(attempt)
    if whose is not None:
        return Verdict(whose, code, error_class)
    inside_200 = answered.http_status is not None and answered.http_status < 400
    if fault is not None and not inside_200:
        return Verdict(fault.status, code, error_class)
    providers = inside_200 or any(
        seen is not None and seen.provider_request_id is not None for seen in (answered, failure)
    )
    return Verdict("provider_error" if providers else "proxy_error", code, error_class)


def _class_of_failure(answered: Heard, fault: _Fault | None, attempt: Attempt | None) -> ErrorClass | None:
    """The class of an error that the harness was told, by what befell the provider, or else by LiteLLM's word."""
    known = None if fault is None else fault.error_class
    if fault is _OTHER_EXCEPTION and answered.http_status is not None and 400 <= answered.http_status < 500:
        known = None  # LiteLLM's own complaint of the request, whose HTTP status says more
    befell: tuple[ErrorClass | None, ...] = ()
    if attempt is not None:
        broke = None if attempt.failure is None else _BY_EXCEPTION.get(attempt.failure, _NO_CONNECTION).error_class
        befell = (_code_class(attempt.error_code), _http_class(attempt.http_status), broke)
        if known == "connection" and attempt.http_status is not None and not attempt.succeeded:
            known = None  # LiteLLM has this word for errors that the provider answered with, too
    return _most_specific(*befell, known, _code_class(answered.error_code), _http_class(answered.http_status))


def _cut_short(failure: Routed | None, error_class: ErrorClass) -> Verdict:
    """The verdict on an answer that ended too early without saying why."""
    fault = _recorded_fault(failure)
    if fault is None or failure is None:
        return Verdict("proxy_error", None, error_class)
    return Verdict(fault.status, failure.error_code, fault.error_class)


def _is_hollow(entered: Entered, answered: Heard) -> bool:
    """Whether a chat stream has nothing in it but the end that LiteLLM makes by itself."""
    return (
        entered.surface == "openai_chat"
        and answered.in_events
        and answered.finish_reason in (None, "stop")
        and answered.first_content_us is None
    )


def _hollow(failure: Routed | None) -> Verdict:
    """The verdict on a stream that LiteLLM made of no answer."""
    return _NO_ANSWER if _recorded_fault(failure) is None else _cut_short(failure, "unreadable_answer")


def _recorded_fault(failure: Routed | None) -> _Fault | None:
    if failure is None or failure.error_class is None:
        return None
    return _fault_of(failure.error_class)


def _fault_of(exception: str) -> _Fault:
    """Whose fault an exception is that LiteLLM names, with or without its modules."""
    return _BY_EXCEPTION.get(exception.rpartition(".")[2], _OTHER_EXCEPTION)


def _code_class(code: str | None) -> ErrorClass | None:
    """The class of an error code of the wire. LiteLLM writes the HTTP status there."""
    if code is None:
        return None
    return _http_class(int(code)) if code.isascii() and code.isdigit() else _BY_CODE.get(code)


def _http_class(status: int | None) -> ErrorClass | None:
    if status is None or status < 400:
        return None
    return _BY_HTTP_STATUS.get(status, "invalid_request" if status < 500 else "server_error")


def _most_specific(*classes: ErrorClass | None) -> ErrorClass | None:
    """The first class that says more than whose fault it was, else the first there is."""
    known = [error_class for error_class in classes if error_class is not None]
    return next((found for found in known if found not in _GENERIC), known[0] if known else None)
