"""Gemini: bodies to asks, replies to documents, streams and arrays."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.providers.replies import CALL, STAMP, make_reply, payloads

from agentdyno.providers import scripted_gemini
from agentdyno.providers.reply import Ask
from agentdyno.providers.script import Failure
from agentdyno.providers.scripted_wire import AskError, Frame
from agentdyno.providers.tool_choice import OfferedTool

SCHEMA = {"type": "OBJECT", "properties": {"command": {"type": "STRING"}}}
USER, MODEL = {"role": "user", "parts": []}, {"role": "model", "parts": []}


def read_ask(body: dict[str, Any], operation: str = "generateContent", *, as_events: bool = True) -> Ask:
    return scripted_gemini.read_ask(body, model="m", operation=operation, as_events=as_events)


@pytest.mark.parametrize("schema_name", ["parameters", "parametersJsonSchema", "parameters_json_schema"])
@pytest.mark.parametrize("list_name", ["functionDeclarations", "function_declarations"])
def test_a_body(schema_name: str, list_name: str) -> None:
    tools = [{"googleSearch": {}}, {list_name: [{"name": "none"}, {"name": "run", schema_name: SCHEMA}]}]

    ask = read_ask({"contents": [USER], "tools": tools})

    assert (ask.model, ask.streamed, ask.turn, ask.knows_cache_writes) == ("m", False, 0, False)
    assert ask.tools == (OfferedTool("run", SCHEMA),)
    forbidden = {"functionCallingConfig": {"mode": "NONE"}}
    assert read_ask({"contents": [USER], "tools": tools, "toolConfig": forbidden}).tools == ()
    allowed = {"function_calling_config": {"mode": "ANY"}}
    assert read_ask({"contents": [USER], "tools": tools, "tool_config": allowed}).tools == ask.tools


def test_the_path_says_how_it_streams() -> None:
    events = read_ask({"contents": [USER]}, "streamGenerateContent")
    array = read_ask({"contents": [USER]}, "streamGenerateContent", as_events=False)

    assert (events.streamed, events.stream_array) == (True, False)
    assert (array.streamed, array.stream_array) == (True, True)


def test_neighbouring_contents_of_the_model_are_one_turn() -> None:
    assert read_ask({"contents": [USER, MODEL, MODEL, USER, MODEL, {"parts": []}]}).turn == 2


def test_a_token_count_may_hold_a_whole_request() -> None:
    whole = {"contents": [USER], "systemInstruction": {"parts": [{"text": "Be brief."}]}}

    wrapped = read_ask({"generateContentRequest": {"model": "models/m", **whole}}, "countTokens")

    assert wrapped.input_tokens == read_ask(whole, "countTokens").input_tokens == read_ask(whole).input_tokens
    # {"contents":[{"parts":[],"role":"user"}]} is 41 bytes
    assert read_ask({"contents": [USER]}).input_tokens == 11


@pytest.mark.parametrize("contents", [None, [], ["hi"], "hi"])
def test_a_body_that_asks_for_nothing(contents: Any) -> None:
    with pytest.raises(AskError, match="contents must be"):
        read_ask({"contents": contents})


def test_an_operation_that_is_not_there() -> None:
    with pytest.raises(AskError, match="there is no operation embedContent") as caught:
        read_ask({"contents": [USER]}, "embedContent")

    assert caught.value.failure.status == 404


def test_a_document() -> None:
    document = scripted_gemini.document(make_reply("Hi", CALL), STAMP)

    [candidate] = document["candidates"]
    assert candidate["content"] == {
        "role": "model",
        "parts": [{"text": "Hi"}, {"functionCall": {"id": "call_7", "name": "bash", "args": {"command": "ls"}}}],
    }
    assert (candidate["finishReason"], document["modelVersion"], document["responseId"]) == ("STOP", "m", "7")
    assert document["usageMetadata"] == {
        "promptTokenCount": 100,
        "cachedContentTokenCount": 60,
        "candidatesTokenCount": 5,  # 9 - 4 of thoughts
        "thoughtsTokenCount": 4,
        "totalTokenCount": 109,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 100}],
    }


def test_a_stream_carries_the_usage_so_far_and_a_tool_call_whole() -> None:
    frames = list(scripted_gemini.frames(make_reply("Hi you", CALL), STAMP))

    chunks = payloads(frames)
    [*begun, finish] = [chunk["candidates"][0] for chunk in chunks]
    assert [part for candidate in begun for part in candidate["content"]["parts"]] == [
        {"text": "Hi"},
        {"text": " you"},
        {"functionCall": {"id": "call_7", "name": "bash", "args": {"command": "ls"}}},
    ]
    assert not any("finishReason" in candidate for candidate in begun)
    assert finish["finishReason"] == "STOP"
    # 2 words and a call of 4 pieces, but no more than 9 - 4 of thoughts
    assert [chunk["usageMetadata"]["candidatesTokenCount"] for chunk in chunks] == [1, 2, 5, 5]
    assert [frame.pieces for frame in frames] == [1, 1, 4, 0]


@pytest.mark.parametrize("reply", [("Hi you", CALL), ("Hi", None), (None, CALL), (None, None)])
def test_an_array_holds_what_the_events_hold(reply: Any) -> None:
    events = list(scripted_gemini.frames(make_reply(*reply), STAMP))
    array = list(scripted_gemini.frames(make_reply(*reply, stream_array=True), STAMP))

    assert json.loads(b"".join(frame.data for frame in array)) == payloads(events)
    assert [frame.pieces for frame in array] == [frame.pieces for frame in events]


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "INVALID_ARGUMENT"),
        (404, "NOT_FOUND"),
        (418, "INVALID_ARGUMENT"),
        (429, "RESOURCE_EXHAUSTED"),
        (500, "INTERNAL"),
        (503, "UNAVAILABLE"),
        (529, "INTERNAL"),
    ],
)
def test_an_error_has_the_name_of_its_status(status: int, name: str) -> None:
    assert scripted_gemini.error_document(Failure(status, "No.", "some_code"), "req_1") == {
        "error": {"code": status, "message": "No.", "status": name}
    }


def test_an_error_says_when_to_try_again() -> None:
    document = scripted_gemini.error_document(Failure(429, "Later.", retry_after_s=1.5), "req_1")

    assert [detail["retryDelay"] for detail in document["error"]["details"]] == ["1.5s"]


def test_an_error_in_the_midst_of_a_stream_stands_in_place_of_a_chunk() -> None:
    failure = Failure(503, "No.")
    first, *_ = scripted_gemini.frames(make_reply("Hi you", stream_array=True), STAMP)

    event = scripted_gemini.error_event(failure, make_reply("Hi you"), STAMP, sent=1)
    element = scripted_gemini.error_event(failure, make_reply("Hi you", stream_array=True), STAMP, sent=1)
    alone = scripted_gemini.error_event(failure, make_reply("Hi you", stream_array=True), STAMP, sent=0)

    error = scripted_gemini.error_document(failure, "req_7")
    assert payloads([Frame(event)]) == json.loads(alone) == [error]
    assert json.loads(first.data + element)[1] == error
