"""What LiteLLM calls back: authentication, the choice of route, and the report of what it did.

This module imports LiteLLM, which takes seconds: only the gateway process imports it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy._types import ProxyException, UserAPIKeyAuth
from litellm.proxy.auth.auth_utils import _BANNED_REQUEST_BODY_PARAMS
from litellm.types.utils import all_litellm_params

from agentdyno.core.dialects.reading import error_code, identifier, name, usage_object
from agentdyno.core.exchange import Routed
from agentdyno.core.ids import attribution, session_tags
from agentdyno.gateway.exchange import CURRENT, Exchange
from agentdyno.gateway.pass_through import PassThrough
from agentdyno.gateway.recording import note
from agentdyno.store.spool import SpoolWriter

log = logging.getLogger(__name__)
# What LiteLLM itself has put beside the client's parameters when the hook is called.
_PROXY_PARAMETERS = frozenset(
    {
        "litellm_call_id",
        "litellm_logging_obj",
        "litellm_metadata",
        "metadata",
        "provider_specific_header",
        "proxy_server_request",
        "secret_fields",
    }
)
_STEERING_PARAMETERS = frozenset(all_litellm_params) | {
    "base_url",
    "content_policy_fallbacks",
    "context_window_fallbacks",
    "deployment_id",
    "extra_body",
    "extra_headers",
    "extra_query",
    "litellm_embedding_config",
    "litellm_params",
    "organization",
    "specific_deployment",
    "timeout",
    "user_config",
}
WITHHELD_FROM_BODIES = (_STEERING_PARAMETERS | frozenset(_BANNED_REQUEST_BODY_PARAMS)) - {"metadata"}
"""By these a client would steer LiteLLM rather than the model: what LiteLLM keeps for itself, refuses, and forgot."""
# LiteLLM makes some of them out of the query and the headers.
_WITHHELD_FROM_CALLS = _STEERING_PARAMETERS - _PROXY_PARAMETERS
_STRIPS_USAGE = "_litellm_strip_stream_usage"
_REQUEST_ID_HEADERS = ("llm_provider-request-id", "llm_provider-x-request-id", "request-id", "x-request-id")


async def authenticate(request: object, api_key: str) -> UserAPIKeyAuth:
    """LiteLLM's custom auth: the ingress has admitted the request already, this only says whose it is."""
    exchange = CURRENT.get()
    if exchange is None:
        raise ProxyException(message="no session admitted this request", type="auth_error", param="key", code=401)
    scope = exchange.scope
    return UserAPIKeyAuth(api_key=scope.key_hash, key_alias=scope.key_alias, models=[], metadata={})


def request_tags(exchange: Exchange) -> list[str]:
    """The tags of a request: its session's ids, whatever the client sent."""
    return list(session_tags(attribution(exchange.scope)))


def _ask_for_usage(data: dict[str, Any]) -> bool:
    """Have the provider report a stream's usage even where the harness did not ask; whether it did not.

    LiteLLM would do so by itself for models it knows, and strip the usage before the ingress could read it.
    """
    options = data.get("stream_options")
    asked = isinstance(options, dict) and options.get("include_usage") is True
    if asked and not data.get(_STRIPS_USAGE):
        return False
    data["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
    data[_STRIPS_USAGE] = False
    return True


class Recorder(CustomLogger):  # type: ignore[misc]  # LiteLLM carries no types that mypy follows here
    """Routes each request to its session's provider, and writes LiteLLM's report of it to the spool at once."""

    def __init__(self, spool: SpoolWriter, clock_us: Callable[[], int], passing: PassThrough) -> None:
        super().__init__()
        self._passing = passing
        self._spool = spool
        self._clock_us = clock_us

    async def async_pre_call_hook(
        self, user_api_key_dict: UserAPIKeyAuth, cache: object, data: dict[str, Any], call_type: str
    ) -> dict[str, Any]:
        """Name the route of the session's own provider; replace whatever tags the client sent."""
        exchange = CURRENT.get()
        if exchange is None:
            return data
        for parameter in _WITHHELD_FROM_CALLS.intersection(data):
            del data[parameter]
        if exchange.surface == "openai_chat" and data.get("stream") is True:
            exchange.hides_usage = _ask_for_usage(data)
        data["model"] = exchange.model_group
        passed = self._passing.address_for(exchange)
        if passed is not None:
            data["api_base"] = passed
        for place in ("metadata", "litellm_metadata"):
            if isinstance(data.get(place), dict) and "user_api_key_hash" in data[place]:
                data[place]["tags"] = request_tags(exchange)
        return data

    async def async_log_success_event(
        self, kwargs: dict[str, Any], response_obj: object, start_time: object, end_time: object
    ) -> None:
        """LiteLLM counts the call as a success."""
        self._report(kwargs, "success")

    async def async_log_failure_event(
        self, kwargs: dict[str, Any], response_obj: object, start_time: object, end_time: object
    ) -> None:
        """LiteLLM counts the call as a failure."""
        self._report(kwargs, "failure")

    def _report(self, kwargs: dict[str, Any], status: str) -> None:
        exchange = CURRENT.get()
        if exchange is not None and exchange.rehearsal:
            return
        try:
            record = self._routed(kwargs, status, exchange)
            if exchange is None:
                self._spool.append_or_hold(record)
            else:
                note(self._spool, exchange, record)
        except Exception as error:  # noqa: BLE001 - the hook's edge: the request must go on, whatever LiteLLM reports
            log.error("report lost: %s", type(error).__name__)  # noqa: TRY400 - a trace could quote content

    def _routed(self, kwargs: dict[str, Any], status: str, exchange: Exchange | None) -> Routed:
        report: Mapping[str, Any] = kwargs.get("standard_logging_object") or {}
        call_id = report.get("litellm_call_id") or kwargs.get("litellm_call_id")
        usage = (report.get("metadata") or {}).get("usage_object")
        error = report.get("error_information") or {}
        # Every configured model is in LiteLLM's table, at 0 where nobody told its price.
        priced = exchange is not None and exchange.price is not None and status == "success"
        headers = (report.get("hidden_params") or {}).get("additional_headers") or {}
        return Routed(
            request_key=exchange.entered.request_key if exchange is not None else str(call_id),
            at_us=self._clock_us(),
            status=status,
            litellm_call_id=identifier(call_id),
            litellm_provider=report.get("custom_llm_provider"),
            model=name(report.get("model")),
            # Some providers take keys behind it.
            api_base=self._passing.address_behind(str(report.get("api_base") or "").partition("?")[0]) or None,
            response_id=identifier(report.get("id")) if status == "success" else None,  # of a failure LiteLLM's own
            provider_request_id=identifier(next((headers[n] for n in _REQUEST_ID_HEADERS if headers.get(n)), None)),
            usage=usage_object(usage),
            # A provider may put a sentence there, and quote in it what it was told.
            error_code=error_code({"code": error["error_code"]}) if error.get("error_code") else None,
            error_class=error.get("error_class") or None,
            cost_usd=report.get("response_cost") if priced else None,
        )
