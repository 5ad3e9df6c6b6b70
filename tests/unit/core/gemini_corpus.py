"""Answers of Gemini, written by hand from the vendor's reference."""

from __future__ import annotations

from typing import Any

from tests.unit.core.recorded import WORD, Recorded, to_json

from agentdyno.core.dialects.wire import Tokens


def gemini_usage(prompt: int, candidates: int | None = None, **more: int) -> dict[str, Any]:
    """A usage object as the vendor sends it: what is 0 is left out. `cached` is in the prompt, the rest is apart."""
    told = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": candidates,
        "thoughtsTokenCount": more.get("thoughts"),
        "toolUsePromptTokenCount": more.get("added"),
    }
    counted = {name: count for name, count in told.items() if count is not None}
    cached = {"cachedContentTokenCount": more["cached"]} if "cached" in more else {}
    return {**counted, **cached, "totalTokenCount": sum(counted.values())}


def gemini_chunk(
    *parts: dict[str, Any], finish: str | None = None, usage: dict[str, Any] | None = None
) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    chunk = {"candidates": [candidate], "modelVersion": "gemini-3-pro", "responseId": "mAITaLjkMZ"}
    return chunk if usage is None else {**chunk, "usageMetadata": usage}


def gemini_stream(*chunks: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + to_json(chunk) + b"\r\n\r\n" for chunk in chunks)


