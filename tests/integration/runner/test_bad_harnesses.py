"""Harnesses that do what they should not, each a cell of one run, beside healthy ones, in both sandboxes.

Each cell ends in time and is classified, nothing of it is left, and the run goes on.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.integration.runner.hostile import WORDS
from tests.integration.runner.lab import Lab, Ran, Record, left_running
from tests.integration.runner.provider import Provider
from tests.integration.sessions.held_provider import HeldProvider

from agentdyno.core.records import Attempt, Cell
from agentdyno.sessions.sandboxes.census import read_processes

PYTHON = os.path.realpath(sys.executable)
HOSTILE = Path(__file__).with_name("hostile.py")
SANDBOXES = ("process", "bubblewrap")
HEALTHY = ("healthy-a", "healthy-b", "healthy-c")
TIMEBOX_S = 10
MIB = 1024**2
LIMITS = {"memory_bytes": 400 * MIB, "processes": 30, "disk_bytes": 64 * MIB, "output_bytes": 8 * MIB}
CHECKS: list[dict[str, Any]] = [
    {"kind": "file_matches", "file": "done.txt", "pattern": "(a|a)*done"},
    {"kind": "command", "command": ["sh", "-c", "test ! -e hang-command || sleep 600"], "timeout_s": 1},
    {"kind": "tests_pass", "command": ["sh", "run-tests.sh"], "timeout_s": 1},
    {"kind": "diff", "max_files": 1000},
]
CHECK_FILES = {"run-tests.sh": "test ! -e hang-tests || sleep 600\n"}
PROFILE: dict[str, Any] = {
    "surface": "openai_chat",
    "env": {
        "OPENAI_BASE_URL": "${gateway_url}/v1",
        "OPENAI_API_KEY": "${session_key}",
        "MODEL": "${model}",
        "FILES_DIR": "${files_dir}",
    },
    "settings": {"deed": "work"},
    "command": [PYTHON, "-I", "-S", "${files_dir}/hostile.py", "${deed}"],
}
PASSED = ("passed", None)
CHECKS_FAILED = ("failed", "checks_failed")
TIMED_OUT = ("failed", "timed_out")
NO_ANSWER = ("failed", "no_answer")
KILLED = ("stand_failure", "sandbox_killed")
EXPECTED: dict[str, tuple[str, str | None]] = {
    **dict.fromkeys(HEALTHY, PASSED),
    "missing": ("failed", "harness_missing"),
    "not-logged-in": NO_ANSWER,
    "silently-not-logged-in": NO_ANSWER,
    "needs-a-terminal": NO_ANSWER,
    "reads-input": PASSED,
    "forks-daemons": PASSED,
    "forks-daemons-that-hide": PASSED,
    "forks-for-ever": TIMED_OUT,
    "ignores-sigterm": TIMED_OUT,
    "takes-all-memory": ("failed", "memory_limit"),
    "starts-too-many-processes": ("failed", "process_limit"),
    "kills-itself": KILLED,
    "kills-its-group": KILLED,
    "ends-by-a-fault": PASSED,
    "fills-the-disk": ("failed", "disk_limit"),
    "prints-without-end": ("failed", "output_limit"),
    "prints-much-at-once": ("failed", "output_limit"),
    "closes-its-output": PASSED,
    "writes-many-files": CHECKS_FAILED,
    "writes-strange-names": PASSED,
    "writes-deep-folders": CHECKS_FAILED,
    "deletes-its-workspace": CHECKS_FAILED,
    "replaces-its-workspace": CHECKS_FAILED,
    "closes-its-workspace": CHECKS_FAILED,
    "deletes-its-cell": CHECKS_FAILED,
    "replaces-its-output": PASSED,
    "writes-outside": PASSED,
    "links-what-checks-need": PASSED,
    "changes-its-files": PASSED,
    "removes-its-files": PASSED,
    "replaces-its-files": PASSED,
    "traces-into-a-pipe": PASSED,
    "traces-garbage": PASSED,
    "traces-without-end": PASSED,
    "traces-elsewhere": PASSED,
    "asks-with-a-live-key": NO_ANSWER,
    "asks-with-a-dead-key": NO_ANSWER,
    "asks-with-no-key": NO_ANSWER,
    "asks-for-another-model": ("failed", "requests_refused"),
    "waits-for-its-provider": TIMED_OUT,
    "leaves-a-request-open": TIMED_OUT,
    "hangs-the-command": CHECKS_FAILED,
    "hangs-the-tests": CHECKS_FAILED,
    "hangs-the-pattern": CHECKS_FAILED,
    "leaves-pipes-for-the-checks": CHECKS_FAILED,
}
NO_MATTER_OF_WALLS = (
    "healthy-c",
    "missing",
    "not-logged-in",
    "silently-not-logged-in",
    "ends-by-a-fault",
    "writes-strange-names",
    "hangs-the-tests",
    "asks-with-a-dead-key",
    "asks-for-another-model",
    "links-what-checks-need",
    "traces-garbage",
    "traces-elsewhere",
    "asks-with-no-key",
    "hangs-the-pattern",
    "leaves-pipes-for-the-checks",
)
BEHIND_WALLS: dict[str, tuple[str, str | None]] = {
    **{deed: expected for deed, expected in EXPECTED.items() if deed not in NO_MATTER_OF_WALLS},
    "kills-its-parent": PASSED,
    "calls-what-is-not-shown": NO_ANSWER,
}
IN = {"process": EXPECTED, "bubblewrap": BEHIND_WALLS}
OF_HELD = ("waits-for-its-provider", "leaves-a-request-open")
EACH = [(sandbox, deed) for sandbox in SANDBOXES for deed in IN[sandbox]]


class Both(NamedTuple):
    """The two runs, that were made at once, and what there was around them."""

    lab: Lab
    elsewhere: Path
    """Outside of all cells."""
    nap: str
    """Seconds that daemons sleep, by which they are known."""
    live: str
    dead: str
    """Sessions whose keys the harnesses had."""
    ran: dict[str, Ran]
    records: dict[str, Record]

    def cell(self, sandbox: str, deed: str) -> Cell:
        """The cell of one deed."""
        (cell,) = [cell for cell in self.records[sandbox].cells if cell.variant == f"{sandbox}-{deed}"]
        return cell

    def last(self, sandbox: str, deed: str) -> Attempt:
        """The last attempt at it."""
        cell = self.cell(sandbox, deed)
        return [attempt for attempt in self.records[sandbox].attempts if attempt.cell_id == cell.cell_id][-1]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Both]:
    """Every deed in both sandboxes: two runs of one stand."""
    lab = Lab(tmp_path_factory.mktemp("hostile"), provider)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "done.txt").write_text("done\n")
    (elsewhere / "kept").write_text("kept")
    hidden = elsewhere / "hidden"
    hidden.write_text("#!/bin/sh\necho done > done.txt\n")
    hidden.chmod(0o755)
    nap = str(4000 + time.monotonic_ns() % 10**6 / 10**6)
    with HeldProvider() as held:
        routes = {"openai_chat": {"litellm_provider": "openai", "path": "/v1"}}
        lab.write("providers", "held", base_url=held.url, routes=routes, models=["held"])
        with lab.up():
            live, dead = _opened(lab), _opened(lab)
            lab.must("session", "finalize", dead["session_id"], "--outcome", "completed")
            _write(lab, {"ELSEWHERE": str(elsewhere), "HIDDEN": str(hidden), "NAP": nap})
            with pytest.MonkeyPatch.context() as environ:  # a configuration that holds keys is refused
                environ.setenv("LIVE_KEY", live["env"]["OPENAI_API_KEY"])
                environ.setenv("DEAD_KEY", dead["env"]["OPENAI_API_KEY"])
                ran = _run_both(lab)
            records = {sandbox: lab.record(f"all-{sandbox}") for sandbox in SANDBOXES}
            yield Both(lab, elsewhere, nap, live["session_id"], dead["session_id"], ran, records)


def _opened(lab: Lab) -> dict[str, Any]:
    """A session by hand, of somebody else."""
    card = lab.card("say", "say it")
    options = ("--variant", "plain", "--task-card", card, "--repo", str(lab.project.repo), "--json")
    document: dict[str, Any] = json.loads(lab.must("session", "create", *options))
    return document


def _write(lab: Lab, environ: dict[str, str]) -> None:
    """Every deed as a variant, an experiment for each sandbox."""
    lab.project.write("dyno.yaml", "cells: {environ: [LIVE_KEY, DEAD_KEY]}\n")
    text = HOSTILE.read_text().replace("$", "$$")
    for sandbox in SANDBOXES:
        env = {**PROFILE["env"], **environ, "WALLS": sandbox}
        lab.write("harness_profiles", sandbox, **{**PROFILE, "env": env}, files={"hostile.py": text})
        lab.write("harness_profiles", "missing", **{**PROFILE, "command": ["no-such-harness"], "settings": {}})
        for deed in IN[sandbox]:
            known: dict[str, Any] = {"harness_profile": sandbox}
            if deed not in HEALTHY:
                known["settings"] = {"deed": deed}
            if deed == "missing":
                known = {"harness_profile": "missing"}
            if deed in OF_HELD:
                known |= {"provider": "held", "model": "held"}
            lab.variant(f"{sandbox}-{deed}", **known)
        card = lab.card("work", timebox_s=TIMEBOX_S, checks=CHECKS, check_files=CHECK_FILES)
        lab.experiment(
            f"all-{sandbox}",
            card,
            variants=[f"{sandbox}-{deed}" for deed in IN[sandbox]],
            sandbox=sandbox,
            limits=LIMITS,
            max_attempts=2,
        )


def _run_both(lab: Lab) -> dict[str, Ran]:
    with contextlib.ExitStack() as at_last:
        running = {}
        for sandbox in SANDBOXES:
            process = lab.start("run", f"all-{sandbox}", "--json", "--jobs", "8")
            at_last.callback(process.kill)
            running[sandbox] = process
        ran = {}
        for sandbox, process in running.items():
            out, err = process.communicate(timeout=170)
            assert process.returncode in (0, 1), err
            ran[sandbox] = Ran(process.returncode, out, err)
        return ran


@pytest.mark.parametrize(("sandbox", "deed"), EACH)
def test_it_is_classified(both: Both, sandbox: str, deed: str) -> None:
    cell, last = both.cell(sandbox, deed), both.last(sandbox, deed)

    assert (last.verdict, last.failure) == IN[sandbox][deed], last
    assert (cell.state, cell.verdict) == (
        ("given_up", None) if last.verdict == "stand_failure" else ("scored", last.verdict)
    )
    assert last.number == (2 if last.verdict == "stand_failure" else 1), "only the stand's failures are tried again"
    assert last.command_ms is None or last.command_ms < (TIMEBOX_S + 12) * 1000


@pytest.mark.parametrize("sandbox", SANDBOXES)
def test_the_run_goes_on_to_its_end(both: Both, sandbox: str) -> None:
    ran, record = both.ran[sandbox], both.records[sandbox]

    assert ran.exit_code == 1, "two cells have no score"
    missing = {prepared.reason for prepared in record.attempts if prepared.failure == "harness_missing"}
    assert all(line.startswith("its cells will fail: ") for line in ran.err.splitlines())
    assert len(ran.err.splitlines()) == len(missing)
    assert record.counts.reconciled
    assert record.counts.cells.given_up == 2
    assert record.counts.cells.open == 0
    launched = [attempt for attempt in record.attempts if attempt.failure != "harness_missing"]
    assert {record.sessions[attempt.session_id].phase for attempt in launched} == {"finalized"}


@pytest.mark.parametrize("sandbox", SANDBOXES)
def test_no_process_is_left(both: Both, sandbox: str) -> None:
    assert left_running(both.records[sandbox]) == []


def test_no_daemon_is_left(both: Both) -> None:
    assert sleepers(both.nap) == []


def test_no_folder_is_left(both: Both) -> None:
    assert both.lab.cell_folders() == []
    assert [folder.name for folder in both.lab.session_folders()] == [both.live]


def test_nothing_of_what_they_said_is_left(both: Both) -> None:
    """Neither in the ledger with its reasons, nor in logs, archive or what the runs printed."""
    home = both.lab.project.home
    words = WORDS.encode()

    files = [path for path in home.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(files) > 5
    assert [path for path in files if words in path.read_bytes()] == []
    assert [ran for ran in both.ran.values() if WORDS in ran.out + ran.err] == []


def test_what_was_outside_is_as_it_was(both: Both) -> None:
    """But for what nothing keeps from being written without walls, which is on record."""
    names = {path.name for path in both.elsewhere.iterdir()}

    assert names == {"done.txt", "kept", "hidden", "written-in-process"}
    assert (both.elsewhere / "kept").read_text() == "kept"
    assert "files outside the workspace" in both.last("process", "writes-outside").unenforced
    assert "files outside the workspace" not in both.last("bubblewrap", "writes-outside").unenforced


@pytest.mark.parametrize(
    ("deed", "statuses"),
    [
        ("asks-with-a-live-key", []),
        ("asks-with-a-dead-key", []),
        ("asks-with-no-key", []),
        ("asks-for-another-model", ["rejected"]),
    ],
)
def test_a_request_counts_for_the_session_of_its_key(both: Both, deed: str, statuses: list[str]) -> None:
    for sandbox in SANDBOXES:
        if deed in IN[sandbox]:
            asked = both.records[sandbox].requests_of(both.last(sandbox, deed).session_id)

            assert [request.status for request in asked] == statuses


def test_the_owners_of_the_keys_see_what_was_asked_with_them(both: Both) -> None:
    both.lab.must("session", "finalize", both.live, "--outcome", "completed")

    with both.lab.ledger() as ledger:
        live, dead = ledger.requests(both.live), ledger.requests(both.dead)

    assert [request.status for request in live] == ["ok", "ok"], "one from each sandbox"
    assert [request.status for request in dead] == ["rejected"]


@pytest.mark.parametrize(
    ("deed", "kind", "limit"),
    [
        ("hangs-the-command", "command", "took longer than 1 s"),
        ("hangs-the-tests", "tests_pass", "took longer than 1 s"),
        ("hangs-the-pattern", "file_matches", "done.txt took longer than 30 s"),
        ("leaves-pipes-for-the-checks", "file_matches", "there is no file done.txt"),
    ],
)
def test_a_check_that_hangs_fails_alone(both: Both, deed: str, kind: str, limit: str) -> None:
    for sandbox in SANDBOXES:
        if deed in IN[sandbox]:
            checks = json.loads(both.last(sandbox, deed).checks or "[]")

            assert {check["kind"]: check["reason"] for check in checks if not check["passed"]} == {kind: limit}


@pytest.mark.parametrize(
    ("deed", "faults"),
    [("traces-into-a-pipe", 1), ("traces-garbage", 4), ("traces-without-end", 1), ("traces-elsewhere", 1)],
)
def test_a_trace_that_is_none_is_counted(both: Both, deed: str, faults: int) -> None:
    counted = {both.last(sandbox, deed).trace_faults for sandbox in SANDBOXES if deed in IN[sandbox]}

    assert counted == {faults}


@pytest.mark.parametrize("sandbox", SANDBOXES)
def test_requests_that_were_open_at_the_timebox_have_their_end(both: Both, sandbox: str) -> None:
    record = both.records[sandbox]

    assert {
        deed: [request.status for request in record.requests_of(both.last(sandbox, deed).session_id)]
        for deed in OF_HELD
    } == {deed: ["client_disconnect"] for deed in OF_HELD}


def test_a_harness_that_kills_its_runner_is_found_by_the_next(both: Both) -> None:
    """Without walls nothing keeps it from doing so. It does it once."""
    flag = both.elsewhere / "flag"
    prompt = (
        f"test -e {flag} || {{ touch {flag}; setsid sleep 600 & kill -9 $PPID; sleep 600; }}; ask && touch done.txt"
    )
    both.lab.trial("murder", prompt)

    first = both.lab.run("murder")
    second = both.lab.run("murder", "--resume")

    flag.unlink()
    record = both.lab.record("murder")
    assert (first.exit_code, second.exit_code) == (-9, 0), second.err
    assert [attempt.verdict for attempt in record.attempts] == ["lost", "passed"]
    assert record.counts.reconciled
    assert left_running(record) == []
    assert both.lab.cell_folders() == []


def sleepers(seconds: str) -> list[int]:
    """Processes that sleep so long."""
    found = []
    for pid in read_processes():
        with contextlib.suppress(OSError):
            if seconds.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                found.append(pid)
    return found
