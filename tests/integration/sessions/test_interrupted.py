"""Ctrl-C and SIGTERM at every point of a session: the ledger is consistent, the session aborted, nothing is left."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.integration.sessions.client import ask, rows
from tests.integration.sessions.held_provider import HeldProvider
from tests.integration.sessions.terminal import CTRL_C, Terminal, until
from tests.integration.stand_process import Project

from agentdyno.sessions.checks import content

pytestmark = pytest.mark.usefixtures("stand")
PYTHON = sys.executable
OPTIONS = ("--task-card", "say-hello")
# Tells its environment and its process, and that of a child of its own; then it works for ever.
WORKING = """
import json, os, subprocess, sys, time
child = subprocess.Popen(["sleep", "1000"])
json.dump({"env": dict(os.environ), "pids": [os.getpid(), child.pid]}, open("told.json", "w"))
print("working", flush=True)
while True: time.sleep(1)
"""
# It writes past a print that it may interrupt.
STUBBORN = """
import os, signal
def refuse(signum, frame): os.write(1, f"no {signal.Signals(signum).name}\\n".encode())
for signum in (signal.SIGINT, signal.SIGTERM): signal.signal(signum, refuse)
"""


def start(project: Project, *command: str, variant: str = "plain") -> tuple[str, ...]:
    return ("session", "start", "--variant", variant, *OPTIONS, "--repo", str(project.repo), "--", *command)


def require_aborted(project: Project) -> dict[str, Any]:
    """The latest session, which must be over in every respect."""
    ledger = project.home / "ledger.sqlite"
    session = rows(ledger, "SELECT * FROM session ORDER BY session_id")[-1]
    session_id = session["session_id"]
    keys = rows(ledger, "SELECT revoked_at_us FROM credential WHERE session_id = ?", session_id)
    assert (session["phase"], session["outcome"]) == ("finalized", "aborted")
    assert session["ended_at_us"] is not None
    assert [key for key in keys if key["revoked_at_us"] is None] == []
    assert not (project.home / "sessions" / session_id).exists()
    return session


def told(folder: Path) -> Any:
    return json.loads((folder / "told.json").read_text())


def require_gone(pids: list[int]) -> None:
    # A child whose parent was killed waits for somebody to take note of its end: it runs no more.
    alive = [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]
    assert alive == []


@pytest.fixture
def slow_version(project: Project, work: Path) -> Callable[[], bool]:
    """A harness whose version takes for ever to tell, in the middle of a session's creation; whether it is asked."""
    asked = work / "asked"
    program = work / "slow-version"
    program.write_text(f"#!/bin/sh\ntouch '{asked}'\nexec sleep 1000\n")
    program.chmod(0o700)
    project.write(
        "configs/harness_profiles/slow-version.yaml",
        "surface: openai_chat\nenv: {KEY: '${session_key}'}\nfiles: {url: '${gateway_url}'}\n"
        f"version_command: ['{program}']\n",
    )
    project.write(
        "configs/variants/slow-version.yaml", "provider: scripted\nmodel: hello\nharness_profile: slow-version\n"
    )
    return asked.exists


@pytest.mark.parametrize("command", ["create", "start"])
def test_ctrl_c_during_creation(project: Project, slow_version: Callable[[], bool], work: Path, command: str) -> None:
    arguments = ("session", command, "--variant", "slow-version", *OPTIONS, "--repo", str(project.repo))
    launching = ("--", "touch", "launched") if command == "start" else ()
    with Terminal(project, *arguments, *launching, folder=work) as terminal:
        until(slow_version, "the harness is asked for its version")
        terminal.see("opening a session …")
        terminal.press(CTRL_C)
        assert terminal.end() == 130

    session = require_aborted(project)
    assert (
        terminal.printed.splitlines()[-1].removeprefix("^C")
        == f"interrupted; session {session['session_id']} is aborted"
    )
    assert "KEY" not in terminal.printed
    assert not (work / "launched").exists()


def test_ctrl_c_while_the_command_runs(project: Project, work: Path) -> None:
    with Terminal(project, *start(project, PYTHON, "-c", WORKING), folder=work) as terminal:
        terminal.see("working")
        key = told(work)["env"]
        assert ask(key).status_code == 200
        terminal.press(CTRL_C)
        assert terminal.end() == 130

    session = require_aborted(project)
    assert session["command_exit_code"] is None
    require_gone(told(work)["pids"])
    assert ask(key).status_code == 401


