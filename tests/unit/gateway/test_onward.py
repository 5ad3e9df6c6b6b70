"""What goes on to LiteLLM."""

from __future__ import annotations

import json

import pytest

from agentdyno.core.dialects.table import call_of
from agentdyno.gateway.litellm_config import model_group
from agentdyno.gateway.onward import gemini_path, onward_body

WITHHELD = frozenset({"api_base"})


@pytest.mark.parametrize(
    "body",
    [
        b'{ "model": "hello", "metadata": {"api_base": 1, "_a": 2} }',
        b"{}",
        b'{"seed": 1.50, "text": "\xc3\xa9"}',
    ],
)
def test_a_body_that_steers_nothing_stays_as_it_is(body: bytes) -> None:
    assert onward_body(body, WITHHELD) is body


@pytest.mark.parametrize(
    "body", [b"[1]", b"", b"{nope", b'{"x": NaN}', b'{"\xff": 1}', b'{"x": ' + b"[" * 5_000 + b"]" * 5_000 + b"}"]
)
def test_what_is_no_json_object_does_not_go_on(body: bytes) -> None:
    assert onward_body(body, WITHHELD) is None


@pytest.mark.parametrize("name", ["api_base", "litellm_metadata", "_litellm_raw_sse_stream", "_"])
def test_what_would_steer_litellm_is_left_out(name: str) -> None:
    body = json.dumps({"seed": 1.5, name: {"seed": 2}, "model": "hello"}).encode()
    assert onward_body(body, WITHHELD) == b'{"seed":1.5,"model":"hello"}'


def test_another_model_is_named_where_no_hook_does_it() -> None:
    assert onward_body(b'{"model":"hello","messages":[]}', WITHHELD, 'a"b') == b'{"model":"a\\"b","messages":[]}'


@pytest.mark.parametrize("version", ["v1", "v1beta"])
@pytest.mark.parametrize("operation", ["generateContent", "streamGenerateContent", "countTokens"])
@pytest.mark.parametrize("model", ["hello", "org/large:8b", "models:x/y"])
def test_geminis_path_names_the_route(version: str, operation: str, model: str) -> None:
    path = f"/{version}/models/{model}:{operation}"
    call = call_of("POST", path)
    assert call is not None
    assert call.model == model
    group = model_group("scripted", model, "gemini")
    assert gemini_path(path, group) == f"/v1beta/models/{group}:{operation}"
    assert "/" not in group
