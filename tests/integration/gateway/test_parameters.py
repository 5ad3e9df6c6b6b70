"""What a client may ask of a model reaches the model's provider; what it says in the stand's name does not.

The vendors' own client libraries say which parameters their APIs have.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, get_type_hints

import httpx
import pytest
from anthropic.types.beta.message_create_params import MessageCreateParamsNonStreaming as BetaMessageParams
from anthropic.types.message_count_tokens_params import MessageCountTokensParams
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming as MessageParams
from google.genai.types import GenerateContentConfig
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming as ChatParams
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming as ResponseParams
from tests.integration.gateway import lab
from tests.integration.gateway.lab import Key
from tests.integration.gateway.upstream import Upstream
from tests.integration.stand_process import Project, StandProcess

from agentdyno.gateway.onward import WITHHELD_MEMBER_PREFIXES

WITHHELD_WITH_REASON = {
    "fallbacks": "LiteLLM takes it for its own list of models to try next, by which a session would leave its variant",
    "workspace_id": "LiteLLM takes it for the workspace of a credential that it is to make",
}
GEMINI_MEMBERS = {"contents", "systemInstruction", "generationConfig", "tools", "toolConfig", "safetySettings"} | {
    *("cachedContent", "labels", "serviceTier", "store", "model")
}


@pytest.fixture(scope="module")
def withheld() -> frozenset[str]:
    """What the gateway takes out of bodies."""
    program = (
        "import json; from agentdyno.gateway.litellm_hooks import WITHHELD_FROM_BODIES as names;"
        "print(json.dumps(sorted(names)))"
    )
    environ = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)
    return frozenset(json.loads(done.stdout))


@pytest.mark.parametrize("parameters", [ChatParams, ResponseParams, MessageParams, BetaMessageParams])
def test_no_parameter_of_a_vendors_api_is_withheld(withheld: frozenset[str], parameters: type) -> None:
    names = set(get_type_hints(parameters))
    assert len(names) > 15
    assert names & withheld <= WITHHELD_WITH_REASON.keys()
    assert not [name for name in names if name.startswith(WITHHELD_MEMBER_PREFIXES)]


def test_nor_one_for_counting_tokens_nor_of_gemini(withheld: frozenset[str]) -> None:
    assert set(get_type_hints(MessageCountTokensParams)) & withheld <= WITHHELD_WITH_REASON.keys()
    assert not GEMINI_MEMBERS & withheld
    assert GenerateContentConfig.model_fields.keys() & withheld == set()


SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
FUNCTION = {"name": "f", "description": "d", "parameters": SCHEMA}
SENT: Mapping[str, Mapping[str, Any]] = {
    "openai_chat": {
        "messages": [{"role": "user", "content": "x"}],
        "frequency_penalty": 0.5,
        "logit_bias": {"5": 1},
        "logprobs": True,
        "max_completion_tokens": 50,
        "metadata": {"a": "b"},
        "n": 1,
        "parallel_tool_calls": False,
        "prediction": {"type": "content", "content": "x"},
        "presence_penalty": 0.5,
        "prompt_cache_key": "k",
        "reasoning_effort": "low",
        "response_format": {"type": "json_object"},
        "safety_identifier": "s",
        "seed": 0,
        "service_tier": "auto",
        "stop": ["y"],
        "store": False,
        "temperature": 0,
        "tool_choice": "auto",
        "tools": [{"type": "function", "function": FUNCTION}],
        "top_logprobs": 2,
        "top_p": 0.5,
        "user": "u",
        "verbosity": "low",
    },
    "openai_responses": {
        "input": "x",
        "conversation": "conv_1",
        "include": ["reasoning.encrypted_content"],
        "instructions": "i",
        "max_output_tokens": 50,
        "max_tool_calls": 3,
        "metadata": {"a": "b"},
        "parallel_tool_calls": False,
        "previous_response_id": "resp_0",
        "prompt_cache_key": "k",
        "reasoning": {"effort": "low", "summary": "auto"},
        "safety_identifier": "s",
        "service_tier": "auto",
        "store": False,
        "temperature": 0,
        "text": {"verbosity": "low"},
        "tool_choice": "auto",
        "tools": [{"type": "function", "strict": True, **FUNCTION}],
        "top_logprobs": 2,
        "top_p": 0.5,
        "truncation": "auto",
        "user": "u",
    },
    "anthropic_messages": {
        "messages": [{"role": "user", "content": "x"}],
        "max_tokens": 2000,
        "cache_control": {"type": "ephemeral"},
        "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]},
        "metadata": {"user_id": "u"},
        "service_tier": "auto",
        "stop_sequences": ["y"],
        "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
        "temperature": 1,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "tool_choice": {"type": "auto"},
        "tools": [{"name": "f", "description": "d", "input_schema": SCHEMA}],
        "top_k": 5,
    },
    "gemini": {
        "contents": [{"role": "user", "parts": [{"text": "x"}]}],
        "cachedContent": "cachedContents/1",
        "generationConfig": {"maxOutputTokens": 50, "thinkingConfig": {"thinkingBudget": 0}, "seed": 0},
        "labels": {"a": "b"},
        "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
        "serviceTier": "flex",
        "systemInstruction": {"parts": [{"text": "s"}]},
        "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}},
        "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": SCHEMA}]}],
    },
}
LOST_IN_LITELLM = {
    "openai_chat": {"metadata"},
    "openai_responses": {"conversation"},
    "anthropic_messages": {"service_tier"},
    "gemini": {"serviceTier"},
}
"""What LiteLLM 1.106.2 itself leaves out of a request for a model that its table does not know."""
ROUTES = """routes:
  openai_chat: {litellm_provider: openai, path: /v1}
  openai_responses: {litellm_provider: openai, path: /v1}
  anthropic_messages: {litellm_provider: anthropic}
  gemini: {litellm_provider: gemini}
