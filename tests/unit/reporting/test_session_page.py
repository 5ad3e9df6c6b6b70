from __future__ import annotations

import dataclasses
from typing import Any

from rich.console import Console, RenderableType

from agentdyno.core.fields import fields_of
from agentdyno.core.records import Request, Session
from agentdyno.reporting.session_page import render_requests, render_session, session_line
from agentdyno.store.queries import SessionTotals

OPEN = Session(
    session_id="ses_1",
    phase="rendered",
    variant="plain",
    task_card="sums",
    harness_profile="llm",
    provider="scripted",
    model="m",
    variant_fingerprint="sha256:0",
    task_card_digest="sha256:1",
    created_at_us=0,
    expires_at_us=3_600_000_000,
)
OVER = dataclasses.replace(
    OPEN,
    phase="finalized",
    outcome="completed",
    label="mine",
    ended_at_us=61_000_000,
    checks_passed=1,
    checks_total=2,
    command_exit_code=0,
    repository_root="/src/thing",
    repository_branch=None,
    repository_commit="abc",
    repository_dirty=False,
    os="Debian",
    cpu_cores=2,
    memory_bytes=8 * 1024**3,
)
TOTALS = SessionTotals("ses_1", requests=1200, ok=1199, input_tokens=10, output_tokens=None, cost_usd=None)


def lines(page: RenderableType) -> list[str]:
    console = Console(width=120, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(page)
    return [line.rstrip() for line in capture.get().splitlines()]


def test_an_open_session() -> None:
    shown = lines(render_session(OPEN, None))

    assert "state      open: rendered, until 1970-01-01 01:00:00Z" in shown
    assert "requests   0 requests" in shown
    assert not any(line.startswith(("ended", "tokens", "checks", "exit code", "machine")) for line in shown)


def test_a_session_that_is_over() -> None:
    shown = lines(render_session(OVER, TOTALS))

    assert [line for line in shown if line.split("  ")[0] in ("state", "label", "ended", "exit code")] == [
        "state       completed",
        "label       mine",
        "ended       1970-01-01 00:01:01Z",
        "exit code   0",
    ]
    assert "requests    1,200 requests (1 failed)" in shown
    assert "tokens      10 in, – out" in shown
    assert "repository  /src/thing (detached, abc, clean)" in shown
    assert "machine     Debian, 2 cores, 8.0 GiB" in shown


def test_a_session_in_one_line() -> None:
    assert session_line(OPEN, None) == "session ses_1 is open (rendered), 0 requests"
    assert session_line(OVER, TOTALS) == (
        "session ses_1 completed, 1,200 requests (1 failed), tokens 10 in, – out, 1 of 2 checks held"
    )


def test_requests_tell_zero_from_unknown() -> None:
    known: dict[str, Any] = {"path": "/v1/messages", "started_at_us": 0, "late": True, "status": "timeout"}
    known |= {"error_class": "upstream_timeout", "latency_ms": 0.0, "input_tokens": 0}
    late = Request(**{**{spec.name: None for spec in fields_of(Request)}, **known})

    row = lines(render_requests([late]))[-2]

    assert "timeout (late)" in row
    assert row.split()[-6:] == ["0", "–", "0", "–", "–", "upstream_timeout"]
