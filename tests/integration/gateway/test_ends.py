"""How a stand may end, and that no answered request is lost by it."""

from __future__ import annotations

import os
import resource
import signal
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle, product

import httpx
import pytest
from tests.integration.gateway import lab
from tests.integration.gateway.lab import Key, ask, body, rows
from tests.integration.stand_process import Project, StandProcess

CLIENTS = 8
ENOUGH = 120
INPUT_TOKENS = {"openai_chat": 13, "openai_responses": 6, "anthropic_messages": 13, "gemini": 19}
"""What the scripted provider counts, from how long the JSON is in which each surface wraps two words."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return lab.small_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def variants(project: Project) -> None:
    lab.write_variants(project, ["hello", "slow"])


class Load:
    """Clients that ask without pause until the gateway is gone."""

    def __init__(self, stand: StandProcess, key: Key) -> None:
        self.answered: list[str] = []
        """Call ids of the requests whose answers came whole."""
        self._stand, self._key = stand, key
        self._threads = [threading.Thread(target=self._work, args=(number,)) for number in range(CLIENTS)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def _work(self, number: int) -> None:
        kinds = list(product(lab.PATHS, (False, True)))
        with httpx.Client(base_url=self._stand.url, headers=self._key.headers, timeout=30) as client:
            for surface, stream in cycle(kinds[number % 8 :] + kinds[: number % 8]):
                try:
                    answer = client.post(
                        lab.path_of(surface, self._key.model, stream=stream),
                        json=body(self._key, surface, stream=stream),
                    )
                except httpx.TransportError:
                    return
                assert answer.status_code == 200
                if is_whole(answer, surface, stream=stream):
                    self.answered.append(answer.headers["x-litellm-call-id"])


def is_whole(answer: httpx.Response, surface: str, *, stream: bool) -> bool:
    """Whether an answer has its end."""
    if not stream:
        return bool(answer.json()["usageMetadata" if surface == "gemini" else "usage"])
    return lab.ENDS[surface] in answer.text


def in_background(pool: ThreadPoolExecutor, stand: StandProcess, key: Key) -> list[Future[httpx.Response]]:
    """A slow request of each kind, all of them on their way when this returns."""
    before = entered(stand, key)
    asked = [
        pool.submit(ask, stand, key, surface, stream=stream) for surface, stream in product(lab.PATHS, (False, True))
    ]
    lab.wait_for("requests in flight", lambda: entered(stand, key) == before + len(asked))
    return asked


def entered(stand: StandProcess, key: Key) -> int:
    records = lab.spool_records(stand.project)
    return sum(r["kind"] == "entered" and r["identity"]["session_id"] == key.session_id for r in records)


def dump(project: Project) -> str:
    """All of the ledger, as text."""
    with lab.ledger(project) as ledger:
        return "\n".join(ledger.iterdump())


@pytest.mark.usefixtures("variants")
def test_kill_9_of_the_gateway_under_load(project: Project) -> None:
    with StandProcess(project) as stand, ThreadPoolExecutor(8) as pool:
        fast, slow = lab.open_session(project, "hello"), lab.open_session(project, "slow")
        left = lab.children_of(stand.state["pid"])
        with Load(stand, fast) as load:
            lab.wait_for("some answers", lambda: len(load.answered) >= ENOUGH)
            cut = in_background(pool, stand, slow)
            os.kill(stand.state["gateway_pid"], signal.SIGKILL)
        assert [type(request.exception()) for request in cut] == [httpx.RemoteProtocolError] * 8
        out, err = stand.process.communicate(timeout=60)
    assert stand.process.returncode != 0
    assert "the gateway died" in out + err
    assert all(lab.has_ended(pid) for pid in left)

    with StandProcess(project) as again:
        assert ask(again, fast).status_code == 200  # its session is still open
        project.dyno("normalize")
        with lab.ledger(project) as ledger:
            found = {row["request_key"]: row for row in ledger.execute("SELECT * FROM request")}
        assert len(load.answered) >= ENOUGH
        for call_id in load.answered:
            row = found[call_id]
            counted = ("ok", INPUT_TOKENS[row["surface"]], 4)
            assert (row["status"], row["input_tokens"], row["output_tokens"]) == counted, dict(row)
        assert set(found) == {r["request_key"] for r in lab.spool_records(project) if r["kind"] == "entered"}
        lost = [row for row in found.values() if row["session_id"] == slow.session_id]
        assert [(row["status"], row["error_class"]) for row in lost] == [("proxy_error", "gateway_lost")] * 8
        # Besides those, only what was on its way, to each of the clients one at most.
        unsure = set(found) - set(load.answered) - {row["request_key"] for row in lost}
        assert len(unsure) <= CLIENTS + 1

        before = dump(project)
        for command in (["normalize"], ["normalize", "--rebuild"], ["normalize"], ["normalize", "--rebuild"]):
            project.dyno(*command)
            assert dump(project) == before


@pytest.mark.usefixtures("variants")
def test_a_stop_lets_requests_in_flight_finish(project: Project) -> None:
    with ThreadPoolExecutor(8) as pool:
        with StandProcess(project) as stand:
            key = lab.open_session(project, "slow")
            left = [stand.state["pid"], *lab.children_of(stand.state["pid"])]
            asked = in_background(pool, stand, key)
        answers = [request.result() for request in asked]
    assert stand.process.returncode == 0
    assert all(lab.has_ended(pid) for pid in left)
    assert [answer.status_code for answer in answers] == [200] * 8
    for answer, (surface, stream) in zip(answers, product(lab.PATHS, (False, True)), strict=True):
        assert is_whole(answer, surface, stream=stream)
    found = rows(project, key.session_id, 8)
    assert [(row["status"], row["records"]) for row in found] == [("ok", 4)] * 8
    assert not (project.home / "stand.json").exists()


@pytest.mark.usefixtures("variants")
def test_a_stop_says_what_a_full_disk_lost(project: Project) -> None:
    with StandProcess(project) as stand:
        key = lab.open_session(project, "hello")
        assert [ask(stand, key).status_code for _ in range(6)] == [200] * 6
        rows(project, key.session_id, 6, settled=True)
        segment = project.home / "spool" / stand.state["gateway_id"] / "000001.jsonl"
        # No file may grow beyond the spool's: the log, which is shorter, still has room.
        full_bytes = segment.stat().st_size
        resource.prlimit(stand.state["gateway_pid"], resource.RLIMIT_FSIZE, (full_bytes, full_bytes))
        assert [ask(stand, key).status_code for _ in range(2)] == [503, 503]
    assert "the gateway ended with exit code 1" in stand.out + stand.err
    assert "2 records are lost" in (project.home / "logs" / "gateway.log").read_text()
    assert segment.stat().st_size == full_bytes


@pytest.mark.usefixtures("variants")
def test_kill_9_of_the_stand_ends_its_children(project: Project) -> None:
    with ThreadPoolExecutor(8) as pool, StandProcess(project) as stand:
        key = lab.open_session(project, "slow")
        children = lab.children_of(stand.state["pid"])
        assert len(children) == 2
        asked = in_background(pool, stand, key)
        stand.process.kill()
        stand.process.communicate()
        lab.wait_for("the end of all", lambda: all(lab.has_ended(child) for child in children))
        whole = [request.result() for request in asked if request.exception() is None]
    assert project.run("status").returncode == 1
    project.dyno("normalize")
    # The provider ends with the stand, and cuts its answers: each has its row, and none is called whole that was not.
    found = rows(project, key.session_id, 8)
    told = {answer.headers["x-litellm-call-id"] for answer in whole if answer.status_code == 200}
    assert {row["request_key"] for row in found if row["status"] == "ok"} <= told
