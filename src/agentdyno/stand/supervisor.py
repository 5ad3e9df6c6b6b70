"""The stand itself: starts managed providers and the gateway, collects beside them, and stops all of it in order."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from secrets import token_bytes
from types import TracebackType
from typing import Self

import msgspec
import yaml
from sqlalchemy.exc import SQLAlchemyError

from agentdyno.clock import now_us
from agentdyno.collectors.spool import SpoolCollector
from agentdyno.core.config import Config, entity_digest, secrets_of, without_admin_keys
from agentdyno.core.errors import GatewayFault, LedgerUnavailable, UserError
from agentdyno.core.ids import time_ordered_id
from agentdyno.core.records import Provider
from agentdyno.gateway.litellm_config import litellm_config
from agentdyno.gateway.prices import price_sources
from agentdyno.gateway.warm_up import warm_up_provider
from agentdyno.interruption import Interruptions
from agentdyno.stand.children import Child
from agentdyno.stand.home import Home
from agentdyno.stand.listening import listen, listen_unix, remove_socket_folder, socket_in_new_folder
from agentdyno.stand.processes import own_start_ticks
from agentdyno.stand.state import StandState, up_already, write_state
from agentdyno.store.address import naming, without_ledger
from agentdyno.store.ledger import Ledger

log = logging.getLogger(__name__)
_PROVIDER_TIMEOUT_S = 60
_GATEWAY_TIMEOUT_S = 120
_COLLECT_EVERY_S = 0.25


def _is_alive(url: str) -> bool:
    host, _, port = url.removeprefix("http://").rpartition(":")
    connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=2)
    try:
        connection.request("GET", "/health/live")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


class Stand:
    """Everything that runs while the stand is up. Use it as a context: on leaving, nothing is left running.

    Interruptions are held, and let through while it waits for a child: none is started that nobody knows of.
    """

    def __init__(
        self,
        home: Home,
        config: Config,
        host: str,
        port: int,
        environ: Mapping[str, str],
        progress: Callable[[str], None],
        interruptions: Interruptions,
    ) -> None:
        self._home = home
        self._config = config
        self._address = (host, port)
        # What a deployment's admin key opens is no business of any child's.
        self._environ = without_admin_keys(without_ledger(environ), config.providers.values())
        self._progress = progress
        self._interruptions = interruptions
        self._children: list[Child] = []
        self._lock = -1
        self._ledger: Ledger | None = None

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as failing:
            failing.callback(self._stop)
            self._start()
            failing.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    @property
    def state(self) -> StandState:
        """Where everything is."""
        return self._state

    # ── start ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _start(self) -> None:
        self._take_lock()
        with self._interruptions.released():
            self._ledger = Ledger.open(self._home.ledger)
        self._collector = SpoolCollector(self._home.spool, self._ledger, now_us)
        socket_path = socket_in_new_folder(self._home.socket_folder)
        with (
            listen(*self._address) as listener,
            listen_unix(socket_path) as unix_listener,
            listen("127.0.0.1", 0) as warm_up_listener,
        ):
            served, missing = self._servable()
            addresses = {provider.name: self._start_provider(provider) for provider in served if provider.managed}
            self._home.litellm_config.touch(mode=0o600)
            rehearsed = [*served, warm_up_provider(warm_up_listener.getsockname()[1])]
            self._home.litellm_config.write_text(yaml.safe_dump(litellm_config(rehearsed, addresses), sort_keys=False))
            self._home.price_sources.write_bytes(msgspec.json.encode(price_sources(served)))
            gateway_id = time_ordered_id("gw", now_us(), token_bytes(10))
            url = self._start_gateway(gateway_id, (listener, unix_listener, warm_up_listener), served)
        self._state = StandState(
            pid=os.getpid(),
            pid_started_ticks=own_start_ticks(),
            gateway_id=gateway_id,
            gateway_pid=self._children[-1].pid,
            gateway_url=url,
            gateway_socket=str(socket_path),
            started_at_us=now_us(),
            providers=addresses,
            served={provider.name: entity_digest(provider) for provider in served},
            missing_secrets=missing,
        )
        write_state(self._home, self._state)

    def _take_lock(self) -> None:
        try:
            lock = os.open(self._home.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UserError(
                f"{self._home.lock} cannot be written: {error.strerror}", "name another home by DYNO_HOME"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise up_already(self._home) from error
        self._lock = lock
        self._home.pid.write_text(f"{os.getpid()}\n")

    def _servable(self) -> tuple[list[Provider], dict[str, str]]:
        """The providers to serve (a managed one when a variant uses it), and those left out for want of secrets.

        A LiteLLM deployment is none of either: harnesses go to it by themselves.
        """
        used = {variant.provider for variant in self._config.variants.values()}
        served, missing = [], {}
        for provider in self._config.providers.values():
            if provider.deployment_key_env is not None:
                continue
            if provider.managed is not None and provider.name not in used:
                continue
            unset = [name for name in secrets_of(provider) if not self._environ.get(name)]
            if unset:
                missing[provider.name] = ", ".join(unset)
                continue
            served.append(provider)
        return served, missing

    def _start_provider(self, provider: Provider) -> str:
        self._progress(f"starting provider {provider.name}")
        port_file = self._home.folder / f"{provider.name}.port"
        port_file.unlink(missing_ok=True)
        child = Child(
            f"provider {provider.name}",
            f"agentdyno.providers.{provider.managed}",
            ["--port", "0", "--port-file", str(port_file), "--die-with-parent"],
            self._home.log(provider.name),
            self._environ,
        )
        self._await(child, port_file.exists, _PROVIDER_TIMEOUT_S)
        return f"http://127.0.0.1:{port_file.read_text().strip()}"

    def _start_gateway(
        self, gateway_id: str, listeners: tuple[socket.socket, socket.socket, socket.socket], served: list[Provider]
    ) -> str:
        self._progress("starting the gateway")
        host, port = listeners[0].getsockname()[:2]
        descriptors = tuple(listener.fileno() for listener in listeners)
        listen_fd, unix_fd, warm_up_fd = descriptors
        secrets = [name for provider in served for name in secrets_of(provider)]
        arguments = [
            *("--spool", str(self._home.spool)),
            *("--gateway-id", gateway_id),
            *("--litellm-config", str(self._home.litellm_config)),
            *("--listen-fd", str(listen_fd)),
            *("--listen-fd", str(unix_fd)),
            *("--warm-up-fd", str(warm_up_fd)),
            *("--price-sources", str(self._home.price_sources)),
            *(argument for name in secrets for argument in ("--secret-env", name)),
        ]
        log_file = self._home.log("gateway")
        environ = {**self._environ, **naming(self._home.ledger)}
        child = Child("the gateway", "agentdyno.gateway", arguments, log_file, environ, descriptors)
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._await(child, lambda: _is_alive(url), _GATEWAY_TIMEOUT_S)
        return url

    def _await(self, child: Child, ready: Callable[[], bool], timeout_s: float) -> None:
        self._children.append(child)
        with self._interruptions.released():
            child.wait_until(ready, timeout_s)

    # ── run ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def run(self, after_each_pass: Callable[[], object] = lambda: None) -> None:
        """Collect until somebody asks for the end. Raises GatewayFault when a child dies."""
        reachable = True
        while not self._interruptions.asked:
            time.sleep(_COLLECT_EVERY_S)
            try:
                self._collector.collect()
                after_each_pass()
                reachable = True
            except LedgerUnavailable as error:
                # The spool keeps everything meanwhile: try again until the ledger is back.
                if reachable:
                    log.warning("the ledger is unavailable: %s", error)
                reachable = False
            self.require_alive()

    def require_alive(self) -> None:
        """Raise GatewayFault when a child has died."""
        for child in self._children:
            if child.exit_code is not None:
                raise GatewayFault(
                    f"{child.name} died with exit code {child.exit_code}",
                    f"its records are kept; see {child.log_file}, then start the stand again",
                )

    # ── stop ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _stop(self) -> None:
        for child in reversed(self._children):
            self._progress(f"stopping {child.name}")
            was_alive = child.exit_code is None
            child.stop()
            if was_alive and child.exit_code not in (0, -signal.SIGTERM):  # told before it listened, it just ends
                self._progress(f"{child.name} ended with exit code {child.exit_code}; see {child.log_file}")
        try:
            if self._children:
                self._collector.collect()
        except (LedgerUnavailable, SQLAlchemyError, OSError) as error:
            # The spool keeps them for the next stand. Only our own words are known to quote no row.
            reason = error if isinstance(error, LedgerUnavailable) else type(error).__name__
            log.error("the last records were not collected: %s", reason)  # noqa: TRY400 - the words say it all
        finally:
            self._leave_nothing()

    def _leave_nothing(self) -> None:
        if self._ledger is not None:
            self._ledger.close()
        for leftover in (self._home.state, *self._port_files()):
            if self._children:
                leftover.unlink(missing_ok=True)
        if self._lock >= 0:
            remove_socket_folder(self._home.socket_folder)
            self._home.pid.unlink(missing_ok=True)
            os.close(self._lock)

    def _port_files(self) -> list[Path]:
        return [self._home.folder / f"{name}.port" for name in self._config.providers]
