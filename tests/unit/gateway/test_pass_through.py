"""The pass-through's addresses, and what goes by them, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import msgspec
import pytest
from tests.unit.gateway.credentials import KEY, scope_of

from agentdyno.core.dialects.table import Call
from agentdyno.core.exchange import Entered, Tried
from agentdyno.gateway.egress import EgressMeter
from agentdyno.gateway.exchange import Exchange
from agentdyno.gateway.pass_through import PassThrough, serve_pass_through
from agentdyno.store.spool import SpoolWriter, read_blocks

DOCUMENT = b'{"usage": {"prompt_tokens": 31}}'
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n"
WHOLE = ANSWER + b"content-length: %d\r\nconnection: close\r\n\r\n" % len(DOCUMENT) + DOCUMENT
CUT = ANSWER + b"content-length: 1000\r\nconnection: close\r\n\r\n" + DOCUMENT[:9]


class Provider(NamedTuple):
    """A server that gives one answer verbatim, and keeps what it was sent."""

    url: str
    heard: list[bytes]


@asynccontextmanager
async def provider(answer: bytes) -> AsyncIterator[Provider]:
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        lengths = (line.partition(b":")[2] for line in head.split(b"\r\n") if line.startswith(b"content-length"))
        heard.append(head + await reader.readexactly(int(next(lengths, b"0"))))
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield Provider(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heard)


class Bench(NamedTuple):
    """A pass-through to one address, and an exchange that is routed there."""

    passing: PassThrough
    exchange: Exchange


class Benches:
    """Makes them, and reads what was noted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._spool = SpoolWriter(folder, "gw_1")

    @asynccontextmanager
    async def to(self, address: str) -> AsyncIterator[Bench]:
        entered = Entered(request_key="req_1", at_us=0, path="/v1/chat/completions", request_bytes=2, model="hello")
        exchange = Exchange(entered, scope_of(KEY), Call("openai_chat"), started_ns=0, forwarded=True)
        async with serve_pass_through(EgressMeter(self._spool), {exchange.model_group: address}) as passing:
            yield Bench(passing, exchange)

    def tried(self) -> list[Tried]:
        blocks = read_blocks(self._folder / "gw_1", ended=False, limit_bytes=2**30)
        return [msgspec.json.decode(line, type=Tried) for block in blocks for line in block.lines]


@pytest.fixture
def benches(tmp_path: Path) -> Benches:
    return Benches(tmp_path)


async def post(address: str | None) -> httpx.Response:
    assert address is not None
    headers = {"content-type": "application/json", "authorization": "Bearer up"}
    async with httpx.AsyncClient() as client:
        return await client.post(f"{address}/chat/completions?a=b%2Fc", content=b'{"model": "hello"}', headers=headers)


def test_every_byte_and_header_goes_both_ways(benches: Benches) -> None:
    async def run() -> bytes:
        async with provider(WHOLE) as upstream, benches.to(f"{upstream.url}/v1") as (passing, exchange):
            answer = await post(passing.address_for(exchange))
            assert (answer.status_code, answer.content) == (200, DOCUMENT)
            assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
            (heard,) = upstream.heard
            assert f"host: {upstream.url.removeprefix('http://')}\r\n".encode() in heard.lower()
            return heard

    heard = asyncio.run(run())
    assert heard.startswith(b"POST /v1/chat/completions?a=b%2Fc HTTP/1.1\r\n")
    assert heard.endswith(b'\r\n\r\n{"model": "hello"}')
    assert b"authorization: Bearer up\r\n" in heard
    (tried,) = benches.tried()
    assert (tried.request_key, tried.surface, tried.usages) == ("req_1", "openai_chat", [{"prompt_tokens": 31}])
    assert (tried.complete, tried.request_bytes, tried.response_bytes) == (True, 18, len(DOCUMENT))


def test_an_answer_that_is_cut_arrives_cut(benches: Benches) -> None:
    async def run() -> None:
        async with provider(CUT) as upstream, benches.to(upstream.url) as (passing, exchange):
            with pytest.raises(httpx.RemoteProtocolError):
                await post(passing.address_for(exchange))

    asyncio.run(run())
    (tried,) = benches.tried()
    assert (tried.complete, tried.failure, tried.http_status) == (False, "RemoteProtocolError", 200)


def test_a_provider_that_is_not_there_is_a_bad_gateway(benches: Benches) -> None:
    async def run() -> httpx.Response:
        async with benches.to("http://127.0.0.1:1") as (passing, exchange):
            return await post(passing.address_for(exchange))

    answer = asyncio.run(run())
    assert (answer.status_code, answer.text) == (502, "ConnectError")
    assert [(tried.failure, tried.http_status) for tried in benches.tried()] == [("ConnectError", None)]


def test_nobody_gets_through_but_by_the_address_of_a_request_in_flight(benches: Benches) -> None:
    async def run() -> list[bytes]:
        async with provider(WHOLE) as upstream, benches.to(f"{upstream.url}/v1") as (passing, exchange):
            address = passing.address_for(exchange)
            assert address is not None
            assert address != passing.address_for(exchange)  # each is a new one
            origin = address.removesuffix("/v1").rpartition("/")[0]
            for guess in (origin, f"{origin}/req_1/v1", f"{address[:-5]}/v1"):
                assert (await post(guess)).status_code == 404
            return upstream.heard

    assert asyncio.run(run()) == []
    assert benches.tried() == []


def test_when_the_harness_has_left_the_provider_is_hung_up_on(benches: Benches) -> None:
    left = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b'"hello"}')
        asked.set()
        await reader.read()  # until it is hung up on
        left.set()
        writer.close()

    asked = asyncio.Event()

    async def run() -> None:
        server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server, benches.to(address) as (passing, exchange):
            asking = asyncio.ensure_future(post(passing.address_for(exchange)))
            await asyncio.wait_for(asked.wait(), 10)
            exchange.disconnected = True  # LiteLLM, in a thread, waits on
            await asyncio.wait_for(left.wait(), 10)
            assert (await asking).status_code == 500

    asyncio.run(run())
    (tried,) = benches.tried()
    assert (tried.abandoned, tried.failure, tried.http_status) == (True, None, None)


def test_an_address_behind_it_is_told_and_any_other_left_as_it_is(benches: Benches) -> None:
    async def run() -> None:
        async with benches.to("https://models.example/v1") as (passing, exchange):
            address = passing.address_for(exchange)
            assert passing.address_behind(f"{address}/chat") == "https://models.example/v1/chat"
            assert passing.address_behind("https://other.example/v1") == "https://other.example/v1"
            assert passing.leads_to(httpx.URL(f"{address}/chat"))
            assert not passing.leads_to(httpx.URL("https://models.example/v1"))

    asyncio.run(run())


def test_a_provider_that_is_not_passed_through_keeps_its_address(benches: Benches) -> None:
    async def run() -> None:
        async with benches.to("https://models.example/v1") as (passing, exchange):
            exchange.scope = exchange.scope._replace(provider="other")
            assert passing.address_for(exchange) is None

    asyncio.run(run())
