"""What the gateway does not answer, what it says instead, and the row that tells of it."""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import json
import os
import resource
import socket
import sqlite3
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.integration.gateway import lab
from tests.integration.gateway.lab import Key, ask, body, rows
from tests.integration.stand_process import Project, StandProcess

PATHS_WITHOUT_INFERENCE = (
    ("POST", "/key/generate"),
    ("GET", "/spend/logs"),
    ("GET", "/health"),
    ("GET", "/health/readiness"),
    ("POST", "/health/live"),
    ("POST", "/v1/embeddings"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
    ("GET", "/"),
    ("GET", "/v1/chat/completions"),
    ("POST", "/v1/chat/completions/"),
    ("POST", "/openai/deployments/hello/chat/completions"),
    ("OPTIONS", "/v1/chat/completions"),
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return lab.small_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def key(project: Project, stand: StandProcess) -> Key:
    lab.write_variants(project, ["hello", "slow"])
    return lab.open_session(project, "hello")


def refusal(response: httpx.Response) -> tuple[int, str]:
    """Status and code of an error in OpenAI's shape."""
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return response.status_code, error["code"]


def refused_answer(stand: StandProcess, key: Key) -> httpx.Response | None:
    answer = ask(stand, key)
    return answer if answer.is_error else None


class TestKeys:
    def test_none_and_unknown_ones(self, project: Project, stand: StandProcess, key: Key) -> None:
        url = stand.url + lab.PATHS["openai_chat"]
        assert refusal(httpx.post(url, json=body(key))) == (401, "missing_key")
        assert refusal(ask(stand, key._replace(secret="sk-nobody"))) == (401, "unknown_key")
        strangers = [row for row in rows(project, None, 2) if row["path"] == lab.PATHS["openai_chat"]]
        assert [(row["status"], row["error_code"]) for row in strangers] == [
            ("rejected", "missing_key"),
            ("rejected", "unknown_key"),
        ]

    def test_a_rotated_one_is_revoked_at_once(self, project: Project, stand: StandProcess) -> None:
        old = lab.open_session(project, "hello")
        assert ask(stand, old).status_code == 200
        new = lab.key_of(project.json("session", "env", old.session_id, "--rotate"), "hello")
        assert refusal(ask(stand, old)) == (401, "revoked_key")
        assert ask(stand, new).status_code == 200
        assert [row["status"] for row in rows(project, old.session_id, 3)] == ["ok", "rejected", "ok"]

    def test_after_finalize_the_very_next_request_is_refused(self, project: Project, stand: StandProcess) -> None:
        key = lab.open_session(project, "hello")
        assert ask(stand, key).status_code == 200
        project.dyno("session", "finalize", key.session_id, "--outcome", "completed")
        answer = ask(stand, key)
        assert refusal(answer) == (401, "revoked_key")
        assert key.session_id in answer.json()["error"]["message"]
        late = rows(project, key.session_id, 2)[1]
        assert (late["status"], late["error_code"], late["late"]) == ("rejected", "revoked_key", 1)

    def test_one_past_its_time_to_live_is_called_expired(self, project: Project, stand: StandProcess) -> None:
        settings = (project.folder / "dyno.yaml").read_text()
        project.write("dyno.yaml", settings.replace("time_to_live_s: 14400", "time_to_live_s: 2"))
        try:
            key = lab.open_session(project, "hello")
        finally:
            project.write("dyno.yaml", settings)
        answer = lab.wait_for("expiry", lambda: refused_answer(stand, key))
        assert refusal(answer) == (401, "expired_key")


class TestPathsAndModels:
    @pytest.mark.parametrize(("method", "path"), PATHS_WITHOUT_INFERENCE)
    def test_nothing_but_inference_is_answered(self, stand: StandProcess, key: Key, method: str, path: str) -> None:
        assert refusal(httpx.request(method, stand.url + path)) == (401, "missing_key")
        assert refusal(httpx.request(method, stand.url + path, headers=key.headers)) == (403, "path_not_allowed")

    def test_a_model_outside_the_variant(self, project: Project, stand: StandProcess, key: Key) -> None:
        other = key._replace(model="slow")
        assert refusal(ask(stand, other)) == (403, "model_not_allowed")
        answer = ask(stand, other, "anthropic_messages")
        assert answer.status_code == 403
        assert answer.json()["type"] == "error"
        assert answer.json()["error"]["type"] == "model_not_allowed"

        def refused() -> list[sqlite3.Row]:
            with lab.ledger(project) as ledger:
                query = "SELECT status, surface, model_requested FROM request WHERE session_id = ? AND error_code = ?"
                return ledger.execute(query, (key.session_id, "model_not_allowed")).fetchall()

        found = lab.wait_for("two rows", lambda: seen if len(seen := refused()) == 2 else None)
        assert [tuple(row) for row in found] == [
            ("rejected", "openai_chat", "slow"),
            ("rejected", "anthropic_messages", "slow"),
        ]

    def test_no_key_is_needed_to_see_that_it_lives(self, stand: StandProcess) -> None:
        assert httpx.head(stand.url + "/").status_code == 200
        alive = httpx.get(stand.url + "/health/live")
        assert (alive.status_code, alive.json()["gateway_id"]) == (200, stand.state["gateway_id"])
        assert "dyno_requests_total" in httpx.get(stand.url + "/metrics").text

    def test_the_models_are_the_variants(self, stand: StandProcess, key: Key) -> None:
        assert httpx.get(stand.url + "/v1/models").status_code == 401
        listed = httpx.get(stand.url + "/v1/models", headers=key.headers).json()
        assert [model["id"] for model in listed["data"]] == ["hello"]
        assert httpx.get(stand.url + "/v1/models/hello", headers=key.headers).json()["id"] == "hello"
        assert httpx.get(stand.url + "/v1/models/slow", headers=key.headers).status_code == 403

    def test_a_web_socket_is_refused(self, stand: StandProcess, key: Key) -> None:
        upgrade = {
            "connection": "upgrade",
            "upgrade": "websocket",
            "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
            "sec-websocket-version": "13",
        }
        answer = httpx.get(stand.url + "/v1/realtime", headers={**key.headers, **upgrade})
        assert answer.status_code == 403


class TestBodies:
    def test_the_connection_lives_on_after_a_refusal_of_an_unread_body(self, stand: StandProcess, key: Key) -> None:
        large = json.dumps(body(key, padding="x" * 3_000_000)).encode()
        with httpx.Client(base_url=stand.url, timeout=30) as client:
            refused = client.post("/v1/messages", content=large)
            answered = client.post("/v1/messages", json=body(key), headers=key.headers)
            ports = {r.extensions["network_stream"].get_extra_info("client_addr")[1] for r in (refused, answered)}
        assert (refused.status_code, answered.status_code) == (401, 200)
        assert len(ports) == 1

    def test_in_chunks(self, stand: StandProcess, key: Key) -> None:
        whole = json.dumps(body(key)).encode()
        parts = (whole[at : at + 7] for at in range(0, len(whole), 7))
        answer = httpx.post(stand.url + "/v1/chat/completions", content=parts, headers=key.headers)
        assert answer.json()["choices"][0]["message"]["content"] == "Hello from the stand."

    def test_of_five_megabytes(self, stand: StandProcess, key: Key) -> None:
        messages = [{"role": "user", "content": "word " * 1_000_000}]
        assert ask(stand, key, messages=messages).status_code == 200

    def test_compressed_ones_are_refused_in_words(self, stand: StandProcess, key: Key) -> None:
        packed, headers = gzip.compress(json.dumps(body(key)).encode()), {"content-encoding": "gzip"}
        answer = httpx.post(stand.url + "/v1/chat/completions", content=packed, headers={**key.headers, **headers})
        assert refusal(answer) == (415, "body_encoded")

    @pytest.mark.parametrize(
        ("sent", "status"),
        [(b"{nope", 400), (b"[]", 400), (b'{"model":"hello"}', 400), (b'{"model":"hello","messages":"\\ud83d"}', 400)],
        ids=["not JSON", "no object", "no messages", "half an emoji"],
    )
    def test_broken_ones_are_the_clients_fault(
        self, project: Project, stand: StandProcess, sent: bytes, status: int, key: Key
    ) -> None:
        answer = httpx.post(stand.url + "/v1/chat/completions", content=sent, headers=key.headers)
        assert answer.status_code == status
        assert answer.json()["error"]["message"]

        def last() -> dict[str, Any] | None:
            with lab.ledger(project) as ledger:
                query = "SELECT * FROM request WHERE session_id = ? ORDER BY started_at_us DESC LIMIT 1"
                row = ledger.execute(query, (key.session_id,)).fetchone()
            return dict(row) if row["request_bytes"] == len(sent) else None

        row = lab.wait_for("its row", last)
        assert (row["http_status"], row["error_class"]) == (status, "invalid_request")

    def test_one_that_its_client_never_ends(self, project: Project, stand: StandProcess, key: Key) -> None:
        host, _, port = stand.url.removeprefix("http://").partition(":")
        path = "/v1/messages"
        with socket.create_connection((host, int(port))) as connection:
            head = f"POST {path} HTTP/1.1\r\nhost: x\r\nx-api-key: {key.secret}\r\ncontent-length: 100\r\n\r\n"
            connection.sendall(head.encode() + b'{"model":')

        def gone() -> list[sqlite3.Row]:
            with lab.ledger(project) as ledger:
                query = "SELECT * FROM request WHERE session_id = ? AND status = 'client_disconnect'"
                return ledger.execute(query, (key.session_id,)).fetchall()

        assert [row["request_bytes"] for row in lab.wait_for("its row", gone)] == [0]


class TestOutages:
    def test_while_the_ledger_is_unreadable_only_known_keys_are_served(
        self, project: Project, stand: StandProcess, key: Key
    ) -> None:
        known, new = lab.open_session(project, "hello"), lab.open_session(project, "hello")
        assert ask(stand, known).status_code == 200
        rows(project, known.session_id, 1, settled=True)
        with unreadable_ledger(project):
            began = time.monotonic()
            assert [ask(stand, known).status_code for _ in range(3)] == [200] * 3
            assert refusal(ask(stand, new)) == (503, "ledger_unreachable")
            # The gateway does not wait for the ledger as a writer does, which is for 20 s.
            assert time.monotonic() - began < 10
        assert ask(stand, new).status_code == 200
        assert [row["status"] for row in rows(project, known.session_id, 4, settled=True)] == ["ok"] * 4
        assert [row["status"] for row in rows(project, new.session_id, 1, settled=True)] == ["ok"]
        refusals = [record.get("refusal") for record in lab.spool_records(project)]
        assert refusals.count("ledger_unreachable") == 1

    def test_while_the_disk_is_full_requests_are_refused_rather_than_lost(
        self, project: Project, stand: StandProcess
    ) -> None:
        key = lab.open_session(project, "hello")
        assert ask(stand, key).status_code == 200
        with full_disk(stand.state["gateway_pid"]):
            answer = ask(stand, key)
            assert refusal(answer) == (503, "spool_full")
            assert "cannot record" in answer.json()["error"]["message"]
            assert ask(stand, key, "anthropic_messages").status_code == 503
        # What was held in memory is written without waiting for another request.
        statuses = [row["http_status"] for row in rows(project, key.session_id, 3)]
        assert statuses == [200, 503, 503]
        assert ask(stand, key).status_code == 200
        assert rows(project, key.session_id, 4, settled=False)[3]["status"] == "ok"


@contextlib.contextmanager
def unreadable_ledger(project: Project) -> Iterator[None]:
    """Another process recovers SQLite's write-ahead log and does not come to an end: nobody can read the ledger.

    The log's index is found empty, and whoever recovers it holds its eight locks, which begin at byte 120.
    """
    with (project.home / "ledger.sqlite-shm").open("r+b") as index:
        fcntl.lockf(index, fcntl.LOCK_EX, 8, 120)
        os.pwrite(index.fileno(), bytes(96), 0)
        yield


@contextlib.contextmanager
def full_disk(pid: int) -> Iterator[None]:
    """No file of that process may grow: the system refuses as on a disk without room."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
