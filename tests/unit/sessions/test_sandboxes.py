"""Sandboxes, as far as no process is needed: names, limits, cores, and who belongs to whom."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from agentdyno.core.errors import UserError
from agentdyno.core.records import Limits
from agentdyno.sessions.sandboxes import Stop, sandbox_named
from agentdyno.sessions.sandboxes.census import Family, Identity, Process
from agentdyno.sessions.sandboxes.cores import Cores
from agentdyno.sessions.sandboxes.limits import Watcher, polled, written_bytes
from agentdyno.sessions.sandboxes.mounts import system_mounts

KIB = 1024
NOTHING = Limits(processes=None, disk_bytes=None, output_bytes=None)


def process(pid: int, parent: int, session: int = 1, resident_bytes: int = 0, started: int = 0) -> Process:
    return Process(Identity(pid, started), parent, session, "S", resident_bytes)


def by_pid(*processes: Process) -> Mapping[int, Process]:
    return {each.pid: each for each in processes}


def pids(family: Family, *processes: Process) -> list[int]:
    return sorted(each.pid for each in family.among(by_pid(*processes)))


def test_a_sandbox_that_is_not_there() -> None:
    with pytest.raises(UserError, match='sandbox "bubblewarp" is not there; did you mean "bubblewrap"'):
        sandbox_named("bubblewarp")


def test_bubblewrap_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert sandbox_named(None).name == "process"
    with pytest.raises(UserError, match="bwrap is not on the PATH"):
        sandbox_named("bubblewrap")


def test_bubblewrap_where_it_may_not_do_what_it_must(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    assert sandbox_named(None).name == "process"
    with pytest.raises(UserError, match="bwrap: No permissions to create new namespace"):
        sandbox_named("bubblewrap")


def test_a_sandbox_of_another_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "padded_cell.py").write_text("class Padded:\n    name = 'padded'\n")
    info = tmp_path / "padded_cell-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: padded-cell\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[agentdyno.sandboxes]\npadded = padded_cell:Padded\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert PathDistribution(info).version == "1.0"

    assert sandbox_named("padded").name == "padded"
    del sys.modules["padded_cell"]


def test_a_stop_is_set_once_and_for_all() -> None:
    with Stop() as stop:
        before = stop.is_set
        stop.set()
        stop.set()

        assert (before, stop.is_set) == (False, True)


def test_a_family_is_who_descends_and_who_shares_a_session() -> None:
    family = Family(100, "")
    root, child, grandchild = process(100, 7, 100), process(101, 100, 100), process(102, 101, 102)
    adopted_in_session, of_that_daemon = process(103, 7, 100), process(104, 103, 103)
    strangers = (process(7, 1), process(8, 7), process(9, 1))

    found = pids(family, root, child, grandchild, adopted_in_session, of_that_daemon, *strangers)

    assert found == [100, 101, 102, 103, 104]


def test_who_was_of_the_family_stays_so() -> None:
    family = Family(100, "")
    pids(family, process(100, 7, 100), process(101, 100, 100), process(102, 101, 102, started=5))

    assert pids(family, process(100, 7, 100), process(102, 7, 102, started=5)) == [100, 102]
    assert pids(family, process(100, 7, 100), process(102, 7, 102, started=6)) == [100], "another of that id"


def test_cores_are_lent_to_those_who_have_fewest() -> None:
    there = len(os.sched_getaffinity(0))
    cores = Cores()

    with cores.lent(None) as every, cores.lent(there) as enough:
        assert (every, enough) == (None, None)
    with cores.lent(1) as first, cores.lent(1) as second:
        assert first is None or (len(first), first == second) == (1, there == 1)


def test_limits_that_are_none_are_not_looked_at(tmp_path: Path) -> None:
    assert polled(NOTHING) == ()
    watcher = Watcher(NOTHING, [tmp_path], 0, lambda: [])
    assert (watcher.watches, watcher.look()) == (False, None)


@pytest.mark.parametrize(
    ("limits", "breach"),
    [
        (Limits(memory_bytes=3000), None),
        (Limits(memory_bytes=2999), "memory"),
        (Limits(processes=2), None),
        (Limits(processes=1), "processes"),
        (Limits(output_bytes=5), None),
        (Limits(output_bytes=4), "output"),
    ],
)
def test_a_limit_is_what_may_be_had(limits: Limits, breach: str | None, tmp_path: Path) -> None:
    file = tmp_path / "output"
    file.write_text("12345")
    descriptor = os.open(file, os.O_RDONLY)
    both = [process(1, 0, resident_bytes=1000), process(2, 1, resident_bytes=2000)]

    found = Watcher(limits, [], descriptor, lambda: both).look()

    os.close(descriptor)
    assert found == breach


def test_what_was_written_is_what_has_changed_since(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(bytes(64 * KIB))
    time.sleep(0.02)
    since_s = time.time()
    time.sleep(0.02)
    (tmp_path / "deep/er").mkdir(parents=True)
    (tmp_path / "deep/er/new").write_bytes(bytes(8 * KIB))
    (tmp_path / "deep/link").symlink_to(tmp_path)
    with (tmp_path / "sparse").open("wb") as sparse:
        sparse.truncate(10**9)

    assert 8 * KIB <= list(written_bytes([tmp_path], since_s))[-1] <= 16 * KIB
    assert list(written_bytes([tmp_path, tmp_path / "deep"], since_s))[-1] <= 16 * KIB, "each file once"
    assert list(written_bytes([tmp_path / "gone"], since_s))[-1] == 0


def test_many_files_are_looked_through_in_slices(tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / str(number)).write_bytes(b"x" * 5000)

    sums = list(written_bytes([tmp_path], 0.0))

    assert len(sums) > 10
    assert sums == sorted(sums)


def test_the_kernels_settings_are_shown_read_only(tmp_path: Path) -> None:
    for name in ("usr", "etc", "proc/sys/kernel", "proc/tty", "proc/42"):
        (tmp_path / name).mkdir(parents=True)
    for name, mode in (
        ("proc/sysrq-trigger", 0o200),
        ("proc/sys/kernel/core_pattern", 0o644),
        ("proc/tty/drivers", 0o444),
        ("proc/uptime", 0o444),
        ("etc/passwd", 0o644),
        ("etc/shadow", 0o600),
    ):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    (tmp_path / "bin").symlink_to("usr/bin")
    (tmp_path / "proc/self").symlink_to("42")

    words = list(system_mounts(1, tmp_path))

    shown = [words[at + 2] for at, word in enumerate(words) if word == "--ro-bind"]
    assert shown == ["/usr", "/etc/passwd", "/proc/sys", "/proc/sysrq-trigger"]
    assert ("--symlink", "usr/bin", "/bin") in list(zip(words, words[1:], words[2:], strict=False))
