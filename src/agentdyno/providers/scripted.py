"""A provider whose models are scripts, over OpenAI chat completions and Anthropic messages.

    python -m agentdyno.providers.scripted --port 0 --port-file F [--seed N] [--scripts DIR] [--die-with-parent]

The model that a client names selects the script; the assistant messages in the conversation select the turn. So the
same conversation gets the same answer, and nothing is remembered between requests but the count of what was served:
`GET /served`, reset by `DELETE /served`.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from agentdyno.core.ids import key_hash
from agentdyno.core.records import Surface
from agentdyno.providers import scripted_chat, scripted_messages
from agentdyno.providers.child import add_child_arguments, child_options, listen, run_program, serve_until_stopped
from agentdyno.providers.reply import Ask, Reply, perform, piece_delays_ms
from agentdyno.providers.script import Failure, Script
from agentdyno.providers.script_files import BUILT_IN, load_scripts
from agentdyno.providers.scripted_wire import AskError, Stamp, Wire, read_object
from agentdyno.providers.served import Served, ServedRequest


@dataclass
class ScriptedProvider:
    """The scripts, and what was served of them."""

    scripts: Mapping[str, Script]
    seed: int
    run_id: str
    """Unique to this run; part of every request id and answer id."""
    now_us: Callable[[], int]
    served: Served = field(default_factory=Served)
    arrivals: int = 0

    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self.chat_completions, methods=["POST"]),
                Route("/v1/messages", self.messages, methods=["POST"]),
                Route("/v1/models", self.models, methods=["GET"]),
                Route("/served", self.show_served, methods=["GET"]),
                Route("/served", self.reset_served, methods=["DELETE"]),
            ]
        )

    async def chat_completions(self, request: Request) -> Response:
        """OpenAI chat completions."""
        return await self._answer("openai_chat", scripted_chat, request)

    async def messages(self, request: Request) -> Response:
        """Anthropic messages."""
        return await self._answer("anthropic_messages", scripted_messages, request)

    async def models(self, _: Request) -> Response:
        """The scripts, as OpenAI lists models."""
        listed = [{"id": name, "object": "model", "created": 0, "owned_by": "agentdyno"} for name in self.scripts]
        return JSONResponse({"object": "list", "data": listed})

    async def show_served(self, _: Request) -> Response:
        """What was served since the last reset."""
        return JSONResponse(self.served.document())

    async def reset_served(self, _: Request) -> Response:
        """Forget what was served. Ids go on, so that none comes twice."""
        self.served.requests.clear()
        return Response(status_code=204)

    async def _answer(self, surface: Surface, wire: Wire, request: Request) -> Response:
        entry = self._enter(surface, request)
        try:
            ask = wire.read_ask(read_object(await request.body()))
        except AskError as error:
            return self._fail(wire, entry, Failure(400, error.message))
        entry.model, entry.streamed, entry.turn = ask.model, ask.streamed, ask.turn
        script = self.scripts.get(ask.model)
        if script is None:
            return self._fail(wire, entry, Failure(404, f"there is no script named {ask.model}", "model_not_found"))
        entry.script = script.name
        outcome = perform(script, ask)
        pieces = 1 if isinstance(outcome, Failure) else len(outcome.pieces)
        delays_ms = piece_delays_ms(script.latency_of(ask.turn), pieces, (script.name, ask.turn, self.seed))
        if isinstance(outcome, Failure):
            await asyncio.sleep(sum(delays_ms) / 1000)
            return self._fail(wire, entry, outcome)
        entry.count_input(outcome.usage)
        if ask.streamed:
            return self._stream(wire, entry, ask, outcome, delays_ms)
        await asyncio.sleep(sum(delays_ms) / 1000)
        entry.count_output(outcome.usage)
        entry.status, entry.complete = 200, not await request.is_disconnected()
        return JSONResponse(
            wire.document(outcome, self._stamp(entry)), headers={wire.REQUEST_ID_HEADER: entry.request_id}
        )

    def _enter(self, surface: Surface, request: Request) -> ServedRequest:
        self.arrivals += 1
        entry = ServedRequest(
            n=self.arrivals,
            surface=surface,
            request_id=f"req_{self.run_id}{self.arrivals:08d}",
            at_us=self.now_us(),
            authorization_digests=authorization_digests(request.headers),
        )
        self.served.requests.append(entry)
        return entry

    def _stamp(self, entry: ServedRequest) -> Stamp:
        return Stamp(f"{self.run_id}{entry.n:08d}", entry.at_us // 1_000_000)

    def _fail(self, wire: Wire, entry: ServedRequest, failure: Failure) -> Response:
        entry.status, entry.complete = failure.status, True
        headers = {wire.REQUEST_ID_HEADER: entry.request_id}
        if failure.retry_after_s is not None:
            headers["retry-after"] = f"{failure.retry_after_s:g}"
        return JSONResponse(wire.error_document(failure, entry.request_id), failure.status, headers=headers)

    def _stream(self, wire: Wire, entry: ServedRequest, ask: Ask, reply: Reply, delays_ms: Sequence[float]) -> Response:
        entry.status = 200
        headers = {wire.REQUEST_ID_HEADER: entry.request_id, "cache-control": "no-cache"}
        events = self._events(wire, entry, ask, reply, delays_ms)
        return StreamingResponse(events, headers=headers, media_type="text/event-stream")

    async def _events(
        self, wire: Wire, entry: ServedRequest, ask: Ask, reply: Reply, delays_ms: Sequence[float]
    ) -> AsyncIterator[bytes]:
        """The stream's bytes. Code after a `yield` runs once those bytes are with the connection."""
        due_s = time.monotonic()
        remaining_ms = iter(delays_ms)
        frames = list(wire.frames(reply, self._stamp(entry), stream_usage=ask.stream_usage))
        last = max(index for index, frame in enumerate(frames) if frame.brings != "trailer")
        for index, frame in enumerate(frames):
            if frame.brings == "piece":
                due_s += next(remaining_ms) / 1000
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            yield frame.data
            if frame.brings == "piece":
                entry.output_tokens += 1
            if index == last:
                entry.count_output(reply.usage)
                entry.complete = True


