"""What the stand-in's models answer, as OpenAI's chat and Anthropic's messages have it, streamed or not."""

from __future__ import annotations

import json
from typing import Any

WORDS = "planted words of an answer"


def document(path: str, request_id: str, model: str, usage: dict[str, Any]) -> dict[str, Any]:
    if path == "/v1/messages":
        cached, written = 12, 7
        return {
            "id": request_id,
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [{"type": "text", "text": WORDS}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {
                "input_tokens": usage["prompt_tokens"] - cached - written,
                "output_tokens": usage["completion_tokens"],
                "cache_read_input_tokens": cached,
                "cache_creation_input_tokens": written,
            },
        }
    message = {"role": "assistant", "content": WORDS}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return {
        "id": request_id,
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [choice],
        "usage": usage,
    }


def events(path: str, answer: dict[str, Any]) -> str:
    """A document as the stream of its surface."""
    if path == "/v1/messages":
        start = {**answer, "content": [], "stop_reason": None}
        events: list[dict[str, Any]] = [
            {"type": "message_start", "message": start},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": WORDS}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": answer["usage"]},
            {"type": "message_stop"},
        ]
        return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
    chunk = {**{name: answer[name] for name in ("id", "created", "model")}, "object": "chat.completion.chunk"}
    delta = {"role": "assistant", "content": WORDS}
    chunks = [
        {**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": "stop"}]},
        {**chunk, "choices": [], "usage": answer["usage"]},
    ]
    return "".join(f"data: {json.dumps(item)}\n\n" for item in chunks) + "data: [DONE]\n\n"
