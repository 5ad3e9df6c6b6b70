"""Planted keys are found nowhere but where they belong."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from tests.integration.gateway import lab
from tests.integration.gateway.lab import Key, ask, rows
from tests.integration.gateway.upstream import WORDS, Upstream
from tests.integration.stand_process import Project, StandProcess

PROVIDER_KEY = "planted-Provider-Key-that-looks-like-none"
PROMPT = "planted words of a prompt"


class Planted(NamedTuple):
    """A stand on which sessions were worked in, and everything that may not be found."""

    stand: StandProcess
    upstream: Upstream
    keys: dict[str, Key]
    revoked: Key
    printed: str
    """What every command printed, but for the snippets that hand a key over."""

    @property
    def secrets(self) -> list[str]:
        return [PROVIDER_KEY, self.revoked.secret, *(key.secret for key in self.keys.values())]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return lab.small_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def planted(project: Project) -> Iterator[Planted]:
    with Upstream() as upstream:
        provider = f"base_url: {upstream.url}\nroutes:\n  openai_chat: {{litellm_provider: openai, path: /v1}}\n"
        models = f"models: [{', '.join(upstream.models)}]\napi_key_env: PLANTED_KEY\n"
        project.write("configs/providers/planted.yaml", provider + models)
        lab.write_variants(project, upstream.models, provider="planted")
        lab.write_variants(project, ["hello"])
        with StandProcess(project, PLANTED_KEY=PROVIDER_KEY) as stand:
            keys = lab.open_sessions(project, upstream.models, provider="planted")
            keys["hello"] = lab.open_session(project, "hello")
            printed = work(project, stand, keys)
            revoked = keys["hello"]
            keys["hello"] = lab.key_of(project.json("session", "env", revoked.session_id, "--rotate"), "hello")
            ask(stand, revoked)
            yield Planted(stand, upstream, keys, revoked, printed)


def work(project: Project, stand: StandProcess, keys: dict[str, Key]) -> str:
    """Traffic of every kind, and every command that shows something of it."""
    messages = [{"role": "user", "content": PROMPT}]
    for key in keys.values():
        for stream in (False, True):
            answer = ask(stand, key, messages=messages, stream=stream)
            if key.model == "discreet":
                assert WORDS in answer.text
            if key.model == "indiscreet":
                assert PROMPT in answer.text  # the client is told what its provider said
        rows(project, key.session_id, 2)
    ask(stand, keys["hello"], "anthropic_messages", messages=messages)
    ask_by_every_way(stand, keys["hello"])
    shown: list[tuple[str, ...]] = [
        ("session", "show", key.session_id, "--requests", "--json") for key in keys.values()
    ]
    shown.append(("session", "show", keys["indiscreet"].session_id, "--requests"))
    listed = [("status", "--json"), ("session", "list"), ("config", "show", "planted"), ("normalize",)]
    results = [project.run(*command, PLANTED_KEY=PROVIDER_KEY) for command in [*listed, *shown]]
    return "".join(result.stdout + result.stderr for result in results)


def ask_by_every_way(stand: StandProcess, key: Key) -> None:
    """One request for each place in which a key may stand, refused ones among them."""
    url, sent = stand.url + lab.PATHS["openai_chat"], lab.body(key)
    for header in ("x-api-key", "x-goog-api-key", "api-key"):
        assert httpx.post(url, json=sent, headers={header: key.secret}).status_code == 200
    assert httpx.post(url, json=sent, params={"key": key.secret}).status_code == 200
    for prefix in (f"/key/{key.secret}", "/key/" + "".join(f"%{ord(letter):02x}" for letter in key.secret)):
        assert httpx.post(stand.url + prefix + lab.PATHS["openai_chat"], json=sent).status_code == 200
        refused = httpx.get(f"{stand.url}{prefix}/nowhere", params={"key": key.secret})
        assert refused.status_code == 403
        assert key.secret not in refused.text


def test_the_sessions_worked(planted: Planted, project: Project) -> None:
    statuses = {
        model: {row["status"] for row in rows(project, key.session_id, 12 if model == "hello" else 2)}
        for model, key in planted.keys.items()
    }
    assert statuses == {"discreet": {"ok"}, "indiscreet": {"provider_error"}, "hello": {"ok", "rejected"}}


def test_no_file_of_the_stand_holds_a_secret_or_a_text(planted: Planted, project: Project) -> None:
    names = {path.name for path in files(project.home)}
    assert {"ledger.sqlite", "litellm.yaml", "stand.json", "000001.jsonl", "gateway.log"} <= names
    for path in files(project.home):
        held = path.read_bytes()
        for secret in [*planted.secrets, PROMPT, WORDS]:
            assert secret.encode() not in held, path


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_no_file_of_the_project_holds_one_either(planted: Planted, project: Project) -> None:
    for path in files(project.folder):
        for secret in planted.secrets:
            assert secret.encode() not in path.read_bytes(), path


def test_no_column_of_the_ledger_holds_one(planted: Planted, project: Project) -> None:
    with lab.ledger(project) as ledger:
        dumped = "\n".join(dump(ledger))
    assert planted.keys["hello"].session_id in dumped
    for secret in [*planted.secrets, PROMPT, WORDS]:
        assert secret not in dumped


def dump(ledger: sqlite3.Connection) -> Iterator[str]:
    yield from ledger.iterdump()


def test_no_process_shows_one_in_its_command_line(planted: Planted) -> None:
    pids = [planted.stand.state["pid"], *lab.children_of(planted.stand.state["pid"])]
    assert len(pids) == 3
    for command_line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            shown = command_line.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        for secret in planted.secrets:
            assert secret.encode() not in shown


def test_no_command_prints_one(planted: Planted) -> None:
    assert planted.keys["hello"].session_id in planted.printed
    for secret in [*planted.secrets, PROMPT, WORDS]:
        assert secret not in planted.printed


def test_the_provider_gets_its_own_key_and_never_the_sessions(planted: Planted) -> None:
    assert len(planted.upstream.headers) == 4
    for headers in planted.upstream.headers:
        assert headers["authorization"] == f"Bearer {PROVIDER_KEY}"
        for key in [*planted.keys.values(), planted.revoked]:
            assert key.secret not in str(headers)


def test_the_scripted_provider_got_no_sessions_key(planted: Planted, project: Project) -> None:
    with lab.ledger(project) as ledger:
        hashes = {row[0] for row in ledger.execute("SELECT key_hash FROM credential")}
    served = planted.stand.served()["requests"]
    digests = {digest for request in served for digest in request["authorization_digests"]}
    assert len(served) == 9
    assert len(hashes) == 4
    assert not hashes & digests
