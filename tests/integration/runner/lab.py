"""A project for headless runs: a harness whose prompts are shell, and everything that is on record of a run."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from tests.integration.runner.provider import Provider
from tests.integration.stand_process import DYNO, Project

from agentdyno.core.records import Attempt, Cell, Request, Run, Runner, Session
from agentdyno.sessions.sandboxes.census import mark_of, read_processes
from agentdyno.store import queries, run_queries
from agentdyno.store.address import LedgerAddress, PostgresAddress
from agentdyno.store.ledger import Ledger
from agentdyno.store.rows import record_of
from agentdyno.store.run_queries import RunCounts

_TIMEOUT_S = 240
UNUSED = ("variants/local-free-text", "variants/local-json-schema", "experiments/free-text-or-schema")
HARNESS = r"""#!/bin/sh
# `ask` sends a request, and ends with 0 where it was answered; what it is called stands in a header and in the message.
asked=0
ask() {
    asked=$((asked + 1))
    call="$DYNO_SESSION_ID/$asked"
    curl -s --fail -o /dev/null "$OPENAI_BASE_URL/chat/completions" -H "authorization: Bearer $OPENAI_API_KEY" \
        -H "content-type: application/json" -H "x-call: $call" \
        -d "{\"model\": \"${1-$OPENAI_MODEL}\", \"messages\": [{\"role\": \"user\", \"content\": \"$call\"}]}"
}
eval "$1"
"""
PROFILE = {
    "surface": "openai_chat",
    "env": {
        "OPENAI_BASE_URL": "${gateway_url}/v1",
        "OPENAI_API_KEY": "${session_key}",
        "OPENAI_MODEL": "${model}",
    },
    "command": ["shell-harness", "${prompt}"],
    "id_headers": ["x-call"],
}
ASK_AND_WRITE = "ask && echo done > done.txt"
DONE = {"kind": "file_exists", "file": "done.txt"}


class Record(NamedTuple):
    """All that the ledger has of one run, at one moment."""

    run: Run
    cells: tuple[Cell, ...]
    attempts: tuple[Attempt, ...]
    runners: tuple[Runner, ...]
    sessions: dict[str, Session]
    """Those of its attempts, by id."""
    requests: tuple[Request, ...]
    counts: RunCounts

    @property
    def verdicts(self) -> Counter[str | None]:
        """How many attempts came to what; None for those under way."""
        return Counter(attempt.verdict for attempt in self.attempts)

    def requests_of(self, session_id: str) -> list[Request]:
        """The rows of one session."""
        return [request for request in self.requests if request.session_id == session_id]


class Ran(NamedTuple):
    """A `dyno run` that has ended."""

    exit_code: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """What `--json` printed: one object a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    def told(self, event: str) -> list[dict[str, Any]]:
        """The events of one kind."""
        return [each for each in self.events if each["event"] == event]


