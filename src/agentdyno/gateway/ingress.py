"""The ingress meter: ASGI middleware around LiteLLM that sees, admits, times and records every request.

For each request: admit it by its key, record that it entered, let LiteLLM answer under a call id of ours and without
the session's key, read the answer as it passes, and record the end before the last byte goes out, so that no client
has an answer without a record. Bytes pass unchanged, but for what in a request's body would steer
LiteLLM itself, and for a stream's usage that the stand asked for and the harness did not.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agentdyno.core.dialects.reading import identifier
from agentdyno.core.dialects.table import DIALECTS, call_of
from agentdyno.core.dialects.wire import AnswerReader
from agentdyno.core.errors import SpoolFull
from agentdyno.core.exchange import Answered, Entered, Identity
from agentdyno.core.records import Surface
from agentdyno.core.secrets import redact
from agentdyno.gateway.admission import Admission, Refusal, presented_key, refuse_model
from agentdyno.gateway.telemetry import Telemetry
from agentdyno.store.ledger import CredentialScope
from agentdyno.store.spool import SpoolWriter

log = logging.getLogger(__name__)
MAX_BODY_BYTES = 64 * 1024 * 1024
HEALTH_PATH = "/health/live"
METRICS_PATH = "/metrics"
_MAX_WORD = 200
# A body may come much later than its head, and the key be revoked in between. This is less than a session that is being
# closed waits for what was admitted before.
_ADMISSION_HOLDS_NS = 20_000_000
MODELS_PATHS = frozenset({"/v1/models", "/models"})
# Keys, everything by which a client could steer LiteLLM's own bookkeeping, and its wish for compression: between two
# processes of one machine it costs time, and the meter would have to undo it. Also what describes a body that may be
# written anew: as a form, LiteLLM would read in it something else than was admitted.
_WITHHELD_HEADERS = frozenset(
    {
        b"accept-encoding",
        b"api-key",
        b"authorization",
        b"content-length",
        b"content-type",
        b"cookie",
        b"x-api-key",
        b"x-goog-api-key",
    }
)
_WITHHELD_PREFIXES = (b"x-litellm-", b"llm_provider-")
_PROVIDER_REQUEST_ID_HEADERS = (b"llm_provider-x-request-id", b"llm_provider-request-id")


@dataclass
class Exchange:
    """One request on its way through the gateway."""

    entered: Entered
    scope: CredentialScope
    surface: Surface
    started_ns: int
    reader: AnswerReader | None = None
    http_status: int | None = None
    provider_request_id: str | None = None
    response_bytes: int = 0
    disconnected: bool = False
    forwarded: bool = False
    recorded: bool = False
    hides_usage: bool = False
    """The stand asked for a stream's usage, and the harness did not: it is not shown it."""
    rehearsal: bool = False
    """A call of the stand's own, to warm LiteLLM up: nobody's request."""

    def offset_us(self) -> int:
        """Microseconds since the first byte of the request."""
        return (time.monotonic_ns() - self.started_ns) // 1000


