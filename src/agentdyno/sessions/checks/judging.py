"""Each kind of check, and what it takes to hold."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, assert_never

from agentdyno.core.records import Check, CheckKind, Request, Step
from agentdyno.sessions.checks import content
from agentdyno.sessions.checks.changes import Changes
from agentdyno.sessions.checks.commands import RunCommand
from agentdyno.sessions.checks.patterns import paths_matching

DEADLINE_S = 30.0
"""For what is in a file."""
COMMAND_TIMEOUT_S = 120.0
"""For a command that names no time."""
_OTHERWISE_S = 60.0
"""For all else that one check takes: its file's deadline, the start and the end of its command."""
_OF_FILES = ("file_exists", "file_matches", "json_equals")
_OF_COMMANDS = ("command", "tests_pass")


class Subject(NamedTuple):
    """What checks are about: all that a session left, did and used."""

    workspace: Path
    run: RunCommand
    """Runs commands where the harness ran."""
    changes: Changes = Changes(fault="what was changed is not known")
    """Measured before any check, and before anything is laid in for them."""
    steps: tuple[Step, ...] = ()
    tool_calls: int | None = None
    """Tool calls in the answers of its requests; None where nobody counted."""


class Held(NamedTuple):
    """Whether one check held."""

    kind: CheckKind
    passed: bool
    reason: str | None
    """Why not, without anything of what was found."""
    duration_ms: float


def run_checks(checks: Sequence[Check], subject: Subject, deadline_s: float = DEADLINE_S) -> tuple[Held, ...]:
    """Each check's result, in their order; none when there are none, which is not success.

    A check that takes longer than its time fails, alone. What `subject.run` raises is passed on, and so is an exception
    that a signal raises meanwhile.
    """
    return tuple(_held(check, subject, deadline_s) for check in checks)


def none_hold(checks: Iterable[Check]) -> tuple[Held, ...]:
    """The results where the checks' own files found no place: other tests than the task card's would be run then."""
    reason = "the files for the checks have no place in what was left"
    return tuple(Held(check.kind, passed=False, reason=reason, duration_ms=0.0) for check in checks)


def hold_before_work(checks: Sequence[Check], workspace: Path, deadline_s: float = DEADLINE_S) -> bool:
    """Whether it is known before any work that every check holds: nothing could be told from them then.

    Nothing is run for that. Of a folder that nobody worked in, limits of what may be changed hold by themselves.
    """
    of_files = [check for check in checks if check.kind in _OF_FILES]
    if not of_files or any(check.kind not in (*_OF_FILES, "diff") for check in checks):
        return False
    return all(_file_unfit(check, workspace, deadline_s) is None for check in of_files)


def needs_changes(checks: Iterable[Check]) -> bool:
    """Whether a snapshot has to be taken before the work."""
    return any(check.kind == "diff" for check in checks)


def longest_s(checks: Iterable[Check]) -> float:
    """Seconds that checks may take, one after the other, when each takes all of its time."""
    return sum(_OTHERWISE_S + (_limit_s(check) if check.kind in _OF_COMMANDS else 0.0) for check in checks)


def tool_calls_of(requests: Iterable[Request]) -> int | None:
    """Tool calls in all answers; None where no request says how many it had."""
    counts = [request.tool_calls for request in requests if request.tool_calls is not None]
    return sum(counts) if counts else None


def _held(check: Check, subject: Subject, deadline_s: float) -> Held:
    began_s = time.monotonic()
    reason = _unfit(check, subject, deadline_s)
    return Held(check.kind, reason is None, reason, (time.monotonic() - began_s) * 1000)


def _unfit(check: Check, subject: Subject, deadline_s: float) -> str | None:
    """Why a check does not hold; None when it does."""
    match check.kind:
        case "file_exists" | "file_matches" | "json_equals":
            return _file_unfit(check, subject.workspace, deadline_s)
        case "command":
            return _command_unfit(check, subject.run, 0 if check.exit_code is None else check.exit_code)
        case "tests_pass":
            return _tests_unfit(check, subject, deadline_s)
        case "diff":
            return _changes_unfit(check, subject.changes)
        case "tool_used":
            return _use_unfit(check, subject)
        case _:
            assert_never(check.kind)


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _file_unfit(check: Check, workspace: Path, deadline_s: float) -> str | None:
    name = check.file or ""
    path = _file_within(workspace, name)
    if path is None:
        return f"there is no file {name}"
    if check.kind == "file_exists":
        return None
    task = {
        "kind": check.kind,
        "path": str(path),
        "pattern": check.pattern or "",
        "json_path": check.path or "",
        "value": check.value,
        "at_least": _at_least(check),
        # By itself it ends only when it is not ended.
        "deadline_s": deadline_s + 1,
    }
    reason = _content_unfit(task, deadline_s)
    return None if reason is None else f"{name} {reason}"


