"""A task card's checks: tests of what a session left in its working folder.

What is in a file is judged in a process of its own, which can be given up: a regular expression may take forever. Run
as a program, this module is that process: it reads one check from standard input, and prints `true` when it holds.
"""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from agentdyno.core.records import Check
from agentdyno.sessions.orphans import ends_with_parent

DEADLINE_S = 30.0
_SIZE_LIMIT_BYTES = 16 * 1024**2
_HOLDS = b"true"
_ABSENT = object()


class CheckResult(NamedTuple):
    """How many checks held."""

    passed: int
    total: int


def run_checks(checks: Sequence[Check], workspace: Path, deadline_s: float = DEADLINE_S) -> CheckResult | None:
    """The result of all checks; None when there are none, which is not success.

    A check that takes longer than its deadline fails. An exception raised meanwhile by a signal ends them at once.
    """
    if not checks:
        return None
    return CheckResult(sum(holds(check, workspace, deadline_s) for check in checks), len(checks))


def holds(check: Check, workspace: Path, deadline_s: float = DEADLINE_S) -> bool:
    """Whether one check holds. A file that is missing, unreadable, too large or outside the folder fails it."""
    path = _file_within(workspace, check.file)
    if path is None or check.kind == "file_exists":
        return path is not None
    task = json.dumps({"check": dataclasses.asdict(check), "path": str(path)}).encode()
    try:
        done = subprocess.run(
            # -P: nothing that lies in the folder is taken for a module.
            [sys.executable, "-P", "-m", "agentdyno.sessions.checks"],
            input=task,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=deadline_s,
            check=False,
            preexec_fn=ends_with_parent(),
        )
    except subprocess.TimeoutExpired:
        return False
    return done.stdout == _HOLDS


def holds_in(check: Check, path: Path) -> bool:
    """Whether the check of a file's content holds. It takes as long as it takes."""
    text = _text_of(path)
    if text is None:
        return False
    if check.kind == "json_equals":
        return _is_same(_value_at(text, check.path or ""), check.value)
    return re.search(check.pattern or "", text) is not None


def _file_within(workspace: Path, name: str) -> Path | None:
    """The regular file of that name; None when there is none, or when it leads out of the folder or in circles."""
    try:
        path = (workspace / name).resolve()
        return path if path.is_relative_to(workspace.resolve()) and path.is_file() else None
    except (OSError, RuntimeError):  # a RuntimeError is a loop of symbolic links, up to Python 3.12
        return None


def _text_of(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            content = file.read(_SIZE_LIMIT_BYTES + 1)
        return content.decode() if len(content) <= _SIZE_LIMIT_BYTES else None
    except (OSError, UnicodeDecodeError):
        return None


def _value_at(text: str, path: str) -> Any:
    """The value at a dotted path (`a.0.b`) of a JSON document, or a value that equals nothing."""
    try:
        value = json.loads(text)
        for part in path.split("."):
            value = value[int(part)] if isinstance(value, list) else value[part]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        return _ABSENT
    return value


def _is_same(found: Any, wanted: Any) -> bool:
    """Equality as JSON means it: 1 is 1.0, and true is no number."""
    return bool(isinstance(found, bool) is isinstance(wanted, bool) and found == wanted)


def _main() -> None:
    task = json.load(sys.stdin)
    if holds_in(Check(**task["check"]), Path(task["path"])):
        sys.stdout.buffer.write(_HOLDS)


if __name__ == "__main__":
    _main()
