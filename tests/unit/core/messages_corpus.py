"""Answers of Anthropic's messages, written by hand from the vendor's reference."""

from __future__ import annotations

from typing import Any

from tests.unit.core.recorded import WORD, Recorded, to_json

from agentdyno.core.dialects.wire import Tokens


def messages_usage(uncached: int, output: int, *, read: int = 0, written: int = 0) -> dict[str, Any]:
    return {
        "input_tokens": uncached,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": output,
        "service_tier": "standard",
    }


def messages_event(kind: str, **more: Any) -> bytes:
    return f"event: {kind}\n".encode() + b"data: " + to_json({"type": kind, **more}) + b"\n\n"


def messages_start(usage: dict[str, Any]) -> bytes:
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-4",
        "content": [],
        "usage": usage,
    }
    return messages_event("message_start", message=message)


def messages_delta(**delta: Any) -> bytes:
    return messages_event("content_block_delta", index=0, delta=delta)


def messages_block(**block: Any) -> bytes:
    return messages_event("content_block_start", index=0, content_block=block)


def messages_end(reason: str, usage: dict[str, Any]) -> bytes:
    stop = messages_event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage=usage)
    return messages_event("content_block_stop", index=0) + stop + messages_event("message_stop")


def messages_document(content: list[dict[str, Any]], reason: str, usage: dict[str, Any]) -> bytes:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-4", "stop_reason": reason}
    return to_json({**message, "content": content, "usage": usage})


_TEXT = {"type": "text", "text": WORD}
_TOOL_USE = {"type": "tool_use", "id": "toolu_1", "name": "spread", "input": {"what": WORD}}
_THOUGHT = {"type": "thinking", "thinking": WORD, "signature": "c2ln"}
_OPEN_TEXT = messages_block(type="text", text="")
_OPEN_TOOL = messages_block(type="tool_use", id="toolu_1", name="spread", input={})
_DELTA_TEXT = messages_delta(type="text_delta", text=WORD)
_DELTA_TOOL = messages_delta(type="input_json_delta", partial_json="") + messages_delta(
    type="input_json_delta", partial_json=f'{{"what":"{WORD}"}}'
)
_TEXT_KINDS = ("start", "other", "ping", "content", "other", "finish", "done")
_OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": f"too much {WORD}"}}
_PING = messages_event("ping")

