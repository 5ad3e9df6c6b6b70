"""The trace contract: JSON lines that a session's processes appended, as steps and metrics.

    {"type": "step", "kind": "tool_call", "name": "bash", "at": 1767225600.5, "duration_ms": 12.5, "ok": true}
    {"type": "metric", "name": "render_ms", "unit": "ms", "value": 12.5, "at": 1767225600.5}

Whoever wrote them may have written anything: a line that does not fit is a fault, in words that tell nothing of what
it holds, and the next line is read. Keys that are not known are left alone. A record's position is its line, so that
the same file makes the same records however often it is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

from agentdyno.core.metrics import METRICS
from agentdyno.core.records import Step, TraceMetric

LINE_LIMIT_BYTES = 1024**2
LINES_LIMIT = 100_000
SIZE_LIMIT_BYTES = 64 * 1024**2
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,99}")
_UNIT_LIMIT = 32
_LARGEST = 1e100
"""Far below the largest number there is, so that sums of many values are still numbers."""
_LATEST_S = 253_402_300_800
"""The year 10000, which no calendar has any more. It finds milliseconds that were taken for seconds."""


class Trace(NamedTuple):
    """What a session's trace said, in the order of its lines."""

    steps: tuple[Step, ...] = ()
    metrics: tuple[TraceMetric, ...] = ()
    faults: tuple[str, ...] = ()
    """What could not be read: the line, and what is wrong with it."""


class _Line(NamedTuple):
    content: bytes
    """At most one byte more than a line may have."""
    end: Literal["newline", "end of file", "size limit"]


class _Unfit(Exception):
    """A line that is no record: what is wrong with it."""


def parse_trace(chunks: Iterable[bytes], session_id: str, read_at_us: int) -> Trace:
    """A trace from its bytes, in pieces of any size. What names no time of its own is given that of the reading."""
    steps, metrics, faults = [], [], []
    units: dict[str, str] = {}
    for number, line in enumerate(_lines(chunks), start=1):
        if number > LINES_LIMIT or line.end == "size limit":
            faults.append(f"line {number} and all after it were not read: {_limit(line)}")
            break
        try:
            record = _record(line, session_id, number, read_at_us)
            _require_one_unit(record, units)
        except _Unfit as unfit:
            faults.append(f"line {number} {unfit}")
            continue
        if isinstance(record, Step):
            steps.append(record)
        elif record is not None:
            metrics.append(record)
    return Trace(tuple(steps), tuple(metrics), tuple(faults))


def _require_one_unit(record: Step | TraceMetric | None, units: dict[str, str]) -> None:
    if isinstance(record, TraceMetric) and units.setdefault(record.name, record.unit) != record.unit:
        raise _Unfit("measures in another unit than an earlier line of the same metric")


def _limit(line: _Line) -> str:
    if line.end == "size limit":
        return f"a trace has at most {SIZE_LIMIT_BYTES // 1024**2} MB"
    return f"a trace has at most {LINES_LIMIT:,} lines"


def _lines(chunks: Iterable[bytes]) -> Iterator[_Line]:
    begun, left_bytes = b"", SIZE_LIMIT_BYTES
    for chunk in chunks:
        *ended, rest = chunk[:left_bytes].split(b"\n")
        for piece in ended:
            yield _Line(_joined(begun, piece), "newline")
            begun = b""
        begun = _joined(begun, rest)
        if len(chunk) > left_bytes:
            yield _Line(begun, "size limit")
            return
        left_bytes -= len(chunk)
    if begun:
        yield _Line(begun, "end of file")


def _joined(begun: bytes, more: bytes) -> bytes:
    return (begun + more)[: LINE_LIMIT_BYTES + 1]


def _record(line: _Line, session_id: str, number: int, read_at_us: int) -> Step | TraceMetric | None:
    """The record of a line; None of an empty one. Raises _Unfit."""
    if len(line.content) > LINE_LIMIT_BYTES:
        raise _Unfit(f"is longer than {LINE_LIMIT_BYTES // 1024**2} MB")
    if not line.content.strip():
        return None
    document = _document(line)
    if document.get("type") == "step":
        return _step(document, session_id, number, read_at_us)
    if document.get("type") == "metric":
        return _metric(document, session_id, number, read_at_us)
    raise _Unfit("is of no type that is known; there is step, metric")


def _document(line: _Line) -> dict[str, Any]:
    try:
        document = json.loads(line.content.decode())
    except (ValueError, RecursionError):
        raise _Unfit("is no JSON" if line.end == "newline" else "ends without a newline, and is no JSON") from None
    if not isinstance(document, dict):
        raise _Unfit("is no JSON object")
    return document


def _step(document: dict[str, Any], session_id: str, number: int, read_at_us: int) -> Step:
    duration_ms, ok = document.get("duration_ms"), document.get("ok")
    if duration_ms is not None:
        duration_ms = _number(document, "duration_ms")
        if duration_ms < 0:
            raise _Unfit("has a duration_ms below 0")
    if ok is not None and not isinstance(ok, bool):
        raise _Unfit("has an ok that is neither true nor false")
    return Step(
        step_id=f"{session_id}-{number}",
        session_id=session_id,
        sequence=number,
        at_us=_at_us(document, read_at_us),
        kind=_name(document, "kind"),
        name=_name(document, "name"),
        duration_ms=duration_ms,
        ok=ok,
    )


def _metric(document: dict[str, Any], session_id: str, number: int, read_at_us: int) -> TraceMetric:
    name, unit = _name(document, "name"), document.get("unit")
    if name in METRICS:
        raise _Unfit("has the name of a metric that the stand measures itself")
    # Lone surrogates, which no database takes, are not printable.
    if not isinstance(unit, str) or not 0 < len(unit.strip()) == len(unit) <= _UNIT_LIMIT or not unit.isprintable():
        raise _Unfit(f"has no unit of 1 to {_UNIT_LIMIT} printable characters")
    value = _number(document, "value")
    return TraceMetric(session_id, number, _at_us(document, read_at_us), name, unit, value)


def _name(document: dict[str, Any], key: str) -> str:
    name = document.get(key)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _Unfit(f"has no {key} of 1 to 100 letters, digits and _ . : / -")
    return name


def _number(document: dict[str, Any], key: str) -> float:
    value = document.get(key)
    # The comparison is exact for an int of any size, and false for what is not a number.
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_LARGEST <= value <= _LARGEST:
        raise _Unfit(f"has no {key} that is a number, of at most {_LARGEST:g}")
    return float(value)


def _at_us(document: dict[str, Any], read_at_us: int) -> int:
    if document.get("at") is None:
        return read_at_us
    at_s = _number(document, "at")
    if not 0 <= at_s < _LATEST_S:
        raise _Unfit("has an at that is no time in unix seconds")
    return round(at_s * 1e6)
