"""The scripted provider on all its surfaces, through the vendors' own clients: they read what it served."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import openai
import pytest
from tests.integration.providers.provider_process import running
from tests.integration.providers.vendor_clients import CUTS, ERRORS, KEY, Vendor, vendors

from agentdyno.core.records import Surface

SURFACES: list[Surface] = ["openai_chat", "openai_responses", "anthropic_messages", "gemini"]
COMMAND = {"command": "printf %s 'Hello from the stand.\n' > hello.txt"}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running("scripted", tmp_path_factory.mktemp("scripted")) as provider:
        yield provider.url


@pytest.fixture(scope="module")
def clients(url: str) -> Iterator[Mapping[Surface, Vendor]]:
    with vendors(url) as clients:
        yield clients


@pytest.fixture(params=SURFACES)
def vendor(request: pytest.FixtureRequest, clients: Mapping[Surface, Vendor], url: str) -> Vendor:
    httpx.delete(f"{url}/served").raise_for_status()
    return clients[request.param]


@pytest.fixture(params=[False, True], ids=["whole", "streamed"])
def streamed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def served(url: str) -> list[Any]:
    requests: list[Any] = httpx.get(f"{url}/served").json()["requests"]
    return requests


def test_a_client_reads_the_tokens_that_were_served(vendor: Vendor, url: str, streamed: bool) -> None:
    told = vendor.ask("cached", vendor.start, streamed=streamed)

    [request] = served(url)
    assert told.text == "Forty-two."
    assert (request["surface"], request["streamed"], request["complete"]) == (vendor.surface, streamed, True)
    tokens = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
    assert {name: getattr(told, name) for name in tokens} == {name: request[name] for name in tokens}
    # Gemini has no word for what is written to the cache.
    assert request["cache_write_tokens"] == (0 if vendor.surface == "gemini" else 150)
    assert (request["input_tokens"], request["output_tokens"], request["reasoning_tokens"]) == (1200, 90, 64)
    assert request["authorization_digests"] == [hashlib.sha256(KEY.encode()).hexdigest()]


def test_a_conversation_with_a_tool(vendor: Vendor, url: str, streamed: bool) -> None:
    first = vendor.ask("write-file", vendor.start, streamed=streamed)
    second = vendor.ask("write-file", [*vendor.start, *first.answered], streamed=streamed)

    assert (first.text, first.arguments) == ("I will write the file.", COMMAND)
    assert (second.text, second.arguments) == ("The file hello.txt is written.", None)
    requests = served(url)
    assert [request["turn"] for request in requests] == [0, 1]
    assert [(told.input_tokens, told.output_tokens) for told in (first, second)] == [
        (request["input_tokens"], request["output_tokens"]) for request in requests
    ]
    # 5 words, the start of the call, and its 64 characters of arguments by eight
    assert requests[0]["output_tokens"] == 14


def test_a_rate_limit_that_the_next_attempt_does_not_meet(vendor: Vendor, url: str, streamed: bool) -> None:
    with pytest.raises(ERRORS, match="The scripted rate limit is reached"):
        vendor.ask("rate-limited-once", vendor.start, streamed=streamed)
    second = vendor.ask("rate-limited-once", vendor.start, streamed=streamed)
    with pytest.raises(ERRORS, match="The scripted rate limit is reached"):
        vendor.ask("rate-limited-once", vendor.start, streamed=streamed)

    assert second.arguments == COMMAND
    assert [request["status"] for request in served(url)] == [429, 200, 429]
    assert [request["complete"] for request in served(url)] == [True] * 3


def test_an_error_in_the_midst_of_an_answer(vendor: Vendor, url: str, streamed: bool) -> None:
    with pytest.raises(ERRORS, match="The script fails midway"):
        vendor.ask("fails-midway", vendor.start, streamed=streamed)

    [request] = served(url)
    ended = (request["status"], request["broken_off"], request["complete"], request["output_tokens"])
    assert ended == ((200, "error", False, 3) if streamed else (500, None, True, 0))
    assert httpx.get(f"{url}/served").json()["totals"]["errors"] == 1


def test_a_connection_that_is_cut_in_the_midst_of_an_answer(vendor: Vendor, url: str, streamed: bool) -> None:
    with pytest.raises(CUTS):
        vendor.ask("cut", vendor.start, streamed=streamed)

    [request] = served(url)
    assert (request["status"], request["broken_off"], request["complete"]) == (200, "cut", False)
    assert (request["output_tokens"], request["reasoning_tokens"]) == (3, 0)
    assert request["input_tokens"] > 0
    with pytest.raises(CUTS):
        vendor.ask("cut-once", vendor.start, streamed=streamed)
    assert vendor.ask("cut-once", vendor.start, streamed=streamed).text == "Hello from the stand."


@pytest.mark.parametrize("model", ["unheard-of", "vendor/model:free"])
def test_a_model_without_a_script(vendor: Vendor, url: str, streamed: bool, model: str) -> None:
    with pytest.raises(ERRORS, match=f"there is no script named {model}"):
        vendor.ask(model, vendor.start, streamed=streamed)

    assert [(request["status"], request["model"]) for request in served(url)] == [(404, model)]


def test_a_first_token_that_is_long_in_coming(clients: Mapping[Surface, Vendor]) -> None:
    vendor = clients["gemini"]
    started_s = time.monotonic()

    told = vendor.ask("slow-start", vendor.start, streamed=True)

    assert told.text == "Hello from the stand."
    assert time.monotonic() - started_s >= 1


def test_a_client_that_tries_again_by_itself(url: str) -> None:
    httpx.delete(f"{url}/served").raise_for_status()
    with openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=1) as client:
        answer = client.responses.create(model="rate-limited-once", input="hi")

    assert answer.output_text.startswith("I will write the file.")
    first, second = served(url)
    assert (first["status"], second["status"]) == (429, 200)
    assert second["at_us"] - first["at_us"] >= 900_000  # it was told to wait for a second


def test_counting_tokens_uses_none(vendor: Vendor, url: str) -> None:
    counted = vendor.count("hello")
    document = httpx.get(f"{url}/served").json()

    # {"contents":[{"parts":[{"text":"hi"}],"role":"user"}]} is 54 bytes, {"messages":[{"content":"hi","role":"user"}]}
    # is 45, and with "input" in the place of "messages" it is 42. Chat completions cannot be asked.
    tokens = {"gemini": 14, "anthropic_messages": 12, "openai_responses": 11, "openai_chat": None}
    assert counted == tokens[vendor.surface]
    asked = 0 if counted is None else 1
    assert [request["operation"] for request in document["requests"]] == ["count_tokens"] * asked
    assert (document["totals"]["count_tokens"], document["totals"]["requests"]) == (asked, 0)
    assert (document["totals"]["input_tokens"], document["totals"]["complete"]) == (0, 0)


@pytest.mark.parametrize("path", ["/v1beta/models/hello", "/v1/models/hello", "/models/hello"])
def test_gemini_is_served_with_its_version_in_the_path_or_without(path: str, url: str) -> None:
    asked = {"contents": [{"parts": [{"text": "hi"}]}]}

    whole = httpx.post(f"{url}{path}:generateContent", json=asked)
    array = httpx.post(f"{url}{path}:streamGenerateContent", json=asked)
    nothing = httpx.post(f"{url}{path}:embedContent", json=asked)

    assert whole.json()["candidates"][0]["content"]["parts"] == [{"text": "Hello from the stand."}]
    assert array.headers["content-type"] == "application/json"
    texts = [chunk["candidates"][0]["content"]["parts"][0]["text"] for chunk in array.json()]
    assert texts == ["Hello", " from", " the", " stand.", ""]
    assert (nothing.status_code, nothing.json()["error"]["status"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    "sent",
    [
        {"headers": {"authorization": "Bearer k"}},
        {"headers": {"x-api-key": "k"}},
        {"headers": {"x-goog-api-key": "k"}},
        {"headers": {"api-key": "k"}},
        {"params": {"key": "k"}},
    ],
)
def test_a_key_may_come_in_many_ways(sent: dict[str, Any], url: str) -> None:
    httpx.delete(f"{url}/served").raise_for_status()
    asked = {"contents": [{"parts": [{"text": "hi"}]}]}

    httpx.post(f"{url}/v1beta/models/hello:generateContent", json=asked, **sent).raise_for_status()

    assert served(url)[0]["authorization_digests"] == [hashlib.sha256(b"k").hexdigest()]
