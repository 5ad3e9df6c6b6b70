"""Warming LiteLLM up before the gateway says that it is alive.

LiteLLM imports much of itself with the first call of each kind: two seconds that would stand in the first row of the
first session. So calls of each kind, errors included, are made through it to an upstream inside this process.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import httpx
from starlette.types import ASGIApp

from agentdyno.core.dialects.table import call_of
from agentdyno.core.errors import GatewayFault
from agentdyno.core.exchange import Entered
from agentdyno.core.records import Provider, Route, Surface
from agentdyno.gateway.exchange import CURRENT, Exchange
from agentdyno.store.credentials import CredentialScope

_PROVIDER = "~warm-up"  # no entity may be called so
_ANSWERS, _REFUSES = "answers", "refuses"
_CHAT = {
    "id": "warm-up",
    "object": "chat.completion",
    "created": 0,
    "model": _ANSWERS,
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "ok"}}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}
_CHAT_EVENTS: list[dict[str, Any]] = [
    {
        **_CHAT,
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": {"role": "assistant", "content": "ok"}}],
    },
    {**_CHAT, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
]
_MESSAGE = {
    "id": "warm-up",
    "type": "message",
    "role": "assistant",
    "model": _ANSWERS,
    "content": [{"type": "text", "text": "ok"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 1},
}
_MESSAGE_EVENTS: list[dict[str, Any]] = [
    {"type": "message_start", "message": {**_MESSAGE, "content": []}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "ok"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
    {"type": "message_stop"},
]
_RESPONSE = {
    "id": "resp_warm-up",
    "object": "response",
    "created_at": 0,
    "status": "completed",
    "model": _ANSWERS,
    "output": [
        {
            "id": "msg_warm-up",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "ok", "annotations": []}],
        }
    ],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2},
}
_TEXT_DELTA = {"type": "response.output_text.delta", "item_id": "msg_warm-up", "output_index": 0, "content_index": 0}
_RESPONSE_EVENTS: list[dict[str, Any]] = [
    {"type": "response.created", "response": {**_RESPONSE, "status": "in_progress", "output": [], "usage": None}},
    {**_TEXT_DELTA, "delta": "ok"},
    {"type": "response.completed", "response": _RESPONSE},
]
_GENERATED = {
    "candidates": [{"index": 0, "finishReason": "STOP", "content": {"role": "model", "parts": [{"text": "ok"}]}}],
    "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2},
    "modelVersion": _ANSWERS,
}
_MESSAGES = [{"role": "user", "content": "ok"}]


class _Speech(NamedTuple):
    """How the rehearsal speaks on one surface."""

    route: Route
    path: str
    """Where the gateway is asked for an answer of `{model}`."""
    streamed_path: str
    body: dict[str, Any]
    upstream: str
    """What a path ends with where the upstream is asked."""
    document: dict[str, Any]
    events: list[dict[str, Any]]
    last: str = ""
    """What a stream ends with."""


_SPEECHES: Mapping[Surface, _Speech] = MappingProxyType(
    {
        "openai_chat": _Speech(
            Route("openai", "/v1"),
            *("/v1/chat/completions",) * 2,
            {"messages": _MESSAGES, "max_tokens": 1},
            "/chat/completions",
            _CHAT,
            _CHAT_EVENTS,
            "data: [DONE]\n\n",
        ),
        "openai_responses": _Speech(
            Route("openai", "/v1"),
            *("/v1/responses",) * 2,
            {"input": _MESSAGES, "max_output_tokens": 16},
            "/responses",
            _RESPONSE,
            _RESPONSE_EVENTS,
        ),
        "anthropic_messages": _Speech(
            Route("anthropic"),
            *("/v1/messages",) * 2,
            {"messages": _MESSAGES, "max_tokens": 1},
            "/messages",
            _MESSAGE,
            _MESSAGE_EVENTS,
        ),
        "gemini": _Speech(
            Route("gemini"),
            "/v1beta/models/{model}:generateContent",
            "/v1beta/models/{model}:streamGenerateContent",
            {"contents": [{"role": "user", "parts": [{"text": "ok"}]}]},
            "enerateContent",
            _GENERATED,
            [_GENERATED],
        ),
    }
)


def warm_up_provider(port: int) -> Provider:
    """The upstream inside the gateway process, as LiteLLM's configuration names it."""
    return Provider(
        name=_PROVIDER,
        routes={surface: speech.route for surface, speech in _SPEECHES.items()},
        models=(_ANSWERS, _REFUSES),
        base_url=f"http://127.0.0.1:{port}",
    )


async def warm_up(app: ASGIApp, listener: socket.socket) -> None:
    """Make one call of each kind through LiteLLM. Their results do not matter, and none is recorded."""
    upstream = await asyncio.start_server(_serve, sock=listener)
    async with upstream, httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        for speech in _SPEECHES.values():
            for model in (_ANSWERS, _REFUSES):
                await _call(client, speech.path.format(model=model), {**speech.body, "model": model})
                streamed = {**speech.body, "model": model, "stream": True}
                await _call(client, speech.streamed_path.format(model=model), streamed)


async def _call(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> None:
    call, model = call_of("POST", path), body["model"]
    if call is None:
        raise GatewayFault(f"the rehearsal asks for {path}, which is no path of inference")
    entered = Entered(request_key=_PROVIDER, at_us=0, path=path, request_bytes=0, surface=call.surface, model=model)
    scope = CredentialScope("", _PROVIDER, 0, None, "", None, _PROVIDER, _PROVIDER, _PROVIDER, model, None)
    token = CURRENT.set(Exchange(entered, scope, call, time.monotonic_ns(), rehearsal=True))
    try:
        await client.post(path, json=body)
    finally:
        CURRENT.reset(token)


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one HTTP/1.1 request and close."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")), 0)
    request = await reader.readexactly(length)
    status, content_type, body = _answer(head.split(b" ")[1].decode(), request)
    writer.write(f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\nconnection: close\r\n".encode())
    writer.write(f"content-length: {len(body)}\r\n\r\n".encode() + body)
    await writer.drain()
    writer.close()


def _answer(path: str, request: bytes) -> tuple[str, str, bytes]:
    """Status line, content type and body for a request."""
    path = path.partition("?")[0]
    speech = next((speech for speech in _SPEECHES.values() if path.endswith(speech.upstream)), None)
    if speech is None or not request:
        return "200 OK", "application/json", b'{"object":"list","data":[]}'
    asked = json.loads(request)
    if asked.get("model") == _REFUSES:
        error = {"type": "rate_limit_error", "code": "rate_limit_exceeded", "message": "warm-up"}
        return "429 Too Many Requests", "application/json", json.dumps({"type": "error", "error": error}).encode()
    if not (asked.get("stream") or "streamGenerate" in path):
        return "200 OK", "application/json", json.dumps(speech.document).encode()
    events = [f"event: {event.get('type', 'message')}\ndata: {json.dumps(event)}\n\n" for event in speech.events]
    return "200 OK", "text/event-stream", "".join([*events, speech.last]).encode()
