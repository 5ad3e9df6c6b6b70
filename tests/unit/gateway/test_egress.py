"""The egress meter around an upstream of the test's own: what passes, and what is noted of it."""

from __future__ import annotations

import asyncio
import json
import re
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.compression import ENCODERS, header_of
from tests.unit.gateway.credentials import KEY, scope_of
from tests.unit.gateway.metered import FullDisk

from agentdyno.core.dialects.table import DIALECTS, Call
from agentdyno.core.exchange import Entered, Tried
from agentdyno.gateway.egress import EgressMeter
from agentdyno.gateway.exchange import CURRENT, Exchange
from agentdyno.store.spool import SpoolWriter, read_blocks

CHAT_URL = "http://provider/v1/chat/completions"
USAGE = {"prompt_tokens": 31, "completion_tokens": 17}
DOCUMENT = json.dumps(
    {"id": "chatcmpl-1", "model": "m", "choices": [{"finish_reason": "stop", "message": {}}], "usage": USAGE}
).encode()
ROLE, WORD = ({"choices": [{"delta": delta}]} for delta in ({"role": "assistant"}, {"content": "planted words"}))
EVENTS = [
    *(b"data: " + json.dumps(event).encode() + b"\n\n" for event in (ROLE, WORD, {"choices": [], "usage": USAGE})),
    b"data: [DONE]\n\n",
]
SSE = {"content-type": "text/event-stream"}


class Upstream(httpx.AsyncByteStream):
    """A provider's answer in pieces; `fault` is raised behind them."""

    def __init__(self, pieces: Sequence[bytes], fault: Exception | None = None) -> None:
        self.closed = False
        self.taken = 0
        self._pieces = pieces
        self._fault = fault

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            self.taken += 1
            yield piece
        if self._fault is not None:
            raise self._fault

    async def aclose(self) -> None:
        self.closed = True


class Gateway:
    """An egress meter, an exchange that went on to LiteLLM, and their spool."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.spool = SpoolWriter(folder, "gw_1")
        self.meter = EgressMeter(self.spool)
        entered = Entered(request_key="req_1", at_us=5_000, path="/v1/chat/completions", request_bytes=2)
        self.exchange = Exchange(entered, scope_of(KEY), Call("openai_chat"), started_ns=0, forwarded=True)

    async def send(
        self, upstream: Upstream, url: str = CHAT_URL, status: int = 200, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """One request of LiteLLM's, sent for the exchange."""

        async def onward(request: httpx.Request) -> httpx.Response:
            return httpx.Response(status, headers=headers or {}, stream=upstream, request=request)

        return await self.meter.send(httpx.Request("POST", url, json={"model": "m"}), onward)

    def read(self, upstream: Upstream, url: str = CHAT_URL, headers: dict[str, str] | None = None) -> bytes:
        """The body that LiteLLM gets to read."""

        async def read() -> bytes:
            CURRENT.set(self.exchange)
            response = await self.send(upstream, url, headers=headers)
            return b"".join([chunk async for chunk in response.aiter_raw()])

        return asyncio.run(read())

    def tried(self) -> list[Tried]:
        """What was noted."""
        blocks = read_blocks(self.folder / "gw_1", ended=False, limit_bytes=2**30)
        return [msgspec.json.decode(line, type=Tried) for block in blocks for line in block.lines]


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    return Gateway(tmp_path)


def test_of_an_answer_is_noted_what_the_provider_said(gateway: Gateway) -> None:
    headers = {"content-type": "application/json", "x-request-id": "up-1"}
    assert gateway.read(Upstream([DOCUMENT]), headers=headers) == DOCUMENT
    (tried,) = gateway.tried()
    assert tried.begun_offset_us <= (tried.head_offset_us or 0) <= tried.ended_offset_us
    assert tried.at_us == 5_000 + tried.ended_offset_us
    assert msgspec.structs.replace(tried, at_us=0, begun_offset_us=0, head_offset_us=0, ended_offset_us=0) == Tried(
        request_key="req_1",
        attempt=1,
        at_us=0,
        begun_offset_us=0,
        head_offset_us=0,
        ended_offset_us=0,
        request_bytes=len(b'{"model":"m"}'),
        response_bytes=len(DOCUMENT),
        surface="openai_chat",
        http_status=200,
        provider_request_id="up-1",
        complete=True,
        usages=[USAGE],
        response_id="chatcmpl-1",
        model="m",
        finish_reason="stop",
    )
    assert gateway.exchange.attempts == 1
    assert gateway.exchange.open_attempts == 0


