"""Commands that do what they should not: each ends, is told for what it was, and leaves nothing running."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.sandboxes.cell import Cell, Running
from tests.integration.stand_process import REPOSITORY

from agentdyno.core.records import Limits
from agentdyno.sessions.sandboxes import Sandbox, sweep
from agentdyno.sessions.sandboxes.bubblewrap import BubblewrapSandbox
from agentdyno.sessions.sandboxes.census import adopted, read_process, read_processes

UNLIMITED = Limits(processes=None, disk_bytes=None, output_bytes=None)
MIB = 1024**2
DAEMON = """
import os, sys, time
said, saying = os.pipe()
if os.fork():
    os.close(saying)
    os.read(said, 1)  # until the daemon has become another program
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
if sys.argv[1] == "hiding":
    os.execve("/usr/bin/sleep", ["sleep", sys.argv[2]], {})
os.execv("/usr/bin/sleep", ["sleep", sys.argv[2]])
"""


@pytest.fixture
def nap() -> Iterator[str]:
    """Seconds to sleep, by which a process of this test's is known."""
    seconds = str(3000 + time.monotonic_ns() % 10**6 / 10**6)
    yield seconds
    assert sleepers(seconds) == []


def sleepers(seconds: str) -> list[int]:
    """Processes that sleep so long."""
    found = []
    for pid in read_processes():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"sleep") and seconds.encode() in words:
            found.append(pid)
    return found


@pytest.mark.parametrize("kind", ["marked", "hiding"])
def test_daemons_end_with_their_cell(cell: Cell, nap: str, kind: str) -> None:
    children_before = adopted() or set()

    done = cell.python(DAEMON, kind, nap)

    assert (done.ended.exit_code, done.ended.ended_by) == (0, "itself")
    assert sleepers(nap) == []
    assert (adopted() or set()) <= children_before, "and none is left unreaped"


def test_what_runs_in_the_background_ends_with_its_cell(cell: Cell, nap: str) -> None:
    done = cell.run("sh", "-c", f"sleep {nap} & setsid sleep {nap} & (sleep {nap} &) ; exit 4")

    assert done.ended.exit_code == 4
    assert sleepers(nap) == []


def test_a_daemon_that_hides_ends_with_the_last_cell_that_may_have_started_it(
    sandbox: Sandbox, tmp_path: Path, nap: str
) -> None:
    first, second = (Cell(tmp_path / name, sandbox, f"ses_{tmp_path.name}_{name}") for name in ("first", "second"))
    running = Running(first, first.confined("sh", "-c", "echo begun; exec sleep 60"))
    while not (first.output.exists() and first.output.read_text()):
        time.sleep(0.01)

    second.python(DAEMON, "hiding", nap)
    of_second = sleepers(nap)
    running.stop.set()

    assert running.wait().ended_by == "stopped"
    assert len(of_second) == (1 if sandbox.name == "process" else 0)
    assert sleepers(nap) == []


def test_one_cells_end_leaves_the_others_alone(sandbox: Sandbox, tmp_path: Path, nap: str) -> None:
    first, second = (Cell(tmp_path / name, sandbox, f"ses_{tmp_path.name}_{name}") for name in ("first", "second"))
    script = f"setsid sleep {nap} & (setsid sleep {nap} &); echo begun; wait; exec sleep 60"
    running = Running(first, first.confined("sh", "-c", script))
    while not (first.output.exists() and first.output.read_text()) or len(sleepers(nap)) < 2:
        time.sleep(0.01)

    second.run("sh", "-c", "setsid sleep 60 & exit 0")

    assert len(sleepers(nap)) == 2
    assert second.left() == []
    running.stop.set()
    assert running.wait().ended_by == "stopped"
    assert first.left() == []


def test_the_operators_own_processes_are_left_alone(cell: Cell) -> None:
    with (
        subprocess.Popen(["sleep", "600"]) as own,
        subprocess.Popen(["sleep", "600"], start_new_session=True) as other,
        contextlib.ExitStack() as at_last,
    ):
        at_last.callback(own.kill)
        at_last.callback(other.kill)
        cell.run("sh", "-c", "setsid sleep 60 & exit 0")

        assert (own.poll(), other.poll()) == (None, None)


def test_a_command_that_ignores_sigterm_is_killed(cell: Cell, nap: str) -> None:
    done = cell.run("sh", "-c", f"trap '' TERM HUP INT; sleep {nap}; sleep {nap}", timebox_s=0.5)

    assert (done.ended.exit_code, done.ended.ended_by) == (-signal.SIGKILL, "timebox")
    assert 5000 < done.ended.command_ms < 9000, "after it was asked"
    assert sleepers(nap) == []


def test_a_command_that_fills_the_disk(cell: Cell) -> None:
    script = "trap '' TERM; mkdir -p deep/er; while :; do head -c 1000000 /dev/zero > $(mktemp deep/er/XXXXXX); done"

    done = cell.run("sh", "-c", script, limits=Limits(disk_bytes=50 * MIB))

    assert (done.ended.exit_code, done.ended.ended_by) == (-signal.SIGKILL, "disk")
    assert cell.left() == []


