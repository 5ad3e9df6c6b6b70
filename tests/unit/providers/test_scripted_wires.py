"""Bodies to asks, replies to documents and streams: chat and messages, and what all surfaces share."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.providers.replies import CALL, STAMP, make_reply, payloads

from agentdyno.providers import scripted_chat, scripted_gemini, scripted_messages, scripted_responses
from agentdyno.providers.reply import Reply
from agentdyno.providers.script import Failure
from agentdyno.providers.scripted_wire import AskError, Frame, ReadAsk, Wire, count_answers, read_object, server_sent
from agentdyno.providers.tool_choice import OfferedTool

SCHEMA = {"type": "object", "properties": {"command": {"type": "string"}}}


def test_a_server_sent_event_keeps_its_data_in_one_line() -> None:
    assert server_sent({"a": "é\n"}) == 'data: {"a":"é\\n"}\n\n'.encode()
    assert server_sent({"type": "ping"}, "ping") == b'event: ping\ndata: {"type":"ping"}\n\n'
    assert server_sent("[DONE]") == b"data: [DONE]\n\n"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b'{"a": NaN}', b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_json_object(body: bytes) -> None:
    with pytest.raises(AskError, match="the body is not"):
        read_object(body)


@pytest.mark.parametrize("read_ask", [scripted_chat.read_ask, scripted_messages.read_ask])
@pytest.mark.parametrize(
    "wrong",
    [{"model": None}, {"model": 3}, {"messages": []}, {"messages": "hi"}, {"messages": ["hi"]}],
)
def test_a_body_that_asks_for_nothing(read_ask: ReadAsk, wrong: dict[str, Any]) -> None:
    body = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}

    with pytest.raises(AskError, match="must be"):
        read_ask(body | wrong)


def test_messages_wants_a_limit() -> None:
    with pytest.raises(AskError, match="max_tokens must be an integer"):
        scripted_messages.read_ask({"model": "m", "messages": [{"role": "user", "content": "hi"}]})


def test_a_chat_body() -> None:
    body = {
        "model": "m",
        "stream": True,
        "messages": [{"role": "user"}, {"role": "assistant"}, {"role": "tool"}, {"role": "assistant"}],
        "tools": [{"type": "function", "function": {"name": "bash", "parameters": SCHEMA}}, {"type": "custom"}, 3],
    }

    ask = scripted_chat.read_ask(body)

    assert (ask.model, ask.streamed, ask.turn, ask.stream_usage) == ("m", True, 2, False)
    assert ask.tools == (OfferedTool("bash", SCHEMA),)
    assert scripted_chat.read_ask(body | {"stream_options": {"include_usage": True}}).stream_usage
    assert scripted_chat.read_ask(body | {"tool_choice": "none"}).tools == ()


def test_a_messages_body() -> None:
    body = {
        "model": "m",
        "max_tokens": 5,
        "messages": [{"role": "user"}, {"role": "assistant"}, {"role": "user"}],
        "tools": [{"name": "bash", "input_schema": SCHEMA}, {"type": "web_search_20250305", "name": "web_search"}],
    }

    ask = scripted_messages.read_ask(body)

    assert (ask.model, ask.streamed, ask.turn) == ("m", False, 1)
    assert ask.tools == (OfferedTool("bash", SCHEMA),)
    assert scripted_messages.read_count({"model": "m", "messages": body["messages"]}).turn == 1  # it needs no limit
    assert scripted_messages.read_ask(body | {"tool_choice": {"type": "none"}}).tools == ()


def test_a_chat_stream_of_text() -> None:
    frames = list(scripted_chat.frames(make_reply("Hi you", stream_usage=False), STAMP))

    chunks = payloads(frames)
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": "", "refusal": None},
        {"content": "Hi"},
        {"content": " you"},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, None, "stop"]
    assert not any("usage" in chunk for chunk in chunks)
    assert {(chunk["id"], chunk["object"], chunk["model"]) for chunk in chunks} == {
        ("chatcmpl-7", "chat.completion.chunk", "m")
    }
    assert frames[-1] == Frame(b"data: [DONE]\n\n", trailer=True)


def test_a_chat_stream_carries_its_usage_only_in_a_last_chunk_without_choices() -> None:
    *chunks, last = payloads(list(scripted_chat.frames(make_reply("Hi"), STAMP)))

    assert [chunk["usage"] for chunk in chunks] == [None, None, None]
    assert last["choices"] == []
    assert last["usage"]["prompt_tokens"] == 100
    assert last["usage"]["completion_tokens"] == 9
    assert last["usage"]["total_tokens"] == 109  # 100 + 9
    assert last["usage"]["prompt_tokens_details"]["cached_tokens"] == 60
    assert last["usage"]["prompt_tokens_details"]["cache_write_tokens"] == 30
    assert last["usage"]["completion_tokens_details"]["reasoning_tokens"] == 4


def test_a_chat_stream_of_a_tool_call() -> None:
    chunks = payloads(list(scripted_chat.frames(make_reply(call=CALL), STAMP)))

    role, start, *fragments, finish = [chunk["choices"][0] for chunk in chunks if chunk["choices"]]
    assert role["delta"]["content"] is None
    assert start["delta"]["tool_calls"] == [
        {"index": 0, "id": "call_7", "type": "function", "function": {"name": "bash", "arguments": ""}}
    ]
    arguments = [fragment["delta"]["tool_calls"][0]["function"]["arguments"] for fragment in fragments]
    assert arguments == ['{"comman', 'd": "ls"', "}"]
    assert finish["finish_reason"] == "tool_calls"


def test_a_chat_document() -> None:
    document = scripted_chat.document(make_reply("Hi", CALL), STAMP)

    choice = document["choices"][0]
    assert (document["object"], document["created"], choice["finish_reason"]) == (
        "chat.completion",
        1_700_000_000,
        "tool_calls",
    )
    assert choice["message"]["content"] == "Hi"
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "bash", "arguments": '{"command": "ls"}'}
    assert document["usage"]["total_tokens"] == 109


def test_a_messages_stream_of_text_and_a_tool_call() -> None:
    frames = list(scripted_messages.frames(make_reply("Hi you", CALL), STAMP))

    events = payloads(frames)
    assert [event["type"] for event in events] == [
        "message_start",
        "ping",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert all(
        frame.data.startswith(f"event: {event['type']}\n".encode()) for frame, event in zip(frames, events, strict=True)
    )
    assert [event.get("index") for event in events[2:11]] == [0, 0, 0, 0, 1, 1, 1, 1, 1]
    assert events[6]["content_block"] == {"type": "tool_use", "id": "toolu_7", "name": "bash", "input": {}}
    assert "".join(event["delta"]["partial_json"] for event in events[7:10]) == '{"command": "ls"}'
    assert events[11]["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}


def test_messages_split_their_usage_over_two_events_and_leave_cached_input_out() -> None:
    events = payloads(list(scripted_messages.frames(make_reply("Hi"), STAMP)))

    # 100 of input - 60 read - 30 written = 10
    input_usage = {"input_tokens": 10, "cache_read_input_tokens": 60, "cache_creation_input_tokens": 30}
    assert events[0]["message"]["usage"] == input_usage | {"output_tokens": 1}
    assert events[-2]["usage"] == input_usage | {"output_tokens": 9, "output_tokens_details": {"thinking_tokens": 4}}


@pytest.mark.parametrize("wire", [scripted_chat, scripted_responses, scripted_messages, scripted_gemini])
@pytest.mark.parametrize(
    "answer", [make_reply("Hi you"), make_reply(call=CALL), make_reply("Hi", CALL), make_reply("")]
)
def test_every_piece_is_brought_once(wire: Wire, answer: Reply) -> None:
    assert sum(frame.pieces for frame in wire.frames(answer, STAMP)) == len(answer.pieces)


def test_a_messages_document() -> None:
    document = scripted_messages.document(make_reply("Hi", CALL), STAMP)

    assert document["content"] == [
        {"type": "text", "text": "Hi"},
        {"type": "tool_use", "id": "toolu_7", "name": "bash", "input": {"command": "ls"}},
    ]
    assert (document["id"], document["stop_reason"], document["usage"]["output_tokens"]) == ("msg_7", "tool_use", 9)


@pytest.mark.parametrize(
    ("status", "chat_type", "messages_type"),
    [
        (400, "invalid_request_error", "invalid_request_error"),
        (404, "invalid_request_error", "not_found_error"),
        (418, "invalid_request_error", "invalid_request_error"),
        (429, "requests", "rate_limit_error"),
        (500, "server_error", "api_error"),
        (529, "server_error", "overloaded_error"),
    ],
)
def test_an_error_has_the_type_of_its_status(status: int, chat_type: str, messages_type: str) -> None:
    failure = Failure(status, "No.", "some_code")

    assert scripted_chat.error_document(failure, "req_1") == {
        "error": {"message": "No.", "type": chat_type, "param": None, "code": "some_code"}
    }
    assert scripted_messages.error_document(failure, "req_1") == {
        "type": "error",
        "error": {"type": messages_type, "message": "No."},
        "request_id": "req_1",
    }


def test_an_error_in_the_midst_of_a_stream_has_the_form_of_one_before_it() -> None:
    failure = Failure(529, "No.", "some_code")

    chat = scripted_chat.error_event(failure, make_reply("Hi"), STAMP, 2)
    messages = scripted_messages.error_event(failure, make_reply("Hi"), STAMP, 2)

    assert payloads([Frame(chat)]) == [scripted_chat.error_document(failure, "req_7")]
    assert messages.startswith(b"event: error\n")
    assert payloads([Frame(messages)]) == [scripted_messages.error_document(failure, "req_7")]


@pytest.mark.parametrize(
    ("items", "answers"),
    [([], 0), ([False], 0), ([True, True, False, True], 2), ([False, True, False, False, True, True], 2)],
)
def test_neighbouring_items_of_the_model_are_one_answer(items: list[bool], answers: int) -> None:
    assert count_answers(items) == answers
