"""The trace of a session, from the file that its processes wrote to the rows and rollups of the ledger."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.integration.ledgers import Ledgers, add_session, opened
from tests.integration.reporting.table_rows import BARE

from agentdyno.core.records import Request
from agentdyno.core.rollups import merge
from agentdyno.core.trace import Trace, parse_trace
from agentdyno.reporting.traces import session_trace
from agentdyno.sessions.closing import finalize
from agentdyno.sessions.trace import read_trace, trace_file
from agentdyno.stand.home import Home
from agentdyno.store import queries
from agentdyno.store.ledger import Ledger
from agentdyno.store.traces import StepCounts, step_counts, trace_units, write_trace

STEP = {"type": "step", "kind": "tool_call", "name": "bash", "ok": True}
METRIC = {"type": "metric", "name": "render_ms", "unit": "ms", "value": 2.0, "at": 3}


@pytest.fixture
def ledger(ledgers: Ledgers) -> Iterator[Ledger]:
    with opened(ledgers) as ledger:
        add_session(ledger, phase="launched")
        yield ledger


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The trace's file of session ses_1, which is not there yet."""
    path = trace_file(Home(tmp_path).session("ses_1"))
    path.parent.mkdir(parents=True)
    return path


def append(path: Path, *documents: Any) -> None:
    with path.open("a") as file:
        file.writelines(json.dumps(document) + "\n" for document in documents)


def close(ledger: Ledger, folder: Path, told: Callable[[str], object] = lambda _: None) -> None:
    finalize(ledger, Home(folder), "ses_1", "completed", None, lambda: 5_000, drain_timeout_s=0, told=told)


def rows(ledger: Ledger, table: str) -> list[dict[str, Any]]:
    with ledger.read() as connection:
        found = connection.execute(sa.select(ledger.tables[table])).mappings()
        return sorted((dict(row) for row in found), key=lambda row: row["sequence"])


def rolled_up(ledger: Ledger) -> dict[str, list[float]]:
    """The values of a session's metrics, as they are in its rollups."""
    return {one.metric: list(merge([one])) for one in queries.rollups_by_session(ledger, ["ses_1"])["ses_1"]}


def a_request(key: str) -> Request:
    return Request(**{**BARE, "request_key": key, "session_id": "ses_1", "latency_ms": 4.0, "model_requested": None})


# ── when a session is finalized ──────────────────────────────────────────────────────────────────────────────────────


def test_a_trace_becomes_rows_and_rollups(ledger: Ledger, tmp_path: Path, path: Path) -> None:
    append(path, STEP, METRIC, {**METRIC, "value": 1}, {**STEP, "ok": False})

    close(ledger, tmp_path)

    assert [(row["step_id"], row["sequence"], row["at_us"]) for row in rows(ledger, "step")] == [
        ("ses_1-1", 1, 5_000),  # it named no time: when it was read
        ("ses_1-4", 4, 5_000),
    ]
    assert [(row["sequence"], row["at_us"], row["unit"], row["value"]) for row in rows(ledger, "trace_metric")] == [
        (2, 3_000_000, "ms", 2.0),
        (3, 3_000_000, "ms", 1.0),
    ]
    # No request to a model was made: the trace alone is there.
    [rollup] = queries.rollups_by_session(ledger, ["ses_1"])["ses_1"]
    assert (rollup.metric, rollup.model, rollup.status, rollup.n, rollup.total) == ("render_ms", "", "ok", 2, 3.0)
    assert session_trace(ledger, "ses_1").steps == StepCounts(2, 1)
    [metric] = session_trace(ledger, "ses_1").metrics
    assert (metric.name, metric.unit, metric.summary.n, metric.summary.median) == ("render_ms", "ms", 2, 1.5)
    assert not path.exists()


