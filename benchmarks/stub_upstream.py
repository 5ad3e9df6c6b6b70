"""A provider that costs next to nothing: fixed chat completions over raw sockets, streamed or not.

Run as a process; prints its port.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

MODEL = "stub"
FIRST_TOKEN = "measured"
_WORDS = (FIRST_TOKEN, " on", " one", " shaft", ",", " one", " at", " a", " time")
_WORD_GAP_S = 0.001
_USAGE = {"prompt_tokens": 8, "completion_tokens": len(_WORDS), "total_tokens": 8 + len(_WORDS)}


def _document(kind: str, choices: list[dict[str, Any]], **more: object) -> bytes:
    head = {"id": "chatcmpl-stub", "object": kind, "created": 0, "model": MODEL}
    return json.dumps({**head, "choices": choices, **more}).encode()


def _response(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def _event(data: bytes) -> bytes:
    event = b"data: %b\n\n" % data
    return b"%x\r\n%b\r\n" % (len(event), event)


def _chunk(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return _event(_document("chat.completion.chunk", [choice]))


_MESSAGE = {"role": "assistant", "content": "".join(_WORDS)}
_UNSTREAMED = _response(
    _document("chat.completion", [{"index": 0, "message": _MESSAGE, "finish_reason": "stop"}], usage=_USAGE)
)
_MODELS = _response(json.dumps({"object": "list", "data": [{"id": MODEL, "object": "model"}]}).encode())
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_STREAM = (
    _STREAM_HEAD + _chunk({"role": "assistant", "content": ""}),
    *(_chunk({"content": word}) for word in _WORDS),
    _chunk({}, "stop")
    + _event(_document("chat.completion.chunk", [], usage=_USAGE))
    + _event(b"[DONE]")
    + b"0\r\n\r\n",
)


class Answering(asyncio.Protocol):
    """One kept-alive connection; a request is answered when it is all there."""

    def __init__(self) -> None:
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep where answers go."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each whole request."""
        self._unread += data
        while (end := self._unread.find(b"\r\n\r\n")) >= 0:
            head = self._unread[:end].lower()
            _, _, length = head.partition(b"content-length:")
            whole = end + 4 + int(length.partition(b"\r\n")[0] or 0)
            if len(self._unread) < whole:
                return
            body, self._unread = self._unread[end + 4 : whole], self._unread[whole:]
            self._answer(body)

    def _answer(self, body: bytes) -> None:
        if not body:
            self._transport.write(_MODELS)
        elif json.loads(body).get("stream"):
            self._send_rest(0)
        else:
            self._transport.write(_UNSTREAMED)

    def _send_rest(self, number: int) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(_STREAM[number])
        if number + 1 < len(_STREAM):
            asyncio.get_running_loop().call_later(_WORD_GAP_S, self._send_rest, number + 1)


async def main() -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
