"""A managed provider as a child process: how it announces itself, and how it ends."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from tests.integration.providers.provider_process import STOP_TIMEOUT_S, running


@pytest.fixture(params=["scripted", "local"])
def name(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


def test_who_can_read_the_port_can_connect(name: str, tmp_path: Path) -> None:
    with running(name, tmp_path) as provider:
        assert httpx.get(f"{provider.url}/v1/models").status_code == 200
        assert [file.name for file in tmp_path.iterdir()] == ["port"]


def test_it_ends_when_its_standard_input_does(name: str, tmp_path: Path) -> None:
    with running(name, tmp_path) as provider:
        provider.stdin.write(b"not yet")
        provider.stdin.flush()
        time.sleep(0.2)
        assert provider.process.poll() is None

        provider.stdin.close()

        assert provider.process.wait(STOP_TIMEOUT_S) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_on_a_signal(name: str, number: signal.Signals, tmp_path: Path) -> None:
    with running(name, tmp_path) as provider:
        provider.process.send_signal(number)

        assert provider.process.wait(STOP_TIMEOUT_S) == 0


@pytest.mark.parametrize(("name", "model"), [("scripted", "slow"), ("local", "smollm2-135m")])
def test_it_ends_with_an_answer_in_flight(name: str, model: str, tmp_path: Path) -> None:
    body = {"model": model, "stream": True, "max_tokens": 1500, "ignore_eos": True}
    messages = [{"role": "user", "content": "Count."}]
    with (
        running(name, tmp_path) as provider,
        httpx.stream("POST", f"{provider.url}/v1/chat/completions", json=body | {"messages": messages}) as response,
    ):
        next(response.iter_raw())
        started_s = time.monotonic()
        provider.process.terminate()

        assert provider.process.wait(STOP_TIMEOUT_S) == 0
        assert time.monotonic() - started_s < 3


def test_a_port_in_use_is_one_line_and_exit_code_2(name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", f"agentdyno.providers.{name}", "--port", port]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    assert ended.returncode == 2
    assert ended.stderr.startswith(f"cannot listen on 127.0.0.1:{port}")
    assert ended.stderr.count("\n") == 1


def test_a_wrong_script_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("name: bad\n")
    command = [sys.executable, "-m", "agentdyno.providers.scripted", "--scripts", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    assert ended.returncode == 2
    assert ended.stderr == f"{tmp_path}/bad.yaml:1: turns is missing; expected a list\n"


def test_a_given_port_is_taken_and_many_clients_are_served_at_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with running("scripted", tmp_path, "--port", str(port)) as provider:
        assert provider.url == f"http://127.0.0.1:{port}"
        body = {"model": "slow", "messages": [{"role": "user", "content": "hi"}]}
        started_s = time.monotonic()
        clients = [
            threading.Thread(target=httpx.post, args=[f"{provider.url}/v1/chat/completions"], kwargs={"json": body})
            for _ in range(4)
        ]
        for client in clients:
            client.start()
        for client in clients:
            client.join()

        assert httpx.get(f"{provider.url}/served").json()["totals"]["complete"] == 4
        assert time.monotonic() - started_s < 8  # each takes about 2.5 s: one after the other would be 10 s
