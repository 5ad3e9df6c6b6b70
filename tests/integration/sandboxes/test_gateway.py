"""The gateway from inside of a sandbox: the same answers at the same address, the same admission, the same rows."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from tests.integration.sandboxes.cell import Cell
from tests.integration.sessions.client import BODY, create, show
from tests.integration.stand_process import Project, StandProcess

from agentdyno.sessions.sandboxes import Gateway

ASK = """
import http.client, json, os, sys, threading, urllib.parse
how = json.loads(sys.argv[1])
base = urllib.parse.urlsplit(os.environ["OPENAI_BASE_URL"])
answers = []
def ask():
    connection = http.client.HTTPConnection(base.hostname, base.port, timeout=60)
    for _ in range(how["times"]):
        headers = {"authorization": f"Bearer {os.environ['OPENAI_API_KEY']}", "content-type": "application/json"}
        connection.request("POST", f"{base.path}/chat/completions", json.dumps(how["body"]), headers)
        answer = connection.getresponse()
        pieces = [*iter(lambda: answer.read1(65536), b""), answer.read()]
        answers.append([answer.status, len(pieces), b"".join(pieces).decode()])
    connection.close()
threads = [threading.Thread(target=ask) for _ in range(how["at_once"])]
for each in threads: each.start()
for each in threads: each.join()
print(json.dumps(answers))
"""
LEAVE = """
import os, socket, sys, time, urllib.parse
base = urllib.parse.urlsplit(os.environ["OPENAI_BASE_URL"])
body = sys.argv[1].encode()
with socket.create_connection((base.hostname, base.port)) as connection:
    lines = (
        f"POST {base.path}/chat/completions HTTP/1.1",
        "Host: stand",
        f"Authorization: Bearer {os.environ['OPENAI_API_KEY']}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    )
    connection.sendall("\\r\\n".join((*lines, "", "")).encode() + body)
    print(len(connection.recv(100)))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with clients that are launched by hand."""
    project = Project(tmp_path_factory.mktemp("sandboxed"))
    for unused in ("variants/local-free-text", "variants/local-json-schema", "experiments/free-text-or-schema"):
        (project.folder / f"configs/{unused}.yaml").unlink()
    for variant in ("hello", "slow"):
        project.write(
            f"configs/variants/{variant}.yaml",
            f"provider: scripted\nmodel: {variant}\nharness_profile: openai-client\n",
        )
    return project


@pytest.fixture(scope="module")
def gateway(stand: StandProcess) -> Gateway:
    """Where the stand's gateway is."""
    address = urlsplit(stand.url)
    assert address.hostname is not None and address.port is not None
    return Gateway(address.hostname, address.port, Path(stand.state["gateway_socket"]))


def how(model: str, *, times: int = 1, at_once: int = 1, stream: bool = False) -> str:
    body: dict[str, Any] = {**BODY, "model": model}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return json.dumps({"times": times, "at_once": at_once, "body": body})


def rows_of(project: Project, session_id: str) -> list[dict[str, Any]]:
    project.dyno("session", "finalize", session_id, "--outcome", "completed")
    requests: list[dict[str, Any]] = show(project, session_id)["requests"]
    return requests


def test_the_unix_socket_is_the_gateway_itself(project: Project, stand: StandProcess, gateway: Gateway) -> None:
    session = create(project, "hello")
    key = session["env"]["OPENAI_API_KEY"]
    assert gateway.socket.parent.stat().st_mode & 0o077 == 0

    with httpx.Client(transport=httpx.HTTPTransport(uds=str(gateway.socket)), base_url=stand.url) as client:
        answers = [
            client.post(
                "/v1/chat/completions", headers={"authorization": f"Bearer {each}"}, json={**BODY, "model": "hello"}
            )
            for each in (key, "sk-of-nobody")
        ]

    assert [answer.status_code for answer in answers] == [200, 401]
    [row] = rows_of(project, session["session_id"])
    assert (row["status"], row["surface"]) == ("ok", "openai_chat")


@pytest.mark.parametrize("stream", [False, True])
def test_a_cell_talks_to_it_as_if_nothing_was_between(
    cell: Cell, project: Project, gateway: Gateway, stream: bool
) -> None:
    session = create(project, "hello")

    answers = cell.answer(ASK, how("hello", times=3, at_once=8, stream=stream), gateway=gateway, environ=session["env"])

    assert [answer[0] for answer in answers] == [200] * 24
    assert all("stand." in answer[2] and ("[DONE]" in answer[2]) == stream for answer in answers)
    rows = rows_of(project, session["session_id"])
    assert [row["status"] for row in rows] == ["ok"] * 24


def test_a_stream_flows(walled: Cell, project: Project, gateway: Gateway) -> None:
    session = create(project, "slow")

    [[status, pieces, _]] = walled.answer(ASK, how("slow", stream=True), gateway=gateway, environ=session["env"])

    assert (status, pieces > 20) == (200, True)
    [row] = rows_of(project, session["session_id"])
    assert row["ttft_ms"] < row["latency_ms"] / 2


def test_another_sessions_key_is_that_sessions_and_no_key_is_refused(
    walled: Cell, project: Project, gateway: Gateway
) -> None:
    session = create(project, "hello")
    project.dyno("session", "finalize", session["session_id"], "--outcome", "completed")

    [[status, *_]] = walled.answer(ASK, how("hello"), gateway=gateway, environ=session["env"])

    assert status == 401


def test_a_client_that_leaves_is_seen_to_leave(walled: Cell, project: Project, gateway: Gateway) -> None:
    session = create(project, "slow")
    body = json.dumps({**BODY, "model": "slow", "stream": True})

    walled.python(LEAVE, body, gateway=gateway, environ=session["env"])

    [row] = rows_of(project, session["session_id"])
    assert row["status"] == "client_disconnect"


def test_a_cell_that_is_ended_midway_leaves_no_request_behind(walled: Cell, project: Project, gateway: Gateway) -> None:
    session = create(project, "slow")
    ask = how("slow", stream=True)

    done = walled.python(ASK, ask, gateway=gateway, timebox_s=1.5, environ=session["env"])

    assert done.ended.ended_by == "timebox"
    [row] = rows_of(project, session["session_id"])
    assert row["status"] == "client_disconnect"


def test_a_gateway_that_is_gone_refuses(walled: Cell, gateway: Gateway) -> None:
    path = gateway.socket.with_name("gone.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    environ = {"OPENAI_BASE_URL": f"http://{gateway.host}:{gateway.port}/v1", "OPENAI_API_KEY": "none"}

    done = walled.python(ASK, how("hello"), gateway=gateway._replace(socket=path), environ=environ)

    path.unlink()
    assert done.printed.endswith("[]\n"), "no answer, and nobody waits for one"
    assert re.search("RemoteDisconnected|ConnectionResetError|BrokenPipeError", done.printed)
