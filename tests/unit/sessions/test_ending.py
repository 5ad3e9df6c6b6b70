from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from agentdyno.sessions import ending

REFUSING = "import signal; [signal.signal(s, signal.SIG_IGN) for s in (signal.SIGINT, signal.SIGTERM)]; "
WAITING = "print('up', flush=True); import time; time.sleep(1000)"


def started(program: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.stdout.close()
    return process


def test_it_is_asked_to_end() -> None:
    process = started(WAITING)

    ending.end(process, None, hurry=lambda: False)

    assert process.returncode == -signal.SIGTERM


def test_what_does_not_end_when_asked_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "_STOP_TIMEOUT_S", 0.1)
    process = started(REFUSING + WAITING)

    ending.end(process, None, hurry=lambda: False)

    assert process.returncode == -signal.SIGKILL


def test_what_the_terminal_has_told_already_is_left_to_tidy_up() -> None:
    tidy = "import signal, sys; signal.signal(signal.SIGINT, lambda *_: sys.exit(7)); "
    process = started(tidy + WAITING)
    process.send_signal(signal.SIGINT)

    ending.end(process, signal.SIGINT, hurry=lambda: False)

    assert process.returncode == 7


def test_in_a_hurry_there_is_no_patience() -> None:
    process = started(REFUSING + WAITING)

    ending.end(process, signal.SIGINT, hurry=lambda: True)

    assert process.returncode == -signal.SIGKILL
