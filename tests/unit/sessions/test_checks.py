from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from agentdyno.core.records import Check
from agentdyno.sessions.checks import CheckResult, holds, run_checks

EXISTS = Check("file_exists", "it")


def matches(pattern: str) -> Check:
    return Check("file_matches", "it", pattern=pattern)


def equals(path: str, value: str | float | bool | None) -> Check:
    return Check("json_equals", "it", path=path, value=value)


@pytest.mark.parametrize(
    ("text", "check", "held"),
    [
        ("héllo\n", EXISTS, True),
        ("héllo\n", matches("^hé"), True),
        ("héllo\n", matches("^é"), False),
        ('{"a": [{"b": "x"}]}', equals("a.0.b", "x"), True),
        ('{"a": [{"b": "x"}]}', equals("a.1.b", "x"), False),
        ("no json", equals("a", None), False),
        ("[" * 200_000, equals("0", 1), False),
    ],
)
def test_what_holds(tmp_path: Path, text: str, check: Check, held: bool) -> None:
    (tmp_path / "it").write_text(text, encoding="utf-8")

    assert holds(check, tmp_path) is held


@pytest.mark.parametrize(
    ("found", "wanted", "held"),
    [(1, 1.0, True), (1.0, 1, True), (True, 1, False), (1, True, False), (0, False, False), (True, True, True)],
)
def test_numbers_are_equal_by_value_and_true_is_none(tmp_path: Path, found: Any, wanted: Any, held: bool) -> None:
    (tmp_path / "it").write_text(json.dumps({"a": found}))

    assert holds(equals("a", wanted), tmp_path) is held


def test_no_checks_are_no_success(tmp_path: Path) -> None:
    assert run_checks((), tmp_path) is None


def test_a_check_without_end_fails_alone(tmp_path: Path) -> None:
    (tmp_path / "it").write_text("a" * 60 + "!")
    began_s = time.monotonic()

    result = run_checks((matches("(a+)+$"), EXISTS), tmp_path, deadline_s=1.0)

    assert result == CheckResult(passed=1, total=2)
    assert time.monotonic() - began_s < 30  # it would take years


def test_links_in_a_circle_or_out_of_the_folder_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("x")
    folder = tmp_path / "folder"
    folder.mkdir()
    for target in ("it", "../outside", "nowhere"):
        (folder / "it").symlink_to(target)
        assert not holds(EXISTS, folder)
        (folder / "it").unlink()


def test_what_is_no_text_or_too_large_matches_nothing(tmp_path: Path) -> None:
    (tmp_path / "it").write_bytes(b"\xff")
    assert (holds(matches(""), tmp_path), holds(EXISTS, tmp_path)) == (False, True)

    (tmp_path / "it").write_bytes(b"x" + b"\0" * (16 * 1024**2))
    assert (holds(matches("^x"), tmp_path), holds(EXISTS, tmp_path)) == (False, True)


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "it")

    assert not holds(EXISTS, tmp_path)


def test_a_module_in_the_folder_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("open('imported', 'w')")
    (tmp_path / "it").write_text("x")
    monkeypatch.chdir(tmp_path)

    assert holds(matches("x"), tmp_path)
    assert not (tmp_path / "imported").exists()