def test_a_second_ctrl_c_kills_a_command_that_heeds_none(project: Project, work: Path) -> None:
    with Terminal(project, *start(project, PYTHON, "-c", STUBBORN + WORKING), folder=work) as terminal:
        terminal.see("working")
        terminal.press(CTRL_C)
        terminal.see("no SIGINT")
        terminal.press(CTRL_C)
        assert terminal.end() == 130

    require_aborted(project)
    require_gone(told(work)["pids"])


def test_ctrl_c_during_a_check_without_end(project: Project, work: Path) -> None:
    project.write(
        "configs/task_cards/endless.yaml",
        "goal: g\nprompt: p\nchecks:\n- {kind: file_matches, file: as.txt, pattern: '(a+)+$'}\n",
    )
    command = ("sh", "-c", f"printf {'a' * 60}! >as.txt; echo written")
    arguments = ["endless" if word == "say-hello" else word for word in start(project, *command)]
    with Terminal(project, *arguments, folder=work) as terminal:
        terminal.see("written")
        until(lambda: _checking(terminal.process.pid), "the check runs")
        terminal.press(CTRL_C)
        assert terminal.end() == 130

    require_aborted(project)


def _checking(pid: int) -> bool:
    children = psutil.Process(pid).children()
    return any(content.__file__ in _arguments(child) for child in children)


def test_a_kill_leaves_no_command_behind(project: Project, work: Path) -> None:
    running = "import os, time; open('pid', 'w').write(str(os.getpid())); print('up', flush=True); time.sleep(1000)"
    with project.start(*start(project, PYTHON, "-c", running), folder=work) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.kill()
    pid = int((work / "pid").read_text())

    until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, "it ends")
    session_id = rows(project.home / "ledger.sqlite", "SELECT session_id FROM session ORDER BY session_id")[-1]
    project.dyno("session", "finalize", session_id["session_id"], "--outcome", "aborted")


def test_sigterm_ends_the_command_and_its_children(project: Project, work: Path) -> None:
    with Terminal(project, *start(project, PYTHON, "-c", WORKING), folder=work) as terminal:
        terminal.see("working")
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.end() == 143

    require_aborted(project)
    require_gone(told(work)["pids"])


def test_a_terminal_that_closes_ends_the_session(project: Project, work: Path) -> None:
    with Terminal(project, *start(project, PYTHON, "-c", WORKING), folder=work) as terminal:
        terminal.see("working")
        os.killpg(terminal.process.pid, signal.SIGHUP)
        assert terminal.end() == 129

    require_aborted(project)
    require_gone(told(work)["pids"])


# Leaves a request behind it that is in flight when the command has ended.
LEAVING = """
import os, subprocess, sys
subprocess.Popen(["curl", "-s", os.environ["OPENAI_BASE_URL"] + "/chat/completions",
    "-H", "Authorization: Bearer " + os.environ["OPENAI_API_KEY"], "-H", "Content-Type: application/json",
    "-d", '{"model": "held", "messages": [{"role": "user", "content": "wait"}]}'],
    start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print("left", flush=True)
input()
"""


def test_ctrl_c_during_finalize(project: Project, held_provider: HeldProvider, work: Path) -> None:
    held_provider.hold()
    try:
        with Terminal(project, *start(project, PYTHON, "-c", LEAVING, variant="held"), folder=work) as terminal:
            terminal.see("left")
            assert held_provider.arrived.wait(60)
            terminal.press(b"\n")
            terminal.see("waiting for 1 request in flight")
            terminal.press(CTRL_C)
            assert terminal.end() == 130
    finally:
        held_provider.answer.set()

    assert require_aborted(project)["command_exit_code"] == 0


def test_sigterm_while_the_stand_starts(tmp_path: Path) -> None:
    project = Project(tmp_path)
    with project.start("up", "--port", "0") as starting:
        assert starting.stderr is not None
        while "starting the gateway" not in starting.stderr.readline():
            assert starting.poll() is None
        starting.terminate()
        stopping = starting.stderr.read()

    assert starting.returncode == 143
    assert "stopping provider scripted" in stopping
    assert not (project.home / "stand.json").exists()
    assert [child for child in psutil.process_iter() if str(project.home) in " ".join(_arguments(child))] == []


def _arguments(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []
