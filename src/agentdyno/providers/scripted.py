"""A provider whose models are scripts, over OpenAI chat completions and responses, Anthropic messages, and Gemini.

    python -m agentdyno.providers.scripted --port 0 --port-file F [--seed N] [--scripts DIR] [--die-with-parent]

The model that a client names selects the script, words of the conversation its case, where it has several; the model's
answers in the conversation select the turn. So the same conversation gets the same answer, and nothing is remembered
between requests but the count of what was served, and which conversations have met an error that a script has only so
many times. `GET /served` shows the one, `DELETE /served` forgets both.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from agentdyno.core.ids import canonical_json, key_hash
from agentdyno.core.records import Surface
from agentdyno.providers import scripted_chat, scripted_gemini, scripted_messages, scripted_responses
from agentdyno.providers.child import add_child_arguments, child_options, listen, run_program, serve_until_stopped
from agentdyno.providers.encounters import Encounters
from agentdyno.providers.reply import Ask, perform, piece_delays_ms
from agentdyno.providers.script import Failure, Script
from agentdyno.providers.script_files import BUILT_IN, load_scripts
from agentdyno.providers.scripted_wire import AskError, ReadAsk, Stamp, Wire, read_object
from agentdyno.providers.sending import Answer, send_document, send_failure, send_stream, send_whole
from agentdyno.providers.served import Served, ServedRequest


class Endpoint(NamedTuple):
    """What a path of the provider serves."""

    surface: Surface
    wire: Wire
    read_ask: ReadAsk
    count_document: Callable[[int], dict[str, Any]] | None = None
    """The answer to a token count, where the path is for counting."""


_ENDPOINTS: Mapping[str, Endpoint] = MappingProxyType(
    {
        "/v1/chat/completions": Endpoint("openai_chat", scripted_chat, scripted_chat.read_ask),
        "/v1/responses": Endpoint("openai_responses", scripted_responses, scripted_responses.read_ask),
        "/v1/responses/input_tokens": Endpoint(
            "openai_responses", scripted_responses, scripted_responses.read_ask, scripted_responses.count_document
        ),
        "/v1/messages": Endpoint("anthropic_messages", scripted_messages, scripted_messages.read_ask),
        "/v1/messages/count_tokens": Endpoint(
            "anthropic_messages", scripted_messages, scripted_messages.read_count, scripted_messages.count_document
        ),
    }
)
# With the version or without: clients differ in how much of the address they are told.
_GEMINI_PATHS = tuple(f"{version}/models/{{model:path}}:{{operation}}" for version in ("/v1beta", "/v1", ""))
_KEY_HEADERS = ("x-api-key", "x-goog-api-key", "api-key")


@dataclass
class ScriptedProvider:
    """The scripts, and what was served of them."""

    scripts: Mapping[str, Script]
    seed: int
    run_id: str
    """Unique to this run; part of every request id and answer id."""
    now_us: Callable[[], int]
    served: Served = field(default_factory=Served)
    encounters: Encounters = field(default_factory=Encounters)
    arrivals: int = 0

    def app(self) -> Starlette:
        """The ASGI application."""
        routes = [
            Route(path, partial(self._serve, endpoint), methods=["POST"]) for path, endpoint in _ENDPOINTS.items()
        ]
        routes += [Route(path, self.gemini, methods=["POST"]) for path in _GEMINI_PATHS]
        routes += [
            Route("/v1/models", self.models, methods=["GET"]),
            Route("/served", self.show_served, methods=["GET"]),
            Route("/served", self.reset_served, methods=["DELETE"]),
        ]
        return Starlette(routes=routes)

    async def gemini(self, request: Request) -> Response:
        """Gemini, whose paths say the model and the operation."""
        model, operation = request.path_params["model"], request.path_params["operation"]
        as_events = request.query_params.get("alt") == "sse"
        read_ask = partial(scripted_gemini.read_ask, model=model, operation=operation, as_events=as_events)
        count_document = scripted_gemini.count_document if operation == "countTokens" else None
        return await self._serve(Endpoint("gemini", scripted_gemini, read_ask, count_document), request)

    async def models(self, _: Request) -> Response:
        """The scripts, as OpenAI lists models."""
        listed = [{"id": name, "object": "model", "created": 0, "owned_by": "agentdyno"} for name in self.scripts]
        return JSONResponse({"object": "list", "data": listed})

    async def show_served(self, _: Request) -> Response:
        """What was served since the last reset."""
        return JSONResponse(self.served.document())

    async def reset_served(self, _: Request) -> Response:
        """Forget what was served and which errors were met. Ids go on, so that none comes twice."""
        self.served.requests.clear()
        self.encounters.forget()
        return Response(status_code=204)

    async def _serve(self, endpoint: Endpoint, request: Request) -> Response:
        entry = self._enter(endpoint, request)
        try:
            ask = endpoint.read_ask(read_object(await request.body()))
            entry.model, entry.streamed, entry.turn = ask.model, ask.streamed, ask.turn
            script = self._script(ask)
        except AskError as error:
            return send_failure(endpoint.wire, entry, error.failure)
        entry.script = script.name
        if endpoint.count_document is not None:
            return send_whole(endpoint.wire, entry, endpoint.count_document(ask.input_tokens))
        return await self._answer(endpoint.wire, entry, script, ask, request)

    def _enter(self, endpoint: Endpoint, request: Request) -> ServedRequest:
        self.arrivals += 1
        at_us = self.now_us()
        entry = ServedRequest(
            n=self.arrivals,
            surface=endpoint.surface,
            request_id=self._stamp(self.arrivals, at_us).request_id,
            at_us=at_us,
            authorization_digests=authorization_digests(request.headers, request.query_params),
            operation="generate" if endpoint.count_document is None else "count_tokens",
        )
        self.served.requests.append(entry)
        return entry

    def _stamp(self, n: int, at_us: int) -> Stamp:
        return Stamp(f"{self.run_id}{n:08d}", at_us // 1_000_000)

    def _script(self, ask: Ask) -> Script:
        script = self.scripts.get(ask.model)
        if script is None:
            raise AskError(f"there is no script named {ask.model}", 404, "model_not_found")
        return script.for_words(canonical_json(ask.prompt)) if script.cases else script

    async def _answer(self, wire: Wire, entry: ServedRequest, script: Script, ask: Ask, request: Request) -> Response:
        outcome = perform(script, ask, strikes=self.encounters.strikes(script, ask))
        pieces = 1 if isinstance(outcome, Failure) else len(outcome.pieces)
        delays_ms = piece_delays_ms(script.latency_of(ask.turn), pieces, (script.name, ask.turn, self.seed))
        if isinstance(outcome, Failure):
            await asyncio.sleep(sum(delays_ms) / 1000)
            return send_failure(wire, entry, outcome)
        entry.count_input(outcome.usage)
        answer = Answer(wire, outcome, self._stamp(entry.n, entry.at_us), entry, delays_ms)
        return send_stream(answer) if ask.streamed else await send_document(answer, request)


def authorization_digests(headers: Mapping[str, str], query: Mapping[str, str]) -> tuple[str, ...]:
    """Hex SHA-256 of the keys in a request's headers and query."""
    bearer = headers.get("authorization")
    keys = [
        None if bearer is None else bearer.split(" ", 1)[-1],
        *(headers.get(name) for name in _KEY_HEADERS),
        query.get("key"),
    ]
    return tuple(key_hash(key) for key in keys if key is not None)


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