MESSAGES = (
    Recorded(
        "plain",
        "anthropic_messages",
        False,
        messages_document([_TEXT], "end_turn", messages_usage(12, 6)),
        (),
        Tokens(12, 6, 0, 0, None),
        "end_turn",
    ),
    Recorded(
        "cache_read",
        "anthropic_messages",
        False,
        messages_document([_TEXT], "end_turn", messages_usage(12, 6, read=2000)),
        (),
        Tokens(2012, 6, 2000, 0, None),  # 12 uncached + 2000 read
        "end_turn",
    ),
    Recorded(
        "cache_write",
        "anthropic_messages",
        False,
        messages_document([_TEXT], "end_turn", messages_usage(12, 6, read=2000, written=300)),
        (),
        Tokens(2312, 6, 2000, 300, None),  # 12 uncached + 2000 read + 300 written
        "end_turn",
    ),
    Recorded(
        "reasoning",
        "anthropic_messages",
        False,
        messages_document(
            [_THOUGHT, _TEXT], "end_turn", {**messages_usage(12, 90), "output_tokens_details": {"thinking_tokens": 80}}
        ),
        (),
        Tokens(12, 90, 0, 0, 80),
        "end_turn",
    ),
    Recorded(
        "tool_call",
        "anthropic_messages",
        False,
        messages_document([_TEXT, _TOOL_USE], "tool_use", messages_usage(12, 40)),
        (),
        Tokens(12, 40, 0, 0, None),
        "tool_use",
        1,
    ),
    Recorded(
        "parallel_tool_calls",
        "anthropic_messages",
        False,
        messages_document([_TOOL_USE, _TOOL_USE | {"id": "toolu_2"}], "tool_use", messages_usage(12, 80)),
        (),
        Tokens(12, 80, 0, 0, None),
        "tool_use",
        2,
    ),
    Recorded(
        "error_before_first_byte",
        "anthropic_messages",
        False,
        to_json(_OVERLOADED),
        error_code="overloaded_error",
        http_status=529,
        status="proxy_error",
        error_class="overloaded",
    ),
    Recorded(
        "error_inside_200",
        "anthropic_messages",
        False,
        to_json(_OVERLOADED),
        error_code="overloaded_error",
        status="provider_error",
        error_class="overloaded",
    ),
    Recorded(
        "cut",
        "anthropic_messages",
        False,
        messages_document([_TEXT], "end_turn", messages_usage(12, 6))[:-5],
        complete=False,
        status="proxy_error",
        error_class="unreadable_answer",
    ),
    Recorded(
        "plain",
        "anthropic_messages",
        True,
        messages_start(messages_usage(12, 1))
        + _OPEN_TEXT
        + _PING
        + _DELTA_TEXT
        + messages_end("end_turn", {"output_tokens": 6}),
        _TEXT_KINDS,
        Tokens(12, 6, 0, 0, None),  # the final output is 6, not the 1 that the start foretold
        "end_turn",
    ),
    Recorded(
        "usage_known_only_at_the_end",
        "anthropic_messages",
        True,
        messages_start(messages_usage(0, 0))
        + _OPEN_TEXT
        + _PING
        + _DELTA_TEXT
        + messages_end("end_turn", messages_usage(12, 6)),
        _TEXT_KINDS,
        Tokens(12, 6, 0, 0, None),
        "end_turn",
    ),
    Recorded(
        "cache_read",
        "anthropic_messages",
        True,
        messages_start(messages_usage(12, 1, read=2000))
        + _OPEN_TEXT
        + _PING
        + _DELTA_TEXT
        + messages_end("end_turn", {"output_tokens": 6}),
        _TEXT_KINDS,
        Tokens(2012, 6, 2000, 0, None),
        "end_turn",
    ),
    Recorded(
        "cache_write",
        "anthropic_messages",
        True,
        messages_start(messages_usage(12, 1, read=2000, written=300))
        + _OPEN_TEXT
        + _PING
        + _DELTA_TEXT
        + messages_end("end_turn", {"output_tokens": 6}),
        _TEXT_KINDS,
        Tokens(2312, 6, 2000, 300, None),
        "end_turn",
    ),
    Recorded(
        "reasoning",
        "anthropic_messages",
        True,
        messages_start(messages_usage(12, 1))
        + messages_block(type="thinking", thinking="", signature="")
        + messages_delta(type="thinking_delta", thinking=WORD)
        + messages_delta(type="signature_delta", signature="c2ln")
        + _DELTA_TEXT
        + messages_end("end_turn", {"output_tokens": 90, "output_tokens_details": {"thinking_tokens": 80}}),
        ("start", "other", "reasoning", "other", "content", "other", "finish", "done"),
        Tokens(12, 90, 0, 0, 80),
        "end_turn",
    ),
    Recorded(
        "tool_call",
        "anthropic_messages",
        True,
        messages_start(messages_usage(12, 1))
        + _OPEN_TOOL
        + _DELTA_TOOL
        + messages_end("tool_use", {"output_tokens": 40}),
        ("start", "tool", "other", "tool", "other", "finish", "done"),
        Tokens(12, 40, 0, 0, None),
        "tool_use",
        1,
    ),
    Recorded(
        "parallel_tool_calls",
        "anthropic_messages",
        True,
        messages_start(messages_usage(12, 1))
        + _OPEN_TOOL
        + _DELTA_TOOL
        + _OPEN_TOOL
        + _DELTA_TOOL
        + messages_end("tool_use", {"output_tokens": 80}),
        ("start", "tool", "other", "tool", "tool", "other", "tool", "other", "finish", "done"),
        Tokens(12, 80, 0, 0, None),
        "tool_use",
        2,
    ),
    Recorded(
        "error_before_first_byte",
        "anthropic_messages",
        True,
        to_json({"type": "error", "error": {"type": "authentication_error", "message": f"wrong {WORD}"}}),
        error_code="authentication_error",
        http_status=401,
        status="proxy_error",
        error_class="authentication",
    ),
    Recorded(
        "error_mid_stream",
        "anthropic_messages",
        True,
        messages_start(messages_usage(12, 1)) + _DELTA_TEXT + messages_event("error", error=_OVERLOADED["error"]),
        ("start", "content", "error"),
        Tokens(12, None, 0, 0, None),
        error_code="overloaded_error",
        complete=False,
        status="provider_error",
        error_class="overloaded",
    ),
    Recorded(
        "cut",
        "anthropic_messages",
        True,
        messages_start(messages_usage(12, 1, read=2000)) + _OPEN_TEXT + _PING + _DELTA_TEXT,
        ("start", "other", "ping", "content"),
        Tokens(2012, None, 2000, 0, None),  # 1 is only what the start said
        complete=False,
        status="proxy_error",
        error_class="incomplete_stream",
    ),
)
