"""Requests in the ledger: all of a batch or nothing, more records win, rollups follow what comes late."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from tests.integration.ledgers import Ledgers, add_session, allow_inserts, dump, opened, refuse_inserts
from tests.integration.store.request_rows import request_row

from agentdyno.core.records import MetricRollup, SpoolCursor, UnreadableRecord
from agentdyno.core.rollups import rollup_session
from agentdyno.store.accounts import Uncounted
from agentdyno.store.ledger import Absorbed, Ledger
from agentdyno.store.queries import other_sources, requests_beside, rollups_by_session, session_totals

CURSOR = SpoolCursor("gw_1", 1, 100, False)
UNREADABLE = UnreadableRecord("gw_1", 1, 50, 7, "sha256:0", "torn")


@pytest.fixture
def ledger(ledgers: Ledgers) -> Iterator[Ledger]:
    """A ledger with two sessions: `ses_1` is open, `ses_over` is finalized."""
    with opened(ledgers) as ledger:
        add_session(ledger)
        add_session(ledger, "ses_over", phase="collected")
        ledger.close_session("ses_over", "completed", 5_000, None)
        yield ledger


def rollups(ledger: Ledger, session_id: str) -> tuple[MetricRollup, ...]:
    return rollups_by_session(ledger, [session_id]).get(session_id, ())


def test_requests_come_back_in_the_order_they_came_in(ledger: Ledger) -> None:
    first, second, third = (
        request_row(key, started_at_us=at) for key, at in (("req_b", 1), ("req_a", 2), ("req_c", 2))
    )
    assert ledger.absorb([third, first, second]) == Absorbed(3, ())
    assert ledger.requests("ses_1") == (first, second, third)


def test_absorbing_again_changes_nothing(ledger: Ledger) -> None:
    batch = [request_row("req_1"), request_row("req_2", "ses_over"), request_row("req_3", None)]
    ledger.absorb(batch, CURSOR, [UNREADABLE])
    before = dump(ledger)
    assert ledger.absorb(batch, CURSOR, [UNREADABLE]).written == 0
    assert dump(ledger) == before


def test_a_row_of_more_records_replaces_one_of_fewer(ledger: Ledger) -> None:
    ledger.absorb([request_row("req_1", records=2)])
    assert ledger.absorb([request_row("req_1", records=3, cost_usd=0.5)]).written == 1
    assert ledger.absorb([request_row("req_1", records=2), request_row("req_1", records=3, cost_usd=9.0)]).written == 0
    assert [(r.records, r.cost_usd) for r in ledger.requests("ses_1")] == [(3, 0.5)]


def test_a_rebuild_replaces_rows_of_as_many_records_but_never_of_more(ledger: Ledger) -> None:
    ledger.absorb([request_row("req_1", records=3, normalizer_version=1)])
    assert ledger.absorb([request_row("req_1", records=2, normalizer_version=2)], rebuild=True).written == 0
    assert ledger.absorb([request_row("req_1", records=3, normalizer_version=2)], rebuild=True).written == 1
    assert [(r.records, r.normalizer_version) for r in ledger.requests("ses_1")] == [(3, 2)]


@pytest.mark.parametrize("table", ["request", "unreadable_record", "spool_cursor", "metric_rollup"])
def test_a_batch_is_absorbed_with_its_cursor_or_not_at_all(ledger: Ledger, table: str) -> None:
    ledger.absorb([request_row("req_0", "ses_over")])
    refuse_inserts(ledger, table)
    before = dump(ledger)
    batch = [request_row("req_1"), request_row("req_2", "ses_over")]
    with pytest.raises(sa.exc.IntegrityError, match="refused"):
        ledger.absorb(batch, CURSOR, [UNREADABLE])
    assert dump(ledger) == before
    allow_inserts(ledger, table)
    assert ledger.absorb(batch, CURSOR, [UNREADABLE]) == Absorbed(2, ("ses_over",))
    assert ledger.cursor("gw_1") == CURSOR


def test_a_row_that_lacks_what_it_must_have_is_no_fault_of_the_database(ledger: Ledger) -> None:
    with pytest.raises(sa.exc.IntegrityError):
        ledger.absorb([request_row("req_1", purpose=None)])
    assert ledger.absorb([request_row("req_1")]).written == 1


def test_a_cursor_only_goes_on(ledger: Ledger) -> None:
    assert ledger.cursor("gw_1") is None
    places = [(1, 100, False), (1, 50, False), (2, 0, False), (1, 999, True), (2, 0, True), (2, 0, False)]
    seen = []
    for place in places:
        ledger.absorb([], SpoolCursor("gw_1", *place))
        cursor = ledger.cursor("gw_1")
        assert cursor is not None
        seen.append((cursor.segment, cursor.offset_bytes, cursor.closed))
    assert seen == [(1, 100, False), (1, 100, False), (2, 0, False), (2, 0, False), (2, 0, True), (2, 0, True)]


def test_late_is_what_is_first_written_after_the_end(ledger: Ledger) -> None:
    add_session(ledger, "ses_2", phase="collected")
    ledger.absorb([request_row("req_1", "ses_2", records=2)])
    ledger.close_session("ses_2", "completed", 5_000, None)
    ledger.absorb(
        [request_row("req_1", "ses_2", records=3), request_row("req_2", "ses_2", records=2), request_row("req_3")]
    )
    ledger.absorb([request_row("req_2", "ses_2", records=3)])
    late = {"req_1": False, "req_2": True}
    assert {r.request_key: r.late for r in ledger.requests("ses_2")} == late
    ledger.absorb([request_row("req_1", "ses_2", records=3), request_row("req_2", "ses_2", records=3)], rebuild=True)
    assert {r.request_key: r.late for r in ledger.requests("ses_2")} == late
    assert [r.late for r in ledger.requests("ses_1")] == [False]


def test_closing_a_session_writes_its_rollups(ledger: Ledger) -> None:
    add_session(ledger, "ses_2", phase="collected")
    ledger.absorb(
        [
            request_row("req_1", "ses_2", latency_ms=2.5),
            request_row("req_2", "ses_2", latency_ms=0.5),
            request_row("req_3"),
        ]
    )
    assert rollups(ledger, "ses_2") == ()
    ledger.close_session("ses_2", "completed", 5_000, None)
    assert rollups(ledger, "ses_2") == rollup_session(ledger.requests("ses_2"))
    assert [(r.n, r.total) for r in rollups(ledger, "ses_2") if r.metric == "latency_ms"] == [(2, 3.0)]  # 2.5 + 0.5
    assert rollups(ledger, "ses_1") == ()


def test_a_late_row_rebuilds_the_rollups_of_its_session_alone(ledger: Ledger) -> None:
    add_session(ledger, "ses_2", phase="finalized", ended_at_us=1)
    ledger.absorb([request_row("req_1", "ses_over", latency_ms=1.0), request_row("req_2", "ses_2", latency_ms=7.0)])
    before = rollups(ledger, "ses_over"), rollups(ledger, "ses_2")
    absorbed = ledger.absorb([request_row("req_3", "ses_over", status="timeout", latency_ms=3.0), request_row("req_4")])
    assert absorbed == Absorbed(2, ("ses_over",))
    assert rollups(ledger, "ses_over") == rollup_session(ledger.requests("ses_over")) != before[0]
    assert rollups(ledger, "ses_2") == before[1]


def test_a_row_that_changes_its_status_leaves_no_rollup_behind(ledger: Ledger) -> None:
    ledger.absorb([request_row("req_1", "ses_over", records=1, status="proxy_error")])
    ledger.absorb([request_row("req_1", "ses_over", records=2, status="ok")])
    assert {r.status for r in rollups(ledger, "ses_over")} == {"ok"}


def test_totals_know_zero_from_unknown(ledger: Ledger) -> None:
    ledger.absorb(
        [
            request_row("req_1", input_tokens=0),
            request_row("req_2", status="timeout", output_tokens=4),
            request_row("req_3", None),
        ]
    )
    [totals] = session_totals(ledger, ["ses_1", "ses_over"]).values()
    assert (totals.requests, totals.ok) == (2, 1)
    assert (totals.input_tokens, totals.output_tokens, totals.cost_usd) == (0, 4, None)
    assert {type(value) for value in totals} == {str, int, type(None), Uncounted, tuple}


def test_requests_beside_those_that_were_seen_come_in_their_order(ledger: Ledger) -> None:
    third, first, second = (
        request_row(key, started_at_us=at) for key, at in (("req_c", 2), ("req_b", 1), ("req_a", 2))
    )
    ledger.absorb([third, first, second, request_row("req_d", "ses_over")])
    assert requests_beside(ledger, "ses_1", set()) == (first, second, third)
    assert requests_beside(ledger, "ses_1", {"req_a"}) == (first, third)


def test_by_whom_tokens_are_counted_where_not_by_the_provider(ledger: Ledger) -> None:
    rows = [
        request_row("req_1", usage_source="estimated"),
        request_row("req_2", usage_source="estimated", status="timeout"),
        request_row("req_3"),
        request_row("req_4", usage_source="provider"),
        request_row("req_5", usage_source="proxy"),
        request_row("req_6", usage_source="proxy"),
        request_row("req_7", "ses_over", usage_source="provider"),
    ]
    ledger.absorb(rows)
    assert other_sources(ledger, ["ses_1", "ses_over"]) == {"ses_1": {"estimated": 1, "proxy": 2}}
    totals = session_totals(ledger, ["ses_1"])["ses_1"]
    assert (totals.by_proxy, totals.estimated) == (2, 2)
