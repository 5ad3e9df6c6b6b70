"""LiteLLM's configuration out of providers."""

from __future__ import annotations

from dataclasses import replace

from agentdyno.core.names import NAME
from agentdyno.core.records import Provider, Route
from agentdyno.gateway.litellm_config import litellm_config, model_group, passed_through
from agentdyno.gateway.warm_up import warm_up_provider

SCRIPTED = Provider(
    name="scripted",
    routes={"openai_chat": Route("openai", "/v1"), "anthropic_messages": Route("anthropic")},
    models=("hello", "slow"),
    managed="scripted",
)
REMOTE = Provider(
    name="remote",
    routes={"openai_chat": Route("openai", "/v1")},
    models=("big",),
    base_url="https://models.example/api/",
    api_key_env="REMOTE_KEY",
)


def test_one_deployment_for_each_model_and_surface() -> None:
    config = litellm_config([SCRIPTED], {"scripted": "http://127.0.0.1:9"})
    assert [entry["model_name"] for entry in config["model_list"]] == [
        model_group("scripted", "hello", "openai_chat"),
        model_group("scripted", "slow", "openai_chat"),
        model_group("scripted", "hello", "anthropic_messages"),
        model_group("scripted", "slow", "anthropic_messages"),
    ]
    assert [entry["litellm_params"] for entry in config["model_list"][::2]] == [
        {
            "model": "openai/hello",
            "api_base": "http://127.0.0.1:9/v1",
            "api_key": "none",
            "allowed_openai_params": ["user", "verbosity"],
        },
        {"model": "anthropic/hello", "api_base": "http://127.0.0.1:9", "api_key": "none"},
    ]


def test_gemini_and_responses_have_routes_of_their_own() -> None:
    routes = {"openai_responses": Route("openai", "/v1"), "gemini": Route("gemini")}
    google = Provider(name="g", routes=routes, models=("a/b:c",), base_url="http://127.0.0.1:9/")  # type: ignore[arg-type]  # surfaces
    responses, gemini = litellm_config([google], {})["model_list"]
    assert responses["litellm_params"]["api_base"] == "http://127.0.0.1:9/v1"
    assert responses["model_info"] == {"supports_reasoning": True}
    assert gemini["litellm_params"] == {"model": "gemini/a/b:c", "api_base": "http://127.0.0.1:9", "api_key": "none"}
    assert gemini["model_name"] == "g:a%2Fb%3Ac@gemini"


def test_a_secret_is_named_and_never_written() -> None:
    (entry,) = litellm_config([REMOTE], {})["model_list"]
    assert entry["litellm_params"] == {
        "model": "openai/big",
        "api_base": "https://models.example/api/v1",
        "api_key": "os.environ/REMOTE_KEY",
        "allowed_openai_params": ["user", "verbosity"],
    }


def test_whoever_signs_is_given_no_key() -> None:
    signing = Provider(name="aws", routes={"openai_chat": Route("bedrock/converse")}, models=("m",))
    (entry,) = litellm_config([signing], {})["model_list"]
    assert entry["litellm_params"] == {"model": "bedrock/converse/m"}


def test_an_address_of_the_stands_own_is_preferred() -> None:
    (entry,) = litellm_config([REMOTE], {"remote": "http://127.0.0.1:7"})["model_list"]
    assert entry["litellm_params"]["api_base"] == "http://127.0.0.1:7/v1"


def test_without_an_address_litellm_knows_its_own() -> None:
    vendor = Provider(name="vendor", routes={"openai_chat": Route("openai")}, models=("m",), api_key_env="K")
    (entry,) = litellm_config([vendor], {})["model_list"]
    assert "api_base" not in entry["litellm_params"]


def test_what_is_to_be_passed_through_is_told_by_its_routes_and_litellm_is_given_the_real_address() -> None:
    passed = replace(REMOTE, name="passed", metering="pass_through")
    config = litellm_config([SCRIPTED, REMOTE, passed], {"scripted": "http://127.0.0.1:9"})
    address = "https://models.example/api/v1"
    assert passed_through(config) == {model_group("passed", "big", "openai_chat"): address}
    assert config["model_list"][-1]["litellm_params"]["api_base"] == address


def test_litellm_neither_retries_nor_lets_a_call_go_unreported() -> None:
    config = litellm_config([SCRIPTED], {})
    assert config["litellm_settings"]["num_retries"] == config["router_settings"]["num_retries"] == 0
    assert config["router_settings"]["disable_cooldowns"]
    assert config["litellm_settings"]["global_disable_no_log_param"]
    assert config["general_settings"]["cancel_on_disconnect"]


def test_no_provider_shares_its_routes_with_the_rehearsal() -> None:
    assert NAME.fullmatch(SCRIPTED.name)
    assert not NAME.fullmatch(warm_up_provider(1).name)


def test_no_price_is_given() -> None:
    params = [entry["litellm_params"] for entry in litellm_config([SCRIPTED, REMOTE], {})["model_list"]]
    assert not [name for each in params for name in each if "cost" in name]
