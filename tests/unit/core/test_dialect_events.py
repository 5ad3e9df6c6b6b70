"""Events that no corpus holds, surface by surface."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.core.gemini_corpus import TEXT, gemini_chunk, gemini_stream, gemini_usage
from tests.unit.core.messages_corpus import messages_event
from tests.unit.core.recorded import WORD, read
from tests.unit.core.responses_corpus import CALL, SECOND_CALL, response, responses_event, responses_item

from agentdyno.core.dialects import anthropic_messages, gemini, openai_responses


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