def gemini_error(code: int, status: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": f"no {WORD} today", "status": status}}


TEXT = {"text": f"{WORD}\u2028"}
THOUGHT = {"text": WORD, "thought": True}
CALL = {"functionCall": {"name": "spread", "args": {"what": WORD}}, "thoughtSignature": "c2ln"}
_BLOCKED = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT", "note": WORD}, "usageMetadata": gemini_usage(9)}
_BEGINNING = gemini_chunk(TEXT, usage=gemini_usage(9))

GEMINI = (
    Recorded(
        "plain",
        "gemini",
        False,
        to_json(gemini_chunk(TEXT, finish="STOP", usage=gemini_usage(9, 3))),
        (),
        Tokens(9, 3),
        "STOP",
    ),
    Recorded(
        "cache_read",
        "gemini",
        False,
        to_json(gemini_chunk(TEXT, finish="STOP", usage=gemini_usage(2006, 3, cached=1920))),
        (),
        Tokens(2006, 3, 1920),  # the 1920 are among the 2006
        "STOP",
    ),
    Recorded(
        "reasoning",
        "gemini",
        False,
        to_json(gemini_chunk(THOUGHT, TEXT, finish="STOP", usage=gemini_usage(9, 30, thoughts=70))),
        (),
        Tokens(9, 100, reasoning=70),  # 30 candidates + 70 thoughts
        "STOP",
    ),
    Recorded(
        "tool_call",
        "gemini",
        False,
        to_json(gemini_chunk(CALL, finish="STOP", usage=gemini_usage(50, 20))),
        (),
        Tokens(50, 20),
        "STOP",
        1,
    ),
    Recorded(
        "parallel_tool_calls",
        "gemini",
        False,
        to_json(gemini_chunk(TEXT, CALL, CALL, finish="STOP", usage=gemini_usage(50, 40, added=8))),
        (),
        Tokens(58, 40),  # 50 of the prompt + 8 that the server's tools added
        "STOP",
        2,
    ),
    Recorded("blocked", "gemini", False, to_json(_BLOCKED), (), Tokens(9), "PROHIBITED_CONTENT"),
    Recorded(
        "array",
        "gemini",
        True,
        to_json([_BEGINNING, gemini_chunk(CALL, finish="STOP", usage=gemini_usage(9, 5))]),
        (),
        Tokens(9, 5),
        "STOP",
        1,
    ),
    Recorded(
        "error_before_first_byte",
        "gemini",
        False,
        to_json(gemini_error(429, "RESOURCE_EXHAUSTED")),
        error_code="RESOURCE_EXHAUSTED",
        http_status=429,
        status="proxy_error",
        error_class="rate_limit",
    ),
    Recorded(
        "error_of_litellm",
        "gemini",
        False,
        to_json({"error": {"message": f"no {WORD}", "type": "throttling_error", "param": None, "code": "429"}}),
        error_code="429",
        http_status=429,
        status="proxy_error",
        error_class="rate_limit",
    ),
    Recorded(
        "error_inside_200",
        "gemini",
        False,
        to_json([gemini_error(400, "INVALID_ARGUMENT")]),
        error_code="INVALID_ARGUMENT",
        status="provider_error",
        error_class="invalid_request",
    ),
    Recorded(
        "cut",
        "gemini",
        False,
        to_json(gemini_chunk(TEXT, finish="STOP", usage=gemini_usage(9, 3)))[:-4],
        complete=False,
        status="proxy_error",
        error_class="unreadable_answer",
    ),
    Recorded(
        "plain",
        "gemini",
        True,
        gemini_stream(_BEGINNING, gemini_chunk(TEXT, finish="STOP", usage=gemini_usage(9, 6))),
        ("content", "content"),
        Tokens(9, 6),
        "STOP",
    ),
    Recorded(
        "cache_read",
        "gemini",
        True,
        gemini_stream(
            gemini_chunk(TEXT, usage=gemini_usage(2006, cached=1920)),
            gemini_chunk(TEXT, usage=gemini_usage(2006, 2)),
            gemini_chunk({"text": ""}, finish="STOP", usage=gemini_usage(2006, 6)),
        ),
        ("content", "content", "finish"),
        Tokens(2006, 6, 1920),  # the last that was said of each figure
        "STOP",
    ),
    Recorded(
        "reasoning",
        "gemini",
        True,
        gemini_stream(
            gemini_chunk(THOUGHT, usage=gemini_usage(9, thoughts=40)),
            gemini_chunk(THOUGHT, TEXT, usage=gemini_usage(9, 2, thoughts=70)),
            gemini_chunk(TEXT, finish="STOP", usage=gemini_usage(9, 30, thoughts=70)),
        ),
        ("reasoning", "reasoning", "content"),
        Tokens(9, 100, reasoning=70),
        "STOP",
    ),
    Recorded(
        "tool_call",
        "gemini",
        True,
        gemini_stream(gemini_chunk(CALL), gemini_chunk(finish="STOP", usage=gemini_usage(50, 20))),
        ("tool", "finish"),
        Tokens(50, 20),
        "STOP",
        1,
    ),
    Recorded(
        "parallel_tool_calls",
        "gemini",
        True,
        gemini_stream(gemini_chunk(CALL, CALL), gemini_chunk(finish="STOP"), gemini_chunk(usage=gemini_usage(50, 40))),
        ("tool", "finish", "usage"),
        Tokens(50, 40),
        "STOP",
        2,
    ),
    Recorded(
        "tool_call_in_pieces",
        "gemini",
        True,
        gemini_stream(
            gemini_chunk({"functionCall": {"name": "spread", "willContinue": True}}),
            gemini_chunk({"functionCall": {"partialArgs": [{"stringValue": WORD}], "willContinue": True}}),
            gemini_chunk({"functionCall": {}}, finish="STOP"),
        ),
        ("tool", "tool", "tool"),
        Tokens(),
        "STOP",
        1,
    ),
    Recorded("blocked", "gemini", True, gemini_stream(_BLOCKED), ("finish",), Tokens(9), "PROHIBITED_CONTENT"),
    Recorded(
        "error_before_first_byte",
        "gemini",
        True,
        to_json([gemini_error(503, "UNAVAILABLE")]),
        error_code="UNAVAILABLE",
        http_status=503,
        status="proxy_error",
        error_class="overloaded",
    ),
    Recorded(
        "rate_limit_inside_200",
        "gemini",
        True,
        gemini_stream(gemini_error(429, "RESOURCE_EXHAUSTED")),
        ("error",),
        error_code="RESOURCE_EXHAUSTED",
        complete=False,
        status="provider_error",
        error_class="rate_limit",
    ),
    Recorded(
        "error_mid_stream",
        "gemini",
        True,
        gemini_stream(_BEGINNING, gemini_error(503, "UNAVAILABLE")),
        ("content", "error"),
        Tokens(9),
        error_code="UNAVAILABLE",
        complete=False,
        status="provider_error",
        error_class="overloaded",
    ),
    Recorded(
        "cut",
        "gemini",
        True,
        gemini_stream(_BEGINNING, gemini_chunk(TEXT, usage=gemini_usage(9, 2))),
        ("content", "content"),
        Tokens(9, 2),  # a running total, which the row does not take
        complete=False,
        status="proxy_error",
        error_class="incomplete_stream",
    ),
)
