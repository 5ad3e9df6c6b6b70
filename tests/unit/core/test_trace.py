"""A trace is what others' programs wrote: every good line is a record, every other one a fault, none an error."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentdyno.core import trace as limits
from agentdyno.core.metrics import METRICS
from agentdyno.core.records import Step, TraceMetric
from agentdyno.core.trace import Trace, parse_trace

names = st.from_regex(r"[a-z_][a-z0-9_.-]{0,30}", fullmatch=True).filter(lambda name: name not in METRICS)
numbers = st.floats(-1e100, 1e100) | st.integers(-(10**30), 10**30)
times = st.none() | st.floats(0, 4e9)
steps = st.fixed_dictionaries(
    {"type": st.just("step"), "kind": names, "name": names, "at": times},
    optional={
        "duration_ms": st.none() | st.floats(0, 1e9),
        "ok": st.none() | st.booleans(),
        "else": st.text() | st.lists(st.integers()),
    },
)
metrics = st.builds(
    # One unit a name: the unit is made of it.
    lambda name, value, at: {"type": "metric", "name": name, "unit": f"u{len(name)}", "value": value, "at": at},
    *(names, numbers, times),
)
good_lines = st.lists((steps | metrics).map(lambda document: json.dumps(document).encode() + b"\n"), max_size=20)


def parsed(*documents: Any) -> Trace:
    return parse_trace([b"".join(json.dumps(document).encode() + b"\n" for document in documents)], "ses_1", 7)


def step(**fields: Any) -> dict[str, Any]:
    return {"type": "step", "kind": "tool_call", "name": "bash", **fields}


def metric(**fields: Any) -> dict[str, Any]:
    return {"type": "metric", "name": "render_ms", "unit": "ms", "value": 12.5, **fields}


def test_steps_and_metrics_at_their_lines() -> None:
    trace = parsed(step(at=1.5, duration_ms=0, ok=False), metric(at=2), metric(value=0), step(name="mcp__x:y/z"))

    assert trace.steps == (
        Step("ses_1-1", "ses_1", 1, 1_500_000, "tool_call", "bash", 0.0, False),
        # It names no time: that of the reading.
        Step("ses_1-4", "ses_1", 4, 7, "tool_call", "mcp__x:y/z"),
    )
    assert trace.metrics == (
        TraceMetric("ses_1", 2, 2_000_000, "render_ms", "ms", 12.5),
        TraceMetric("ses_1", 3, 7, "render_ms", "ms", 0.0),
    )
    assert trace.faults == ()


def test_what_is_absent_may_be_null_and_what_is_unknown_is_left_alone() -> None:
    trace = parsed(step(at=None, duration_ms=None, ok=None, colour="red"), metric(at=None, tags={"a": [1]}))

    assert (len(trace.steps), len(trace.metrics), trace.faults) == (1, 1, ())


NO_NUMBER = "that is a number, of at most 1e+100"
NO_UNIT = "has no unit of 1 to 32 printable characters"


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        ([], "is no JSON object"),
        ({"name": "x"}, "is of no type that is known; there is step, metric"),
        ({"type": "event"}, "is of no type that is known; there is step, metric"),
        ({"type": ["step"]}, "is of no type that is known; there is step, metric"),
        (step(kind=""), "has no kind of 1 to 100 letters, digits and _ . : / -"),
        (step(name="a b"), "has no name of 1 to 100 letters, digits and _ . : / -"),
        (step(name="a" * 101), "has no name of 1 to 100 letters, digits and _ . : / -"),
        (step(name="bash\n"), "has no name of 1 to 100 letters, digits and _ . : / -"),
        (step(name=1), "has no name of 1 to 100 letters, digits and _ . : / -"),
        (step(duration_ms=-1), "has a duration_ms below 0"),
        (step(duration_ms="1"), f"has no duration_ms {NO_NUMBER}"),
        (step(ok=1), "has an ok that is neither true nor false"),
        (step(at=-1), "has an at that is no time in unix seconds"),
        (step(at=1767225600000), "has an at that is no time in unix seconds"),  # milliseconds
        (step(at=True), f"has no at {NO_NUMBER}"),
        (metric(value=True), f"has no value {NO_NUMBER}"),
        (metric(value=None), f"has no value {NO_NUMBER}"),
        (metric(value="12"), f"has no value {NO_NUMBER}"),
        (metric(value=math.inf), f"has no value {NO_NUMBER}"),
        (metric(value=math.nan), f"has no value {NO_NUMBER}"),
        (metric(value=10**101), f"has no value {NO_NUMBER}"),
        (metric(unit=None), NO_UNIT),
        (metric(unit=""), NO_UNIT),
        (metric(unit=" ms"), NO_UNIT),
        (metric(unit="m" * 33), NO_UNIT),
        (metric(unit="\ud800"), NO_UNIT),
        (metric(unit="\x1b[31m"), NO_UNIT),
        (metric(name="latency_ms"), "has the name of a metric that the stand measures itself"),
        (metric(unit="s"), "measures in another unit than an earlier line of the same metric"),
    ],
)
def test_what_is_no_record(document: Any, fault: str) -> None:
    trace = parsed(metric(), document, step())

    assert trace.faults == (f"line 2 {fault}",)
    # What stands around it is read.
    assert ([one.sequence for one in trace.metrics], [one.sequence for one in trace.steps]) == ([1], [3])


@pytest.mark.parametrize("line", [b"{", b"\xff", b"[" * 5000, b'{"a": ' * 5000, b"1" * 5000, b"\0"])
def test_what_is_no_json(line: bytes) -> None:
    assert parse_trace([line, b"\n"], "ses_1", 7).faults == ("line 1 is no JSON",)


def test_an_end_without_a_newline_is_one_only_if_something_is_missing() -> None:
    whole = json.dumps(step()).encode()

    assert len(parse_trace([whole], "ses_1", 7).steps) == 1
    assert parse_trace([whole[:-1]], "ses_1", 7) == Trace(faults=("line 1 ends without a newline, and is no JSON",))


def test_empty_lines_are_lines() -> None:
    trace = parse_trace([b"\n \r\n", json.dumps(step()).encode(), b"\r\n"], "ses_1", 7)

    assert ([one.sequence for one in trace.steps], trace.faults) == ([3], ())


def test_a_line_may_be_too_long() -> None:
    filler = " " * (1024**2 - len(json.dumps(step())))
    fits = json.dumps(step()) + filler

    trace = parse_trace([f"{fits}\n{fits} \n{json.dumps(step())}\n".encode()], "ses_1", 7)

    assert [one.sequence for one in trace.steps] == [1, 3]
    assert trace.faults == ("line 2 is longer than 1 MB",)


def test_a_trace_may_have_too_many_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LINES_LIMIT", 2)

    trace = parsed(step(), step(), step(), step())

    assert len(trace.steps) == 2
    assert trace.faults == ("line 3 and all after it were not read: a trace has at most 2 lines",)


@pytest.mark.parametrize("chunk_bytes", [1, 7, 10_000])
def test_a_trace_may_be_too_large(monkeypatch: pytest.MonkeyPatch, chunk_bytes: int) -> None:
    line = json.dumps(step()).encode() + b"\n"
    monkeypatch.setattr(limits, "SIZE_LIMIT_BYTES", 2 * len(line))
    content = 2 * line

    assert parse_trace(chunked(content, chunk_bytes), "ses_1", 7).faults == ()
    trace = parse_trace(chunked(content + b"{", chunk_bytes), "ses_1", 7)
    assert len(trace.steps) == 2
    assert trace.faults == ("line 3 and all after it were not read: a trace has at most 0 MB",)


def chunked(content: bytes, chunk_bytes: int) -> list[bytes]:
    return [content[start : start + chunk_bytes] for start in range(0, len(content), chunk_bytes)]


@given(st.lists(st.binary(max_size=40) | st.sampled_from([b"\n", b'{"type": "step"', b"}", b'"name": 1'])))
@example([b'{"type":"metric","name":"a","unit":"u","value":1e400}'])
def test_any_bytes_are_read(chunks: list[bytes]) -> None:
    trace = parse_trace(chunks, "ses_1", 7)

    lines = b"".join(chunks).split(b"\n")
    assert len(trace.steps) + len(trace.metrics) + len(trace.faults) <= len(lines)


@given(good_lines)
def test_a_good_file_of_n_lines_is_n_rows(lines: list[bytes]) -> None:
    trace = parse_trace(lines, "ses_1", 7)

    assert trace.faults == ()
    read = [*(one.sequence for one in trace.steps), *(one.sequence for one in trace.metrics)]
    assert sorted(read) == list(range(1, len(lines) + 1))


@given(good_lines, st.integers(1, 50))
def test_in_any_pieces_it_is_the_same(lines: list[bytes], chunk_bytes: int) -> None:
    content = b"".join(lines)

    assert parse_trace(chunked(content, chunk_bytes), "ses_1", 7) == parse_trace([content], "ses_1", 7)


@given(good_lines, good_lines)
def test_what_is_appended_changes_nothing_before_it(before: list[bytes], after: list[bytes]) -> None:
    alone, together = parse_trace(before, "ses_1", 7), parse_trace(before + after, "ses_1", 7)

    assert together.steps[: len(alone.steps)] == alone.steps
    assert together.metrics[: len(alone.metrics)] == alone.metrics
