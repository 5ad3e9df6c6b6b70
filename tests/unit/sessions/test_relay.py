"""The relay of a sandbox, as far as it needs none."""

from __future__ import annotations

import _thread
import socket
from pathlib import Path

import pytest

from agentdyno.sessions.sandboxes import relay


def test_a_connection_is_carried_once_the_machine_has_threads_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = _thread.start_new_thread
    refused: list[object] = []

    def start_the_third_time(*arguments: object) -> object:
        if len(refused) < 2:
            refused.append(arguments)
            raise RuntimeError("can't start new thread")
        return start(*arguments)  # type: ignore[call-overload]  # as it came

    path = str(tmp_path / "gateway.sock")
    with socket.socket(socket.AF_UNIX) as gateway, socket.create_server(("127.0.0.1", 0)) as listener:
        gateway.bind(path)
        gateway.listen()
        with socket.create_connection(listener.getsockname()) as client:
            carried, _ = listener.accept()
            monkeypatch.setattr(_thread, "start_new_thread", start_the_third_time)
            relay.begin(relay.carry, carried, path)
            answering, _ = gateway.accept()
            with answering:
                client.settimeout(10)
                client.sendall(b"asked")
                assert answering.recv(100) == b"asked"
                answering.sendall(b"answered")
                assert client.recv(100) == b"answered"
    assert len(refused) == 2
