"""Two stands on one PostgreSQL ledger, which goes away and comes back; its password stays where it was given."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
import psutil
import pytest
from tests.integration.ledgers import PostgresLedgers
from tests.integration.postgres_server import GUARDED_USER, PASSWORD, PostgresServer
from tests.integration.stand_process import Project, StandProcess

from agentdyno.store.address import DATABASE_URL

UNUSED = ("variants/local-free-text", "variants/local-json-schema", "experiments/free-text-or-schema")
ASK = """
import json, os, urllib.request
url, key, model = (os.environ["OPENAI_" + name] for name in ("BASE_URL", "API_KEY", "MODEL"))
body = json.dumps({"model": model, "messages": [{"role": "user", "content": "say hello"}]}).encode()
headers = {"authorization": "Bearer " + key, "content-type": "application/json"}
for _ in range(3):
    urllib.request.urlopen(urllib.request.Request(url + "/chat/completions", body, headers)).read()
"""
SAY_ENVIRONMENT = "import json, os; print(json.dumps(dict(os.environ)))"


class Shared(NamedTuple):
    """A project whose stand is up, on a ledger that others use too."""

    project: Project
    stand: StandProcess
    url: str

    def dyno(self, *arguments: str, folder: Path | None = None) -> str:
        return self.project.dyno(*arguments, folder=folder, DYNO_DATABASE_URL=self.url)

    def json(self, *arguments: str) -> Any:
        return json.loads(self.dyno(*arguments, "--json"))

    def options(self) -> tuple[str, ...]:
        return ("--variant", "plain", "--task-card", "say-hello", "--repo", str(self.project.repo))


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server that may be stopped, with a user who has a password."""
    with PostgresServer() as server:
        server.execute(f"CREATE USER {GUARDED_USER} PASSWORD '{PASSWORD}' SUPERUSER")
        yield server


@pytest.fixture(scope="module")
def stands(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Shared]]:
    """Two stands, each in a home of its own."""
    PostgresLedgers(server)
    url = server.url("migrated", f"{GUARDED_USER}:{quote(PASSWORD, safe='')}")
    projects = [Project(tmp_path_factory.mktemp("shared")) for _ in range(2)]
    for project in projects:
        for unused in UNUSED:
            (project.folder / f"configs/{unused}.yaml").unlink()
        project.write(
            "configs/variants/plain.yaml", "provider: scripted\nmodel: hello\nharness_profile: openai-client\n"
        )
    with contextlib.ExitStack() as stack, ThreadPoolExecutor() as pool:
        processes = [StandProcess(project, DYNO_DATABASE_URL=url) for project in projects]
        for process in processes:
            stack.push(process)
        list(pool.map(lambda process: process.__enter__(), processes))
        yield [Shared(*each, url) for each in zip(projects, processes, strict=True)]


def test_each_stand_has_its_own_rows_and_sees_all(stands: list[Shared]) -> None:
    sessions = []
    for shared in stands:
        shared.stand.forget_served()
        started = shared.project.run(
            *("session", "start", *shared.options(), "--json", "--", sys.executable, "-c", ASK),
            folder=shared.project.repo,
            DYNO_DATABASE_URL=shared.url,
        )
        sessions.append(json.loads(started.stdout)["session"]["session_id"])
    for shared, session_id in zip(stands, sessions, strict=True):
        assert {session["session_id"] for session in shared.json("session", "list")} == set(sessions)
        rows = shared.json("session", "show", session_id, "--requests")["requests"]
        served = shared.stand.served()["requests"]
        for name in ("input_tokens", "output_tokens", "cache_read_tokens"):
            assert [row[name] for row in rows] == [request[name] for request in served]
        assert [row["status"] for row in rows] == ["ok"] * len(served) == ["ok"] * 3
    checked = stands[0].json("db", "check")
    assert checked["faults"] == []
    assert {table["table"]: table["rows"] for table in checked["tables"]}["session"] == len(sessions)


def test_nothing_is_lost_while_the_server_is_away(stands: list[Shared], server: PostgresServer) -> None:
    shared = stands[0]
    created = shared.json("session", "create", *shared.options())
    session_id, env = created["session_id"], created["env"]
    assert ask(shared, env).status_code == 200
    server.stop()
    assert ask(shared, env).status_code == 200  # its key was seen before
    refused = shared.project.run("session", "list", DYNO_DATABASE_URL=shared.url)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    server.start()
    assert ask(shared, env).status_code == 200
    closed = shared.json("session", "finalize", session_id, "--outcome", "completed")
    assert closed["session"]["outcome"] == "completed"
    rows = shared.json("session", "show", session_id, "--requests")["requests"]
    assert [row["status"] for row in rows] == ["ok"] * 3


def ask(shared: Shared, env: dict[str, str]) -> httpx.Response:
    """One request, with the key of a session."""
    key = next(value for value in env.values() if value.startswith("sk-dyno-"))
    body = {"model": "hello", "messages": [{"role": "user", "content": "say hello"}]}
    url = f"{shared.stand.url}/v1/chat/completions"
    return httpx.post(url, headers={"authorization": f"Bearer {key}"}, json=body, timeout=60)


def test_the_password_is_with_the_processes_that_need_it_alone(stands: list[Shared]) -> None:
    for shared in stands:
        options = shared.options()
        command = ("session", "start", *options, "--", sys.executable, "-c", SAY_ENVIRONMENT)
        harness_saw = json.loads(shared.project.run(*command, DYNO_DATABASE_URL=shared.url).stdout)
        assert "OPENAI_API_KEY" in harness_saw
        assert DATABASE_URL not in harness_saw
        children = psutil.Process(shared.stand.process.pid).children(recursive=True)
        told = [" ".join(child.cmdline()) for child in children if DATABASE_URL in child.environ()]
        assert len(told) == 1
        assert "agentdyno.gateway" in told[0]
        for child in children:
            assert secrets_in(" ".join(child.cmdline())) == []
        assert not shared.project.home.joinpath("ledger.sqlite").exists()
        for path in shared.project.folder.rglob("*"):
            if path.is_file():
                assert secrets_in(path.read_bytes().decode(errors="replace")) == [], path


def secrets_in(text: str) -> list[str]:
    """Forms of the password that a text holds."""
    return [secret for secret in (PASSWORD, quote(PASSWORD, safe="")) if secret in text]