CURRENT: ContextVar[Exchange | None] = ContextVar("agentdyno_exchange", default=None)
"""The exchange that a task inside LiteLLM works for."""


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
    ) -> None:
        self._app = app
        self._admission = admission
        self._spool = spool
        self._telemetry = telemetry
        self._new_key = new_key
        self._clock_us = clock_us
        self._withheld_parameters = withheld_parameters
        self.ready = False
        """Whether liveness may be reported; requests are answered before."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event: HTTP is metered, lifespan passes, web sockets are closed."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif not await self._answer_own(scope, send):
            await self._meter(scope, receive, send)

    async def _answer_own(self, scope: Scope, send: Send) -> bool:
        """The paths that need no key: liveness, metrics, and the greeting that some harnesses send."""
        method, path = scope["method"], scope["path"]
        if method == "HEAD" and path == "/":
            await _respond(send, 200, b"")
        elif method == "GET" and path == HEALTH_PATH:
            word = "alive" if self.ready else "starting"
            body = msgspec.json.encode({"status": word, "gateway_id": self._spool.gateway_id})
            await _respond(send, 200 if self.ready else 503, body)
        elif method == "GET" and path == METRICS_PATH:
            await _respond(
                send, 200, self._telemetry.exposition(self._spool.backlog), content_type=b"text/plain; version=0.0.4"
            )
        else:
            return False
        return True

    async def _meter(self, scope: Scope, receive: Receive, send: Send) -> None:
        started_ns, at_us = time.monotonic_ns(), self._clock_us()
        method, path = scope["method"], scope["path"]
        call = call_of(method, path)
        surface = call.surface if call is not None and call.surface in DIALECTS else None
        # A path of the client's own making may hold anything.
        path = path if surface is not None else redact(path)[:_MAX_WORD]
        entered = Entered(request_key=self._new_key(at_us), at_us=at_us, path=path, request_bytes=0, surface=surface)
        admitted = self._admission.admit(presented_key(scope["headers"]))
        if isinstance(admitted, Refusal):
            await self._refuse(entered, admitted, started_ns, send)
        elif method == "GET" and path in MODELS_PATHS:
            await _respond(send, 200, _model_list(admitted))
        elif surface is None:
            message = f"{method} {path} is not an inference path of this gateway."
            await self._refuse(entered, Refusal("path_not_allowed", 403, message, admitted), started_ns, send)
        else:
            entered = msgspec.structs.replace(entered, identity=_identity(admitted))
            await self._take(Exchange(entered, admitted, surface, started_ns), scope, receive, send)

    async def _take(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        """Read an admitted request's body and forward it, or refuse it."""
        body = await _read_body(receive)
        if body is None:
            exchange.disconnected = True
            self._record(exchange)
            return
        facts = DIALECTS[exchange.surface].read_request(body)
        exchange.entered = msgspec.structs.replace(
            exchange.entered, request_bytes=len(body), model=facts.model, streamed=facts.streamed
        )
        refused = self._refusal_of_body(exchange, scope, body)
        if refused is None:
            try:
                self._spool.append(exchange.entered)
            except SpoolFull as full:
                refused = Refusal("spool_full", 503, f"The stand cannot record this request: {full}.", exchange.scope)
        if refused is not None:
            await self._refuse(exchange.entered, refused, exchange.started_ns, send)
            return
        await self._forward(exchange, scope, body, receive, send)

    def _refusal_of_body(self, exchange: Exchange, scope: Scope, body: bytes) -> Refusal | None:
        if time.monotonic_ns() - exchange.started_ns > _ADMISSION_HOLDS_NS:
            readmitted = self._admission.admit(presented_key(scope["headers"]))
            if isinstance(readmitted, Refusal):
                return readmitted
        if len(body) > MAX_BODY_BYTES:
            message = f"The request is larger than {MAX_BODY_BYTES} bytes."
            return Refusal("body_too_large", 413, message, exchange.scope)
        encoding = dict(scope["headers"]).get(b"content-encoding", b"identity").lower()
        if encoding != b"identity":
            word = redact(encoding.decode("latin-1"))[:_MAX_WORD]
            return Refusal("body_encoded", 415, f"The body is encoded ({word}): send it plain.", exchange.scope)
        return refuse_model(exchange.scope, exchange.entered.model)

    async def _refuse(self, entered: Entered, refusal: Refusal, started_ns: int, send: Send) -> None:
        if refusal.scope is not None:
            entered = msgspec.structs.replace(entered, identity=_identity(refusal.scope))
        dialect = DIALECTS[entered.surface or "openai_chat"]  # type: ignore[index]  # only surfaces are stored there
        body = msgspec.json.encode(dialect.error_body(refusal.code, refusal.message))
        offset_us = (time.monotonic_ns() - started_ns) // 1000
        self._spool.append_or_hold(
            Answered(
                entered=entered,
                ended_offset_us=offset_us,
                response_bytes=len(body),
                http_status=refusal.http_status,
                refusal=refusal.code,
                error_code=refusal.code,
                complete=True,
            )
        )
        self._telemetry.answered(entered.surface, refusal.http_status, offset_us)
        await _respond(send, refusal.http_status, body)

    async def _forward(self, exchange: Exchange, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        inner = dict(scope, headers=_inner_headers(scope["headers"], exchange.entered.request_key))
        unread = [_without(self._withheld_parameters, body)]

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

        exchange.forwarded = True
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
        if not message.get("more_body", False) or exchange.reader.answer.complete:
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
            provider_request_id=exchange.provider_request_id,
        )
        if exchange.reader is not None:
            exchange.reader.finish()
            answer = exchange.reader.answer
            record = msgspec.structs.replace(
                record,
                complete=answer.complete,
                events=answer.events,
                usages=answer.usages,
                response_id=answer.response_id,
                model=answer.model,
                finish_reason=answer.finish_reason,
                tool_calls=answer.tool_calls,
                error_code=answer.error_code,
            )
        self._spool.append_or_hold(record)
        self._telemetry.answered(exchange.surface, exchange.http_status, offset_us)


def _whereabouts(error: Exception) -> str:
    """What an exception is and where it arose, without its words."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {last.filename}:{last.lineno}"


def _identity(scope: CredentialScope) -> Identity:
    return Identity(
        session_id=scope.session_id,
        variant=scope.variant,
        task_card=scope.task_card,
        provider=scope.provider,
        key_hash=scope.key_hash,
        key_alias=scope.key_alias,
        experiment=scope.experiment,
    )


def _inner_headers(headers: list[tuple[bytes, bytes]], request_key: str) -> list[tuple[bytes, bytes]]:
    kept = [
        (name, value)
        for name, value in headers
        if name not in _WITHHELD_HEADERS and not name.startswith(_WITHHELD_PREFIXES)
    ]
    return [*kept, (b"x-litellm-call-id", request_key.encode())]


def _without(withheld: frozenset[str], body: bytes) -> bytes:
    """A JSON object without those of its members; the same bytes where it has none of them."""
    try:
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError:
        return body  # LiteLLM cannot read it either, and says why
    if withheld.isdisjoint(members):
        return body
    return msgspec.json.encode({name: value for name, value in members.items() if name not in withheld})


def _model_list(scope: CredentialScope) -> bytes:
    return msgspec.json.encode(
        {"object": "list", "data": [{"id": scope.model, "object": "model", "created": 0, "owned_by": scope.provider}]}
    )


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
