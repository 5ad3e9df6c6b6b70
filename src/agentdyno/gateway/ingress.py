"""The ingress meter: ASGI middleware around LiteLLM that sees, admits, times and records every request.

For each request: admit it by its key, record that it entered, let LiteLLM answer under a call id of ours and without
the session's key, read the answer as it passes, and record the end before the last byte goes out, so that no client
has an answer without a record. Bytes pass unchanged, but for what in a request would steer LiteLLM itself, and for a
stream's usage that the stand asked for and the harness did not.

Lists of models are answered here. Counting of tokens goes on to LiteLLM, which asks the provider where that is one of
Anthropic's messages or Google's Gemini at the default version of its API; else, and where the provider fails, LiteLLM
estimates, and says so in the answer (`litellm_count_source`). It reports no such call, so that none is awaited.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agentdyno.core.dialects.reading import identifier
from agentdyno.core.dialects.table import DIALECTS, Call, call_of
from agentdyno.core.dialects.wire import Dialect, facts_of
from agentdyno.core.errors import SpoolFull
from agentdyno.core.exchange import Answered, Entered, Price
from agentdyno.core.records import Purpose, Surface
from agentdyno.core.secrets import redact
from agentdyno.gateway.admission import Admission, Refusal, RefusalCode, models_of, refuse_model
from agentdyno.gateway.attribution import Claim, claim_of
from agentdyno.gateway.exchange import CURRENT, Exchange, harness_ids_of, identity_of
from agentdyno.gateway.model_list import Listing, listing_document, listing_of
from agentdyno.gateway.onward import gemini_path, onward_body, onward_scope
from agentdyno.gateway.recording import note
from agentdyno.gateway.telemetry import Telemetry
from agentdyno.store.credentials import CredentialScope
from agentdyno.store.spool import SpoolWriter

log = logging.getLogger(__name__)
MAX_BODY_BYTES = 64 * 1024 * 1024
_MAX_WORD = 200
_SURFACES_OF_PREFIXES: Mapping[str, Surface] = MappingProxyType(
    {"/v1beta/": "gemini", "/v1/messages": "anthropic_messages"}
)
# A body may come much later than its head, and the key be revoked in between. This is less than a session that is being
# closed waits for what was admitted before.
_ADMISSION_HOLDS_NS = 20_000_000
# Some harness asks this of its base URL before anything else.
_GREETING = b'{"message":"hello"}'
_PROVIDER_REQUEST_ID_HEADERS = (b"llm_provider-x-request-id", b"llm_provider-request-id")


class IngressMeter:
    """Wraps LiteLLM's application."""

    def __init__(
        self,
        app: ASGIApp,
        admission: Admission,
        spool: SpoolWriter,
        telemetry: Telemetry,
        new_key: Callable[[int], str],
        clock_us: Callable[[], int],
        withheld_parameters: frozenset[str],
        prices: Mapping[str, Price],
    ) -> None:
        self._app = app
        self._admission = admission
        self._spool = spool
        self._telemetry = telemetry
        self._new_key = new_key
        self._clock_us = clock_us
        self._withheld_parameters = withheld_parameters
        self._prices = prices
        self._withheld_beside_path = withheld_parameters | {"stream"}
        self.ready = False
        """Whether liveness may be reported; requests are answered before."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event: HTTP is metered, lifespan passes, web sockets are closed."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            claim = claim_of(scope)
            if not await self._answer_own(claim.scope, send):
                await self._meter(claim, receive, send)

    async def _answer_own(self, scope: Scope, send: Send) -> bool:
        """The paths that need no key: liveness, metrics, and the greetings that some harnesses send."""
        match scope["method"], scope["path"]:
            case "HEAD", "/":
                await _respond(send, 200, b"")
            case "GET", "/api/hello":
                await _respond(send, 200, _GREETING)
            case "GET", "/health/live":
                word = "alive" if self.ready else "starting"
                body = msgspec.json.encode({"status": word, "gateway_id": self._spool.gateway_id})
                await _respond(send, 200 if self.ready else 503, body)
            case "GET", "/metrics":
                exposition = self._telemetry.exposition(self._spool.backlog)
                await _respond(send, 200, exposition, content_type=b"text/plain; version=0.0.4")
            case _:
                return False
        return True

    async def _meter(self, claim: Claim, receive: Receive, send: Send) -> None:
        started_ns, at_us = time.monotonic_ns(), self._clock_us()
        method, path = claim.scope["method"], claim.scope["path"]
        call, listing = call_of(method, path), listing_of(method, path)
        entered = Entered(
            request_key=self._new_key(at_us),
            at_us=at_us,
            path=redact(path)[:_MAX_WORD],  # of the client's own making, it may hold anything
            request_bytes=0,
            surface=None if call is None else call.surface,
            model=None if call is None else call.model,
            purpose=_purpose_of_path(call, listing),
        )
        admitted = await self._admission.admit(claim.key)
        if isinstance(admitted, Refusal):
            await self._refuse(entered, admitted, started_ns, send)
            return
        harness_ids = harness_ids_of(admitted, claim.scope["headers"])
        entered = msgspec.structs.replace(entered, identity=identity_of(admitted), harness_ids=harness_ids)
        if call is not None:
            await self._take(Exchange(entered, admitted, call, started_ns, time.monotonic_ns()), claim, receive, send)
        elif listing is not None:
            await self._list_models(entered, listing, admitted, started_ns, send)
        else:
            message = f"{method} {entered.path} is not an inference path of this gateway."
            await self._refuse(entered, Refusal("path_not_allowed", 403, message, admitted), started_ns, send)

    async def _list_models(
        self, entered: Entered, listing: Listing, scope: CredentialScope, started_ns: int, send: Send
    ) -> None:
        refused = None if listing.model is None else refuse_model(scope, listing.model)
        if refused is not None:
            await self._refuse(entered, refused, started_ns, send)
        else:
            document = listing_document(listing, models_of(scope), scope.provider)
            await self._answer(entered, 200, document, started_ns, send)

    async def _take(self, exchange: Exchange, claim: Claim, receive: Receive, send: Send) -> None:
        """Read an admitted request's body and forward it, or refuse it."""
        body = await _read_body(receive)
        if body is None:
            exchange.disconnected = True
            self._record(exchange)
            return
        exchange.describe(body)
        refused = await self._refusal_of_body(exchange, claim, body)
        onward = None if refused is not None else self._onward_body(exchange, body)
        if onward is None:
            unreadable = Refusal("body_unreadable", 400, "The body is no JSON object.", exchange.scope)
            await self._refuse(exchange.entered, refused or unreadable, exchange.started_ns, send)
            return
        try:
            exchange.evidence.entered_line = self._spool.append(exchange.entered)
        except SpoolFull as full:
            refused = Refusal("spool_full", 503, f"The stand cannot record this request: {full}.", exchange.scope)
            await self._refuse(exchange.entered, refused, exchange.started_ns, send)
            return
        exchange.dissect(body, claim.key or "")  # what is admitted has a key
        await self._forward(exchange, claim.scope, onward, receive, send)

    def _onward_body(self, exchange: Exchange, body: bytes) -> bytes | None:
        """What LiteLLM is to be given of a body; None where it is no JSON object."""
        withheld = self._withheld_parameters if exchange.call.streamed is None else self._withheld_beside_path
        # Where tokens are counted LiteLLM calls no hook, which would name the route.
        return onward_body(body, withheld, exchange.model_group if exchange.call.counts_tokens else None)

    async def _refusal_of_body(self, exchange: Exchange, claim: Claim, body: bytes) -> Refusal | None:
        if time.monotonic_ns() - exchange.admitted_ns > _ADMISSION_HOLDS_NS:
            readmitted = await self._admission.admit(claim.key)
            if isinstance(readmitted, Refusal):
                return readmitted
        if len(body) > MAX_BODY_BYTES:
            message = f"The request is larger than {MAX_BODY_BYTES} bytes."
            return Refusal("body_too_large", 413, message, exchange.scope)
        encoding = dict(claim.scope["headers"]).get(b"content-encoding", b"identity").lower()
        if encoding != b"identity":
            word = redact(encoding.decode("latin-1"))[:_MAX_WORD]
            return Refusal("body_encoded", 415, f"The body is encoded ({word}): send it plain.", exchange.scope)
        return refuse_model(exchange.scope, exchange.entered.model)

    async def _refuse(self, entered: Entered, refusal: Refusal, started_ns: int, send: Send) -> None:
        if refusal.scope is not None:
            entered = msgspec.structs.replace(entered, identity=identity_of(refusal.scope))
        document = _dialect_of(entered).error_body(refusal.code, refusal.message)
        await self._answer(entered, refusal.http_status, document, started_ns, send, refusal=refusal.code)

    async def _answer(
        self,
        entered: Entered,
        http_status: int,
        document: dict[str, Any],
        started_ns: int,
        send: Send,
        refusal: RefusalCode | None = None,
    ) -> None:
        """Answer without LiteLLM, and record it."""
        body = msgspec.json.encode(document)
        offset_us = (time.monotonic_ns() - started_ns) // 1000
        self._spool.append_or_hold(
            Answered(
                entered=entered,
                ended_offset_us=offset_us,
                response_bytes=len(body),
                http_status=http_status,
                refusal=refusal,
                error_code=refusal,
                complete=True,
                attempts=0,
            )
        )
        self._telemetry.answered(entered.surface, http_status, offset_us)
        await _respond(send, http_status, body)

    async def _forward(self, exchange: Exchange, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        counts_tokens, group = exchange.call.counts_tokens, exchange.model_group
        exchange.price = None if counts_tokens else self._prices.get(group)
        path = gemini_path(scope["path"], group) if exchange.surface == "gemini" else scope["path"]
        inner = onward_scope(scope, exchange.entered.request_key, path)
        unread = [body]

        async def receive_body() -> Message:
            if unread:
                return {"type": "http.request", "body": unread.pop(), "more_body": False}
            message = await receive()
            if message["type"] == "http.disconnect" and not exchange.recorded:
                exchange.disconnected = True
            return message

        async def send_metered(message: Message) -> None:
            if exchange.disconnected and exchange.http_status is None:
                pass  # LiteLLM's word about the client's leaving: nobody is told
            elif message["type"] == "http.response.start":
                self._begin_answer(exchange, message)
            elif message["type"] == "http.response.body":
                message = self._read_answer(exchange, message)
            await send(message)

        exchange.forwarded = not counts_tokens
        token = CURRENT.set(exchange)
        self._telemetry.in_flight(1)
        try:
            await self._app(inner, receive_body, send_metered)
        except asyncio.CancelledError:
            # The grace of a stop is over. Nothing follows in this task, so that the cancellation may end here.
            await self._answer_failure(exchange, 503, "gateway_stopped", "The gateway was stopped.", send_metered)
        except Exception as error:  # noqa: BLE001 - LiteLLM's edge: whoever logs its exception quotes the request
            log.error("LiteLLM failed on %s: %s", exchange.entered.request_key, _whereabouts(error))  # noqa: TRY400
            message = f"The gateway failed with {type(error).__name__}."
            await self._answer_failure(exchange, 500, "gateway_failed", message, send_metered)
        finally:
            CURRENT.reset(token)
            self._telemetry.in_flight(-1)
            if not exchange.recorded:
                self._record(exchange)

    async def _answer_failure(self, exchange: Exchange, status: int, code: str, message: str, send: Send) -> None:
        """Say it in the surface's own format, unless an answer has begun."""
        if exchange.http_status is None:
            await _respond(send, status, msgspec.json.encode(DIALECTS[exchange.surface].error_body(code, message)))

    def _begin_answer(self, exchange: Exchange, message: Message) -> None:
        exchange.http_status = message["status"]
        headers = dict(message["headers"])
        dialect = DIALECTS[exchange.surface]
        is_stream = headers.get(b"content-type", b"").startswith(b"text/event-stream")
        exchange.reader = dialect.stream_reader() if is_stream else dialect.document_reader()
        found = next((headers[name] for name in _PROVIDER_REQUEST_ID_HEADERS if name in headers), None)
        exchange.provider_request_id = None if found is None else identifier(found.decode("latin-1"))

    def _read_answer(self, exchange: Exchange, message: Message) -> Message:
        """Read what passes, and give what the harness is to get: all of it, but for a usage that it did not ask for."""
        if exchange.recorded or exchange.reader is None:
            return message
        data: bytes = message.get("body", b"")
        events = exchange.reader.answer.events
        seen = len(events)
        if data:
            exchange.reader.feed(data, exchange.offset_us())
        if exchange.hides_usage and len(events) > seen and all(event.kind == "usage" for event in events[seen:]):
            message = {**message, "body": b""}  # LiteLLM sends each event by itself
        exchange.response_bytes += len(message.get("body", b""))
        # Clients leave at a stream's last event. Where there is none, they read on until the connection's own end.
        if not message.get("more_body", False) or any(event.kind == "done" for event in events[seen:]):
            self._record(exchange)
        return message

    def _record(self, exchange: Exchange) -> None:
        exchange.recorded = True
        offset_us = exchange.offset_us()
        record = Answered(
            entered=exchange.entered,
            ended_offset_us=offset_us,
            response_bytes=exchange.response_bytes,
            http_status=exchange.http_status,
            disconnected=exchange.disconnected,
            forwarded=exchange.forwarded,
            attempts=exchange.attempts,
            anatomy=exchange.anatomy,
            price=exchange.price,
            provider_request_id=exchange.provider_request_id,
        )
        if exchange.reader is not None:
            exchange.reader.finish()
            answer = exchange.reader.answer
            record = msgspec.structs.replace(record, events=answer.events, **facts_of(answer))
        note(self._spool, exchange, record)
        self._telemetry.answered(exchange.surface, exchange.http_status, offset_us)


def _whereabouts(error: Exception) -> str:
    """What an exception is and where it arose, without its words."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {last.filename}:{last.lineno}"


def _dialect_of(entered: Entered) -> Dialect:
    """In which dialect to speak of a request, also where its path is none of an inference."""
    surface = next((surface for surface in DIALECTS if surface == entered.surface), None)
    if surface is not None:
        return DIALECTS[surface]
    prefix = next((prefix for prefix in _SURFACES_OF_PREFIXES if entered.path.startswith(prefix)), None)
    return DIALECTS["openai_chat" if prefix is None else _SURFACES_OF_PREFIXES[prefix]]


def _purpose_of_path(call: Call | None, listing: Listing | None) -> Purpose:
    if call is None:
        return "other" if listing is None else "model_list"
    return "token_count" if call.counts_tokens else "work"


async def _read_body(receive: Receive) -> bytes | None:
    """The whole body, or as much as shows that it is too large; None when the client left before it was all there."""
    parts: list[bytes] = []
    size_bytes = 0
    while size_bytes <= MAX_BODY_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        size_bytes += len(parts[-1])
        if not message.get("more_body", False):
            break
    return b"".join(parts)


async def _respond(send: Send, status: int, body: bytes, content_type: bytes = b"application/json") -> None:
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
