"""The records of many requests, as a gateway writes them: three a request, in turns, of true length, and its row."""

from __future__ import annotations

import hashlib
import random
from collections import deque
from collections.abc import Iterator
from typing import Any

import msgspec

from agentdyno.core.evidence import Evidence, read_record
from agentdyno.core.exchange import Answered, Entered, Identity, Made, Routed, SpoolRecord
from agentdyno.core.ids import time_ordered_id
from agentdyno.core.normalize import RequestRow, made, normalize

SESSIONS = 50
_IN_FLIGHT = 8
_START_US = 1_790_000_000_000_000
_PATHS = {"openai_chat": "/v1/chat/completions", "anthropic_messages": "/v1/messages"}
_NO_DETAILS = {"audio_tokens": None, "text_tokens": None, "image_tokens": None, "video_tokens": None}


def records(requests: int, seed: int = 0) -> Iterator[SpoolRecord]:
    """What becomes of so many requests. A request's records are in their order, between those of seven others."""
    chance = random.Random(seed)
    identities = [_identity(chance) for _ in range(SESSIONS)]
    in_flight: deque[tuple[Answered, Routed]] = deque()
    for number in range(requests):
        answered = _answered(chance, _entered(chance, number, chance.choice(identities)))
        yield answered.entered
        in_flight.append((answered, _routed(answered)))
        if len(in_flight) == _IN_FLIGHT:
            yield from in_flight.popleft()
    for pair in in_flight:
        yield from pair


def _identity(chance: random.Random) -> Identity:
    session_id = time_ordered_id("ses", _START_US, chance.randbytes(10))
    key_hash = hashlib.sha256(chance.randbytes(32)).hexdigest()
    alias = f"claude-code-glm/fix-the-parser/{session_id[-6:]}"
    return Identity(session_id, "claude-code-glm", "fix-the-parser", "openrouter", key_hash, alias, "glm-or-not")


def _entered(chance: random.Random, number: int, identity: Identity) -> Entered:
    at_us = _START_US + number * 1_000
    surface = "openai_chat" if number % 2 else "anthropic_messages"
    return Entered(
        request_key=time_ordered_id("req", at_us, chance.randbytes(10)),
        at_us=at_us,
        path=_PATHS[surface],
        request_bytes=chance.randrange(2_000, 200_000),
        surface=surface,
        model="z-ai/glm-4.6",
        streamed=number % 4 < 3,
        identity=identity,
    )


def _answered(chance: random.Random, entered: Entered) -> Answered:
    """An answer in some 24 events, or in one document."""
    chat = entered.surface == "openai_chat"
    events: list[tuple[str, int, int]] = []
    offset_us = chance.randrange(200_000, 2_000_000)
    if entered.streamed:
        for kind in ("start", *["content"] * chance.randrange(12, 28), "tool", "finish", "usage", "done"):
            offset_us += chance.randrange(5_000, 40_000)
            events.append((kind, offset_us, chance.randrange(90, 300)))
    usage = _chat_usage(chance) if chat else _messages_usage(chance)
    return Answered(
        entered=entered,
        ended_offset_us=offset_us + 700,
        response_bytes=chance.randrange(1_000, 9_000),
        http_status=200,
        complete=True,
        forwarded=True,
        events=events,
        usages=[usage, usage] if events and not chat else [usage],
        response_id=f"{'chatcmpl' if chat else 'msg'}-{chance.randbytes(12).hex()}",
        model="z-ai/glm-4.6",
        finish_reason="tool_calls" if chat else "tool_use",
        tool_calls=1,
        provider_request_id=f"req_{chance.randbytes(12).hex()}",
    )


def _chat_usage(chance: random.Random) -> dict[str, Any]:
    prompt, completion = chance.randrange(2_000, 60_000), chance.randrange(10, 800)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"audio_tokens": 0, "cached_tokens": chance.randrange(prompt)},
        "completion_tokens_details": {"audio_tokens": 0, "reasoning_tokens": chance.randrange(completion)},
    }


def _messages_usage(chance: random.Random) -> dict[str, Any]:
    return {
        "input_tokens": chance.randrange(1, 2_000),
        "cache_creation_input_tokens": chance.randrange(3_000),
        "cache_read_input_tokens": chance.randrange(60_000),
        "output_tokens": chance.randrange(10, 800),
        "service_tier": 0,
    }


def _routed(answered: Answered) -> Routed:
    """LiteLLM's report, with a usage object of its own making."""
    entered, usage = answered.entered, answered.usages[-1]
    prompt = usage.get("prompt_tokens", usage.get("input_tokens"))
    return Routed(
        request_key=entered.request_key,
        at_us=entered.at_us + answered.ended_offset_us + 900,
        status="success",
        litellm_call_id=entered.request_key,
        litellm_provider="openrouter",
        model="openrouter/z-ai/glm-4.6",
        api_base="https://openrouter.ai/api/v1",
        response_id=answered.response_id,
        provider_request_id=answered.provider_request_id,
        usage={
            "prompt_tokens": prompt,
            "completion_tokens": 9,
            "total_tokens": prompt,
            "completion_tokens_details": {"reasoning_tokens": 0, **_NO_DETAILS},
            "prompt_tokens_details": {"cached_tokens": 0, "cache_creation_tokens": 0, **_NO_DETAILS},
        },
        cost_usd=0.0123,
        price_table_version="2026-01-15",
    )


def spooled(requests: int, gateway_id: str) -> Iterator[SpoolRecord]:
    """All that a gateway writes of so many requests: their records and, after the last of each, its row."""
    heard: dict[str, Evidence] = {}
    for record in records(requests):
        yield record
        line = msgspec.json.encode(record) + b"\n"
        read = read_record(line)
        evidence = heard.setdefault(read.request_key, Evidence())
        evidence.hear(read, line)
        if evidence.settled:
            yield made(normalize(heard.pop(read.request_key), gateway_id))


def rows_of(requests: int, gateway_id: str) -> list[RequestRow]:
    """The rows of so many requests."""
    return [record.row for record in spooled(requests, gateway_id) if isinstance(record, Made)]
