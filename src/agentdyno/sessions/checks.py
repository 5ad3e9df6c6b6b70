"""A task card's checks: tests of what a session left in its working folder."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, assert_never

from agentdyno.core.records import Check

_ABSENT = object()


class CheckResult(NamedTuple):
    """How many checks held."""

    passed: int
    total: int


def run_checks(checks: Sequence[Check], workspace: Path) -> CheckResult | None:
    """The result of all checks; None when there are none, which is not success."""
    if not checks:
        return None
    return CheckResult(sum(holds(check, workspace) for check in checks), len(checks))


def holds(check: Check, workspace: Path) -> bool:
    """Whether one check holds. A file that is missing, unreadable or outside the folder fails it."""
    path = (workspace / check.file).resolve()
    if not path.is_relative_to(workspace.resolve()) or not path.is_file():
        return False
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError):
        return check.kind == "file_exists"
    match check.kind:
        case "file_exists":
            return True
        case "file_matches":
            return re.search(check.pattern or "", text) is not None
        case "json_equals":
            return bool(_value_at(text, check.path or "") == check.value)
        case _:
            assert_never(check.kind)


def _value_at(text: str, path: str) -> Any:
    """The value at a dotted path (`a.0.b`) of a JSON document, or a value that equals nothing."""
    try:
        value = json.loads(text)
        for part in path.split("."):
            value = value[int(part)] if isinstance(value, list) else value[part]
    except (ValueError, KeyError, IndexError, TypeError):
        return _ABSENT
    return value
