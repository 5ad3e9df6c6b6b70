"""What harnesses ask beside their work, by the vendors' own clients; and keys wherever those can put them."""

from __future__ import annotations

from typing import Any

import anthropic
import httpx
import openai
import pytest
from google import genai
from google.genai.types import HttpOptions
from tests.integration.gateway import lab
from tests.integration.gateway.lab import Key, body, rows
from tests.integration.stand_process import Project, StandProcess

SAID = "Hello from the stand."
TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return lab.small_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def shared_key(project: Project, stand: StandProcess) -> Key:
    """A session whose variant has a small model beside its own."""
    variant = "provider: scripted\nmodel: hello\nsmall_model: cached\nharness_profile: openai-client\n"
    project.write("configs/variants/scripted-hello.yaml", variant)
    return lab.open_session(project, "hello")


@pytest.fixture
def key(project: Project, shared_key: Key) -> Key:
    """Another of that variant, without rows."""
    return lab.open_session(project, "hello")


def gemini_client(stand: StandProcess, key: Key, prefix: str = "") -> genai.Client:
    return genai.Client(api_key=key.secret, http_options=HttpOptions(base_url=stand.url + prefix))


def anthropic_client(stand: StandProcess, key: Key, prefix: str = "") -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=stand.url + prefix, api_key=key.secret, max_retries=0)


def openai_client(stand: StandProcess, key: Key, prefix: str = "") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{stand.url}{prefix}/v1", api_key=key.secret, max_retries=0)


def purposes(found: list[dict[str, Any]]) -> list[tuple[str, str, int]]:
    return [(row["purpose"], row["status"], row["http_status"]) for row in found]


def test_the_models_are_listed_in_every_clients_shape(project: Project, stand: StandProcess, key: Key) -> None:
    with openai_client(stand, key) as openais:
        assert [model.id for model in openais.models.list()] == ["hello", "cached"]
    with anthropic_client(stand, key) as anthropics:
        assert [model.id for model in anthropics.models.list()] == ["hello", "cached"]
    with gemini_client(stand, key) as client:
        assert [model.name for model in client.models.list()] == ["models/hello", "models/cached"]
        assert client.models.get(model="hello").name == "models/hello"
    found = rows(project, key.session_id, 4)
    assert purposes(found) == [("model_list", "ok", 200)] * 4
    assert {row["path"] for row in found} == {"/v1/models", "/v1/models/hello"}
    assert {row[name] for row in found for name in ("surface", *TOKENS)} == {None}


def test_tokens_are_counted_by_the_provider(project: Project, stand: StandProcess, key: Key) -> None:
    stand.forget_served()
    messages: Any = [{"role": "user", "content": "say hello"}]
    with anthropic_client(stand, key) as anthropics:
        counted = anthropics.messages.count_tokens(model="hello", messages=messages)
    with gemini_client(stand, key) as client:
        total = client.models.count_tokens(model="hello", contents="say hello").total_tokens
    served = stand.served()
    assert served["totals"]["requests"] == 0
    assert [request["operation"] for request in served["requests"]] == ["count_tokens"] * 2
    assert counted.input_tokens > 0
    assert total is not None
    found = rows(project, key.session_id, 2)
    assert purposes(found) == [("token_count", "ok", 200)] * 2
    assert [row["surface"] for row in found] == ["anthropic_messages", "gemini"]
    assert {row[name] for row in found for name in (*TOKENS, "ttft_ms", "cost_usd")} == {None}


def test_a_small_model_is_routed_and_told_from_work(project: Project, stand: StandProcess, key: Key) -> None:
    stand.forget_served()
    small = key._replace(model="cached")
    for surface in lab.PATHS:
        assert lab.ask(stand, small, surface).status_code == 200
        assert lab.ask(stand, key, surface).status_code == 200
        assert lab.ask(stand, key._replace(model="slow"), surface).status_code == 403
    assert [request["script"] for request in stand.served()["requests"]] == ["cached", "hello"] * 4
    found = [row for row in rows(project, key.session_id, 12) if row["status"] == "ok"]
    assert [row["purpose"] for row in found] == ["small_model", "work"] * 4
    assert [row["model_requested"] for row in found] == ["cached", "hello"] * 4


class TestTheSessionIsTheSameWhereverItsKeyStands:
    @pytest.mark.parametrize("prefixed", [False, True], ids=["in a header", "in the path"])
    def test_for_the_vendors_clients(self, project: Project, stand: StandProcess, key: Key, prefixed: bool) -> None:
        prefix, shown = (f"/key/{key.secret}", key._replace(secret="sk-of-the-harness")) if prefixed else ("", key)
        messages: Any = [{"role": "user", "content": "say hello"}]
        with openai_client(stand, shown, prefix) as openais:
            assert openais.chat.completions.create(model="hello", messages=messages).choices[0].message.content == SAID
            assert openais.responses.create(model="hello", input="say hello").output_text == SAID
        with anthropic_client(stand, shown, prefix) as anthropics:
            message = anthropics.messages.create(model="hello", messages=messages, max_tokens=50)
        assert message.content[0].to_dict()["text"] == SAID
        with gemini_client(stand, shown, prefix) as client:
            assert client.models.generate_content(model="hello", contents="say hello").text == SAID
            parts = client.models.generate_content_stream(model="hello", contents="say hello")
            assert "".join(part.text or "" for part in parts) == SAID
        found = rows(project, key.session_id, 5, settled=True)
        assert purposes(found) == [("work", "ok", 200)] * 5
        assert {row["surface"] for row in found} == set(lab.PATHS)

    @pytest.mark.parametrize("surface", lab.PATHS)
    @pytest.mark.parametrize("header", ["x-api-key", "x-goog-api-key", "api-key"])
    def test_for_every_header(self, stand: StandProcess, shared_key: Key, surface: str, header: str) -> None:
        url = stand.url + lab.path_of(surface, shared_key.model)
        answer = httpx.post(
            url, json=body(shared_key, surface), headers={header: shared_key.secret, "authorization": "Bearer other"}
        )
        assert answer.status_code == 200, answer.text

    @pytest.mark.parametrize("surface", lab.PATHS)
    def test_for_the_query(self, stand: StandProcess, shared_key: Key, surface: str) -> None:
        url = stand.url + lab.path_of(surface, shared_key.model)
        assert httpx.post(url, params={"key": shared_key.secret}, json=body(shared_key, surface)).status_code == 200

    def test_a_greeting_of_the_base_url_needs_no_other_key(self, stand: StandProcess, shared_key: Key) -> None:
        assert httpx.head(f"{stand.url}/key/{shared_key.secret}").status_code == 200
        assert httpx.get(f"{stand.url}/key/{shared_key.secret}/api/hello").status_code == 200


@pytest.mark.parametrize(
    ("path", "place"),
    [("/v1beta/cachedContents", "status"), ("/v1/messages/batches", "type"), ("/v1/embeddings", "code")],
)
def test_a_path_of_no_use_is_refused_in_its_vendors_shape(
    stand: StandProcess, shared_key: Key, path: str, place: str
) -> None:
    answer = httpx.post(stand.url + path, json={}, headers=shared_key.headers)
    assert (answer.status_code, answer.json()["error"][place]) == (403, "path_not_allowed")
