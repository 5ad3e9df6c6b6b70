"""What a request says about itself, by its body and its path, and errors in each surface's own shape."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.core.recorded import WORD, read

from agentdyno.core.dialects import gemini
from agentdyno.core.dialects.table import DIALECTS, Call, call_of, upstream_surface
from agentdyno.core.dialects.wire import RequestFacts
from agentdyno.core.records import Surface

SURFACES: tuple[Surface, ...] = tuple(DIALECTS)
NAMED_IN_THE_BODY = tuple(surface for surface in SURFACES if surface != "gemini")


def facts_of(surface: Surface, **body: Any) -> RequestFacts:
    return DIALECTS[surface].read_request(json.dumps(body).encode())


@pytest.mark.parametrize("surface", NAMED_IN_THE_BODY)
@pytest.mark.parametrize(
    ("body", "facts"),
    [
        (
            b'{"model": "m", "stream": true, "messages": [{"role": "user", "content": "marmalade"}]}',
            RequestFacts("m", True),
        ),
        (b'{"model": "m"}', RequestFacts("m", False)),
        (b'{"model": 7, "stream": "true"}', RequestFacts(None, False)),
    ],
)
def test_facts_of_a_request(surface: Surface, body: bytes, facts: RequestFacts) -> None:
    assert DIALECTS[surface].read_request(body) == facts


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("body", [b'["model"]', b"", b"{", b'{"contents": [' + b"[" * 100_000, b'{"model": "\xff"}'])
def test_of_what_is_no_request_nothing_is_known(surface: Surface, body: bytes) -> None:
    assert DIALECTS[surface].read_request(body) == RequestFacts(None, False)


def test_geminis_model_and_stream_are_not_in_its_body() -> None:
    assert facts_of("gemini", model="m", stream=True, contents=[]) == RequestFacts(None, False)


@pytest.mark.parametrize("surface", NAMED_IN_THE_BODY)
@pytest.mark.parametrize(
    ("tools", "offered"),
    [([{"type": "function", "name": "spread"}], True), ([], False), (None, False), ("spread", False), ({}, False)],
)
def test_whether_tools_are_offered(surface: Surface, tools: Any, offered: bool) -> None:
    facts = facts_of(surface, model="m", stream=True, tools=tools)
    assert facts == RequestFacts("m", True, offers_tools=offered)


def test_tools_under_their_former_name() -> None:
    assert facts_of("openai_chat", functions=[{"name": "spread"}]).offers_tools


@pytest.mark.parametrize(
    ("tools", "offered"),
    [
        ([{"functionDeclarations": [{"name": "spread", "description": WORD}]}], True),
        ([{"function_declarations": [{"name": "spread"}]}], True),
        ([{"googleSearch": {}}], True),
        ([{"functionDeclarations": []}, {"googleSearch": {}}], True),
        ([{"functionDeclarations": []}], False),
        ([{}], False),
        (["functionDeclarations"], False),
        ([], False),
        (None, False),
    ],
)
def test_whether_gemini_is_offered_tools(tools: Any, offered: bool) -> None:
    assert facts_of("gemini", contents=[], tools=tools).offers_tools == offered


@pytest.mark.parametrize(
    ("surface", "body", "limit_tokens"),
    [
        ("openai_chat", {"max_tokens": 100}, 100),
        ("openai_chat", {"max_tokens": 100, "max_completion_tokens": 50}, 50),
        ("openai_chat", {"max_tokens": 100, "max_completion_tokens": None}, 100),
        ("openai_chat", {"max_output_tokens": 100}, None),
        ("openai_responses", {"max_output_tokens": 0}, 0),
        ("anthropic_messages", {"max_tokens": 1}, 1),
        ("anthropic_messages", {"max_tokens": "1"}, None),
        ("anthropic_messages", {"max_tokens": True}, None),
        ("gemini", {"generationConfig": {"maxOutputTokens": 8192, "temperature": 0}}, 8192),
        ("gemini", {"generation_config": {"max_output_tokens": 8192}}, 8192),
        ("gemini", {"generationConfig": {"maxOutputTokens": -1}}, None),
        ("gemini", {"generationConfig": 8192}, None),
        ("gemini", {"maxOutputTokens": 8192}, None),
    ],
)
def test_the_limit_of_the_output(surface: Surface, body: dict[str, Any], limit_tokens: int | None) -> None:
    assert facts_of(surface, **body).output_limit_tokens == limit_tokens


def test_half_an_emoji_hides_no_tool() -> None:
    tool = '{"functionDeclarations": [{"name": "spread", "description": "\\ud83d"}]}'
    assert gemini.read_request(f'{{"tools": [{tool}]}}'.encode()).offers_tools


@pytest.mark.parametrize(
    ("method", "path", "call"),
    [
        ("POST", "/v1/chat/completions", Call("openai_chat")),
        ("POST", "/chat/completions", Call("openai_chat")),
        ("POST", "/v1/responses", Call("openai_responses")),
        ("POST", "/v1/messages", Call("anthropic_messages")),
        ("POST", "/v1/messages/count_tokens", Call("anthropic_messages", counts_tokens=True)),
        ("POST", "/v1beta/models/m-1:generateContent", Call("gemini", model="m-1", streamed=False)),
        ("POST", "/v1beta/models/m-1:streamGenerateContent", Call("gemini", model="m-1", streamed=True)),
        ("POST", "/v1beta/models/m-1:countTokens", Call("gemini", model="m-1", streamed=False, counts_tokens=True)),
        ("POST", "/v1beta/models/m-1:embedContent", None),
        ("POST", "/v1beta/models/two words:generateContent", Call("gemini", model=None, streamed=False)),
        ("GET", "/v1/messages", None),
        ("POST", "/v1/embeddings", None),
    ],
)
def test_what_a_path_asks_for(method: str, path: str, call: Call | None) -> None:
    assert call_of(method, path) == call


@pytest.mark.parametrize("surface", SURFACES)
def test_an_error_body_reads_back(surface: Surface) -> None:
    dialect = DIALECTS[surface]
    body = json.dumps(dialect.error_body("expired_key", f"the key has {WORD}")).encode()
    assert read(dialect.document_reader(), body).error_code == "expired_key"


@pytest.mark.parametrize(
    ("path", "surface"),
    [
        ("/v1/chat/completions", "openai_chat"),
        ("/openai/deployments/m/chat/completions", "openai_chat"),
        ("/openai/v1/responses", "openai_responses"),
        ("/api/v1/messages", "anthropic_messages"),
        ("/models/m:generateContent", "gemini"),
        ("/v1/projects/p/locations/l/publishers/google/models/m:streamGenerateContent", "gemini"),
        ("/v1/projects/p/locations/l/publishers/anthropic/models/m@1:streamRawPredict", "anthropic_messages"),
        ("/v1/projects/p/locations/l/publishers/mistralai/models/m:rawPredict", "openai_chat"),
        ("/v1/projects/p/locations/l/publishers/anthropic/models/count-tokens:rawPredict", None),
        ("/v1/projects/p/locations/l/publishers/other/models/m:rawPredict", None),
        ("/v1/messages/count_tokens", None),
        ("/v1beta/models/m:countTokens", None),
        ("/model/m/converse-stream", None),
        ("/v1/embeddings", None),
        ("", None),
    ],
)
def test_how_a_provider_is_spoken_to_its_path_says(path: str, surface: str | None) -> None:
    assert upstream_surface(path) == surface
