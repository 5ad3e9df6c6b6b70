"""Answers of OpenAI's chat completions, written by hand from the vendor's reference."""

from __future__ import annotations

from typing import Any

from tests.unit.core.recorded import WORD, Recorded, to_json

from agentdyno.core.dialects.wire import Tokens


def chat_usage(
    prompt: int, completion: int, *, cached: int = 0, written: int = 0, reasoning: int = 0
) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


def chat_chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "gpt-4.1", "choices": choices, **more}
    return b"data: " + to_json(chunk) + b"\n\n"


def chat_document(message: dict[str, Any], finish: str, usage: dict[str, Any]) -> bytes:
    choices = [{"index": 0, "message": {"role": "assistant", "content": WORD, **message}, "finish_reason": finish}]
    return to_json(
        {"id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-4.1", "choices": choices, "usage": usage}
    )


def chat_tool(index: int, call_id: str | None, name: str | None, arguments: str) -> dict[str, Any]:
    call: dict[str, Any] = {"index": index, "function": {"arguments": arguments}}
    if call_id is not None:
        call |= {"id": call_id, "type": "function"}
    if name is not None:
        call["function"]["name"] = name
    return {"tool_calls": [call]}


CHAT_ROLE = chat_chunk({"role": "assistant", "content": ""})
CHAT_TEXT = chat_chunk({"content": f" {WORD}\u2028"})
CHAT_DONE = b"data: [DONE]\n\n"
CHAT_ERROR = {"error": {"message": f"no {WORD} today", "type": "server_error", "param": None, "code": None}}
_ASKED = {"id": "call_1", "type": "function", "function": {"name": "spread", "arguments": f'{{"what":"{WORD}"}}'}}

