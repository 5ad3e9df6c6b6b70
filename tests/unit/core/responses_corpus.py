"""Answers of OpenAI's responses, written by hand from the vendor's reference."""

from __future__ import annotations

from typing import Any

from tests.unit.core.recorded import WORD, Recorded, to_json

from agentdyno.core.dialects.wire import Tokens


def responses_usage(read: int, written: int, *, cached: int = 0, kept: int = 0, reasoning: int = 0) -> dict[str, Any]:
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": kept},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": read + written,
    }


def response(status: str = "in_progress", output: tuple[dict[str, Any], ...] = (), **more: Any) -> dict[str, Any]:
    about = {"id": "resp_1", "object": "response", "model": "gpt-5", "instructions": f"spread {WORD}", "error": None}
    return {**about, "incomplete_details": None, "status": status, "output": list(output), "usage": None, **more}


def responses_event(kind: str, **more: Any) -> bytes:
    return f"event: {kind}\n".encode() + b"data: " + to_json({"type": kind, **more}) + b"\n\n"


def responses_end(output: tuple[dict[str, Any], ...], usage: dict[str, Any] | None) -> bytes:
    return responses_event("response.completed", response=response("completed", output, usage=usage))


def responses_item(index: int, item: dict[str, Any]) -> bytes:
    """An output item from its beginning to its end."""
    return responses_event("response.output_item.added", output_index=index, item=item) + responses_event(
        "response.output_item.done", output_index=index, item=item
    )


def function_call(number: int) -> dict[str, Any]:
    arguments = f'{{"what":"{WORD}"}}'
    return {
        "id": f"fc_{number}",
        "type": "function_call",
        "call_id": f"call_{number}",
        "name": "spread",
        "arguments": arguments,
    }


