"""A provider of the test's own, over raw sockets: it compresses, stalls, floods, and notices when nobody listens."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
import threading
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.compression import ENCODERS, header_of

WORD = "measured"
FLOOD_WORDS = 500
REQUEST_ID = "req-of-the-wire"
_TEXT = {"type": "text", "text": WORD}


class Spoken(NamedTuple):
    """What one surface says: a document, a stream's events, and an event that may be repeated without end."""

    document: dict[str, Any]
    events: list[dict[str, Any]]
    """The second of them has the first content."""
    terminal: str = ""
    """What a stream ends with behind its events."""


def _chat() -> Spoken:
    head = {"id": "chatcmpl-1", "created": 0, "model": "m"}
    usage = {
        **{"prompt_tokens": 31, "completion_tokens": 17, "total_tokens": 48},
        "prompt_tokens_details": {"cached_tokens": 11},
        "completion_tokens_details": {"reasoning_tokens": 5},
    }
    chunk = {**head, "object": "chat.completion.chunk"}

    def choice(delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
        return {**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}

    message = {"role": "assistant", "content": WORD}
    return Spoken(
        {
            **head,
            "object": "chat.completion",
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            "usage": usage,
        },
        [
            choice({"role": "assistant", "content": ""}),
            choice({"content": WORD}),
            choice({}, "stop"),
            {**chunk, "choices": [], "usage": usage},
        ],
        "data: [DONE]\n\n",
    )


def _responses() -> Spoken:
    usage = {
        **{"input_tokens": 31, "output_tokens": 17, "total_tokens": 48},
        "input_tokens_details": {"cached_tokens": 11},
        "output_tokens_details": {"reasoning_tokens": 5},
    }
    part = {"type": "output_text", "text": WORD, "annotations": []}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    settings = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
    response = {"id": "resp_1", "object": "response", "created_at": 0, "model": "m", **settings}
    whole = {**response, "status": "completed", "output": [item], "usage": usage}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    return Spoken(
        whole,
        [
            {"type": "response.created", "sequence_number": 0, "response": begun},
            {"type": "response.output_text.delta", "sequence_number": 1, **place, "delta": WORD, "logprobs": []},
            {"type": "response.completed", "sequence_number": 2, "response": whole},
        ],
    )


def _messages() -> Spoken:
    # 11 of the 31 were read from the cache.
    usage = {"input_tokens": 20, "cache_read_input_tokens": 11, "cache_creation_input_tokens": 0, "output_tokens": 17}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_sequence": None}
    begun: dict[str, Any] = {**message, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    return Spoken(
        {**message, "content": [_TEXT], "stop_reason": "end_turn", "usage": usage},
        [
            {"type": "message_start", "message": begun},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": WORD}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 17}},
            {"type": "message_stop"},
        ],
    )


def _gemini() -> Spoken:
    # 12 candidates' tokens and 5 of thoughts make 17.
    usage = {
        **{"promptTokenCount": 31, "candidatesTokenCount": 12, "thoughtsTokenCount": 5, "totalTokenCount": 48},
        "cachedContentTokenCount": 11,
    }

    def candidate(text: str, **more: str) -> dict[str, Any]:
        return {"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": text}]}, **more}]}

    identity = {"modelVersion": "m", "responseId": "gen-1"}
    whole = {**candidate(WORD, finishReason="STOP"), "usageMetadata": usage, **identity}
    early = {"usageMetadata": {"promptTokenCount": 31}, **identity}
    return Spoken(whole, [{**candidate(""), **early}, {**candidate(WORD), **early}, whole])


def _bedrock() -> Spoken:
    message = {"role": "assistant", "content": [{"text": WORD}]}
    usage = {"inputTokens": 31, "outputTokens": 17, "totalTokens": 48}
    return Spoken(
        {"output": {"message": message}, "stopReason": "end_turn", "usage": usage, "metrics": {"latencyMs": 1}}, []
    )


SPOKEN: Mapping[str, Spoken] = {
    "/chat/completions": _chat(),
    "/responses": _responses(),
    "/messages": _messages(),
    ":generateContent": _gemini(),
    ":streamGenerateContent": _gemini(),
    "/converse": _bedrock(),
}
TOLD = {"input_tokens": 31, "output_tokens": 17, "cache_read_tokens": 11, "reasoning_tokens": 5}
"""What every surface says was used, by our definitions; messages do not tell their reasoning."""


def event_bytes(event: dict[str, Any]) -> bytes:
    """One event as it stands in a stream."""
    named = f"event: {event['type']}\n" if "type" in event else ""
    return f"{named}data: {json.dumps(event)}\n\n".encode()


MODEL = "m"
_MANNER = re.compile(rb"answer: ([a-z-]+)")