CHAT = (
    Recorded(
        "plain", "openai_chat", False, chat_document({}, "stop", chat_usage(9, 3)), (), Tokens(9, 3, 0, 0, 0), "stop"
    ),
    Recorded(
        "cache_read",
        "openai_chat",
        False,
        chat_document({}, "stop", chat_usage(2006, 300, cached=1920)),
        (),
        Tokens(2006, 300, 1920, 0, 0),  # the 1920 are among the 2006
        "stop",
    ),
    Recorded(
        "cache_write",
        "openai_chat",
        False,
        chat_document({}, "stop", chat_usage(2006, 300, written=1024)),
        (),
        Tokens(2006, 300, 0, 1024, 0),
        "stop",
    ),
    Recorded(
        "reasoning",
        "openai_chat",
        False,
        chat_document({"reasoning_content": WORD}, "stop", chat_usage(20, 500, reasoning=448)),
        (),
        Tokens(20, 500, 0, 0, 448),
        "stop",
    ),
    Recorded(
        "tool_call",
        "openai_chat",
        False,
        chat_document({"content": None, "tool_calls": [_ASKED]}, "tool_calls", chat_usage(50, 20)),
        (),
        Tokens(50, 20, 0, 0, 0),
        "tool_calls",
        1,
    ),
    Recorded(
        "parallel_tool_calls",
        "openai_chat",
        False,
        chat_document(
            {"content": None, "tool_calls": [_ASKED, _ASKED | {"id": "call_2"}]}, "tool_calls", chat_usage(50, 40)
        ),
        (),
        Tokens(50, 40, 0, 0, 0),
        "tool_calls",
        2,
    ),
    Recorded(
        "error_before_first_byte",
        "openai_chat",
        False,
        to_json(
            {
                "error": {
                    "message": f"{WORD} is too long",
                    "type": "invalid_request_error",
                    "code": "context_length_exceeded",
                }
            }
        ),
        error_code="context_length_exceeded",
        http_status=400,
        status="proxy_error",
        error_class="context_length",
    ),
    Recorded(
        "error_inside_200",
        "openai_chat",
        False,
        to_json(CHAT_ERROR),
        error_code="server_error",
        status="provider_error",
        error_class="server_error",
    ),
    Recorded(
        "cut",
        "openai_chat",
        False,
        chat_document({}, "stop", chat_usage(9, 3))[:-20],
        complete=False,
        status="proxy_error",
        error_class="unreadable_answer",
    ),
    Recorded(
        "plain",
        "openai_chat",
        True,
        CHAT_ROLE + CHAT_TEXT + chat_chunk({}, "stop") + chat_chunk(usage=chat_usage(9, 3)) + CHAT_DONE,
        ("start", "content", "finish", "usage", "done"),
        Tokens(9, 3, 0, 0, 0),
        "stop",
    ),
    Recorded(
        "no_usage_asked_for",
        "openai_chat",
        True,
        CHAT_ROLE + CHAT_TEXT + chat_chunk({}, "stop", usage=None) + CHAT_DONE,
        ("start", "content", "finish", "done"),
        Tokens(),
        "stop",
    ),
    Recorded(
        "cache_read",
        "openai_chat",
        True,
        CHAT_ROLE + CHAT_TEXT + chat_chunk({}, "stop") + chat_chunk(usage=chat_usage(2006, 3, cached=1920)) + CHAT_DONE,
        ("start", "content", "finish", "usage", "done"),
        Tokens(2006, 3, 1920, 0, 0),
        "stop",
    ),
    Recorded(
        "cache_write",
        "openai_chat",
        True,
        CHAT_ROLE
        + CHAT_TEXT
        + chat_chunk({}, "stop")
        + chat_chunk(usage=chat_usage(2006, 3, written=1024))
        + CHAT_DONE,
        ("start", "content", "finish", "usage", "done"),
        Tokens(2006, 3, 0, 1024, 0),
        "stop",
    ),
    Recorded(
        "reasoning",
        "openai_chat",
        True,
        CHAT_ROLE
        + chat_chunk({"reasoning_content": WORD})
        + CHAT_TEXT
        + chat_chunk({}, "stop")
        + chat_chunk(usage=chat_usage(9, 500, reasoning=448))
        + CHAT_DONE,
        ("start", "reasoning", "content", "finish", "usage", "done"),
        Tokens(9, 500, 0, 0, 448),
        "stop",
    ),
    Recorded(
        "tool_call",
        "openai_chat",
        True,
        CHAT_ROLE
        + chat_chunk(chat_tool(0, "call_1", "spread", ""))
        + chat_chunk(chat_tool(0, None, None, f'{{"what":"{WORD}"}}'))
        + chat_chunk({}, "tool_calls", usage=chat_usage(50, 20))
        + CHAT_DONE,
        ("start", "tool", "tool", "finish", "done"),  # usage beside the finish reason
        Tokens(50, 20, 0, 0, 0),
        "tool_calls",
        1,
    ),
    Recorded(
        "parallel_tool_calls",
        "openai_chat",
        True,
        CHAT_ROLE
        + chat_chunk(chat_tool(0, "call_1", "spread", WORD))
        + chat_chunk(chat_tool(1, "call_2", "spread", ""))
        + chat_chunk(chat_tool(1, None, None, WORD))
        + chat_chunk({}, "tool_calls")
        + chat_chunk(usage=chat_usage(50, 40))
        + CHAT_DONE,
        ("start", "tool", "tool", "tool", "finish", "usage", "done"),
        Tokens(50, 40, 0, 0, 0),
        "tool_calls",
        2,
    ),
    Recorded(
        "parallel_tool_calls_at_one_position",
        "openai_chat",
        True,
        chat_chunk(chat_tool(0, "call_1", "spread", WORD))
        + chat_chunk(chat_tool(0, "call_2", "spread", WORD))
        + chat_chunk({}, "tool_calls")
        + CHAT_DONE,
        ("tool", "tool", "finish", "done"),
        Tokens(),
        "tool_calls",
        2,
    ),
    Recorded(
        "error_before_first_byte",
        "openai_chat",
        True,
        to_json({"error": {"message": f"slow down, {WORD}", "type": "None", "param": "None", "code": "429"}}),
        error_code="429",
        http_status=429,
        status="proxy_error",
        error_class="rate_limit",
    ),
    Recorded(
        "error_mid_stream",
        "openai_chat",
        True,
        CHAT_ROLE + CHAT_TEXT + b"data: " + to_json(CHAT_ERROR) + b"\n\n" + CHAT_DONE,
        ("start", "content", "error", "done"),
        error_code="server_error",
        status="provider_error",
        error_class="server_error",
    ),
    Recorded(
        "cut",
        "openai_chat",
        True,
        CHAT_ROLE + CHAT_TEXT + CHAT_TEXT[:-1],  # the second text's blank line never came
        ("start", "content"),
        complete=False,
        status="proxy_error",
        error_class="incomplete_stream",
    ),
    Recorded(
        "cut_before_done",
        "openai_chat",
        True,
        CHAT_ROLE + CHAT_TEXT + chat_chunk({}, "stop", usage=chat_usage(9, 3)),
        ("start", "content", "finish"),
        Tokens(9, 3, 0, 0, 0),
        "stop",
        complete=False,
        status="proxy_error",
        error_class="incomplete_stream",
    ),
)