def test_what_was_there_before_is_not_what_it_wrote(cell: Cell) -> None:
    (cell.workspace / "large").write_bytes(bytes(20 * MIB))
    time.sleep(0.02)

    done = cell.run("sh", "-c", "echo x > small; sleep 0.5", limits=Limits(disk_bytes=10 * MIB))

    assert done.ended.ended_by == "itself"


def test_a_command_that_prints_without_end(cell: Cell) -> None:
    done = cell.run("sh", "-c", "trap '' TERM; cat /dev/zero; sleep 60", limits=Limits(output_bytes=10 * MIB))

    assert (done.ended.exit_code, done.ended.ended_by) == (-signal.SIGKILL, "output")
    assert done.ended.command_ms < 2000
    assert cell.output.stat().st_size > 10 * MIB


def test_a_command_that_takes_all_memory(cell: Cell) -> None:
    script = "import time; held = []\nwhile True: held.append(bytearray(5_000_000)); time.sleep(0.01)"

    done = cell.python(script, limits=Limits(memory_bytes=100 * MIB))

    assert (done.ended.exit_code, done.ended.ended_by) == (-signal.SIGKILL, "memory")


def test_memory_is_that_of_all_its_processes_together(cell: Cell) -> None:
    script = "import os, time\nfor _ in range(3): os.fork()\nheld = bytearray(20_000_000); time.sleep(30)"

    done = cell.python(script, limits=Limits(memory_bytes=100 * MIB))

    assert done.ended.ended_by == "memory"
    assert done.ended.command_ms < 10_000


def test_a_command_that_starts_ever_more_processes(cell: Cell, nap: str) -> None:
    # 200 at most, so that the machine survives a fault of ours.
    script = f"i=0; while [ $i -lt 200 ]; do setsid sleep {nap} & i=$((i+1)); sleep 0.005; done; wait"

    done = cell.run("sh", "-c", script, limits=Limits(processes=40))

    assert (done.ended.exit_code, done.ended.ended_by) == (-signal.SIGKILL, "processes")
    assert sleepers(nap) == []


def test_two_hundred_daemons_that_start_each_other(cell: Cell, nap: str) -> None:
    script = """
import os, sys
for depth in range(7):  # 128 of them
    os.fork()
    os.setsid() if os.getpid() != os.getsid(0) else None
os.execv("/usr/bin/sleep", ["sleep", sys.argv[1]])
"""
    done = cell.python(script, nap, timebox_s=1, limits=Limits(processes=None))

    assert done.ended.ended_by == "timebox"
    assert sleepers(nap) == []


def test_a_command_that_deletes_its_workspace(cell: Cell) -> None:
    script = 'rm -rf "$PWD"/* "$PWD" "$HOME"/* 2>/dev/null; sleep 0.3; echo alive; exit 6'

    done = cell.run("sh", "-c", script, limits=Limits(memory_bytes=1024 * MIB))

    assert (done.printed, done.ended.exit_code) == ("alive\n", 6)


def test_a_command_that_closes_its_folders(cell: Cell) -> None:
    done = cell.run("sh", "-c", "mkdir a; echo x > a/b; chmod 0 a; sleep 0.3; chmod 700 a")

    assert done.ended.exit_code == 0
    shutil.rmtree(cell.workspace)


def test_a_command_that_kills_all_that_it_may_in_its_sandbox(walled: Cell) -> None:
    done = walled.run("sh", "-c", "kill -9 -1; echo alive", timebox_s=10)

    assert done.ended.ended_by in ("itself", "killed")
    assert walled.left() == []


@pytest.mark.parametrize("words", [r"ended \377", "ended 99999999999999999999", "ended", r"ended 0\nall is well"])
def test_words_that_are_not_the_sandboxes_own_are_the_commands_doing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    program = tmp_path / "bwrap"
    forged = 'last=""; for each; do test "${last##*/}" = relay.py && told=$each; last=$each; done\n'
    program.write_text(f"#!/bin/bash\n{forged}printf 'started\\n{words}\\n' >/proc/self/fd/$told\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    done = Cell(tmp_path / "cell", BubblewrapSandbox(), f"ses_{tmp_path.name}").run("true")

    assert (done.ended.exit_code, done.ended.ended_by) == (-signal.SIGKILL, "itself")


@pytest.mark.parametrize("attempt", range(3))
def test_a_runner_that_is_killed_leaves_nothing_that_is_not_found(
    sandbox: Sandbox, tmp_path: Path, nap: str, attempt: int
) -> None:
    mark = f"ses_{tmp_path.name}"
    runner = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.sandboxes.runner_process", sandbox.name, str(tmp_path), mark, nap],
        cwd=REPOSITORY,
    )
    deadline_s = time.monotonic() + 30
    while len(sleepers(nap)) < 3:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    time.sleep(attempt * 0.05)
    runner.kill()
    runner.wait()

    ended = sweep(mark)

    assert sleepers(nap) == []
    assert sweep(mark) == 0
    assert ended >= 3 or sandbox.name == "bubblewrap", "which needs no sweeping"
    assert read_process(runner.pid) is None
