"""The scripted provider over a socket, through OpenAI's own client."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolUnionParam
from tests.integration.providers.provider_process import running

KEY = "sk-chat-test-key"
HI: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hi"}]
BASH: ChatCompletionToolUnionParam = {
    "type": "function",
    "function": {
        "name": "bash",
        "parameters": {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]},
    },
}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running("scripted", tmp_path_factory.mktemp("scripted")) as provider:
        yield provider.url


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    httpx.delete(f"{url}/served").raise_for_status()
    with openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0, timeout=30) as client:
        yield client


def served(url: str) -> Any:
    return httpx.get(f"{url}/served").json()


def only_request(url: str) -> Any:
    [request] = served(url)["requests"]
    return request


def test_an_unstreamed_answer(client: openai.OpenAI, url: str) -> None:
    raw = client.chat.completions.with_raw_response.create(model="hello", messages=HI)
    answer = raw.parse()

    assert answer.choices[0].message.content == "Hello from the stand."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    # {"messages":[{"content":"hi","role":"user"}]} is 45 bytes; Hello, from, the, stand.
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (12, 4, 16)
    request = only_request(url)
    assert raw.headers["x-request-id"] == request["request_id"]
    assert request["complete"]
    assert (request["surface"], request["model"], request["script"], request["turn"]) == (
        "openai_chat",
        "hello",
        "hello",
        0,
    )
    assert (request["status"], request["streamed"]) == (200, False)
    assert (request["input_tokens"], request["output_tokens"]) == (12, 4)
    assert abs(request["at_us"] / 1_000_000 - time.time()) < 60


def test_a_streamed_answer_without_usage(client: openai.OpenAI, url: str) -> None:
    with client.chat.completions.create(model="hello", messages=HI, stream=True) as stream:
        chunks = list(stream)

    assert [chunk.choices[0].delta.content for chunk in chunks] == ["", "Hello", " from", " the", " stand.", None]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)
    request = only_request(url)
    assert (request["streamed"], request["complete"], request["output_tokens"]) == (True, True, 4)


def test_a_streamed_answer_with_usage(client: openai.OpenAI, url: str) -> None:
    options: Any = {"include_usage": True}
    with client.chat.completions.create(model="cached", messages=HI, stream=True, stream_options=options) as stream:
        *_, last = list(stream)

    assert last.choices == []
    assert last.usage is not None
    assert last.usage.prompt_tokens_details is not None
    assert last.usage.completion_tokens_details is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (1200, 90)
    assert last.usage.prompt_tokens_details.cached_tokens == 1000
    assert last.usage.completion_tokens_details.reasoning_tokens == 64
    assert served(url)["totals"] == {
        "requests": 1,
        "complete": 1,
        "errors": 0,
        "input_tokens": 1200,
        "output_tokens": 90,
        "cache_read_tokens": 1000,
        "cache_write_tokens": 150,
        "reasoning_tokens": 64,
        "count_tokens": 0,
    }


def test_a_conversation_with_a_tool(client: openai.OpenAI, url: str) -> None:
    first = client.chat.completions.create(model="write-file", messages=HI, tools=[BASH]).choices[0]
    assert first.finish_reason == "tool_calls"
    assert first.message.tool_calls is not None
    [call] = first.message.tool_calls
    assert call.type == "function"
    assert call.function.name == "bash"
    assert json.loads(call.function.arguments) == {"command": "printf %s 'Hello from the stand.\n' > hello.txt"}

    answered: Any = [*HI, first.message.to_dict(), {"role": "tool", "tool_call_id": call.id, "content": ""}]
    second = client.chat.completions.create(model="write-file", messages=answered, tools=[BASH]).choices[0]

    assert second.message.content == "The file hello.txt is written."
    assert [request["turn"] for request in served(url)["requests"]] == [0, 1]


def test_a_streamed_tool_call_comes_in_fragments(client: openai.OpenAI, url: str) -> None:
    with client.chat.completions.create(model="write-file", messages=HI, tools=[BASH], stream=True) as stream:
        deltas = [chunk.choices[0].delta for chunk in stream]

    calls = [call for delta in deltas for call in delta.tool_calls or []]
    assert calls[0].id is not None
    assert [call.id for call in calls[1:]] == [None] * (len(calls) - 1)
    assert len(calls) > 3
    arguments = "".join(call.function.arguments or "" for call in calls if call.function is not None)
    assert json.loads(arguments) == {"command": "printf %s 'Hello from the stand.\n' > hello.txt"}
    # I, will, write, the, file. are five pieces
    assert only_request(url)["output_tokens"] == 5 + len(calls)


def test_without_tools_it_says_so(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="write-file", messages=HI)

    assert "No tool was offered" in (answer.choices[0].message.content or "")


def test_a_rate_limit(client: openai.OpenAI, url: str) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="rate-limited", messages=HI, stream=True)

    assert caught.value.code == "rate_limit_exceeded"
    assert caught.value.response.headers["retry-after"] == "1"
    request = only_request(url)
    assert caught.value.request_id == request["request_id"]
    assert (request["status"], request["input_tokens"], request["output_tokens"]) == (429, 0, 0)
    assert served(url)["totals"]["errors"] == 1


def test_a_failure_and_a_model_without_a_script(client: openai.OpenAI, url: str) -> None:
    with pytest.raises(openai.InternalServerError, match="The script fails here"):
        client.chat.completions.create(model="failing", messages=HI)
    with pytest.raises(openai.NotFoundError, match="there is no script named gpt") as caught:
        client.chat.completions.create(model="gpt", messages=HI)

    assert caught.value.code == "model_not_found"
    assert [(each["model"], each["script"], each["status"]) for each in served(url)["requests"]] == [
        ("failing", "failing", 500),
        ("gpt", None, 404),
    ]


def test_a_malformed_body_is_counted_too(client: openai.OpenAI, url: str) -> None:
    response = httpx.post(f"{url}/v1/chat/completions", content=b"{")

    assert (response.status_code, response.json()["error"]["type"]) == (400, "invalid_request_error")
    assert (only_request(url)["status"], only_request(url)["model"]) == (400, None)


def test_the_key_that_came_is_kept_as_its_digest(client: openai.OpenAI, url: str) -> None:
    client.chat.completions.create(model="hello", messages=HI)
    httpx.post(f"{url}/v1/chat/completions", json={"model": "hello", "messages": HI}).raise_for_status()

    with_key, without = served(url)["requests"]
    assert with_key["authorization_digests"] == [hashlib.sha256(KEY.encode()).hexdigest()]
    assert without["authorization_digests"] == []
    assert KEY not in json.dumps(served(url))


def test_a_stream_that_the_client_cuts_is_not_complete(client: openai.OpenAI, url: str) -> None:
    with client.chat.completions.create(model="slow", messages=HI, stream=True) as stream:
        contents = [next(stream).choices[0].delta.content for _ in range(3)]
    time.sleep(0.3)  # by now the provider has noticed
    first = only_request(url)
    time.sleep(0.3)  # in which seven more words would have gone out
    second = only_request(url)

    assert contents == ["", "A", " dynamometer"]
    assert first == second
    assert not first["complete"]
    assert first["input_tokens"] == 12
    assert 2 <= first["output_tokens"] < 20


def test_latency_is_felt(client: openai.OpenAI) -> None:
    started_s = time.monotonic()
    with client.chat.completions.create(model="slow", messages=HI, stream=True) as stream:
        role, first = next(stream), next(stream)
        to_first_s = time.monotonic() - started_s

    assert (role.choices[0].delta.content, first.choices[0].delta.content) == ("", "A")
    assert to_first_s >= 0.375  # 500 ms less a jitter of a quarter


def test_the_scripts_are_listed_as_models(client: openai.OpenAI) -> None:
    assert {"hello", "write-file", "slow"} <= {model.id for model in client.models.list()}


def test_forgetting_what_was_served_gives_no_id_twice(client: openai.OpenAI, url: str) -> None:
    first = client.chat.completions.create(model="hello", messages=HI)
    httpx.delete(f"{url}/served").raise_for_status()
    assert served(url)["requests"] == []

    assert client.chat.completions.create(model="hello", messages=HI).id != first.id


def test_a_folder_of_further_scripts(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("name: own\nturns: [{text: Mine.}]\n")
    with (
        running("scripted", tmp_path, "--scripts", str(tmp_path)) as provider,
        openai.OpenAI(base_url=f"{provider.url}/v1", api_key=KEY, max_retries=0) as client,
    ):
        answer = client.chat.completions.create(model="own", messages=HI)

    assert answer.choices[0].message.content == "Mine."


def test_one_model_knows_several_tasks_by_their_words(client: openai.OpenAI) -> None:
    called = []
    for prompt in ("Read note.txt.", "Count the lines of poem.txt.", "Write hello.txt."):
        asked: list[ChatCompletionMessageParam] = [{"role": "user", "content": prompt}]
        answer = client.chat.completions.create(model="small-tasks", messages=asked, tools=[BASH])
        [call] = answer.choices[0].message.tool_calls or []
        assert call.type == "function"
        called.append(json.loads(call.function.arguments)["command"])
    assert called == ["cat note.txt", "wc -l < poem.txt", "printf %s 'Hello from the stand.\n' > hello.txt"]