@given(sizes=st.lists(st.integers(1, 60)), encoding=st.sampled_from(sorted(ENCODERS)), streamed=st.booleans())
def test_however_it_is_cut_or_compressed_the_same_is_passed_and_noted(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], encoding: str, streamed: bool
) -> None:
    body = ENCODERS[encoding]().whole(b"".join(EVENTS) if streamed else DOCUMENT)
    pieces, rest = [], body
    for size in sizes:
        pieces.append(rest[:size])
        rest = rest[size:]
    gateway = Gateway(tmp_path_factory.mktemp("spool"))
    headers = {**(SSE if streamed else {}), "content-encoding": header_of(encoding)}
    assert gateway.read(Upstream([*pieces, rest]), headers=headers) == body
    (tried,) = gateway.tried()
    assert tried.usages == [USAGE]
    assert (tried.complete, tried.abandoned, tried.failure, tried.streamed) == (True, False, None, streamed)
    assert (tried.first_content_offset_us is not None) == streamed
    # What follows the event that ends a stream is passed, and no more measured.
    assert tried.response_bytes == len(body) or (streamed and len(body) - 60 <= tried.response_bytes < len(body))


def test_no_text_is_noted(gateway: Gateway) -> None:
    gateway.read(Upstream(EVENTS), headers=SSE)
    assert b"planted" not in msgspec.json.encode(gateway.tried())


def test_a_stream_is_over_at_its_terminal_event_though_it_is_never_read_to_the_end(gateway: Gateway) -> None:
    upstream = Upstream([*EVENTS, b": a comment"])

    async def read() -> None:
        CURRENT.set(gateway.exchange)
        response = await gateway.send(upstream, headers=SSE)
        chunks = response.aiter_raw()
        for _ in EVENTS:
            await anext(chunks)
        assert gateway.exchange.open_attempts == 0
        await response.aclose()

    asyncio.run(read())
    (tried,) = gateway.tried()
    assert (tried.complete, tried.abandoned, tried.response_bytes) == (True, False, len(b"".join(EVENTS)))
    assert upstream.closed


def test_hanging_up_goes_on_to_the_provider_and_is_noted_as_that(gateway: Gateway) -> None:
    upstream = Upstream(EVENTS)

    async def read() -> float:
        CURRENT.set(gateway.exchange)
        response = await gateway.send(upstream, headers=SSE)
        chunks = response.aiter_raw()
        await anext(chunks)
        last_byte_us = gateway.exchange.offset_us()
        await asyncio.sleep(0.02)
        await response.aclose()
        return last_byte_us

    last_byte_us = asyncio.run(read())
    assert upstream.closed
    assert upstream.taken == 1  # nothing is read ahead
    (tried,) = gateway.tried()
    assert (tried.abandoned, tried.complete, tried.failure) == (True, False, None)
    assert tried.ended_offset_us <= last_byte_us  # and not when it was closed


