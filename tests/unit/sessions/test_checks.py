"""What holds of what a session left, and in which words it is said that something does not."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.core.request_rows import request_row

from agentdyno.core.records import Check, Step
from agentdyno.sessions.checks import (
    Changes,
    Subject,
    hold_before_work,
    longest_s,
    run_checks,
    run_plainly,
    tool_calls_of,
)

EXISTS = Check("file_exists", "it")
FAILS = ("sh", "-c", "exit 3")


def matches(pattern: str) -> Check:
    return Check("file_matches", "it", pattern=pattern)


def equals(path: str, value: str | float | bool | None) -> Check:
    return Check("json_equals", "it", path=path, value=value)


def subject(folder: Path, **facts: Any) -> Subject:
    return Subject(folder, run_plainly(folder, os.environ, "ses_1"), **facts)


def reason(check: Check, folder: Path, deadline_s: float = 30.0, **facts: Any) -> str | None:
    """Why the check does not hold; None when it does."""
    [held] = run_checks([check], subject(folder, **facts), deadline_s)
    assert held.kind == check.kind
    assert held.passed is (held.reason is None)
    assert held.duration_ms >= 0
    return held.reason


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "check", "why_not"),
    [
        ("héllo\n", EXISTS, None),
        ("héllo\n", matches("^hé"), None),
        ("héllo\n", matches("^é"), "it does not match"),
        ('{"a": [{"b": "x"}]}', equals("a.0.b", "x"), None),
        ('{"a": [{"b": "y"}]}', equals("a.0.b", "x"), "it has another value at that path"),
        ('{"a": [{"b": "x"}]}', equals("a.1.b", "x"), "it has no value at that path"),
        ('{"a": {"b": "x"}}', equals("a.b.c", "x"), "it has no value at that path"),
        ("no json", equals("a", None), "it is no JSON"),
        ("[" * 200_000, equals("0", 1), "it is no JSON"),
    ],
)
def test_what_is_in_a_file(tmp_path: Path, text: str, check: Check, why_not: str | None) -> None:
    (tmp_path / "it").write_text(text, encoding="utf-8")

    assert reason(check, tmp_path) == why_not


@pytest.mark.parametrize(
    ("found", "wanted", "held"),
    [(1, 1.0, True), (1.0, 1, True), (True, 1, False), (1, True, False), (0, False, False), (True, True, True)],
)
def test_numbers_are_equal_by_value_and_true_is_none(tmp_path: Path, found: Any, wanted: Any, held: bool) -> None:
    (tmp_path / "it").write_text(json.dumps({"a": found}))

    assert (reason(equals("a", wanted), tmp_path) is None) is held


def test_a_check_without_end_fails_alone(tmp_path: Path) -> None:
    (tmp_path / "it").write_text("a" * 60 + "!")
    began_s = time.monotonic()

    endless, exists = run_checks((matches("(a+)+$"), EXISTS), subject(tmp_path), deadline_s=1.0)

    assert (endless.passed, endless.reason) == (False, "it took longer than 1 s")
    assert (exists.passed, exists.reason) == (True, None)
    assert time.monotonic() - began_s < 30  # it would take years


@pytest.mark.parametrize("check", [EXISTS, matches(""), equals("a", 1)])
def test_links_in_a_circle_or_out_of_the_folder_lead_nowhere(tmp_path: Path, check: Check) -> None:
    (tmp_path / "outside").write_text("x")
    folder = tmp_path / "folder"
    folder.mkdir()
    for target in ("it", "../outside", "nowhere"):
        (folder / "it").symlink_to(target)
        assert reason(check, folder) == "there is no file it"
        (folder / "it").unlink()


def test_what_is_no_text_or_too_large_matches_nothing(tmp_path: Path) -> None:
    (tmp_path / "it").write_bytes(b"\xff")
    assert (reason(matches(""), tmp_path), reason(EXISTS, tmp_path)) == ("it is no text in UTF-8", None)

    (tmp_path / "it").write_bytes(b"x" + b"\0" * (16 * 1024**2))
    assert (reason(matches("^x"), tmp_path), reason(EXISTS, tmp_path)) == ("it is larger than 16 MB", None)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_a_pipe_is_no_file(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "it")

    assert reason(EXISTS, tmp_path) == "there is no file it"


def test_a_folder_that_is_gone_holds_nothing(tmp_path: Path) -> None:
    assert reason(EXISTS, tmp_path / "gone") == "there is no file it"
    assert reason(Check("command", command=("true",)), tmp_path / "gone") == "ended with exit code 127 instead of 0"


def test_a_module_in_the_folder_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("open('imported', 'w')")
    (tmp_path / "it").write_text("x")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    assert reason(matches("x"), tmp_path) is None
    assert not (tmp_path / "imported").exists()


# ── commands ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("check", "why_not"),
    [
        (Check("command", command=("true",)), None),
        (Check("command", command=FAILS), "ended with exit code 3 instead of 0"),
        (Check("command", command=FAILS, exit_code=3), None),
        (Check("command", command=("true",), exit_code=3), "ended with exit code 0 instead of 3"),
        (Check("command", command=("sh", "-c", "kill -9 $$")), "was ended by signal 9"),
        (Check("command", command=("no-such-program",)), "ended with exit code 127 instead of 0"),
        (Check("command", command=("a\0b",)), "ended with exit code 127 instead of 0"),
        (Check("command", command=("sleep", "1000"), timeout_s=0.2), "took longer than 0.2 s"),
        (Check("command", command=("sh", "-c", "yes | head -c 10000000")), None),
    ],
)
def test_a_command(tmp_path: Path, check: Check, why_not: str | None) -> None:
    assert reason(check, tmp_path) == why_not


def test_a_command_has_the_time_of_its_check_or_two_minutes(tmp_path: Path) -> None:
    limits_s: list[float] = []

    def run(_command: tuple[str, ...], limit_s: float) -> int | None:
        limits_s.append(limit_s)
        return None

    held = run_checks(
        [Check("command", command=("x",)), Check("tests_pass", command=("x",), timeout_s=7)], Subject(tmp_path, run)
    )

    assert limits_s == [120.0, 7]
    assert [one.reason for one in held] == ["took longer than 120 s", "took longer than 7 s"]


# Starts one that is in the command's session, and one in a session of its own that does not heed SIGTERM.
DAEMONS = """
import os, signal, subprocess, sys, time
sleeping = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(1000)"
for apart in (False, True):
    child = subprocess.Popen([sys.executable, "-c", sleeping], start_new_session=apart)
    print(child.pid, file=open("pids", "a"))