def _content_unfit(task: dict[str, Any], deadline_s: float) -> str | None:
    try:
        done = subprocess.run(
            # -I: nothing that lies in the folder, and nothing in the environment, is taken for a module.
            [sys.executable, "-I", "-S", content.__file__],
            input=json.dumps(task).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=deadline_s,
            check=False,
        )
        reason: str | None = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return f"took longer than {deadline_s:g} s"
    except ValueError:  # it died
        return "cannot be judged"
    return reason


def _file_within(workspace: Path, name: str) -> Path | None:
    """The regular file of that name; None when there is none, or when it leads out of the folder or in circles."""
    try:
        path = (workspace / name).resolve()
        return path if path.is_relative_to(workspace.resolve()) and path.is_file() else None
    except (OSError, RuntimeError, ValueError):  # RuntimeError: a loop of symbolic links, up to Python 3.12
        return None


def _at_least(check: Check) -> int:
    return 1 if check.at_least is None else check.at_least


# ── commands ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _command_unfit(check: Check, run: RunCommand, wanted: int) -> str | None:
    limit_s = _limit_s(check)
    code = run(check.command, limit_s)
    if code is None:
        return f"took longer than {limit_s:g} s"
    if code == wanted:
        return None
    return f"ended with exit code {code} instead of {wanted}" if code >= 0 else f"was ended by signal {-code}"


def _limit_s(check: Check) -> float:
    return COMMAND_TIMEOUT_S if check.timeout_s is None else check.timeout_s


def _tests_unfit(check: Check, subject: Subject, deadline_s: float) -> str | None:
    """A report that lay there before says nothing of this run, and is removed."""
    if check.file is None:
        return _command_unfit(check, subject.run, 0)
    reason = _removal_unfit(subject.workspace, check.file)
    if reason is None:
        reason = _command_unfit(check, subject.run, 0)
    return _file_unfit(check, subject.workspace, deadline_s) if reason is None else reason


def _removal_unfit(workspace: Path, name: str) -> str | None:
    try:
        # The file itself may be a link, which is removed; its folder must not lead elsewhere.
        path = workspace / name
        folder = path.parent.resolve()
        if not folder.is_relative_to(workspace.resolve()):
            return f"{name} lies outside of the working folder"
        (folder / path.name).unlink(missing_ok=True)
    except (OSError, RuntimeError, ValueError):
        return f"an older {name} could not be removed"
    return None


# ── what was changed, what was used ──────────────────────────────────────────────────────────────────────────────────


def _changes_unfit(check: Check, changes: Changes) -> str | None:
    if changes.fault is not None:
        return changes.fault
    if check.max_files is not None and len(changes.paths) > check.max_files:
        return f"files touched: {len(changes.paths):,}, at most {check.max_files:,} allowed"
    if check.max_lines is not None and changes.lines > check.max_lines:
        return f"lines added or removed: {changes.lines:,}, at most {check.max_lines:,} allowed"
    if check.only:
        allowed = paths_matching(check.only)
        others = sum(allowed.fullmatch(path) is None for path in changes.paths)
        if others:
            return f"files touched that fit none of {', '.join(check.only)}: {others:,}"
    return None


def _use_unfit(check: Check, subject: Subject) -> str | None:
    at_least = _at_least(check)
    if check.tool is not None:
        used = sum(step.kind == "tool_call" and step.name == check.tool for step in subject.steps)
        what = f"calls of {check.tool} in the trace"
    elif subject.tool_calls is None:
        return "how many tools were called is not known"
    else:
        used, what = subject.tool_calls, "tool calls"
    return None if used >= at_least else f"{what}: {used:,}, at least {at_least:,} needed"
