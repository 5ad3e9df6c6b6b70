"""A loopback pass-through: the egress meter for providers whose path goes round LiteLLM's HTTP client.

LiteLLM has clients of its own for some providers, and calls some in threads. For a provider that says so
(`metering: pass_through`), the hook gives LiteLLM an address of this process in the place of the provider's, another
for each request: those clients drop headers, but all of them take an address. Behind it every byte goes on as it came.
No secret is added on the way, so that who learns such an address gains nothing by it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import urllib.request
from collections.abc import AsyncIterator, Mapping
from secrets import token_urlsafe
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

import httpx
import uvicorn
from starlette.types import Receive, Scope, Send

from agentdyno.gateway.asgi_server import AsgiServer
from agentdyno.gateway.egress import EgressMeter
from agentdyno.gateway.exchange import CURRENT, Exchange

log = logging.getLogger(__name__)
_LOOK_EVERY_S = 0.05
# They belong to one connection and not to the message; of those behind, `host` is named anew.
_CONNECTION_HEADERS = frozenset(
    {b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"host"}
    | {b"proxy-authenticate", b"proxy-authorization", b"proxy-connection"}
)
_CLIENT_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=100)


class PassThrough:
    """An ASGI application on a loopback address, and the addresses by which LiteLLM reaches providers through it."""

    def __init__(self, meter: EgressMeter, addresses: Mapping[str, str], port: int) -> None:
        """`addresses`: of the providers to be reached so, by the model groups under which they are routed."""
        self._addresses = addresses
        self._origin = f"http://127.0.0.1:{port}"
        self._exchanges: WeakValueDictionary[str, Exchange] = WeakValueDictionary()
        """Those in flight, by a word that nobody can guess. LiteLLM may quote it to its harness, in an error."""
        self._clients = {
            # How long to wait is LiteLLM's to say, who hangs up then.
            origin: httpx.AsyncClient(transport=_MeteredTransport(meter, origin), timeout=None)  # noqa: S113
            for origin in map(_origin_of, addresses.values())
        }

    def address_for(self, exchange: Exchange) -> str | None:
        """Where LiteLLM is to send what it sends for an exchange; None where the provider's own address will do."""
        address = self._addresses.get(exchange.model_group)
        if address is None:
            return None
        word = token_urlsafe(24)
        self._exchanges[word] = exchange
        return f"{self._origin}/{word}{urlsplit(address).path}"

    def address_behind(self, address: str) -> str:
        """An address as the provider has it, whether or not `address_for` gave it."""
        if not address.startswith(self._origin):
            return address
        _, word, *path = urlsplit(address).path.split("/")
        exchange = self._exchanges.get(word)
        origin = "" if exchange is None else _origin_of(self._addresses[exchange.model_group])
        return "/".join((origin, *path))

    def leads_to(self, url: httpx.URL) -> bool:
        """Whether something is sent to this application, which meters it."""
        return str(url).startswith(self._origin)

    async def aclose(self) -> None:
        """Close the connections to the providers."""
        for client in self._clients.values():
            await client.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, if it came by an address of an exchange that is not over."""
        word, _, rest = scope["raw_path"].decode("latin-1").removeprefix("/").partition("/")
        exchange = self._exchanges.get(word)
        if exchange is None:
            await _answer(send, 404, b"")
            return
        origin = _origin_of(self._addresses[exchange.model_group])
        url = httpx.URL(f"{origin}/{rest}", query=scope["query_string"] or None)
        taken = CURRENT.set(exchange)
        try:
            await _Passage(self._clients[origin], url, exchange).run(scope, receive, send)
        finally:
            CURRENT.reset(taken)


class _Passage:
    """One request on its way to the provider, and its answer on the way back."""

    def __init__(self, client: httpx.AsyncClient, url: httpx.URL, exchange: Exchange) -> None:
        self._client = client
        self._url = url
        self._exchange = exchange
        self._sent = asyncio.Event()

    async def run(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass until the answer is over, or nobody wants it any more."""
        passing = asyncio.ensure_future(self._pass(scope, receive, send))
        leaving = asyncio.ensure_future(self._until_unwanted(receive))
        try:
            await asyncio.wait((passing, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (passing, leaving):
                task.cancel()
            for fault in await asyncio.gather(passing, leaving, return_exceptions=True):
                if isinstance(fault, Exception):  # its words could quote content
                    log.error("the pass-through failed with %s", type(fault).__name__)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(name, value) for name, value in scope["headers"] if name not in _CONNECTION_HEADERS]
        has_body = any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])
        body = self._body(receive)
        request = httpx.Request(scope["method"], self._url, headers=headers, content=body if has_body else None)
        if not has_body:
            self._sent.set()
        try:
            response = await self._client.send(request, stream=True)
        except httpx.TransportError as error:
            await _answer(send, 502, type(error).__name__.encode())
            return
        async with contextlib.aclosing(response):
            passed = [(name.lower(), value) for name, value in response.headers.raw]
            passed = [(name, value) for name, value in passed if name not in _CONNECTION_HEADERS]
            await send({"type": "http.response.start", "status": response.status_code, "headers": passed})
            with contextlib.suppress(httpx.TransportError):  # then the answer lacks its end, as the provider's did
                async for chunk in response.aiter_raw():
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _body(self, receive: Receive) -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await receive()
            yield message.get("body", b"")
            more = message.get("more_body", False)
        self._sent.set()

    async def _until_unwanted(self, receive: Receive) -> None:
        """Until LiteLLM has hung up, or the harness has: in a thread of its own, LiteLLM does not notice that."""
        await self._sent.wait()
        hearing = asyncio.ensure_future(receive())
        try:
            while not hearing.done() and not self._exchange.disconnected:
                await asyncio.wait((hearing,), timeout=_LOOK_EVERY_S)
        finally:
            hearing.cancel()


class _MeteredTransport(httpx.AsyncHTTPTransport):
    """A way to one provider, with the meter on it, and through the proxy that the environment names for it."""

    def __init__(self, meter: EgressMeter, origin: str) -> None:
        super().__init__(limits=_CLIENT_LIMITS, proxy=_proxy_to(origin))
        self._meter = meter

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it on by the meter."""
        return await self._meter.send(request, super().handle_async_request)


def _proxy_to(origin: str) -> str | None:
    address = urlsplit(origin)
    if urllib.request.proxy_bypass(address.netloc):
        return None
    proxies = urllib.request.getproxies()
    return proxies.get(address.scheme, proxies.get("all"))


def _origin_of(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"


@contextlib.asynccontextmanager
async def serve_pass_through(meter: EgressMeter, addresses: Mapping[str, str]) -> AsyncIterator[PassThrough]:
    """The pass-through to some providers, served for as long as the context lasts; to none of them, nothing is."""
    if not addresses:
        yield PassThrough(meter, {}, port=0)
        return
    with socket.create_server(("127.0.0.1", 0)) as listener:
        passing = PassThrough(meter, addresses, listener.getsockname()[1])
        server = AsgiServer(
            uvicorn.Config(
                passing,
                http="httptools",
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,  # the provider's own are passed
                date_header=False,
                timeout_graceful_shutdown=1,
            )
        )
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield passing
        finally:
            server.should_exit = True
            await serving
            await passing.aclose()


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