time.sleep(float(sys.argv[1]))
"""


@pytest.mark.parametrize("lasts_s", ["0", "1000"])
def test_nothing_that_a_command_started_outlives_it(tmp_path: Path, lasts_s: str) -> None:
    check = Check("command", command=(sys.executable, "-c", DAEMONS, lasts_s), timeout_s=2)

    assert reason(check, tmp_path) == (None if lasts_s == "0" else "took longer than 2 s")

    for pid in (tmp_path / "pids").read_text().split():
        with pytest.raises(ProcessLookupError):
            _require_running(int(pid))


def _require_running(pid: int) -> None:
    os.kill(pid, 0)
    if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
        raise ProcessLookupError


# ── tests ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def report(*cases: str, attributes: str = "") -> str:
    return f'<testsuites><testsuite name="s"{attributes}>{"".join(cases)}</testsuite></testsuites>'


PASSED, SKIPPED = '<testcase name="a"/>', '<testcase name="b"><skipped/></testcase>'
FAILED, BROKEN = ('<testcase name="c"><failure>why</failure></testcase>', '<testcase name="d"><error/></testcase>')
EXPANDING = '<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;">]><testsuites>&d;</testsuites>'
LEADING_AWAY = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><testsuites>&b;</testsuites>'


@pytest.mark.parametrize(
    ("content", "at_least", "why_not"),
    [
        (report(PASSED), None, None),
        (report(PASSED, PASSED, SKIPPED), 2, None),
        (report(PASSED, SKIPPED), 2, "r.xml shows tests that passed: 1, at least 2 needed"),
        (report(), None, "r.xml shows tests that passed: 0, at least 1 needed"),
        (report('<testcase name="e" status="notrun"/>'), None, "r.xml shows tests that passed: 0, at least 1 needed"),
        (report(PASSED, FAILED, BROKEN), None, "r.xml shows failures or errors: 2"),
        (report(PASSED, attributes=' failures="1" errors="2"'), None, "r.xml shows failures or errors: 3"),
        (report(PASSED, "<error/>"), None, "r.xml shows failures or errors: 1"),  # of the suite, as in its fixtures
        ("<html/>", None, "r.xml is no JUnit report"),
        ("<testsuites>", None, "r.xml is no JUnit report"),
        ('<?xml version="1.0" encoding="nobody-knows"?><testsuites/>', None, "r.xml is no JUnit report"),
        (EXPANDING, None, "r.xml declares a document type, which no JUnit report needs"),
        (LEADING_AWAY, None, "r.xml declares a document type, which no JUnit report needs"),
        (report(PASSED) + " " * 16 * 1024**2, None, "r.xml is larger than 16 MB"),
    ],
)
def test_what_a_report_shows(tmp_path: Path, content: str, at_least: int | None, why_not: str | None) -> None:
    (tmp_path / "written").write_text(content)
    check = Check("tests_pass", "r.xml", command=("cp", "written", "r.xml"), at_least=at_least)

    assert reason(check, tmp_path) == why_not


def test_tests_that_fail_are_not_made_good_by_their_report(tmp_path: Path) -> None:
    command = ("sh", "-c", f"echo '{report(PASSED)}' >r.xml; exit 1")

    assert reason(Check("tests_pass", "r.xml", command=command), tmp_path) == "ended with exit code 1 instead of 0"


def test_without_a_report_the_exit_code_says_it(tmp_path: Path) -> None:
    assert reason(Check("tests_pass", command=("true",)), tmp_path) is None
    assert reason(Check("tests_pass", command=FAILS), tmp_path) == "ended with exit code 3 instead of 0"


def test_an_older_report_says_nothing(tmp_path: Path) -> None:
    outside = tmp_path / "outside.xml"
    outside.write_text(report(PASSED))
    folder = tmp_path / "folder"
    folder.mkdir()
    check = Check("tests_pass", "r.xml", command=("true",))

    (folder / "r.xml").write_text(report(PASSED))
    assert reason(check, folder) == "there is no file r.xml"
    (folder / "r.xml").symlink_to(outside)
    assert reason(check, folder) == "there is no file r.xml"
    (folder / "r.xml").mkdir()
    assert reason(check, folder) == "an older r.xml could not be removed"
    (folder / "away").symlink_to(tmp_path)
    away = Check("tests_pass", "away/outside.xml", command=("true",))
    assert reason(away, folder) == "away/outside.xml lies outside of the working folder"
    assert outside.exists()


# ── what was changed, what was used ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("limits", "why_not"),
    [
        ({"max_files": 2}, None),
        ({"max_files": 1}, "files touched: 2, at most 1 allowed"),
        ({"max_lines": 30}, None),
        ({"max_lines": 29}, "lines added or removed: 30, at most 29 allowed"),
        ({"only": ("src/**", "*.md")}, None),
        ({"only": ("src/**",)}, "files touched that fit none of src/**: 1"),
        ({"max_files": 2, "only": ("docs/**", "tests/**")}, "files touched that fit none of docs/**, tests/**: 2"),
    ],
)
def test_limits_of_what_may_be_changed(tmp_path: Path, limits: dict[str, Any], why_not: str | None) -> None:
    changes = Changes(("src/a/b.py", "README.md"), 30)

    assert reason(Check("diff", **limits), tmp_path, changes=changes) == why_not


def test_what_is_not_known_holds_no_limit(tmp_path: Path) -> None:
    assert reason(Check("diff", max_files=9), tmp_path) == "what was changed is not known"


@pytest.mark.parametrize(
    ("check", "why_not"),
    [
        (Check("tool_used", tool="bash"), None),
        (Check("tool_used", tool="bash", at_least=2), None),
        (Check("tool_used", tool="bash", at_least=3), "calls of bash in the trace: 2, at least 3 needed"),
        (Check("tool_used", tool="render"), "calls of render in the trace: 0, at least 1 needed"),
        (Check("tool_used", at_least=4), None),
        (Check("tool_used", at_least=5), "tool calls: 4, at least 5 needed"),
    ],
)
def test_tools_that_have_to_be_used(tmp_path: Path, check: Check, why_not: str | None) -> None:
    told = (("tool_call", "bash"), ("tool_call", "bash"), ("action", "render"))
    steps = tuple(Step(f"ses_1-{n}", "ses_1", n, 0, kind, name) for n, (kind, name) in enumerate(told))

    assert reason(check, tmp_path, steps=steps, tool_calls=4) == why_not


def test_tool_calls_that_nobody_counted_are_not_none(tmp_path: Path) -> None:
    assert reason(Check("tool_used"), tmp_path) == "how many tools were called is not known"
    assert tool_calls_of([request_row(tool_calls=None)]) is None
    assert tool_calls_of([request_row(tool_calls=0), request_row(tool_calls=None), request_row(tool_calls=2)]) == 2


# ── before the work ──────────────────────────────────────────────────────────────────────────────────────────────────

RUNS = Check("command", command=("touch", "was-run"))


@pytest.mark.parametrize(
    ("checks", "held"),
    [
        ((), False),
        ((EXISTS,), True),
        ((EXISTS, matches("x")), True),
        ((EXISTS, matches("y")), False),
        ((EXISTS, Check("diff", max_files=1)), True),
        ((Check("diff", max_files=1),), False),
        ((EXISTS, RUNS), False),
        ((EXISTS, Check("tests_pass", command=RUNS.command)), False),
        ((EXISTS, Check("tool_used")), False),
    ],
)
def test_what_holds_before_anything_was_done(tmp_path: Path, checks: tuple[Check, ...], held: bool) -> None:
    (tmp_path / "it").write_text("x")

    assert hold_before_work(checks, tmp_path) is held
    assert not (tmp_path / "was-run").exists()


def test_no_checks_are_no_success(tmp_path: Path) -> None:
    assert run_checks((), subject(tmp_path)) == ()


def test_results_are_in_the_order_of_the_checks(tmp_path: Path) -> None:
    checks = (Check("tool_used"), EXISTS, Check("command", command=("touch", "it")), EXISTS)

    assert [held.passed for held in run_checks(checks, subject(tmp_path))] == [False, False, True, True]


def test_what_a_signal_raises_ends_the_checks(tmp_path: Path) -> None:
    """As Ctrl-C does: nothing is left running."""

    class Asked(BaseException):
        pass

    def ask(_signum: int, _frame: object) -> None:
        raise Asked

    before = signal.signal(signal.SIGALRM, ask)
    try:
        signal.setitimer(signal.ITIMER_REAL, 1.0)
        with pytest.raises(Asked):
            reason(Check("command", command=(sys.executable, "-c", DAEMONS, "1000")), tmp_path)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    for pid in (tmp_path / "pids").read_text().split():
        with pytest.raises(ProcessLookupError):
            _require_running(int(pid))


@pytest.mark.parametrize(
    ("checks", "at_most_s"),
    [
        ([], 0),
        ([EXISTS, matches("a")], 120),
        ([Check("command", command=FAILS)], 60 + 120),
        (
            [Check("command", command=FAILS, timeout_s=3600), Check("tests_pass", command=FAILS, timeout_s=5)],
            120 + 3605,
        ),
    ],
)
def test_how_long_checks_may_take_is_known_before(checks: list[Check], at_most_s: float) -> None:
    assert longest_s(checks) == at_most_s