CALL, SECOND_CALL = function_call(1), function_call(2)
_MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "content": [{"type": "output_text", "text": WORD}]}
_REASONING = {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": WORD}]}
_CREATED = responses_event("response.created", response=response()) + responses_event(
    "response.in_progress", response=response()
)
_TEXT = responses_event("response.output_text.delta", item_id="msg_1", output_index=0, delta=f"{WORD}\u2028")
_ARGUMENTS = responses_event("response.function_call_arguments.delta", item_id="fc_1", output_index=0, delta=WORD)
_TEXT_STREAM = _CREATED + _TEXT + responses_item(0, _MESSAGE)
_TEXT_KINDS = ("start", "other", "content", "other", "other", "done")
_FAILED = {"code": "server_error", "message": f"no {WORD} today"}
_CUT_SHORT = {"reason": "max_output_tokens"}

RESPONSES = (
    Recorded(
        "plain",
        "openai_responses",
        False,
        to_json(response("completed", (_MESSAGE,), usage=responses_usage(12, 6))),
        (),
        Tokens(12, 6, 0, 0, 0),
        "completed",
    ),
    Recorded(
        "cache_read",
        "openai_responses",
        False,
        to_json(response("completed", (_MESSAGE,), usage=responses_usage(2006, 6, cached=1920))),
        (),
        Tokens(2006, 6, 1920, 0, 0),  # the 1920 are among the 2006
        "completed",
    ),
    Recorded(
        "cache_write",
        "openai_responses",
        False,
        to_json(response("completed", (_MESSAGE,), usage=responses_usage(2006, 6, kept=1024))),
        (),
        Tokens(2006, 6, 0, 1024, 0),
        "completed",
    ),
    Recorded(
        "reasoning",
        "openai_responses",
        False,
        to_json(response("completed", (_REASONING, _MESSAGE), usage=responses_usage(20, 500, reasoning=448))),
        (),
        Tokens(20, 500, 0, 0, 448),
        "completed",
    ),
    Recorded(
        "tool_call",
        "openai_responses",
        False,
        to_json(response("completed", (CALL,), usage=responses_usage(50, 20))),
        (),
        Tokens(50, 20, 0, 0, 0),
        "completed",
        1,
    ),
    Recorded(
        "parallel_tool_calls",
        "openai_responses",
        False,
        to_json(response("completed", (_MESSAGE, CALL, SECOND_CALL), usage=responses_usage(50, 40))),
        (),
        Tokens(50, 40, 0, 0, 0),
        "completed",
        2,
    ),
    Recorded(
        "incomplete",
        "openai_responses",
        False,
        to_json(response("incomplete", (_MESSAGE,), incomplete_details=_CUT_SHORT, usage=responses_usage(12, 16))),
        (),
        Tokens(12, 16, 0, 0, 0),
        "max_output_tokens",
    ),
    Recorded(
        "error_before_first_byte",
        "openai_responses",
        False,
        to_json({"error": {"message": f"slow down, {WORD}", "type": "throttling_error", "param": None, "code": "429"}}),
        error_code="429",
        http_status=429,
        status="proxy_error",
        error_class="rate_limit",
    ),
    Recorded(
        "failed",
        "openai_responses",
        False,
        to_json(response("failed", error=_FAILED)),
        finish_reason="failed",
        error_code="server_error",
        status="provider_error",
        error_class="server_error",
    ),
    Recorded(
        "cut",
        "openai_responses",
        False,
        to_json(response("completed", (_MESSAGE,), usage=responses_usage(12, 6)))[:-9],
        complete=False,
        status="proxy_error",
        error_class="unreadable_answer",
    ),
    Recorded(
        "plain",
        "openai_responses",
        True,
        _TEXT_STREAM + responses_end((_MESSAGE,), responses_usage(12, 6)),
        _TEXT_KINDS,
        Tokens(12, 6, 0, 0, 0),
        "completed",
    ),
    Recorded(
        "plain_with_what_litellm_appends",
        "openai_responses",
        True,
        _TEXT_STREAM + responses_end((_MESSAGE,), responses_usage(12, 6)) + b"data: [DONE]\n\n",
        (*_TEXT_KINDS, "other"),
        Tokens(12, 6, 0, 0, 0),
        "completed",
    ),
    Recorded(
        "cache_read",
        "openai_responses",
        True,
        _TEXT_STREAM + responses_end((_MESSAGE,), responses_usage(2006, 6, cached=1920)),
        _TEXT_KINDS,
        Tokens(2006, 6, 1920, 0, 0),
        "completed",
    ),
    Recorded(
        "cache_write",
        "openai_responses",
        True,
        _TEXT_STREAM + responses_end((_MESSAGE,), responses_usage(2006, 6, kept=1024)),
        _TEXT_KINDS,
        Tokens(2006, 6, 0, 1024, 0),
        "completed",
    ),
    Recorded(
        "reasoning",
        "openai_responses",
        True,
        _CREATED
        + responses_event("response.reasoning_summary_text.delta", item_id="rs_1", output_index=0, delta=WORD)
        + _TEXT
        + responses_end((_REASONING, _MESSAGE), responses_usage(20, 500, reasoning=448)),
        ("start", "other", "reasoning", "content", "done"),
        Tokens(20, 500, 0, 0, 448),
        "completed",
    ),
    Recorded(
        "tool_call",
        "openai_responses",
        True,
        _CREATED
        + responses_event("response.output_item.added", output_index=0, item={**CALL, "arguments": ""})
        + _ARGUMENTS
        + responses_event("response.output_item.done", output_index=0, item=CALL)
        + responses_end((CALL,), responses_usage(50, 20)),
        ("start", "other", "tool", "tool", "other", "done"),
        Tokens(50, 20, 0, 0, 0),
        "completed",
        1,
    ),
    Recorded(
        "parallel_tool_calls",
        "openai_responses",
        True,
        _CREATED
        + responses_item(0, CALL)
        + responses_item(1, SECOND_CALL)
        + responses_end((), responses_usage(50, 40)),  # without its output, as some send it
        ("start", "other", "tool", "other", "tool", "other", "done"),
        Tokens(50, 40, 0, 0, 0),
        "completed",
        2,
    ),
    Recorded(
        "incomplete",
        "openai_responses",
        True,
        _CREATED
        + _TEXT
        + responses_event(
            "response.incomplete",
            response=response("incomplete", incomplete_details=_CUT_SHORT, usage=responses_usage(12, 16)),
        ),
        ("start", "other", "content", "done"),
        Tokens(12, 16, 0, 0, 0),
        "max_output_tokens",
    ),
    Recorded(
        "error_before_first_byte",
        "openai_responses",
        True,
        to_json({"error": {"message": f"no {WORD}", "type": "invalid_request_error", "code": "model_not_found"}}),
        error_code="model_not_found",
        http_status=404,
        status="proxy_error",
        error_class="not_found",
    ),
    Recorded(
        "error_mid_stream",
        "openai_responses",
        True,
        _CREATED + _TEXT + responses_event("response.failed", response=response("failed", error=_FAILED)),
        ("start", "other", "content", "error"),
        finish_reason="failed",
        error_code="server_error",
        status="provider_error",
        error_class="server_error",
    ),
    Recorded(
        "error_event_mid_stream",
        "openai_responses",
        True,
        _CREATED + _TEXT + responses_event("error", code="rate_limit_exceeded", message=f"no more {WORD}", param=None),
        ("start", "other", "content", "error"),
        error_code="rate_limit_exceeded",
        complete=False,
        status="provider_error",
        error_class="rate_limit",
    ),
    Recorded(
        "cut",
        "openai_responses",
        True,
        _CREATED + _TEXT,
        ("start", "other", "content"),
        complete=False,
        status="proxy_error",
        error_class="incomplete_stream",
    ),
    Recorded(
        "cut_before_the_terminal_event",
        "openai_responses",
        True,
        _TEXT_STREAM + b"data: [DONE]\n\n",  # which ends nothing
        (*_TEXT_KINDS[:-1], "other"),
        complete=False,
        status="proxy_error",
        error_class="incomplete_stream",
    ),
)
