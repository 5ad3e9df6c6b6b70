"""What a command in either sandbox may rely on, and what is told of its end."""

from __future__ import annotations

import errno
import os
import signal
import stat
import time
from pathlib import Path

import pytest
from tests.integration.sandboxes.cell import Cell, Running

from agentdyno.core.errors import SandboxFault
from agentdyno.core.records import Limits
from agentdyno.sessions.sandboxes import MARK
from agentdyno.sessions.sandboxes.census import adopted

ENVIRON = "import json, os; print(json.dumps({k: v for k, v in os.environ.items() if k != 'LC_CTYPE'}))"


def test_exit_codes_are_told_as_they_are(cell: Cell) -> None:
    for code in (0, 7, 127, 128 + signal.SIGKILL):
        done = cell.run("sh", "-c", f"exit {code}")
        assert (done.ended.exit_code, done.ended.ended_by) == (code, "itself")


@pytest.mark.parametrize(
    ("signum", "ended_by"), [(signal.SIGSEGV, "itself"), (signal.SIGPIPE, "itself"), (signal.SIGKILL, "killed")]
)
def test_a_signal_is_no_exit_code(cell: Cell, signum: signal.Signals, ended_by: str) -> None:
    done = cell.run("sh", "-c", f"ulimit -c 0; kill -{signum.value} $$")

    assert (done.ended.exit_code, done.ended.ended_by) == (-signum, ended_by)


def test_a_program_that_is_not_there_is_told_as_a_shell_tells_it(cell: Cell) -> None:
    plain = cell.workspace / "plain"
    plain.write_text("no program\n")

    assert cell.run("no-such-program").ended.exit_code == 127
    assert cell.run(str(plain)).ended.exit_code == 126


def test_a_folder_that_is_not_there_is_a_fault_of_the_sandbox(cell: Cell) -> None:
    cell.workspace.rmdir()

    with pytest.raises(SandboxFault, match="workspace"):
        cell.run("true")


def test_a_process_that_cannot_be_watched_is_ended(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(pid: int, flags: int = 0) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    before = adopted()
    monkeypatch.setattr(os, "pidfd_open", refused)
    with pytest.raises(SandboxFault, match="cannot be watched: Too many open files"):
        cell.run("sleep", "300")

    assert adopted() == before, "it is reaped too"
    assert cell.left() == []


def test_arguments_that_cannot_be_handed_over_are_a_fault_of_the_sandbox(cell: Cell) -> None:
    with pytest.raises(SandboxFault):
        cell.run("echo", "x" * 3_000_000)
    with pytest.raises(SandboxFault):
        cell.run("echo", "a\0b")


def test_its_environment_is_what_it_was_given(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPERATORS_SECRET", "planted")
    folder = str(cell.workspace)

    found = cell.answer(ENVIRON, environ={"NAME": "välue", "EMPTY": ""})

    found.pop("PWD", None)  # bubblewrap says where it starts
    given = cell.confined("true", environ={"NAME": "välue", "EMPTY": ""}).environ
    assert found == {**given, MARK: cell.mark}
    assert cell.run("pwd").printed == f"{folder}\n"


def test_arguments_reach_it_as_they_are(cell: Cell) -> None:
    words = ["", "--", "-x", "two words", "new\nline", "ünï", "$HOME", "*"]

    assert cell.answer("import json, sys; print(json.dumps(sys.argv[1:]))", *words) == words


def test_what_it_prints_is_in_a_file_for_its_owner(cell: Cell) -> None:
    cell.output.write_text("of an earlier one")

    done = cell.run("sh", "-c", "echo out; echo err >&2; cat")

    assert done.printed == "out\nerr\n", "and it has no input"
    assert stat.S_IMODE(cell.output.stat().st_mode) == 0o600
    assert done.ended.command_ms > 0


def test_large_output_is_whole(cell: Cell) -> None:
    done = cell.run("sh", "-c", "head -c 50000000 /dev/zero; echo end")

    assert done.ended.exit_code == 0
    assert cell.output.stat().st_size == 50_000_004


def test_its_folders_can_be_written(cell: Cell) -> None:
    script = 'for each in . "$HOME" "$TMPDIR" /tmp /dev/shm; do f=$(mktemp "$each/file-XXXXXX") && echo "$f"; done'
    done = cell.run("sh", "-c", f"{script}; rm -f /tmp/file-?????? /dev/shm/file-??????")

    assert done.ended.exit_code == 0, done
    assert len(done.printed.splitlines()) == 5
    assert [len(list(each.iterdir())) for each in (cell.workspace, cell.home, cell.tmp)] == [1, 1, 1]


def test_it_runs_on_so_many_cores(cell: Cell) -> None:
    count = "import os; print(len(os.sched_getaffinity(0)))"

    assert cell.answer(count, limits=Limits(cpu_cores=1)) == 1
    assert cell.answer(count, limits=Limits(cpu_cores=1000)) == len(os.sched_getaffinity(0)), "and we do still"


def test_its_time_is_limited(cell: Cell) -> None:
    done = cell.run("sh", "-c", "echo begun; exec sleep 60", timebox_s=0.7)

    assert done.printed == "begun\n"
    assert (done.ended.exit_code, done.ended.ended_by) == (-signal.SIGTERM, "timebox")
    assert 700 <= done.ended.command_ms < 5000


def test_it_may_tidy_up_when_its_time_is_over(cell: Cell) -> None:
    done = cell.run("sh", "-c", "trap 'echo tidied; exit 3' TERM; while :; do sleep 0.05; done", timebox_s=0.7)

    assert done.printed.splitlines()[-1] == "tidied"
    assert (done.ended.exit_code, done.ended.ended_by) == (3, "timebox")


def test_one_stop_ends_all_that_wait_for_it(cell: Cell, tmp_path: Path) -> None:
    cells = [Cell(tmp_path / str(number), cell.sandbox, f"{cell.mark}-{number}") for number in range(4)]
    running = [Running(each, each.confined("sh", "-c", "echo begun; exec sleep 60")) for each in cells]
    for each in cells:
        while not (each.output.exists() and each.output.read_text()):
            time.sleep(0.01)

    begun_s = time.monotonic()
    for one in running:
        one.stop.set()

    assert {one.wait().ended_by for one in running} == {"stopped"}
    assert time.monotonic() - begun_s < 4
    assert [each.left() for each in cells] == [[], [], [], []]
