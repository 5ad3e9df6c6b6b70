"""What is in a file, judged in a process of its own, which can be given up: a regular expression may take forever.

Run as a program, this module is that process: it reads one task from standard input, and prints as JSON why the file's
content does not hold, or null. It ends by itself when its time is up, should nobody be left to end it. It imports
nothing that it does not need: a start of the whole package would take longer than most tasks.
"""

from __future__ import annotations

import json
import re
import resource
import signal
import sys
from pathlib import Path
from typing import Any, NamedTuple
from xml.parsers import expat

SIZE_LIMIT_BYTES = 16 * 1024**2
MEMORY_LIMIT_BYTES = 2 * 1024**3
_ABSENT = object()
_NOT_RUN = frozenset({"notrun", "skipped", "disabled"})


class _Unfit(Exception):
    """A file that is not what it has to be: what is wrong with it."""


class Tests(NamedTuple):
    """What a JUnit report says."""

    passed: int
    failed: int
    """Failures and errors, of tests and of what is around them."""


def unfit(task: dict[str, Any]) -> str | None:
    """Why a file's content does not hold; None when it does. It takes as long as it takes."""
    try:
        content = _content(Path(task["path"]))
        if task["kind"] == "tests_pass":
            return _tests_unfit(tests_in(content), task["at_least"])
        text = _text(content)
        if task["kind"] == "json_equals":
            return _value_unfit(text, task["json_path"], task["value"])
    except _Unfit as reason:
        return str(reason)
    return None if re.search(task["pattern"], text) is not None else "does not match"


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(SIZE_LIMIT_BYTES + 1)
    except OSError:
        raise _Unfit("cannot be read") from None
    if len(content) > SIZE_LIMIT_BYTES:
        raise _Unfit(f"is larger than {SIZE_LIMIT_BYTES // 1024**2} MB")
    return content


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise _Unfit("is no text in UTF-8") from None


def _value_unfit(text: str, path: str, wanted: Any) -> str | None:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise _Unfit("is no JSON") from None
    found = _value_at(document, path)
    if found is _ABSENT:
        return "has no value at that path"
    return None if _is_same(found, wanted) else "has another value at that path"


def _value_at(value: Any, path: str) -> Any:
    """The value at a dotted path (`a.0.b`) of a JSON document, or a value that equals nothing."""
    try:
        for part in path.split("."):
            value = value[int(part)] if isinstance(value, list) else value[part]
    except (ValueError, KeyError, IndexError, TypeError):
        return _ABSENT
    return value


def _is_same(found: Any, wanted: Any) -> bool:
    """Equality as JSON means it: 1 is 1.0, and true is no number."""
    return bool(isinstance(found, bool) is isinstance(wanted, bool) and found == wanted)


def _tests_unfit(tests: Tests, at_least: int) -> str | None:
    if tests.failed:
        return f"shows failures or errors: {tests.failed:,}"
    return (
        None if tests.passed >= at_least else f"shows tests that passed: {tests.passed:,}, at least {at_least:,} needed"
    )


def tests_in(content: bytes) -> Tests:
    """The tests of a JUnit report. Raises _Unfit for what is none, and for one that declares a document type."""
    report = _Report()
    parser = expat.ParserCreate()
    parser.StartElementHandler = report.begin
    parser.EndElementHandler = report.end
    # Entities, which grow without end or lead to other files, are declared there and nowhere else.
    parser.StartDoctypeDeclHandler = report.refuse
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, LookupError, ValueError):  # also for an encoding that nobody knows
        raise _Unfit("is no JUnit report") from None
    if report.root not in ("testsuites", "testsuite"):
        raise _Unfit("is no JUnit report")
    return Tests(report.passed, max(report.failed, report.claimed))


class _Report:
    """What was read so far of a JUnit report."""

    def __init__(self) -> None:
        self.root: str | None = None
        self.passed = 0
        self.failed = 0
        self.claimed = 0
        """Failures and errors by the suites' own counts, of the suite that has most."""
        self._passing = False

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins."""
        if self.root is None:
            self.root = name
        if name == "testcase":
            self._passing = attributes.get("status", "").lower() not in _NOT_RUN
        elif name in ("failure", "error"):
            self.failed += 1
            self._passing = False
        elif name == "skipped":
            self._passing = False
        elif name in ("testsuite", "testsuites"):
            self.claimed = max(self.claimed, sum(_count(attributes, key) for key in ("failures", "errors")))

    def end(self, name: str) -> None:
        """An element ends."""
        if name == "testcase":
            self.passed += self._passing

    def refuse(self, *_: object) -> None:
        """A document type is declared."""
        raise _Unfit("declares a document type, which no JUnit report needs")


def _count(attributes: dict[str, str], name: str) -> int:
    text = attributes.get(name, "0").strip()
    return int(text) if text.isdecimal() and len(text) < 10 else 1 if text else 0


def _main() -> None:
    task = json.load(sys.stdin)
    signal.setitimer(signal.ITIMER_REAL, task["deadline_s"])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
    json.dump(unfit(task), sys.stdout)


if __name__ == "__main__":
    _main()
