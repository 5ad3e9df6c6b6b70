"""OpenAI responses: bodies to asks, replies to documents and streams."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.providers.replies import CALL, STAMP, make_reply, payloads

from agentdyno.providers import scripted_responses
from agentdyno.providers.script import Failure
from agentdyno.providers.scripted_wire import AskError, Frame
from agentdyno.providers.tool_choice import OfferedTool

SCHEMA = {"type": "object", "properties": {"cmd": {"type": "string"}}}
USER = {"type": "message", "role": "user", "content": "hi"}
USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
    "output_tokens": 9,
    "output_tokens_details": {"reasoning_tokens": 4},
    "total_tokens": 109,  # 100 + 9
}


def test_a_body() -> None:
    tools = [
        {"type": "custom", "name": "apply_patch", "format": {"type": "grammar"}},
        {"type": "local_shell"},
        {"type": "function", "name": "exec", "parameters": SCHEMA, "strict": False},
    ]

    ask = scripted_responses.read_ask({"model": "m", "input": "hi", "stream": True, "tools": tools})

    assert (ask.model, ask.streamed, ask.turn) == ("m", True, 0)
    assert ask.tools == (OfferedTool("exec", SCHEMA),)
    assert scripted_responses.read_ask({"model": "m", "input": "hi", "tools": tools, "tool_choice": "none"}).tools == ()


@pytest.mark.parametrize(
    ("items", "turn"),
    [
        ([USER], 0),
        ([{"role": "developer", "content": "s"}, {"role": "user", "content": "hi"}], 0),
        ([USER, {"role": "assistant", "content": "hello"}, USER], 1),
        ([USER, {"type": "function_call"}, {"type": "function_call_output"}], 1),
        ([USER, {"type": "reasoning"}, {"type": "message", "role": "assistant"}, {"type": "custom_tool_call"}], 1),
        ([USER, {"type": "item_reference"}, {"type": "custom_tool_call_output"}, {"type": "local_shell_call"}], 2),
    ],
)
def test_neighbouring_items_of_the_model_are_one_turn(items: list[dict[str, Any]], turn: int) -> None:
    assert scripted_responses.read_ask({"model": "m", "input": items}).turn == turn


def test_a_conversation_goes_on_from_the_response_that_it_names() -> None:
    second = scripted_responses.document(make_reply("Hi", turn=1), STAMP)
    body = {"model": "m", "previous_response_id": second["id"]}

    assert scripted_responses.read_ask(body | {"input": "hi"}).turn == 2
    assert scripted_responses.read_ask(body | {"input": [USER, {"role": "assistant"}, USER]}).turn == 3


@pytest.mark.parametrize("response_id", ["resp_1", "resp_7_x", "7", 3])
def test_a_response_that_never_was(response_id: Any) -> None:
    with pytest.raises(AskError, match="there is no response") as caught:
        scripted_responses.read_ask({"model": "m", "input": "hi", "previous_response_id": response_id})

    assert (caught.value.failure.status, caught.value.failure.code) == (400, "previous_response_not_found")


@pytest.mark.parametrize("wrong", [{"model": 3}, {"input": []}, {"input": ["hi"]}, {"input": None}])
def test_a_body_that_asks_for_nothing(wrong: dict[str, Any]) -> None:
    with pytest.raises(AskError, match="must be"):
        scripted_responses.read_ask({"model": "m", "input": "hi"} | wrong)


def test_a_document() -> None:
    document = scripted_responses.document(make_reply("Hi you", CALL), STAMP)

    message, call = document["output"]
    assert (document["id"], document["object"], document["status"]) == ("resp_7_1", "response", "completed")
    assert (message["role"], [part["text"] for part in message["content"]]) == ("assistant", ["Hi you"])
    assert call == {
        "id": "fc_7",
        "type": "function_call",
        "status": "completed",
        "call_id": "call_7",
        "name": "bash",
        "arguments": '{"command": "ls"}',
    }
    assert document["usage"] == USAGE
    assert scripted_responses.document(make_reply(""), STAMP)["output"] == []


def test_a_stream_of_text_and_a_tool_call() -> None:
    reply = make_reply("Hi you", CALL)

    frames = list(scripted_responses.frames(reply, STAMP))

    events = payloads(frames)
    assert [event["type"] for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event["sequence_number"] for event in events] == list(range(16))
    assert all(
        frame.data.startswith(f"event: {event['type']}\n".encode()) for frame, event in zip(frames, events, strict=True)
    )
    assert "".join(event["delta"] for event in events[4:6]) == events[6]["text"] == "Hi you"
    assert "".join(event["delta"] for event in events[10:13]) == events[13]["arguments"] == '{"command": "ls"}'
    assert events[15]["response"] == scripted_responses.document(reply, STAMP)
    assert [event["item"] for event in events if event["type"].endswith("item.done")] == events[15]["response"][
        "output"
    ]
    assert (events[0]["response"]["status"], events[0]["response"]["usage"]) == ("in_progress", None)
    assert [event["item"]["status"] for event in (events[2], events[9])] == ["in_progress", "in_progress"]
    assert (events[2]["item"]["content"], events[9]["item"]["arguments"]) == ([], "")


def test_a_stream_fails_as_the_response() -> None:
    event = scripted_responses.error_event(Failure(500, "No.", "some_code"), make_reply("Hi"), STAMP, sent=5)

    [payload] = payloads([Frame(event)])
    assert event.startswith(b"event: response.failed\n")
    assert (payload["sequence_number"], payload["response"]["status"]) == (5, "failed")
    assert payload["response"]["error"] == {"code": "some_code", "message": "No."}
