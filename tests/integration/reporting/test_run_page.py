"""A run as a page: figures that can be worked out in the head."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.integration.ledgers import Ledgers, add_session, opened
from tests.integration.reporting.table_rows import BARE, STAND
from tests.integration.store.run_rows import add_runner, claim_some, ended, plan_run

from agentdyno.core.records import Request, Run
from agentdyno.reporting.markdown import markdown_table, rewritten
from agentdyno.reporting.run_page import run_page
from agentdyno.store.ledger import Ledger
from agentdyno.store.runs import settle

WORK = {
    **{"request_bytes": 1000, "system_bytes": 400, "tools_bytes": 300, "history_bytes": 100, "tool_results_bytes": 0},
    **{"tools": 2, "input_tokens": 250, "output_tokens": 5},
}
CHECKS = '[{"kind": "tool_used", "passed": false}, {"kind": "diff", "passed": true}]'


@pytest.fixture
def ledger(ledgers: Ledgers) -> Iterator[Ledger]:
    with opened(ledgers) as ledger:
        yield ledger


def request(session_id: str, place: int, from_s: float, to_s: float, **fields: Any) -> Request:
    """A request of a session, from one second to another."""
    times = {"started_at_us": round(from_s * 1e6), "ended_at_us": round(to_s * 1e6)}
    ids = {"request_key": f"{session_id}-{place}", "session_id": session_id}
    return Request(**{**BARE, **WORK, **times, **ids, **fields})


def fill(ledger: Ledger) -> Run:
    """Two arms, twice: three cells are scored, one was interrupted."""
    run = plan_run(ledger)
    add_runner(ledger, "rnr_1")
    seen: dict[str, int] = {}
    for claimed in claim_some(ledger, "rnr_1", 4):
        arm, session_id = claimed.cell.arm, claimed.attempt.session_id
        repeat = seen[arm] = seen.get(arm, 0) + 1
        add_session(ledger, session_id, variant=arm, experiment="trial", **STAND, cpu_cores=2)
        if (arm, repeat) == ("other", 2):
            settle(ledger, ended(claimed, "interrupted", command_ms=1.0), scores=False, now_us=9_000)
            continue
        rows = [
            request(session_id, 0, 10, 12),
            request(session_id, 1, 11, 13, purpose="title", tools=0),  # beside it: together they took 3 s
            request(session_id, 2, 20, 20.5, input_tokens=350 if repeat == 2 else 250),
            request(session_id, 3, 30, 39, purpose="model_list"),  # no model was waited for
        ]
        ledger.absorb(rows if arm == "plain" else [request(session_id, 0, 0, 1, input_tokens=None)])
        if arm == "plain":
            attempt = ended(claimed, "passed", command_ms=7_000.0 + 1_000 * repeat, exit_code=3 * (repeat - 1))
        else:
            facts = {"failure": "checks_failed", "checks": CHECKS, "unenforced": ("network",)}
            attempt = ended(claimed, "failed", command_ms=500.0, **facts)
        assert settle(ledger, attempt, scores=True, now_us=9_000)
    return run


def rows(page: str, arm: str) -> list[list[str]]:
    """An arm's row in each table."""
    found = [line.strip("|").split("|") for line in page.splitlines() if line.startswith(f"| {arm} |")]
    return [[cell.strip() for cell in row] for row in found]


def test_what_was_sent_and_how_long_it_took(ledger: Ledger) -> None:
    page = run_page(ledger, fill(ledger))

    told, sent, took = rows(page, "plain")
    assert told[4:] == ["0, 3", "2", "2", ""]  # exit codes, scored, passed
    # Work and side calls: 3 inference requests of 250 tokens, and 100 more in the second repeat.
    assert sent[1:] == ["2", "1", "800 (750–850)", "15", "3,000", "1,200", "900", "300", "0", "2"]
    # From 10 to 13 s and from 20 to 20.5 s: 3.5 s of 8 s and of 9 s. The median of two is their mean.
    assert took[1:] == ["8.50 (8.00–9.00)", "3.50", "5.00 (4.50–5.50)"]


def test_what_is_unknown_stays_so_and_a_time_is_not_below_zero(ledger: Ledger) -> None:
    page = run_page(ledger, fill(ledger))

    told, sent, took = rows(page, "other")
    assert told[4:] == ["–", "1", "0", "sums: checks_failed (tool_used)"]
    assert sent[1:5] == ["1", "0", "–", "5"]
    assert took[1:] == ["0.50", "1.00", "0.00"]


def test_where_it_was_measured(ledger: Ledger) -> None:
    page = run_page(ledger, fill(ledger))

    assert "- 3 of 4 cells scored, 2 passed, 4 attempts\n" in page
    assert "- sandbox: process; not enforced: network\n" in page
    assert "- machine: one, 2 cores, 0 GiB of memory\n" in page
    assert "- versions: agentdyno 0.1.0\n" in page


def test_a_run_without_a_score_has_no_rows(ledger: Ledger) -> None:
    page = run_page(ledger, plan_run(ledger))

    assert "- 0 of 4 cells scored, 0 passed, 0 attempts\n" in page
    assert "| plain |" not in page


def test_a_table_and_its_place_in_a_page() -> None:
    table = markdown_table(("a", "b"), [("1", None), ("x|y", "")])
    assert table == "| a | b |\n| --- | --- |\n| 1 | |\n| x\\|y | |\n"
    assert rewritten("before\n<!-- b -->\nold\n<!-- e -->\nafter\n", "<!-- b -->", "<!-- e -->", table) == (
        f"before\n<!-- b -->\n{table}<!-- e -->\nafter\n"
    )
    assert rewritten("<!-- e -->", "<!-- b -->", "<!-- e -->", table) is None
