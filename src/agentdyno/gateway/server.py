"""The gateway process: LiteLLM in-process under uvicorn, behind the ingress meter.

This module imports LiteLLM inside `serve`, after the environment is set as LiteLLM reads it at import.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from random import Random
from secrets import token_bytes, token_urlsafe
from typing import NamedTuple

import msgspec
import uvicorn
import yaml
from starlette.types import ASGIApp

from agentdyno.clock import now_us
from agentdyno.core.dialects.table import DIALECTS
from agentdyno.core.errors import SpoolFull
from agentdyno.core.exchange import Price
from agentdyno.core.ids import time_ordered_id
from agentdyno.gateway.admission import Admission, CredentialLookUp
from agentdyno.gateway.asgi_server import AsgiServer
from agentdyno.gateway.credentials import credentials_of
from agentdyno.gateway.egress import EgressMeter, meter_litellm
from agentdyno.gateway.garbage import collected_between_events
from agentdyno.gateway.ingress import IngressMeter
from agentdyno.gateway.litellm_config import passed_through
from agentdyno.gateway.pass_through import PassThrough, serve_pass_through
from agentdyno.gateway.preparation import PreparingExecutor
from agentdyno.gateway.prices import PriceSource, resolved_prices
from agentdyno.gateway.telemetry import Telemetry
from agentdyno.gateway.warm_up import warm_up
from agentdyno.store.address import LedgerAddress
from agentdyno.store.spool import SpoolWriter

log = logging.getLogger(__name__)
_GRACE_S = 10
_RETRY_S = 0.5
_LAST_RETRIES_S = 5.0
# The others serve browsers, budgets, Redis and LiteLLM's own metrics, and wrap every chunk of every answer.
_KEPT_MIDDLEWARE = frozenset({"LazyFeatureMiddleware"})


class GatewaySettings(NamedTuple):
    """What a gateway process is told by the stand."""

    ledger: LedgerAddress
    spool: Path
    gateway_id: str
    litellm_config: Path
    price_sources: Path
    """Where the price of each route comes from, as JSON."""


def _prepare_environment(config: Path) -> None:
    """What LiteLLM reads from the environment when it is imported and started."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # no download of prices
    os.environ["LITELLM_MASTER_KEY"] = "sk-" + token_urlsafe(32)  # demanded, never used: the ingress admits
    os.environ["LITELLM_MODE"] = "PRODUCTION"  # no .env file of the current folder
    os.environ["LITELLM_RUST"] = "0"  # its native client cannot be metered
    os.environ["LITELLM_LOG"] = "ERROR"  # until it is silenced altogether
    os.environ["CONFIG_FILE_PATH"] = str(config)
    for name in ("DATABASE_URL", "DISABLE_AIOHTTP_TRANSPORT", "LITELLM_HTTP2"):  # the last two choose other clients
        os.environ.pop(name, None)


def _litellm_app(spool: SpoolWriter, egress: EgressMeter, passing: PassThrough) -> ASGIApp:
    _silence_litellm()
    # LiteLLM tries to import this on every request; so marked, the attempt fails without a search of the disk.
    sys.modules["litellm_enterprise"] = None  # type: ignore[assignment]  # None is the import system's own mark
    import litellm
    from litellm.proxy import hooks, proxy_server

    from agentdyno.gateway.litellm_hooks import Recorder, authenticate

    _silence_litellm()
    hooks.PROXY_HOOKS.clear()  # they cost 5%, limit what we do not use, and write the ids of responses anew
    _keep_response_ids()
    middleware = proxy_server.app.user_middleware
    middleware[:] = [layer for layer in middleware if layer.cls.__name__ in _KEPT_MIDDLEWARE]
    litellm.callbacks.append(Recorder(spool, now_us, passing))
    proxy_server.user_custom_auth = authenticate
    meter_litellm(egress, passing.leads_to)
    app: ASGIApp = proxy_server.app
    return app


def _executor() -> PreparingExecutor:
    from litellm.main import completion

    return PreparingExecutor(completion)


def _keep_response_ids() -> None:
    """Have the ids of responses reach the harness as the provider gave them.

    LiteLLM would write the deployment into them, which serves those who have several for one model.
    """
    from litellm.responses.utils import ResponsesAPIRequestUtils

    def unchanged(custom_llm_provider: str | None, model_id: str | None, response_id: str) -> str:
        return response_id

    ResponsesAPIRequestUtils._build_responses_api_response_id = staticmethod(unchanged)


async def _count_nothing(*_: object, **__: object) -> None:
    """Stands in for the router's count of one answer."""


def _stop_counting_deployments() -> None:
    """Take away the counts by which the router, once started, would choose among deployments: each of ours is alone."""
    import litellm
    from litellm.proxy import proxy_server

    router = proxy_server.llm_router
    litellm._async_success_callback.remove(router.deployment_callback_on_success)
    litellm.success_callback.remove(router.sync_deployment_callback_on_success)
    router.increment_deployment_usage_for_response = _count_nothing


