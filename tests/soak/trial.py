"""What a soak is done to: a stand on a shared ledger, started by `dyno`, before a provider in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import dict_row
from tests.integration.postgres_server import PostgresServer
from tests.integration.stand_process import REPOSITORY, Project, StandProcess
from tests.soak.errands import MODELS, NUMBER_HEADER

EXPERIMENT = "soak"
_DATABASE = "soak"
_END_TIMEOUT_S = 60
# Below those that the system gives to outgoing connections: a client that tries while the gateway is down may otherwise
# be given the very port that it tries, and then talks to itself.
_PORTS = range(20_000, 32_000)
_PROVIDER = """
base_url: {url}
routes:
  openai_chat: {{litellm_provider: openai, path: /v1}}
  openai_responses: {{litellm_provider: openai, path: /v1}}
  anthropic_messages: {{litellm_provider: anthropic}}
  gemini: {{litellm_provider: gemini, path: /v1beta}}
models: [{models}]
"""
_PROFILE = """
surface: openai_chat
env: {{KEY: "${{session_key}}"}}
id_headers: [{header}]
"""


class Opened(NamedTuple):
    """An open session."""

    session_id: str
    key: str


@dataclass
class Trial:
    """The stand, its ledger and its provider, with what may happen to them."""

    project: Project
    server: PostgresServer
    provider_log: Path
    port: int
    stop_provider: Callable[[], None]
    """Let the provider end, by which its log is whole."""

    def __post_init__(self) -> None:
        self._stand = StandProcess(self.project, self.port, DYNO_DATABASE_URL=self.url)
        self._is_up = False

    @property
    def url(self) -> str:
        """The ledger's URL."""
        return self.server.url(_DATABASE)

    def start(self) -> None:
        """Let the stand come up."""
        self._stand.__enter__()
        self._is_up = True

    def stop(self) -> None:
        """Let it end in order, if it is up."""
        if self._is_up:
            self._is_up = False
            self._stand.__exit__(None, None, None)
            assert self._stand.process.returncode == 0, self._stand.err

    def require_up(self) -> None:
        """Fail with the stand's last words where it ended by itself."""
        assert self._stand.process.poll() is None, self._stand.process.communicate()

    def kill_the_gateway(self) -> str:
        """Kill it without warning, upon which the stand ends, and start the stand again. The run that was killed."""
        self._is_up = False
        gateway_id: str = self._stand.state["gateway_id"]
        os.kill(self._stand.state["gateway_pid"], signal.SIGKILL)
        out, err = self._stand.process.communicate(timeout=_END_TIMEOUT_S)
        assert "the gateway died" in out + err
        self.start()
        return gateway_id

    def take_the_ledger_away(self, outage_s: float) -> None:
        """Stop the ledger's server for a while."""
        self.server.stop()
        time.sleep(outage_s)
        self.server.start()

    def dyno(self, *arguments: str) -> str:
        """What `dyno …` prints."""
        return self.project.dyno(*arguments, DYNO_DATABASE_URL=self.url)

    def json(self, *arguments: str) -> Any:
        """What `dyno … --json` prints."""
        return json.loads(self.dyno(*arguments, "--json"))

    def open_sessions(self, of_a_model: int) -> dict[str, list[Opened]]:
        """So many sessions of each model."""
        with ThreadPoolExecutor(2) as pool:
            opened = iter(list(pool.map(self._open_session, MODELS * of_a_model)))
        sessions: dict[str, list[Opened]] = {model: [] for model in MODELS}
        for model, session in zip(MODELS * of_a_model, opened, strict=True):
            sessions[model].append(session)
        return sessions

    def _open_session(self, model: str) -> Opened:
        options = ("--variant", model, "--experiment", EXPERIMENT, "--task-card", "answer")
        created = self.json("session", "create", *options, "--repo", str(self.project.repo))
        return Opened(created["session_id"], created["env"]["KEY"])

    def close_sessions(self, session_ids: Iterable[str]) -> None:
        """Finalize them."""
        with ThreadPoolExecutor(2) as pool:
            finalize = ("session", "finalize", "--outcome", "completed")
            list(pool.map(lambda session_id: self.dyno(*finalize, session_id), session_ids))

    def rows(self) -> list[dict[str, Any]]:
        """Every row of the ledger, as any other program reads it."""
        with psycopg.connect(self.url, row_factory=dict_row) as connection:
            return connection.execute("SELECT * FROM request ORDER BY started_at_us, request_key").fetchall()

    def digests(self) -> dict[str, str]:
        """The digest of each table of a ledger that is whole."""
        checked = self.json("db", "check")
        assert checked["faults"] == []
        return {table["table"]: table["digest"] for table in checked["tables"]}


@contextlib.contextmanager
def trial(folder: Path, seed: int) -> Iterator[Trial]:
    """A stand that is up, in a folder that is empty."""
    log = folder / "provider.jsonl"
    with PostgresServer() as server, _provider(seed, log) as provider:
        server.execute(f"CREATE DATABASE {_DATABASE}")
        prepared = Trial(_project(folder / "project", provider.url), server, log, _free_port(seed), provider.stop)
        try:
            prepared.start()
            yield prepared
        finally:
            prepared.stop()


class _Provider(NamedTuple):
    """The provider's process."""

    url: str
    stop: Callable[[], None]


@contextlib.contextmanager
def _provider(seed: int, log: Path) -> Iterator[_Provider]:
    command = [sys.executable, "-m", "tests.soak.provider", "--seed", str(seed), "--log", str(log)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        stdin = process.stdin

        def stop() -> None:
            stdin.close()
            assert process.wait(_END_TIMEOUT_S) == 0

        try:
            yield _Provider(f"http://127.0.0.1:{int(process.stdout.readline())}", stop)
        finally:
            stdin.close()


def _project(folder: Path, provider_url: str) -> Project:
    folder.mkdir()
    project = Project(folder)
    for unused in (folder / "configs").rglob("*.yaml"):
        unused.unlink()
    project.write("configs/providers/steady.yaml", _PROVIDER.format(url=provider_url, models=", ".join(MODELS)))
    project.write("configs/harness_profiles/client.yaml", _PROFILE.format(header=NUMBER_HEADER))
    project.write("configs/task_cards/answer.yaml", "goal: Answer as many requests as there are.\nprompt: Answer.\n")
    for model in MODELS:
        variant = f"provider: steady\nmodel: {model}\nharness_profile: client\n"
        project.write(f"configs/variants/{model}.yaml", variant)
    experiment = f"variants: [{', '.join(MODELS)}]\ntask_cards: [answer]\n"
    project.write(f"configs/experiments/{EXPERIMENT}.yaml", experiment)
    return project


def _free_port(seed: int) -> int:
    chance = Random(f"{seed}:{os.getpid()}")
    while True:
        port = chance.choice(_PORTS)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