@dataclass
class Served:
    """One request, as the provider saw it."""

    path: str
    headers: dict[str, str]
    body: bytes
    sent_bytes: int = 0
    whole: bool = False
    """All of the answer went out."""
    hung_up: bool = False
    """The other side closed the connection before that."""

    @property
    def manner(self) -> str:
        """How it was asked to answer."""
        found = _MANNER.search(self.body)
        return "identity" if found is None else found[1].decode()


@dataclass
class WireProvider:
    """Speaks all surfaces on loopback, in the manner that the prompt asks for.

    An encoding's name: it answers in that. `silent`: it takes the request and says nothing. `halts`: it says the first
    half and no more. `floods`: it streams as fast as it can, without end.
    """

    served: list[Served] = field(default_factory=list)

    def __enter__(self) -> WireProvider:
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._converse, "127.0.0.1", 0))
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    async def _stop(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError), contextlib.closing(writer):
            while await self._answer(reader, writer):
                pass

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether another may follow."""
        line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (header.partition(":") for header in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        if not line.startswith("POST "):
            writer.write(_head("200 OK", "application/json", f"content-length: {len(b'{}')}") + b"{}")
            return True
        served = Served(line.split(" ")[1].partition("?")[0], headers, body)
        self.served.append(served)
        watched = asyncio.ensure_future(reader.read(1))  # nothing more is sent while an answer is awaited
        try:
            sending = asyncio.ensure_future(self._send(served, writer))
            await asyncio.wait((watched, sending), return_when=asyncio.FIRST_COMPLETED)
            served.hung_up = not served.whole
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        finally:
            watched.cancel()
        return False

    async def _send(self, served: Served, writer: asyncio.StreamWriter) -> None:
        streamed = json.loads(served.body).get("stream") or "streamGenerate" in served.path
        if served.manner == "silent":
            await asyncio.Event().wait()
        await self._send_pieces(served, writer, _pieces(served, streamed=bool(streamed)), streamed=bool(streamed))
        await writer.drain()
        served.whole = True

    async def _send_pieces(
        self, served: Served, writer: asyncio.StreamWriter, pieces: AsyncIterator[bytes], *, streamed: bool
    ) -> None:
        encoding = served.manner if served.manner in ENCODERS else "identity"
        encoder = ENCODERS[encoding]()
        named = [] if encoding == "identity" else [f"content-encoding: {header_of(encoding)}"]
        content_type = "text/event-stream" if streamed else "application/json"
        writer.write(_head("200 OK", content_type, f"x-request-id: {REQUEST_ID}", *named))
        async for piece in pieces:
            data = encoder.piece(piece)
            writer.write(data)
            await writer.drain()
            served.sent_bytes += len(data)
        writer.write(encoder.end())


async def _pieces(served: Served, *, streamed: bool) -> AsyncIterator[bytes]:
    spoken = next(spoken for ending, spoken in SPOKEN.items() if served.path.endswith(ending))
    document = json.dumps(spoken.document).encode()
    events = [event_bytes(event) for event in spoken.events]
    pieces = [*events, spoken.terminal.encode()] if streamed else [document[:40], document[40:]]
    half = 2 if streamed else 1
    for piece in pieces[:half]:
        yield piece
    if served.manner == "halts":
        await asyncio.Event().wait()
    if served.manner == "floods":
        for number in itertools.count():  # LiteLLM ends a stream that repeats itself
            yield events[1].replace(WORD.encode(), b"%d words " % number * FLOOD_WORDS)
    for piece in pieces[half:]:
        await asyncio.sleep(0.002)  # each arrives by itself
        yield piece


def _head(status: str, content_type: str, *more: str) -> bytes:
    lines = (f"HTTP/1.1 {status}", f"content-type: {content_type}", "connection: close", *more)
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def provider_yaml(url: str, routes: Mapping[str, str]) -> str:
    """A provider's configuration: LiteLLM's provider for each surface."""
    paths = {"anthropic": "", "gemini": "/v1beta"}
    lines = [
        f'  {surface}: {{litellm_provider: {prefix}, path: "{paths.get(prefix, "/v1")}"}}\n'
        for surface, prefix in routes.items()
    ]
    return f"base_url: {url}\nmodels: [{MODEL}]\nroutes:\n{''.join(lines)}"


def prompt(surface: str, manner: str) -> dict[str, Any]:
    """The members of a request's body that ask for a manner of answering."""
    text = f"answer: {manner}"
    if surface == "gemini":
        return {"contents": [{"role": "user", "parts": [{"text": text}]}]}
    if surface == "openai_responses":
        return {"input": text}
    return {"messages": [{"role": "user", "content": text}]}
