"""The records of many requests, as a gateway writes them: four a request, in turns, of true length, and its row."""

from __future__ import annotations

import hashlib
import random
from collections import deque
from collections.abc import Iterator
from typing import Any

import msgspec

from agentdyno.core.evidence import Evidence, read_record
from agentdyno.core.exchange import (
    Anatomy,
    Answered,
    Entered,
    Identity,
    Made,
    Price,
    PriceTier,
    Routed,
    SpoolRecord,
    Tried,
)
from agentdyno.core.ids import time_ordered_id
from agentdyno.core.normalize import RequestRow, made, normalize

SESSIONS = 50
_IN_FLIGHT = 8
_START_US = 1_790_000_000_000_000
_PATHS = {"openai_chat": "/v1/chat/completions", "anthropic_messages": "/v1/messages"}
_PRICE = Price("litellm-1.106.2", [PriceTier(6e-7, 2.2e-6, cache_read_usd=1.1e-7, cache_write_usd=6e-7)])
_NO_DETAILS = {"audio_tokens": None, "text_tokens": None, "image_tokens": None, "video_tokens": None}


def records(requests: int, seed: int = 0) -> Iterator[SpoolRecord]:
    """What becomes of so many requests. A request's records are in their order, between those of seven others."""
    chance = random.Random(seed)
    identities = [_identity(chance) for _ in range(SESSIONS)]
    in_flight: deque[tuple[Tried, Answered, Routed]] = deque()
    for number in range(requests):
        answered = _answered(chance, _entered(chance, number, chance.choice(identities)))
        yield answered.entered
        in_flight.append((_tried(answered), answered, _routed(answered)))
        if len(in_flight) == _IN_FLIGHT:
            yield from in_flight.popleft()
    for rest in in_flight:
        yield from rest


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
        attempts=1,
        anatomy=_anatomy(chance),
        price=_PRICE,
    )


def _anatomy(chance: random.Random) -> Anatomy:
    """Of a conversation of some 24 messages."""
    messages = chance.randrange(2, 46)
    kinds = ("tools", "system", *(("user", "assistant", "tool_result")[place % 3] for place in range(messages)))
    sizes = [chance.randrange(200, 9_000) for _ in kinds]
    prefix = [(kind, size, chance.randbytes(6).hex()) for kind, size in zip(kinds, sizes, strict=True)]
    return Anatomy(sizes[1], 12, sizes[0], sum(sizes[2::3]), sum(sizes[4::3]), 0, messages, prefix)


def _tried(answered: Answered) -> Tried:
    """The provider's own answer, of which the harness was told the same."""
    entered = answered.entered
    return Tried(
        request_key=entered.request_key,
        attempt=1,
        at_us=entered.at_us + answered.ended_offset_us - 800,
        begun_offset_us=4_000,
        ended_offset_us=answered.ended_offset_us - 800,
        request_bytes=entered.request_bytes,
        response_bytes=answered.response_bytes,
        surface=entered.surface,
        head_offset_us=180_000,
        first_content_offset_us=answered.events[1][1] - 600 if answered.events else None,
        http_status=200,
        provider_request_id=answered.provider_request_id,
        streamed=entered.streamed,
        complete=True,
        usages=answered.usages,
        response_id=answered.response_id,
        model=answered.model,
        finish_reason=answered.finish_reason,
        tool_calls=answered.tool_calls,
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
    """LiteLLM's report, with a usage object of its own making that says what the provider's does."""
    entered, usage = answered.entered, answered.usages[-1]
    chat = entered.surface == "openai_chat"
    read = usage["prompt_tokens_details"]["cached_tokens"] if chat else usage["cache_read_input_tokens"]
    written = 0 if chat else usage["cache_creation_input_tokens"]
    prompt = usage["prompt_tokens"] if chat else usage["input_tokens"] + read + written
    completion = usage["completion_tokens" if chat else "output_tokens"]
    reasoning = usage["completion_tokens_details"]["reasoning_tokens"] if chat else 0
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
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "completion_tokens_details": {"reasoning_tokens": reasoning, **_NO_DETAILS},
            "prompt_tokens_details": {"cached_tokens": read, "cache_creation_tokens": written, **_NO_DETAILS},
        },
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
