"""The egress meter: inside LiteLLM's HTTP client, it reads what the provider itself says.

LiteLLM sends through a transport of its own. The meter stands around that transport's one method, so that every client
has it, whenever it was made. For which exchange a call is made, its context tells. No byte is changed, and none waits:
a chunk is read when LiteLLM takes it, and LiteLLM's hanging up goes on to the provider.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from importlib.metadata import version
from typing import cast

import httpx

from agentdyno.core.dialects.table import upstream_surface
from agentdyno.core.errors import GatewayFault
from agentdyno.core.records import Surface
from agentdyno.gateway.attempt import AttemptMeter
from agentdyno.gateway.exchange import CURRENT
from agentdyno.store.spool import SpoolWriter

Send = Callable[[httpx.Request], Awaitable[httpx.Response]]
"""Sends a request as a transport does: it returns when the answer's head has come."""
# LiteLLM may also ask a provider to hold a prompt or to count one. What is no JSON asks for a token, or brings a file.
_ASIDES = ("/cachedContents", "/count_tokens", ":countTokens")


class EgressMeter:
    """Notes an attempt for every answer that LiteLLM asks of a provider on behalf of an exchange."""

    def __init__(self, spool: SpoolWriter) -> None:
        self._spool = spool
        self._rehearsed: set[Surface | None] = set()
        self._running: set[AttemptMeter] = set()

    def end_running(self) -> None:
        """Note the attempts that nobody will end any more."""
        for attempt in tuple(self._running):
            attempt.end(abandoned=True)

    async def send(self, request: httpx.Request, onward: Send) -> httpx.Response:
        """Send a request onward, and have its answer read as it passes. Raises what `onward` raises."""
        exchange = CURRENT.get()
        if exchange is not None and exchange.rehearsal:
            self._rehearsed.add(upstream_surface(request.url.path))
        elif exchange is not None and exchange.forwarded and _asks_for_answer(request):
            attempt = AttemptMeter(self._spool, exchange, request.url.path, _body_bytes(request), self._running)
            with attempt:
                response = await onward(request)
                attempt.begin_answer(response.status_code, response.headers)
            response.stream = _MeteredStream(cast(httpx.AsyncByteStream, response.stream), attempt)
            return response
        return await onward(request)

    def unmetered(self, surfaces: Iterable[Surface]) -> GatewayFault | None:
        """What is wrong when not all of these surfaces came by in the rehearsal.

        A gateway that went on would have LiteLLM's numbers in the place of the providers', in every row.
        """
        missed = sorted(set(surfaces) - self._rehearsed)
        if not missed:
            return None
        return GatewayFault(
            f"LiteLLM {version('litellm')} sends past the egress meter: {', '.join(missed)}",
            "install the version of LiteLLM that agentdyno names",
        )


class _MeteredStream(httpx.AsyncByteStream):
    """An answer's bytes on their way to LiteLLM."""

    def __init__(self, stream: httpx.AsyncByteStream, attempt: AttemptMeter) -> None:
        self._stream = stream
        self._attempt = attempt

    async def __aiter__(self) -> AsyncIterator[bytes]:
        attempt = self._attempt
        with attempt:
            async for chunk in self._stream:
                attempt.take(chunk)
                yield chunk
                if attempt.unwanted:
                    # A task that finds bytes whenever it asks is never seen waiting, which is when anyio cancels it.
                    await asyncio.sleep(0)
            attempt.end()

    async def aclose(self) -> None:
        self._attempt.end(abandoned=True)
        await self._stream.aclose()


def _asks_for_answer(request: httpx.Request) -> bool:
    is_json = request.headers.get("content-type", "").startswith("application/json")
    return request.method == "POST" and is_json and not request.url.path.endswith(_ASIDES)


def _body_bytes(request: httpx.Request) -> int:
    return int(request.headers.get("content-length", "0"))


def meter_litellm(meter: EgressMeter, is_metered: Callable[[httpx.URL], bool]) -> None:
    """Have everything that LiteLLM sends by its transport, from now on, go by the meter.

    `is_metered` says of an address that behind it there is a meter already.
    """
    from litellm.llms.custom_httpx.aiohttp_transport import LiteLLMAiohttpTransport as Transport

    onward = Transport.handle_async_request

    async def handle_async_request(transport: Transport, request: httpx.Request) -> httpx.Response:
        if is_metered(request.url):
            return cast(httpx.Response, await onward(transport, request))
        return await meter.send(request, functools.partial(onward, transport))

    Transport.handle_async_request = handle_async_request