def _silence_litellm() -> None:
    """LiteLLM's log quotes what providers and clients said, which is content; what happened is in the records."""
    for name in ("LiteLLM", "LiteLLM Proxy", "LiteLLM Router"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(logging.CRITICAL)
        logger.propagate = True


async def _flush_litellm() -> None:
    from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

    await GLOBAL_LOGGING_WORKER.flush()


def _when_ended(stdin: int, loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> Callable[[], None]:
    """Stop when standard input ends: the stand that started this process is gone."""

    def read() -> None:
        if os.read(stdin, 4096) == b"":
            loop.remove_reader(stdin)
            stop()

    return read


async def _started(server: uvicorn.Server, serving: asyncio.Task[None]) -> None:
    """Wait until LiteLLM's own start-up is done, or has failed."""
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)


async def _write_backlog(spool: SpoolWriter) -> None:
    """Write what waits for the disk as soon as there is room: the next request, which would do so, may never come."""
    while True:
        await asyncio.sleep(_RETRY_S)
        with contextlib.suppress(SpoolFull):
            spool.flush()


async def _write_last(spool: SpoolWriter) -> int:
    """Write what still waits for the disk, for as long as a stop may take. The number of records that are lost."""
    deadline = time.monotonic() + _LAST_RETRIES_S
    while True:
        try:
            spool.flush()
        except SpoolFull as full:
            if time.monotonic() >= deadline:
                log.error("%d records are lost: %s", spool.backlog, full)  # noqa: TRY400 - the words say it all
                return spool.backlog
            await asyncio.sleep(_RETRY_S)
        else:
            return 0


async def serve(settings: GatewaySettings, listeners: Sequence[socket.socket], warm_up_listener: socket.socket) -> int:
    """Serve, the same on every listener, until SIGTERM or SIGINT, then finish what is in flight and flush every record.

    The number of records that the disk did not take.
    """
    _prepare_environment(settings.litellm_config)
    spool = SpoolWriter(settings.spool, settings.gateway_id)
    egress = EgressMeter(spool)
    addresses = passed_through(yaml.safe_load(settings.litellm_config.read_bytes()))
    try:
        async with serve_pass_through(egress, addresses) as passing:
            app = _litellm_app(spool, egress, passing)
            asyncio.get_running_loop().set_default_executor(_executor())
            prices = _read_prices(settings.price_sources)
            async with credentials_of(settings.ledger) as look_up:
                meter = _meter(app, look_up, spool, prices)
                await _serve(meter, egress, functools.partial(warm_up, app, warm_up_listener), listeners, spool)
        egress.end_running()
        return await _write_last(spool)
    finally:
        spool.close()


def _read_prices(sources: Path) -> dict[str, Price]:
    """The price of each route that has one. To be read before LiteLLM enters every configured model at a price of 0."""
    import litellm

    decoded = msgspec.json.decode(sources.read_bytes(), type=dict[str, PriceSource])
    return resolved_prices(decoded, litellm.model_cost, f"litellm-{version('litellm')}")


def _meter(app: ASGIApp, look_up: CredentialLookUp, spool: SpoolWriter, prices: Mapping[str, Price]) -> IngressMeter:
    from agentdyno.gateway.litellm_hooks import WITHHELD_FROM_BODIES

    # Seeded once: asking the system on every request would yield the interpreter to LiteLLM's threads each time.
    randomness = Random(token_bytes(32))  # noqa: S311 - keys of requests are no secrets
    return IngressMeter(
        app=app,
        admission=Admission(look_up, now_us),
        spool=spool,
        telemetry=Telemetry(),
        new_key=lambda at_us: time_ordered_id("req", at_us, randomness.randbytes(10)),
        clock_us=now_us,
        withheld_parameters=WITHHELD_FROM_BODIES,
        prices=prices,
    )


async def _serve(
    meter: IngressMeter,
    egress: EgressMeter,
    rehearse: Callable[[], Awaitable[None]],
    listeners: Sequence[socket.socket],
    spool: SpoolWriter,
) -> None:
    """Serve until a signal or the stand's end says to stop, and until what was in flight then is finished.

    Raises GatewayFault, after an orderly end, when the rehearsal went past the egress meter.
    """
    config = uvicorn.Config(
        meter,
        http="httptools",
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=_GRACE_S,
        timeout_keep_alive=75,
    )
    server = AsgiServer(config)
    loop = asyncio.get_running_loop()

    def stop() -> None:
        server.should_exit = True

    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop)
    loop.add_reader(sys.stdin.fileno(), _when_ended(sys.stdin.fileno(), loop, stop))
    writing = asyncio.create_task(_write_backlog(spool))
    try:
        with collected_between_events(loop):
            serving = asyncio.create_task(server.serve(sockets=list(listeners)))
            await _started(server, serving)
            _stop_counting_deployments()
            await rehearse()
            unmetered = None if server.should_exit else egress.unmetered(DIALECTS)
            if unmetered is not None:
                stop()
                await serving
                raise unmetered
            gc.collect()
            gc.freeze()  # what a start leaves behind stays, and need not be looked through again
            meter.ready = True
            await serving
            await _flush_litellm()
    finally:
        writing.cancel()
