"""Warming LiteLLM up before the gateway says that it is alive.

LiteLLM imports much of itself with the first call of each kind: two seconds that would stand in the first row of the
first session. So calls of each kind, errors included, are made through it to an upstream inside this process.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from typing import Any

import httpx
from starlette.types import ASGIApp

from agentdyno.core.exchange import Entered
from agentdyno.core.records import Provider, Route, Surface
from agentdyno.gateway.ingress import CURRENT, Exchange
from agentdyno.store.ledger import CredentialScope

_PROVIDER = "~warm-up"  # no entity may be called so
_ANSWERS, _REFUSES = "answers", "refuses"
_PATHS: dict[Surface, str] = {"openai_chat": "/v1/chat/completions", "anthropic_messages": "/v1/messages"}

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


def warm_up_provider(port: int) -> Provider:
    """The upstream inside the gateway process, as LiteLLM's configuration names it."""
    return Provider(
        name=_PROVIDER,
        routes={"openai_chat": Route("openai", "/v1"), "anthropic_messages": Route("anthropic")},
        models=(_ANSWERS, _REFUSES),
        base_url=f"http://127.0.0.1:{port}",
    )


async def warm_up(app: ASGIApp, listener: socket.socket) -> None:
    """Make one call of each kind through LiteLLM. Their results do not matter, and none is recorded."""
    upstream = await asyncio.start_server(_serve, sock=listener)
    async with upstream, httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        for surface, path in _PATHS.items():
            for model in (_ANSWERS, _REFUSES):
                for streamed in (False, True):
                    await _call(client, surface, path, model, streamed=streamed)


async def _call(client: httpx.AsyncClient, surface: Surface, path: str, model: str, *, streamed: bool) -> None:
    entered = Entered(request_key=_PROVIDER, at_us=0, path=path, request_bytes=0, surface=surface, model=model)
    scope = CredentialScope("", _PROVIDER, 0, None, "", None, _PROVIDER, _PROVIDER, _PROVIDER, model, None)
    token = CURRENT.set(Exchange(entered, scope, surface, time.monotonic_ns(), rehearsal=True))
    try:
        message = {"role": "user", "content": "ok"}
        await client.post(path, json={"model": model, "max_tokens": 1, "messages": [message], "stream": streamed})
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
    if not request:
        return "200 OK", "application/json", b'{"object":"list","data":[]}'
    asked = json.loads(request)
    chat = path.endswith("/chat/completions")
    if asked.get("model") == _REFUSES:
        error = {"type": "rate_limit_error", "code": "rate_limit_exceeded", "message": "warm-up"}
        return "429 Too Many Requests", "application/json", json.dumps({"type": "error", "error": error}).encode()
    if not asked.get("stream"):
        return "200 OK", "application/json", json.dumps(_CHAT if chat else _MESSAGE).encode()
    if chat:
        events = [f"data: {json.dumps(event)}\n\n" for event in _CHAT_EVENTS] + ["data: [DONE]\n\n"]
    else:
        events = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in _MESSAGE_EVENTS]
    return "200 OK", "text/event-stream", "".join(events).encode()