def test_a_cancelled_call_is_abandoned_before_its_head_and_within_its_body(gateway: Gateway) -> None:
    async def forever(request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async def cancel() -> None:
        CURRENT.set(gateway.exchange)
        request = httpx.Request("POST", CHAT_URL, json={})
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(gateway.meter.send(request, forever), 0.01)

    asyncio.run(cancel())
    (tried,) = gateway.tried()
    assert (tried.abandoned, tried.http_status, tried.head_offset_us) == (True, None, None)


def test_a_fault_is_noted_by_its_name_and_raised_on(gateway: Gateway) -> None:
    with pytest.raises(httpx.ReadError, match="cut"):
        gateway.read(Upstream(EVENTS[:2], httpx.ReadError("cut")), headers=SSE)

    async def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("nobody there")

    async def connect() -> None:
        CURRENT.set(gateway.exchange)
        await gateway.meter.send(httpx.Request("POST", CHAT_URL, json={}), refuse)

    with pytest.raises(httpx.ConnectError, match="nobody"):
        asyncio.run(connect())
    read, connected = gateway.tried()
    assert (read.attempt, read.failure, read.complete, read.http_status) == (1, "ReadError", False, 200)
    assert (connected.attempt, connected.failure, connected.http_status) == (2, "ConnectError", None)


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
def test_what_cannot_be_decoded_passes_unread(gateway: Gateway, encoding: str) -> None:
    pieces = [DOCUMENT[:10], DOCUMENT[10:]]
    assert gateway.read(Upstream(pieces), headers={"content-encoding": encoding}) == DOCUMENT
    (tried,) = gateway.tried()
    assert (tried.usages, tried.complete, tried.response_bytes) == ([], False, len(DOCUMENT))
    assert tried.failure == "BrokenEncoding"


def test_a_body_with_an_encoding_that_nobody_knows_is_read_as_it_is(gateway: Gateway) -> None:
    gateway.read(Upstream([DOCUMENT]), headers={"content-encoding": "utf-8"})
    (tried,) = gateway.tried()
    assert (tried.usages, tried.complete) == ([USAGE], True)


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/json", "Text/Event-Stream; charset=UTF-8"])
@pytest.mark.parametrize("before", [[], [b"\xef\xbb", b"\xbf"], [b"\n", b": hello\n\n"], [b"d", b"ata: {}\n\n"]])
def test_a_stream_is_one_whatever_its_server_calls_it(
    gateway: Gateway, content_type: str | None, before: list[bytes]
) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    gateway.read(Upstream([*before, *EVENTS]), headers=headers)
    (tried,) = gateway.tried()
    assert (tried.streamed, tried.complete, tried.usages) == (True, True, [USAGE])
    assert tried.first_content_offset_us is not None


@pytest.mark.parametrize("content_type", ["text/plain", "application/json"])
def test_a_document_is_one_whatever_blanks_it_begins_with(gateway: Gateway, content_type: str) -> None:
    gateway.read(Upstream([b"\r\n", b" ", DOCUMENT[:1], DOCUMENT[1:]]), headers={"content-type": content_type})
    (tried,) = gateway.tried()
    assert (tried.streamed, tried.complete, tried.usages) == (False, True, [USAGE])


def test_what_follows_the_end_of_a_stream_does_not_count_though_it_comes_with_it(gateway: Gateway) -> None:
    behind = b"data: " + json.dumps({"choices": [], "usage": {"prompt_tokens": 99}}).encode() + b"\n\n"
    gateway.read(Upstream([b"".join(EVENTS) + behind]), headers=SSE)
    assert [tried.usages for tried in gateway.tried()] == [[USAGE]]


def test_a_protocol_that_no_dialect_reads_is_timed_and_counted(gateway: Gateway) -> None:
    body = b"\x00\x00\x00\x10"
    headers = {"content-type": "application/vnd.amazon.eventstream", "x-amzn-requestid": "aws-1"}
    assert gateway.read(Upstream([body]), "http://bedrock/model/m/converse-stream", headers) == body
    (tried,) = gateway.tried()
    assert (tried.surface, tried.provider_request_id, tried.response_bytes) == (None, "aws-1", 4)
    assert tried.http_status == 200


def test_what_asks_for_no_answer_is_no_attempt(gateway: Gateway) -> None:
    async def onward(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Upstream([b"{}"]), request=request)

    asides = [
        httpx.Request("GET", "http://provider/picture.png"),
        httpx.Request("POST", "http://provider/oauth/token", data={"grant_type": "client_credentials"}),
        httpx.Request("POST", "http://provider/v1beta/cachedContents", json={}),
    ]

    async def send() -> None:
        for exchange in (gateway.exchange, None):
            CURRENT.set(exchange)
            for request in asides if exchange else [*asides, httpx.Request("POST", CHAT_URL, json={})]:
                await (await gateway.meter.send(request, onward)).aread()

    asyncio.run(send())
    assert gateway.tried() == []
    assert gateway.exchange.attempts == 0


def test_a_full_disk_stops_no_answer(gateway: Gateway) -> None:
    with FullDisk():
        assert gateway.read(Upstream([DOCUMENT])) == DOCUMENT
        assert gateway.spool.backlog == 1
    gateway.spool.flush()
    assert [tried.usages for tried in gateway.tried()] == [[USAGE]]


def test_of_a_long_stream_no_event_is_kept(gateway: Gateway) -> None:
    tracemalloc.start()
    try:
        upstream = Upstream(EVENTS[1:2] * 20_000)

        async def read() -> None:
            CURRENT.set(gateway.exchange)
            async for _ in (await gateway.send(upstream, headers=SSE)).aiter_raw():
                pass

        asyncio.run(read())
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 20_000 * 10  # an event that is kept takes a hundred


def test_the_rehearsal_tells_which_surfaces_come_by(gateway: Gateway) -> None:
    gateway.exchange.rehearsal = True
    paths = {
        "openai_chat": "/v1/chat/completions",
        "openai_responses": "/v1/responses",
        "anthropic_messages": "/v1/messages",
    }
    for path in paths.values():
        gateway.read(Upstream([b"{}"]), f"http://127.0.0.1{path}")
    assert gateway.tried() == []
    assert gateway.meter.unmetered(["openai_chat", "openai_responses", "anthropic_messages"]) is None
    fault = gateway.meter.unmetered(DIALECTS)
    assert fault is not None
    assert re.match(r"LiteLLM \d+\.\d+\.\d+ sends past the egress meter: gemini;", str(fault))
