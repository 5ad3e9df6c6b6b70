"""Setup steps: real commands, run once and kept."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.context import SpawnProcess
from pathlib import Path

import psutil
import pytest

from agentdyno.core.errors import SandboxFault, SetupFailed, SetupStopped, UserError
from agentdyno.core.records import SetupStep, Variant
from agentdyno.sessions.sandboxes.contract import Stop
from agentdyno.sessions.setup_steps import Setup, run_setup

GIVEN = {"PATH": os.environ["PATH"], "HOME": "/nowhere", "GIVEN": "yes"}

DAEMON = """import os, time
for _ in range(2):
    if os.fork():
        os._exit(0)
    os.setsid()
print(os.getpid(), flush=True)
time.sleep(60)
"""


@pytest.fixture
def stop() -> Iterator[Stop]:
    with Stop() as stop:
        yield stop


def variant(*scripts: str, timeout_s: float = 60) -> Variant:
    """A variant whose steps are shell scripts."""
    steps = tuple(SetupStep(("sh", "-c", script), timeout_s) for script in scripts)
    return Variant("v", "p", "m", "h", setup=steps)


def build(wanted: Variant, cache: Path, stop: Stop, **values: str) -> Setup:
    built = run_setup(wanted, values, GIVEN, cache, stop)
    assert built is not None
    return built


def started(wanted: Variant, cache: Path) -> SpawnProcess:
    """Another process that builds it."""
    process = multiprocessing.get_context("spawn").Process(target=build_alone, args=(wanted, cache))
    process.start()
    return process


def build_alone(wanted: Variant, cache: Path) -> None:
    with Stop() as stop:
        build(wanted, cache, stop)


def test_a_variant_without_steps_needs_nothing(tmp_path: Path, stop: Stop) -> None:
    assert run_setup(variant(), {}, GIVEN, tmp_path, stop) is None
    assert list(tmp_path.iterdir()) == []


def test_steps_run_in_order_in_a_folder_of_their_own(tmp_path: Path, stop: Stop) -> None:
    wanted = variant(
        "test ! -e built; pwd > built; printf '#!/bin/sh\\necho tool ${revision}\\n' > bin/tool; chmod +x bin/tool",
        "tool >> built; cat >> built; echo $HOME $GIVEN $0 >> built; test ${setup_dir} = $PWD",
    )

    setup = build(wanted, tmp_path, stop, revision="r1")

    assert not setup.cached
    assert (setup.folder / "built").read_text().splitlines() == [
        str(setup.folder),
        "tool r1",  # found by its name; and nothing came from standard input
        f"{setup.folder}/home yes sh",
    ]


def test_they_run_once_for_each_rendering(tmp_path: Path, stop: Stop) -> None:
    wanted = variant("echo ${revision} >> built; sleep 0.05")

    first, again = build(wanted, tmp_path, stop, revision="r1"), build(wanted, tmp_path, stop, revision="r1")
    other = build(wanted, tmp_path, stop, revision="r2")

    assert again == first._replace(cached=True)
    assert first.setup_ms >= 50
    assert (first.folder / "built").read_text() == "r1\n"
    assert (other.cached, (other.folder / "built").read_text()) == (False, "r2\n")
    assert other.digest != first.digest
    # Nothing is left of what was printed.
    assert {path.suffix for path in first.folder.parent.iterdir()} == {"", ".done", ".lock"}


def test_a_step_that_fails_is_told_without_its_words_and_tried_again(tmp_path: Path, stop: Stop) -> None:
    wanted = variant("touch first", f"echo the reason, in words; test -e {tmp_path}/mended || exit 3", "touch third")

    with pytest.raises(SetupFailed) as raised:
        build(wanted, tmp_path, stop)

    (log,) = tmp_path.glob("setups/*.log")
    assert str(raised.value) == (f"setup step 2 of variant v ended with exit code 3; what it printed is in {log}")
    assert (raised.value.step, log.read_text(), log.stat().st_mode & 0o777) == (2, "the reason, in words\n", 0o600)
    assert not list(tmp_path.glob("setups/*/third"))

    (tmp_path / "mended").touch()
    setup = build(wanted, tmp_path, stop)
    assert (setup.cached, (setup.folder / "third").exists(), log.exists()) == (False, True, False)


@pytest.mark.parametrize(
    ("script", "how"),
    [
        ("sleep 60", "took longer than 0.3 s"),
        ("trap '' TERM; while :; do sleep 1; done", "took longer than 0.3 s"),
        ("kill -11 $$$$", "was ended by signal 11"),
    ],
)
def test_other_ways_to_fail(tmp_path: Path, stop: Stop, script: str, how: str) -> None:
    began_s = time.monotonic()

    with pytest.raises(SetupFailed) as raised:
        build(variant(script, timeout_s=0.3), tmp_path, stop)

    assert raised.value.how == how
    assert time.monotonic() - began_s < 30


def test_a_step_that_a_stranger_killed_says_nothing_of_the_variant(tmp_path: Path, stop: Stop) -> None:
    with pytest.raises(SandboxFault, match="setup step 1 of variant v was killed, and not by the stand"):
        build(variant("kill -9 $$$$"), tmp_path, stop)


def test_a_program_that_is_not_there(tmp_path: Path, stop: Stop) -> None:
    wanted = Variant("v", "p", "m", "h", setup=(SetupStep(("no-such-program",)),))

    with pytest.raises(SetupFailed, match="setup step 1 of variant v ended with exit code 127"):
        build(wanted, tmp_path, stop)


def test_a_name_that_is_not_defined(tmp_path: Path, stop: Stop) -> None:
    with pytest.raises(UserError, match='template name "revison" is not defined; did you mean "revision"'):
        build(variant("echo ${revison}"), tmp_path, stop, revision="r1")


def test_what_steps_leave_running_is_ended(tmp_path: Path, stop: Stop) -> None:
    wanted = variant(
        f"sleep 60 & echo $! > pids; python3 -c '{DAEMON}' >> pids; while [ $(wc -l < pids) -lt 2 ]; do :; done"
    )

    setup = build(wanted, tmp_path, stop)

    pids = [int(line) for line in (setup.folder / "pids").read_text().split()]
    assert len(pids) == 2
    assert [pid for pid in pids if lives(pid)] == []


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_of_many_who_need_it_one_builds(tmp_path: Path, stop: Stop) -> None:
    wanted = variant(f"echo built >> {tmp_path}/times; sleep 1")
    others = [
        multiprocessing.get_context("fork").Process(target=build, args=(wanted, tmp_path, stop)) for _ in range(2)
    ]
    for other in others:
        other.start()
    with ThreadPoolExecutor(4) as pool:
        setups = list(pool.map(lambda _: build(wanted, tmp_path, stop), range(4)))
    for other in others:
        other.join()

    assert [other.exitcode for other in others] == [0, 0]
    assert (tmp_path / "times").read_text() == "built\n"
    assert len({setup.setup_ms for setup in setups}) == 1


def test_killed_in_the_middle_it_begins_again_from_an_empty_folder(tmp_path: Path, stop: Stop) -> None:
    wanted = variant(
        "test ! -e half; touch half",
        f"test -e {tmp_path}/second || (touch {tmp_path}/second; echo $PPID > {tmp_path}/pid; sleep 60); touch whole",
    )
    builder = started(wanted, tmp_path)
    until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "")
    os.kill(builder.pid or 0, signal.SIGKILL)
    builder.join()

    setup = build(wanted, tmp_path, stop)

    assert (setup.folder / "whole").exists()
    marked = [process for process in psutil.process_iter() if str(tmp_path) in " ".join(command_of(process))]
    assert marked == []


def command_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def until(holds: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_it_is_given_up_when_the_end_is_asked_for(tmp_path: Path, stop: Stop) -> None:
    wanted = variant("touch begun; sleep 60")
    with ThreadPoolExecutor(2) as pool:
        building = [pool.submit(build, wanted, tmp_path, stop) for _ in range(2)]  # one builds, one waits
        until(lambda: list(tmp_path.glob("setups/*/begun")))
        stop.set()
        for built in building:
            with pytest.raises(SetupStopped):
                built.result(timeout=20)

    with pytest.raises(SetupStopped):
        build(variant("true"), tmp_path, stop)
    assert not list(tmp_path.glob("setups/*.done"))


def test_a_folder_that_somebody_removed_is_built_again(tmp_path: Path, stop: Stop) -> None:
    wanted = variant("touch built")
    shutil.rmtree(build(wanted, tmp_path, stop).folder)

    again = build(wanted, tmp_path, stop)

    assert (again.cached, (again.folder / "built").exists()) == (False, True)
