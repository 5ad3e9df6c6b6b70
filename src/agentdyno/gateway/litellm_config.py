"""LiteLLM's configuration, generated from ours. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from agentdyno.core.records import Provider, Surface

REQUEST_TIMEOUT_S = 6000


def model_group(provider: str, model: str, surface: Surface) -> str:
    """The name under which LiteLLM's router knows one route; harnesses never see it.

    Without a slash: before one, LiteLLM would look for a provider of its own, on every call.
    """
    return f"{provider}:{quote(model, safe='')}@{surface}"


def deployments(provider: Provider, base_url: str | None) -> list[dict[str, Any]]:
    """One LiteLLM deployment for each model and surface of a provider.

    No prices: a price in `litellm_params` registers the model again on every call.
    """
    entries: list[dict[str, Any]] = []
    for surface, route in provider.routes.items():
        parameters: dict[str, Any] = dict(provider.options)
        if base_url is not None:
            parameters["api_base"] = base_url.rstrip("/") + route.path
        # LiteLLM refuses to call without a key, even where the provider wants none.
        parameters["api_key"] = f"os.environ/{provider.api_key_env}" if provider.api_key_env else "none"
        entries += [
            {
                "model_name": model_group(provider.name, model, surface),
                "litellm_params": {"model": f"{route.litellm_provider}/{model}", **parameters},
            }
            for model in provider.models
        ]
    return entries


def litellm_config(providers: Iterable[Provider], base_urls: Mapping[str, str]) -> dict[str, Any]:
    """The whole configuration. `base_urls` gives the addresses of providers that the stand started itself.

    Nothing is retried, cooled down or logged by LiteLLM: what the provider does must reach the harness and the record
    as it is.
    """
    return {
        "model_list": [
            entry
            for provider in providers
            for entry in deployments(provider, base_urls.get(provider.name, provider.base_url))
        ],
        "litellm_settings": {
            "num_retries": 0,
            "request_timeout": REQUEST_TIMEOUT_S,
            "global_disable_no_log_param": True,
            "telemetry": False,
        },
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        "general_settings": {"cancel_on_disconnect": True, "disable_spend_logs": True},
    }