"""


PROVIDER_KEY = "the-key-of-the-provider"
BETA = {"anthropic-beta": "interleaved-thinking-2025-05-14", "anthropic-version": "2023-06-01"}
FORGED: dict[str, Any] = {
    "provider_specific_header": {
        "custom_llm_provider": "openai,anthropic",
        "extra_headers": {"authorization": "Bearer forged", "x-api-key": "forged", "anthropic-beta": "forged"},
    }
}


class Open(NamedTuple):
    """A stand before a provider that remembers what it was sent, and a session there."""

    project: Project
    stand: StandProcess
    upstream: Upstream
    key: Key


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    project = lab.small_project(tmp_path_factory.mktemp("project"))
    with Upstream() as upstream:
        provider = f"base_url: {upstream.url}\n{ROUTES}models: [discreet]\napi_key_env: PROVIDER_KEY\n"
        project.write("configs/providers/own.yaml", provider)
        lab.write_variants(project, ["discreet"], provider="own")
        with StandProcess(project, PROVIDER_KEY=PROVIDER_KEY) as stand:
            yield Open(project, stand, upstream, lab.open_session(project, "discreet", provider="own"))


def test_parameters_reach_the_provider_as_they_were_sent(session: Open) -> None:
    session.upstream.forget()
    for surface, sent in SENT.items():
        body = {"model": "discreet", **sent, "extra_body": {"model": "another", "seed": 9}}
        url = session.stand.url + lab.path_of(surface, "discreet")
        answer = httpx.post(url, json=body, headers=session.key.headers)
        assert answer.status_code == 200, answer.text
    arrived = dict(zip(SENT, session.upstream.bodies, strict=True))
    for surface, sent in SENT.items():
        lost = LOST_IN_LITELLM.get(surface, set())
        assert {name: arrived[surface].get(name) for name in sent if name not in lost} == {
            name: value for name, value in sent.items() if name not in lost
        }
        assert lost.isdisjoint(arrived[surface])
        assert arrived[surface]["model"] == "discreet"
        assert "extra_body" not in arrived[surface]


def test_beta_headers_reach_the_provider_and_forged_ones_do_not(session: Open) -> None:
    session.upstream.forget()
    key = lab.open_session(session.project, "discreet", provider="own")
    for surface in ("openai_chat", "anthropic_messages"):
        for sent in (lab.body(key), lab.body(key, **FORGED)):
            for beta in ({}, BETA):
                url = session.stand.url + lab.PATHS[surface]
                answer = httpx.post(url, json=sent, headers={**key.headers, **beta}, timeout=60)
                assert answer.status_code == 200, answer.text
    assert {row["status"] for row in lab.rows(session.project, key.session_id, 8)} == {"ok"}
    chats, messages = session.upstream.headers[:4], session.upstream.headers[4:]
    assert [headers["authorization"] for headers in chats] == [f"Bearer {PROVIDER_KEY}"] * 4
    assert [headers["x-api-key"] for headers in messages] == [PROVIDER_KEY] * 4
    betas = [headers.get("anthropic-beta", "").split(",") for headers in messages]
    assert [BETA["anthropic-beta"] in beta for beta in betas] == [False, True, False, True]
    assert "forged" not in str(session.upstream.headers)
