"""Who is taken for dead."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from agentdyno.core.records import Runner
from agentdyno.runner.recovery import is_alive
from agentdyno.runner.run import host_id
from agentdyno.stand.processes import own_start_ticks, started_ticks

_NEVER_A_PID = 2**22 + 1  # the kernel gives no higher one than 2**22


def runner(pid: int, pid_started_ticks: int) -> Runner:
    return Runner("rnr_1", "run_1", "here", pid, pid_started_ticks, started_at_us=1, seen_at_us=1)


def test_a_process_that_runs_is_alive() -> None:
    assert is_alive(runner(os.getpid(), own_start_ticks()))


@pytest.mark.parametrize("apart", [-360_000, -1, 1, 360_000])
def test_another_process_with_its_id_is_not_it(apart: int) -> None:
    assert not is_alive(runner(os.getpid(), own_start_ticks() + apart))


def test_a_process_that_is_not_there_is_dead() -> None:
    assert not is_alive(runner(_NEVER_A_PID, 0))


def test_a_process_that_only_waits_to_be_noticed_is_dead() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        began = runner(process.pid, started_ticks(process.pid) or 0)
        assert is_alive(began)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not is_alive(began)


def test_a_start_is_told_by_a_clock_that_nobody_sets() -> None:
    earliest = boot_ticks()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        assert earliest - 1 <= (started_ticks(process.pid) or 0) <= boot_ticks() + 1


def boot_ticks() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK")


def test_another_namespace_of_processes_is_another_host() -> None:
    assert host_id().split()[-1] == str(Path("/proc/self/ns/pid").readlink()).removeprefix("pid:[").removesuffix("]")
