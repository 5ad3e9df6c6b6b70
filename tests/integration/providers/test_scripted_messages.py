"""The scripted provider's Anthropic messages over a socket, read event by event."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest
from tests.integration.providers.provider_process import running

KEY = "sk-ant-test-key"
HI = [{"role": "user", "content": "hi"}]
SAVE = {
    "name": "save",
    "input_schema": {
        "type": "object",
        "properties": {"file_path": {"type": "string"}, "content": {"type": "string"}},
        "required": ["file_path", "content"],
    },
}


class ServerSent(NamedTuple):
    """One event of a stream."""

    event: str
    data: Any


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running("scripted", tmp_path_factory.mktemp("scripted")) as provider:
        yield provider.url


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    headers = {"x-api-key": KEY, "anthropic-version": "2023-06-01"}
    with httpx.Client(base_url=url, headers=headers, timeout=30) as client:
        client.delete("/served").raise_for_status()
        yield client


def body(model: str, **fields: Any) -> dict[str, Any]:
    return {"model": model, "max_tokens": 100, "messages": HI, **fields}


def read_stream(client: httpx.Client, asked: dict[str, Any]) -> list[ServerSent]:
    """Every event, each of which must be two lines and a blank one."""
    response = client.post("/v1/messages", json=asked | {"stream": True})
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    events = []
    *blocks, rest = response.text.split("\n\n")
    assert rest == ""
    for block in blocks:
        named, data = block.split("\n")
        events.append(ServerSent(named.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    assert all(event.event == event.data["type"] for event in events)
    return events


def served(client: httpx.Client) -> list[Any]:
    requests: list[Any] = client.get("/served").json()["requests"]
    return requests


def test_an_unstreamed_answer(client: httpx.Client) -> None:
    response = client.post("/v1/messages", json=body("cached"))

    answer = response.json()
    assert answer["content"] == [{"type": "text", "text": "Forty-two."}]
    assert (answer["type"], answer["role"], answer["stop_reason"]) == ("message", "assistant", "end_turn")
    assert answer["usage"] == {
        "input_tokens": 50,  # 1,200 - 1,000 read - 150 written
        "cache_read_input_tokens": 1000,
        "cache_creation_input_tokens": 150,
        "output_tokens": 90,
        "output_tokens_details": {"thinking_tokens": 64},
    }
    [request] = served(client)
    assert response.headers["request-id"] == request["request_id"]
    assert request["authorization_digests"] == [hashlib.sha256(KEY.encode()).hexdigest()]
    assert (request["surface"], request["complete"]) == ("anthropic_messages", True)
    assert (request["input_tokens"], request["cache_read_tokens"], request["cache_write_tokens"]) == (1200, 1000, 150)
    assert (request["output_tokens"], request["reasoning_tokens"]) == (90, 64)


def test_a_streamed_answer(client: httpx.Client) -> None:
    events = read_stream(client, body("hello"))

    assert [event.event for event in events] == [
        "message_start",
        "ping",
        "content_block_start",
        *["content_block_delta"] * 4,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert "".join(event.data["delta"]["text"] for event in events[3:7]) == "Hello from the stand."
    assert events[0].data["message"]["usage"]["input_tokens"] == 12  # 45 bytes
    assert events[-2].data["delta"]["stop_reason"] == "end_turn"
    assert events[-2].data["usage"]["output_tokens"] == 4
    [request] = served(client)
    assert (request["input_tokens"], request["output_tokens"]) == (12, 4)
    assert (request["streamed"], request["complete"]) == (True, True)


def test_a_conversation_with_a_tool_that_writes_files(client: httpx.Client) -> None:
    events = read_stream(client, body("write-file", tools=[SAVE]))

    starts = [event.data["content_block"] for event in events if event.event == "content_block_start"]
    assert [start["type"] for start in starts] == ["text", "tool_use"]
    deltas = [event.data["delta"] for event in events if event.event == "content_block_delta"]
    arguments = "".join(delta["partial_json"] for delta in deltas if delta["type"] == "input_json_delta")
    assert json.loads(arguments) == {"file_path": "hello.txt", "content": "Hello from the stand.\n"}
    assert events[-2].data["delta"]["stop_reason"] == "tool_use"

    call = starts[1] | {"input": json.loads(arguments)}
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": "saved"}
    conversation = [*HI, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    answer = client.post("/v1/messages", json=body("write-file", tools=[SAVE], messages=conversation)).json()

    assert answer["content"] == [{"type": "text", "text": "The file hello.txt is written."}]
    assert [request["turn"] for request in served(client)] == [0, 1]


@pytest.mark.parametrize(
    ("model", "status", "error_type"),
    [
        ("rate-limited", 429, "rate_limit_error"),
        ("failing", 500, "api_error"),
        ("overloaded", 529, "overloaded_error"),
        ("unheard-of", 404, "not_found_error"),
    ],
)
def test_an_error(client: httpx.Client, model: str, status: int, error_type: str) -> None:
    response = client.post("/v1/messages", json=body(model, stream=True))

    [request] = served(client)
    assert response.status_code == request["status"] == status
    assert response.json()["type"] == "error"
    assert response.json()["error"]["type"] == error_type
    assert response.json()["request_id"] == response.headers["request-id"] == request["request_id"]
    assert (request["input_tokens"], request["output_tokens"], request["complete"]) == (0, 0, True)


def test_a_bearer_key_arrives_too(client: httpx.Client) -> None:
    client.post("/v1/messages", json=body("hello"), headers={"authorization": "Bearer other"}).raise_for_status()

    assert served(client)[0]["authorization_digests"] == [
        hashlib.sha256(b"other").hexdigest(),
        hashlib.sha256(KEY.encode()).hexdigest(),
    ]


def test_an_unstreamed_answer_that_nobody_awaited_is_used_up_but_not_complete(client: httpx.Client) -> None:
    with pytest.raises(httpx.ReadTimeout):
        client.post("/v1/messages", json=body("slow"), timeout=0.2)

    deadline = time.monotonic() + 20
    while served(client)[0]["status"] is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    [request] = served(client)
    assert not request["complete"]
    assert request["output_tokens"] > 40


def test_a_stream_that_the_client_cuts_is_not_complete(client: httpx.Client) -> None:
    with client.stream("POST", "/v1/messages", json=body("slow", stream=True)) as response:
        for line in response.iter_lines():
            if "content_block_delta" in line:
                break
    time.sleep(0.3)  # by now the provider has noticed

    [request] = served(client)
    assert (request["status"], request["complete"], request["reasoning_tokens"]) == (200, False, 0)
    assert 1 <= request["output_tokens"] < 20