def authorization_digests(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Hex SHA-256 of the keys in a request's headers."""
    bearer, api_key = headers.get("authorization"), headers.get("x-api-key")
    keys = [bearer.split(" ", 1)[-1]] if bearer is not None else []
    return tuple(key_hash(key) for key in [*keys, *([api_key] if api_key is not None else [])])


@contextmanager
def serving(app: Starlette, host: str, port: int) -> Iterator[int]:
    """Serve the application in a thread of its own; gives the port. Answers in flight are cut at the end."""
    listener = listen(host, port)
    config = uvicorn.Config(app, log_level="critical", access_log=False, lifespan="off", timeout_graceful_shutdown=0)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="scripted")
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def main(arguments: Sequence[str]) -> None:
    """Run the provider until it is told to stop. Raises UserError."""
    parser = argparse.ArgumentParser(
        prog="python -m agentdyno.providers.scripted", description="A provider of scripted answers."
    )
    add_child_arguments(parser)
    parser.add_argument("--seed", type=int, default=0, help="seed of the latencies (default: %(default)s)")
    parser.add_argument("--scripts", type=Path, help="folder with further scripts (*.yaml)")
    given = parser.parse_args(arguments)
    options = child_options(given)
    scripts = load_scripts([BUILT_IN, *([given.scripts] if given.scripts is not None else [])])
    provider = ScriptedProvider(scripts, given.seed, secrets.token_hex(4), lambda: time.time_ns() // 1000)
    serve_until_stopped(serving(provider.app(), options.host, options.port), options)


if __name__ == "__main__":
    sys.exit(run_program(main))
