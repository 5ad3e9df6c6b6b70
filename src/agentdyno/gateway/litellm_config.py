"""LiteLLM's configuration, generated from ours. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from agentdyno.core.records import Metering, Provider, Surface

REQUEST_TIMEOUT_S = 6000
# What LiteLLM would refuse, or leave out, of chats with a model at such a server that its table does not know.
_CHAT_SERVERS = ("openai", "hosted_vllm")
_UNKNOWN_MODELS_LACK = ("user", "verbosity")
# LiteLLM heeds these only as numbers, and takes no notice of them as texts.
_NUMBERS = ("num_retries", "max_retries")
# A key would be sent in the place of a signature.
_SIGNED = ("bedrock", "sagemaker", "sagemaker_chat")
# On this surface LiteLLM would itself refuse a reasoning effort for any model that its table does not praise for it.
_MODEL_INFO: Mapping[Surface, dict[str, Any]] = MappingProxyType({"openai_responses": {"supports_reasoning": True}})
# LiteLLM makes nothing of it: the gateway reads it out of the configuration again.
_METERING_INFO: Mapping[Metering, dict[str, Any]] = MappingProxyType(
    {"transport": {}, "pass_through": {"metering": "pass_through"}}
)


def model_group(provider: str, model: str, surface: Surface) -> str:
    """The name under which LiteLLM's router knows one route; harnesses see it in LiteLLM's words on errors alone.

    Without a slash: before one, LiteLLM would look for a provider of its own, on every call.
    """
    return f"{provider}:{quote(model, safe='')}@{surface}"


def deployments(provider: Provider, base_url: str | None) -> list[dict[str, Any]]:
    """One LiteLLM deployment for each model and surface of a provider.

    For Gemini's surface LiteLLM puts `/models/…` behind the address where it generates and `/v1beta/models/…` where it
    counts tokens: a provider at an address of its own must take both, or have its counts estimated.
    No prices: a price in `litellm_params` registers the model again on every call.
    """
    entries: list[dict[str, Any]] = []
    for surface, route in provider.routes.items():
        parameters: dict[str, Any] = {
            name: int(value) if name in _NUMBERS and value.isdecimal() else value
            for name, value in provider.options.items()
        }
        if base_url is not None:
            parameters["api_base"] = base_url.rstrip("/") + route.path
        if surface == "openai_chat" and route.litellm_provider in _CHAT_SERVERS:
            parameters["allowed_openai_params"] = list(_UNKNOWN_MODELS_LACK)
        if provider.api_key_env is not None:
            parameters["api_key"] = f"os.environ/{provider.api_key_env}"
        elif route.litellm_provider.partition("/")[0] not in _SIGNED:
            parameters["api_key"] = "none"  # LiteLLM refuses to call without one, even where the provider wants none
        info = {**_MODEL_INFO.get(surface, {}), **_METERING_INFO[provider.metering]}
        entries += [
            {
                "model_name": model_group(provider.name, model, surface),
                "litellm_params": {"model": f"{route.litellm_provider}/{model}", **parameters},
                **({"model_info": info} if info else {}),
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


def passed_through(config: Mapping[str, Any]) -> dict[str, str]:
    """The model groups of a configuration that are to be reached by the pass-through, with their real addresses."""
    return {
        entry["model_name"]: entry["litellm_params"]["api_base"]
        for entry in config["model_list"]
        if entry.get("model_info", {}).get("metering") == "pass_through"
    }