class Lab:
    """A project with that harness; variants name `well`, the provider of the tests, or `scripted`."""

    def __init__(self, folder: Path, provider: Provider, database_url: str | None = None) -> None:
        folder.mkdir(exist_ok=True)
        self.project = Project(folder)
        self.provider = provider
        self._environ = {} if database_url is None else {"DYNO_DATABASE_URL": database_url}
        self.address: LedgerAddress = (
            self.project.home / "ledger.sqlite" if database_url is None else PostgresAddress(database_url)
        )
        for unused in UNUSED:
            (folder / f"configs/{unused}.yaml").unlink()
        self._write_harness()
        self.write("harness_profiles", "shell", **PROFILE)
        routes = {"openai_chat": {"litellm_provider": "openai", "path": "/v1"}}
        self.write("providers", "well", base_url=provider.url, routes=routes, models=["m"])
        self.variant("plain")

    def _write_harness(self) -> None:
        program = self.project.folder / "bin" / "shell-harness"
        program.parent.mkdir()
        program.write_text(HARNESS)
        program.chmod(0o755)
        self.project.write("dyno.yaml", yaml.safe_dump({"cells": {"readable": [str(program.parent)]}}))
        self._environ["PATH"] = f"{program.parent}{os.pathsep}{os.environ['PATH']}"

    def write(self, kind: str, name: str, **values: Any) -> str:
        """Write an entity of the configuration; its name."""
        self.project.write(f"configs/{kind}/{name}.yaml", yaml.safe_dump(values, sort_keys=False))
        return name

    def variant(self, name: str, **values: Any) -> str:
        """A variant of the shell harness."""
        known = {"provider": "well", "model": "m", "harness_profile": "shell"}
        return self.write("variants", name, **(known | values))

    def card(self, name: str, prompt: str = ASK_AND_WRITE, **values: Any) -> str:
        """A task card: what the harness is to do, and by default the check for `done.txt`."""
        known = {"goal": "a file", "prompt": prompt, "timebox_s": 30, "checks": [DONE]}
        return self.write("task_cards", name, **(known | values))

    def experiment(self, name: str, *cards: str, **values: Any) -> str:
        """An experiment over these task cards, in the sandbox `process` unless it says another."""
        known = {"variants": ["plain"], "task_cards": list(cards), "sandbox": "process"}
        return self.write("experiments", name, **(known | values))

    def trial(self, name: str, prompt: str = ASK_AND_WRITE, card: dict[str, Any] | None = None, **values: Any) -> str:
        """An experiment over one task card of its own."""
        return self.experiment(name, self.card(name, prompt, **(card or {})), **values)

    # ── commands ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """`dyno …` as a running process."""
        return subprocess.Popen(
            [str(DYNO), *arguments],
            cwd=self.project.folder,
            env={**self.project.environ(), **self._environ},
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def dyno(self, *arguments: str) -> Ran:
        """`dyno …` to its end, whatever its exit code."""
        with self.start(*arguments) as process:
            try:
                out, err = process.communicate(timeout=_TIMEOUT_S)
            finally:
                process.kill()
        return Ran(process.returncode, out, err)

    def run(self, experiment: str, *options: str) -> Ran:
        """`dyno run EXPERIMENT --json …` to its end."""
        return self.dyno("run", experiment, "--json", *options)

    def must(self, *arguments: str) -> str:
        """What `dyno …` prints; its exit code must be 0."""
        done = self.dyno(*arguments)
        assert done.exit_code == 0, (arguments, done)
        return done.out

    @contextlib.contextmanager
    def up(self) -> Iterator[dict[str, Any]]:
        """`dyno up`, for as long as the context lasts; what the stand says of itself."""
        self.must("up", "--detach", "--port", "0")
        try:
            yield json.loads((self.project.home / "stand.json").read_text())
        finally:
            self.dyno("down")

    # ── what is on record, and what is left ──────────────────────────────────────────────────────────────────────────

    @contextlib.contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """The ledger, open."""
        ledger = Ledger.open(self.address)
        try:
            yield ledger
        finally:
            ledger.close()

    def runs(self, experiment: str) -> tuple[Run, ...]:
        """Its runs, oldest first; none where there is no ledger yet."""
        if isinstance(self.address, Path) and not self.address.exists():
            return ()
        with self.ledger() as ledger:
            return run_queries.runs(ledger, experiment)

    def record(self, experiment: str) -> Record:
        """All that is on record of its newest run."""
        with self.ledger() as ledger:
            return read_record(ledger, run_queries.runs(ledger, experiment)[-1])

    def cell_folders(self) -> list[Path]:
        """Folders of cells that are there."""
        folder = self.project.home / "cells"
        return sorted(folder.iterdir()) if folder.is_dir() else []

    def session_folders(self) -> list[Path]:
        """Rendered files of sessions that are there."""
        folder = self.project.home / "sessions"
        return sorted(folder.iterdir()) if folder.is_dir() else []


def read_record(ledger: Ledger, run: Run) -> Record:
    """All that is on record of a run."""
    attempts = run_queries.attempts(ledger, run.run_id)
    ids = [attempt.session_id for attempt in attempts]
    table = ledger.tables["runner"]
    with ledger.read() as connection:
        found = connection.execute(table.select().where(table.c.run_id == run.run_id)).mappings()
        runners = tuple(record_of(Runner, row) for row in found)
    sessions = {each.session_id: each for each in queries.sessions(ledger) if each.session_id in set(ids)}
    requests = tuple(request for session_id in sessions for request in ledger.requests(session_id))
    return Record(
        run,
        run_queries.cells(ledger, run.run_id),
        attempts,
        runners,
        sessions,
        requests,
        run_queries.counts(ledger, run.run_id),
    )


def marked_processes(is_of: Callable[[str], bool]) -> list[int]:
    """Processes that carry the mark of a session that is one of those."""
    found = {process.pid: mark_of(process.pid) for process in read_processes().values() if not process.ended}
    return [pid for pid, mark in found.items() if mark is not None and is_of(mark)]


def left_running(record: Record) -> list[int]:
    """Processes of the cells of a run."""
    ids = {attempt.session_id for attempt in record.attempts}
    return marked_processes(lambda mark: mark in ids)
