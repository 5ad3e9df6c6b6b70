"""Events that no corpus holds, surface by surface."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.core.chat_corpus import CHAT_DONE, CHAT_ERROR, chat_chunk, chat_tool, chat_usage
from tests.unit.core.gemini_corpus import TEXT, gemini_chunk, gemini_stream, gemini_usage
from tests.unit.core.messages_corpus import messages_end, messages_event, messages_start, messages_usage
from tests.unit.core.recorded import WORD, read, to_json
from tests.unit.core.responses_corpus import (
    CALL,
    SECOND_CALL,
    response,
    responses_end,
    responses_event,
    responses_item,
    responses_usage,
)

from agentdyno.core.dialects import anthropic_messages, gemini, openai_chat, openai_responses
from agentdyno.core.dialects.wire import facts_of


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (messages_event("error"), "error"),
        (messages_event("message_start"), "start"),
        (messages_event("message_delta", usage={"output_tokens": 3}), "usage"),
        (messages_event("content_block_delta"), "other"),
        (messages_event("content_block_start", content_block={"type": "redacted_thinking", "data": WORD}), "reasoning"),
        (messages_event("content_block_start", content_block={"type": "server_tool_use", "name": "search"}), "tool"),
        (messages_event("something_new"), "other"),
    ],
)
def test_rarer_events_of_messages(event: bytes, kind: str) -> None:
    answer = read(anthropic_messages.stream_reader(), event)
    assert [event.kind for event in answer.events] == [kind]
    assert (answer.error_code is not None) == (kind == "error")
    assert answer.tool_calls == 0  # what the server runs by itself is not asked of the harness


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (responses_event("response.refusal.delta", delta=WORD), "content"),
        (responses_event("response.output_text.delta", delta=""), "other"),
        (responses_event("response.output_text.done", text=WORD), "other"),
        (responses_event("response.reasoning_text.delta", delta=WORD), "reasoning"),
        (responses_event("response.custom_tool_call_input.delta", delta=WORD), "tool"),
        (responses_event("response.output_item.added", item={"type": "web_search_call", "id": "ws_1"}), "tool"),
        (responses_event("response.output_item.added", item={"type": "reasoning", "id": "rs_1"}), "other"),
        (responses_event("response.output_item.added", item={"type": "function_call_output"}), "other"),
        (responses_event("response.output_item.added"), "other"),
        (responses_event("response.something.new", delta=[WORD], item=CALL), "other"),
        (responses_event("response.created"), "start"),
    ],
)
def test_rarer_events_of_responses(event: bytes, kind: str) -> None:
    answer = read(openai_responses.stream_reader(), event)
    assert [event.kind for event in answer.events] == [kind]
    assert (answer.tool_calls, answer.error_code, answer.complete) == (0, None, False)


@pytest.mark.parametrize("kind", ["function_call", "custom_tool_call", "local_shell_call", "apply_patch_call"])
def test_a_call_of_the_harness_is_counted_once_however_often_it_is_told(kind: str) -> None:
    call = {**CALL, "type": kind}
    end = responses_event("response.completed", response=response("completed", (call, SECOND_CALL)))
    done_alone = responses_event("response.output_item.done", output_index=1, item=SECOND_CALL)
    assert read(openai_responses.stream_reader(), responses_item(0, call) + done_alone + end).tool_calls == 2
    assert read(openai_responses.stream_reader(), end).tool_calls == 2


def test_items_without_a_place_are_told_apart_by_their_ids() -> None:
    added = [responses_event("response.output_item.added", item=call) for call in (CALL, SECOND_CALL, CALL)]
    assert read(openai_responses.stream_reader(), *added).tool_calls == 2


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (responses_event("response.failed"), "error"),
        (responses_event("response.failed", response=response("failed")), "error"),
        (responses_event("error"), "error"),
        (responses_event("error", error={"type": "server_error", "code": None}), "server_error"),
        (b'data: {"error": {"message": "x", "type": "None", "code": "503"}}\n\n', "503"),
    ],
)
def test_ways_in_which_a_response_fails(event: bytes, code: str) -> None:
    answer = read(openai_responses.stream_reader(), event)
    assert ([event.kind for event in answer.events], answer.error_code) == (["error"], code)


def test_the_long_ids_that_litellm_makes_are_kept() -> None:
    long = response(id="resp_" + "mnjocMOtN0fhERQ_" * 30)
    assert (
        read(openai_responses.stream_reader(), responses_event("response.created", response=long)).response_id
        == (long["id"])
    )


@pytest.mark.parametrize(
    ("chunk", "kind"),
    [
        (gemini_chunk({"inlineData": {"mimeType": "image/png", "data": "iVBO"}}), "content"),
        (gemini_chunk({"executableCode": {"language": "PYTHON", "code": WORD}}), "tool"),
        (gemini_chunk({"text": "", "thoughtSignature": "c2ln"}), "other"),
        (gemini_chunk(), "other"),
        (gemini_chunk(usage=gemini_usage(9)), "usage"),
        ({"usageMetadata": {"promptTokenCount": None}}, "other"),
        ({"candidates": [{"finishReason": None}, {"finishReason": "STOP"}]}, "finish"),
        ({"candidates": [{"content": None}], "error": None}, "other"),
    ],
)
def test_rarer_chunks_of_gemini(chunk: dict[str, Any], kind: str) -> None:
    answer = read(gemini.stream_reader(), gemini_stream(chunk))
    assert [event.kind for event in answer.events] == [kind]
    assert answer.tool_calls == 0  # what the server runs by itself is not asked of the harness


def test_a_gemini_stream_is_whole_only_when_its_bytes_have_ended() -> None:
    reader = gemini.stream_reader()
    reader.feed(gemini_stream(gemini_chunk(TEXT, finish="STOP")), 0)
    complete_at_its_reason = reader.answer.complete
    reader.feed(gemini_stream(gemini_chunk(usage=gemini_usage(9, 3))), 0)
    reader.finish()
    assert (complete_at_its_reason, reader.answer.complete) == (False, True)
    assert reader.answer.usages == [gemini_usage(9, 3)]


def test_of_each_figure_of_gemini_the_last_holds() -> None:
    told = ({"promptTokenCount": 9, "cachedContentTokenCount": 4}, {"promptTokenCount": 10, "thoughtsTokenCount": None})
    answer = read(gemini.stream_reader(), gemini_stream(*({"usageMetadata": usage} for usage in told)))
    assert answer.usages == [{"promptTokenCount": 10, "cachedContentTokenCount": 4}]


# ── members of another type ──────────────────────────────────────────────────────────────────────────────────────────

CALLS = [call for number in "12" for call in chat_tool(0, f"call_{number}", "spread", "{}")["tool_calls"]]
CHUNK = {
    "choices": [{"index": 0, "delta": {"content": WORD, "tool_calls": CALLS}, "finish_reason": "stop"}],
    "usage": chat_usage(9, 3),
}
CALLED = {"choices": [{"message": {"tool_calls": CALLS}, "finish_reason": "tool_calls"}]}
RESPONSE = response("incomplete", (CALL,), incomplete_details={"reason": "max_output_tokens"}, usage=chat_usage(9, 3))
COMPLETED = {"type": "response.completed", "response": RESPONSE}
ADDED = {"type": "response.output_item.added", "output_index": 0, "item": CALL}
STARTED = {"type": "message_start", "message": {"id": "msg_1", "model": "m", "usage": messages_usage(9, 1)}}
ENDED = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": messages_usage(9, 3)}
OPENED = {"type": "content_block_start", "content_block": {"type": "tool_use", "id": "toolu_1", "name": "spread"}}
MESSAGE = {"id": "msg_1", "content": [{"type": "tool_use"}, {"type": "text"}], "usage": messages_usage(9, 3)}
CALLING = gemini_chunk(TEXT, {"functionCall": {"name": "spread"}}, finish="STOP", usage=gemini_usage(9, 3))
BLOCKED = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": gemini_usage(9)}
PICTURE = gemini_chunk({"inlineData": {"data": "iVBO"}}, usage=gemini_usage(9, 3))
Place = tuple[str | int, ...]
PLACES: list[tuple[Any, dict[str, Any], Place]] = [
    *((openai_chat, CHUNK, place) for place in (("choices",), ("choices", 0), ("choices", 0, "delta"))),
    *((openai_chat, CHUNK, ("choices", 0, "delta", "tool_calls", *more)) for more in ((), (1,), (1, "function"))),
    *((openai_chat, CALLED, ("choices", 0, *more)) for more in (("message",), ("message", "tool_calls"))),
    *((openai_responses, COMPLETED, ("response", *more)) for more in ((), ("incomplete_details",), ("output",))),
    (openai_responses, ADDED, ("item",)),
    *((openai_responses, RESPONSE, place) for place in (("incomplete_details",), ("output",), ("output", 0))),
    (anthropic_messages, STARTED, ("message",)),
    (anthropic_messages, ENDED, ("delta",)),
    (anthropic_messages, OPENED, ("content_block",)),
    *((anthropic_messages, MESSAGE, place) for place in (("content",), ("content", 0))),
    *((gemini, CALLING, ("candidates", *more)) for more in ((), (0,), (0, "content"), (0, "content", "parts"))),
    *((gemini, CALLING, ("candidates", 0, "content", "parts", 1, *more)) for more in ((), ("functionCall",))),
    (gemini, BLOCKED, ("promptFeedback",)),
    (gemini, PICTURE, ("candidates", 0, "content", "parts", 0, "inlineData")),
]


def put(sent: dict[str, Any], place: Place, *member: Any) -> dict[str, Any]:
    """What was sent, with another member at this place, or with none."""
    changed = copy.deepcopy(sent)
    holder: Any = changed
    for step in place[:-1]:
        holder = holder[step]
    if member:
        holder[place[-1]] = member[0]
    else:
        del holder[place[-1]]
    return changed


def facts(dialect: Any, sent: dict[str, Any]) -> Sequence[Any]:
    """What is read of an event, and of a document."""
    streamed = read(dialect.stream_reader(), b"data: " + to_json(sent) + b"\n\n")
    document = read(dialect.document_reader(), to_json(sent))
    return [event.kind for event in streamed.events], facts_of(streamed), facts_of(document)


@pytest.mark.parametrize(("dialect", "sent", "place"), PLACES)
@given(misfit=st.sampled_from(["none", "", 7, 0.5, True, False]))
def test_a_member_of_another_type_is_as_if_it_were_absent(
    dialect: Any, sent: dict[str, Any], place: Place, misfit: Any
) -> None:
    without = facts(dialect, put(sent, place))
    assert facts(dialect, put(sent, place, misfit)) == without
    assert facts(dialect, sent) != without  # so that it says something


@pytest.mark.parametrize("calls", [{}, [None], [{"function": []}], "none"])
def test_what_does_not_fit_takes_nothing_else_along(calls: Any) -> None:
    half_an_emoji = {"delta": {"content": "\ud83d", "tool_calls": calls}, "finish_reason": "stop"}
    chunk = json.dumps({"choices": [half_an_emoji], "usage": chat_usage(9, 3)}).encode()
    answer = read(openai_chat.stream_reader(), b"data: " + chunk + b"\n\n")
    assert ([event.kind for event in answer.events], answer.finish_reason) == (["content"], "stop")
    assert answer.usages == [chat_usage(9, 3)]


# ── what comes last ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("last", [chat_usage(0, 0), {"prompt_tokens": 0}, {"prompt_tokens": None}, {"total_tokens": 0}])
def test_a_usage_that_counts_nothing_undoes_none_that_did(last: dict[str, Any]) -> None:
    told = [chat_chunk(usage=usage) for usage in (chat_usage(9, 3), last)]
    assert read(openai_chat.stream_reader(), *told).usages == [chat_usage(9, 3)]
    assert read(openai_chat.stream_reader(), *reversed(told)).usages == [chat_usage(9, 3)]
    assert read(openai_chat.stream_reader(), told[1]).usages == [last]


@pytest.mark.parametrize(
    ("dialect", "whole", "behind"),
    [
        (openai_chat, chat_chunk(usage=chat_usage(9, 3)) + CHAT_DONE, chat_chunk({}, "stop", usage=chat_usage(99, 3))),
        (openai_chat, CHAT_DONE, b"data: " + to_json(CHAT_ERROR) + b"\n\n"),
        (
            anthropic_messages,
            messages_start(messages_usage(9, 1)) + messages_end("end_turn", messages_usage(9, 3)),
            messages_event("message_delta", usage=messages_usage(99, 3)),
        ),
        (openai_responses, responses_end((CALL,), responses_usage(9, 3)), responses_end((), responses_usage(99, 3))),
    ],
)
def test_behind_the_terminal_event_nothing_counts(dialect: Any, whole: bytes, behind: bytes) -> None:
    at_its_end = read(dialect.stream_reader(), whole)
    gone_on = read(dialect.stream_reader(), whole + behind)
    assert facts_of(gone_on) == facts_of(at_its_end)
    assert [event.kind for event in gone_on.events] == [*(event.kind for event in at_its_end.events), "other"]