def test_a_session_without_a_trace_has_none(ledger: Ledger, tmp_path: Path) -> None:
    close(ledger, tmp_path)

    assert session_trace(ledger, "ses_1").steps == StepCounts(0, 0)
    assert session_trace(ledger, "ses_1").metrics == ()


def test_faults_are_told_without_what_the_line_held(ledger: Ledger, tmp_path: Path, path: Path) -> None:
    told: list[str] = []
    append(path, METRIC, {"type": "a secret"}, {**METRIC, "value": "a secret"})

    close(ledger, tmp_path, told.append)

    assert told == ["2 faults in the trace, the first: line 2 is of no type that is known; there is step, metric"]
    assert len(rows(ledger, "trace_metric")) == 1


def test_a_closing_that_died_half_way_is_taken_up(ledger: Ledger, tmp_path: Path, path: Path) -> None:
    append(path, STEP, METRIC)
    # As far as a process came that was killed before it closed the session.
    assert write_trace(ledger, "ses_1", read_trace(path, "ses_1", read_at_us=9))
    append(path, {**METRIC, "value": 8.0})

    close(ledger, tmp_path)

    assert [row["at_us"] for row in rows(ledger, "step")] == [9]  # as it was read first
    assert rolled_up(ledger) == {"render_ms": [2.0, 8.0]}
    close(ledger, tmp_path)
    assert rolled_up(ledger) == {"render_ms": [2.0, 8.0]}


def test_many_may_close_one_session_at_once(ledger: Ledger, tmp_path: Path, path: Path) -> None:
    append(path, *[STEP] * 50, *[METRIC] * 50)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: close(ledger, tmp_path), range(4)))

    assert step_counts(ledger, "ses_1").steps == 50
    assert rolled_up(ledger) == {"render_ms": [2.0] * 50}


def test_a_request_that_comes_late_does_not_lose_the_trace(ledger: Ledger, tmp_path: Path, path: Path) -> None:
    append(path, METRIC)
    close(ledger, tmp_path)

    ledger.absorb([a_request("req_late")])

    found = rolled_up(ledger)
    assert (found["render_ms"], found["latency_ms"]) == ([2.0], [4.0])


def test_nothing_is_added_to_what_is_over(ledger: Ledger, tmp_path: Path, path: Path) -> None:
    append(path, METRIC)
    close(ledger, tmp_path)

    assert not write_trace(ledger, "ses_1", parse_trace([json.dumps(STEP).encode()], "ses_1", 9))
    assert rows(ledger, "step") == []


def test_the_unit_is_that_of_the_session(ledger: Ledger, tmp_path: Path, path: Path) -> None:
    append(path, METRIC, {**METRIC, "name": "reward", "unit": "points"})
    close(ledger, tmp_path)

    assert trace_units(ledger, ["ses_1", "ses_2"]) == {"ses_1": {"render_ms": "ms", "reward": "points"}}


# ── what lies where the trace should be ──────────────────────────────────────────────────────────────────────────────


def test_no_link_is_followed(path: Path, tmp_path: Path) -> None:
    append(tmp_path / "elsewhere", METRIC)
    path.symlink_to(tmp_path / "elsewhere")

    trace = read_trace(path, "ses_1", 9)
    assert (trace.metrics, len(trace.faults)) == ((), 1)
    assert trace.faults[0].startswith("the trace cannot be read: ")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_is_no_file_is_not_read(path: Path, make: Callable[[Path], None]) -> None:
    make(path)

    assert read_trace(path, "ses_1", 9) == Trace(faults=("the trace is no regular file",))


def test_a_device_is_not_read() -> None:
    assert read_trace(Path("/dev/zero"), "ses_1", 9) == Trace(faults=("the trace is no regular file",))


def test_pieces_are_put_together(path: Path) -> None:
    append(path, *[{**METRIC, "note": "x" * 1000}] * 3000)  # 3 MB, in pieces of one

    trace = read_trace(path, "ses_1", 9)
    assert (len(trace.metrics), trace.faults) == (3000, ())
