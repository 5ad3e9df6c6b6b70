"""The witnesses' accounts of sessions, in both databases, and how they are printed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from tests.integration.ledgers import Ledgers, opened
from tests.integration.reporting.disputed_rows import DAY_US, WRONG, at, end_gateway, fill
from tests.integration.reporting.disputed_rows import UNREPORTED as WITHOUT_REPORT
from tests.integration.reporting.table_rows import BARE, add_finalized

from agentdyno.core.discrepancies import Discrepancy, encode
from agentdyno.core.errors import UserError
from agentdyno.core.records import Request
from agentdyno.reporting.provider_log import LogComparison, compare_log, read_log
from agentdyno.reporting.reconciliation import Reconciliation, disputes, reconcile, unexplained_requests
from agentdyno.reporting.reconciliation_page import document, is_explained, render_reconciliation, verdict_line
from agentdyno.store import accounts
from agentdyno.store.accounts import TokenSums
from agentdyno.store.ledger import Ledger

GOLDEN = Path(__file__).parent / "golden"
TRIAL = ("ses_1", "ses_2")
NOW_US = 5 * DAY_US


@pytest.fixture
def ledger(ledgers: Ledgers) -> Iterator[Ledger]:
    with opened(ledgers) as ledger:
        fill(ledger)
        yield ledger


def printed(found: Reconciliation, log: LogComparison | None = None) -> str:
    console = Console(width=10_000, force_terminal=False, color_system=None)
    shown = []
    for part in render_reconciliation(found, log):
        with console.capture() as capture:
            console.print(part)
        shown.append("".join(f"{line.rstrip()}\n" for line in capture.get().splitlines()))
    return "\n".join(shown)


def test_what_each_witness_says_of_a_session(ledger: Ledger) -> None:
    found = reconcile(ledger, "session ses_1", ["ses_1"], NOW_US)

    assert (found.requests, found.beside, found.agreed, found.unexplained) == (5, 1, 1, 0)
    provider, proxy, harness, rows = found.accounts
    # Clean, translated, cut and retried; of the one that was lost nobody has a record.
    assert (provider.requests, provider.records) == (4, 5)  # the retried one twice
    assert (proxy.requests, proxy.records) == (3, 4)  # nothing of the cut one
    assert (harness.requests, harness.records) == (4, 4)
    assert (rows.requests, rows.records) == (5, 5)
    assert provider.tokens == TokenSums(500, 30, 180, 0, 12)  # 100 + 100 + 100 + 200; three whole outputs
    assert proxy.tokens == TokenSums(300, 30, 180, 0, 12)
    assert harness.tokens == TokenSums(200, 20, 180, 0, 12)  # nothing of the translated one's wholes
    assert rows.tokens == provider.tokens


def test_a_session_all_of_whose_requests_agree(ledger: Ledger) -> None:
    found = reconcile(ledger, "session ses_3", ["ses_3"], NOW_US)
    assert len({account.tokens for account in found.accounts}) == 1
    assert (found.disputed, verdict_line(found)) == ((), "1 of 1 request agrees")


def test_a_session_without_requests(ledger: Ledger) -> None:
    add_finalized(ledger, "ses_4", "small", [])
    found = reconcile(ledger, "session ses_4", ["ses_4"], NOW_US)
    assert {account.tokens for account in found.accounts} == {TokenSums()}
    assert verdict_line(found) == "0 of 0 requests agree"


def test_one_request_that_differs(ledger: Ledger) -> None:
    add_finalized(ledger, "ses_4", "small", [at(1, 31, **WRONG)])
    found = reconcile(ledger, "session ses_4", ["ses_4"], NOW_US)
    assert verdict_line(found) == "0 of 1 request agrees; 1 differs, 1 unexplained"


def test_what_is_not_explained_is_counted_by_session(ledger: Ledger) -> None:
    assert unexplained_requests(ledger, ("ses_1", "ses_2", "ses_3"), NOW_US) == {"ses_2": 2}
    found = reconcile(ledger, "experiment trial", TRIAL, NOW_US)
    assert not is_explained(found)
    assert verdict_line(found) == "3 of 9 requests agree; 6 differ, 2 unexplained"


def test_a_report_that_is_missing_is_put_down_to_the_gateways_end(ledger: Ledger) -> None:
    add_finalized(ledger, "ses_4", "small", [at(259_199, 22, **WITHOUT_REPORT)])
    assert unexplained_requests(ledger, ["ses_2", "ses_4"], NOW_US) == {"ses_2": 2, "ses_4": 1}
    end_gateway(ledger)
    # Its last request ended 1 s after that of ses_4, and days after those of ses_2.
    assert unexplained_requests(ledger, ["ses_2", "ses_4"], NOW_US) == {"ses_2": 2}
    [one] = reconcile(ledger, "session ses_4", ["ses_4"], NOW_US).disputed
    assert [found.cause for found in one.discrepancies] == ["gateway_lost"]


def test_a_report_that_is_missing_may_still_come(ledger: Ledger) -> None:
    # It ended at 131 s, and is waited for up to 191 s.
    assert unexplained_requests(ledger, ["ses_2"], 190_999_999) == {"ses_2": 1}
    assert unexplained_requests(ledger, ["ses_2"], 191_000_000) == {"ses_2": 2}
    found = reconcile(ledger, "session ses_2", ["ses_2"], 150_000_000)
    assert [one.discrepancies[0].cause for one in found.disputed] == ["unexplained", "awaited"]


def test_the_page_as_it_is_printed(ledger: Ledger) -> None:
    end_gateway(ledger)
    found = reconcile(ledger, "experiment trial", TRIAL, NOW_US, in_flight=1, awaited=2)
    page = printed(found)
    assert page == (GOLDEN / "reconciliation.txt").read_text()
    assert max(map(len, page.splitlines())) <= 80


def test_the_page_as_json(ledger: Ledger) -> None:
    told = json.loads(json.dumps(document(reconcile(ledger, "experiment trial", TRIAL, NOW_US))))
    assert list(told) == [
        *("title", "requests", "beside", "in_flight", "awaited", "unreadable", "accounts", "agreed", "disputed"),
        *("unexplained", "provider_log"),
    ]
    assert [account["witness"] for account in told["accounts"]] == ["provider", "proxy", "harness", "row"]
    assert told["disputed"][0] == {
        "request_key": "ses_1-1",
        "session_id": "ses_1",
        "started_at_us": 20_000_000,
        "key_alias": "key-1",
        "model_requested": "m",
        "status": "ok",
        "discrepancies": [
            {"field": "input_tokens", "cause": "translated", "provider": 100, "proxy": 100, "harness": None},
            {"field": "output_tokens", "cause": "translated", "provider": 10, "proxy": 10, "harness": None},
        ],
    }


# ── a provider's log ─────────────────────────────────────────────────────────────────────────────────────────────────


def line(number: int, **more: object) -> dict[str, object]:
    """What a provider's log says of a request that the ledger has, where nothing is said to be otherwise."""
    counted = {"input_tokens": 100, "output_tokens": 10, "cache_read_tokens": 60, "cache_write_tokens": 0}
    return {"request_id": f"up-{number}", **counted, "status": 200, **more}


WHOLE_LOG = [
    line(1),
    line(2),
    line(3, output_tokens=3),  # the provider went on a little, and told nobody
    line(4, at_us=40_500_000, output_tokens=7),  # its gateway was killed
    line(6, cache_read_tokens=0),
    line(7, output_tokens=0),  # two attempts, 200 and 10 tokens together
]


def compared(ledger: Ledger, lines: list[dict[str, object]], *session_ids: str) -> LogComparison:
    read = read_log("log", b"\n".join(json.dumps(one).encode() for one in lines))
    known = accounts.known_provider_request_ids(ledger, (one.request_id for one in read))
    return compare_log(read, disputes(ledger, accounts.inference_requests(ledger, session_ids), NOW_US), known)


def test_a_log_is_tied_to_the_requests_line_by_line(ledger: Ledger) -> None:
    log = compared(ledger, [*WHOLE_LOG, line(11), line(21)], "ses_1")

    assert (log.lines, log.matched, log.elsewhere, log.outside, log.unexplained) == (8, 5, 2, 0, 0)
    assert log.tokens == TokenSums(500, 33, 240, 0)  # of the five: what died with its gateway is no row's
    assert log.file_tokens == TokenSums(800, 60, 420, 0)  # 8 · 100; 3 + 7 + 0 + 5 · 10; 7 · 60
    assert [(one.request_key, one.field, one.cause, one.log, one.provider) for one in log.differences] == [
        ("ses_1-2", "output_tokens", "harness_left", 3, None),
        ("ses_1-2", "cache_read_tokens", "harness_left", 60, None),
        ("ses_1-3", "record", "gateway_lost", 1, 0),
    ]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"input_tokens": 101}, "input_tokens"),
        ({"cache_read_tokens": 0}, "cache_read_tokens"),
        ({"status": 500}, "status"),
    ],
)
def test_a_line_that_says_otherwise(ledger: Ledger, change: dict[str, object], field: str) -> None:
    log = compared(ledger, [line(21, **change)], "ses_3")
    assert [(one.field, one.cause) for one in log.differences] == [(field, "unexplained")]


def test_what_a_log_does_not_say_is_no_difference(ledger: Ledger) -> None:
    assert compared(ledger, [{"request_id": "up-21", "input_tokens": 100}], "ses_3").differences == ()


def test_a_request_that_the_provider_counted_twice(ledger: Ledger) -> None:
    log = compared(ledger, [line(21), line(21, input_tokens=7)], "ses_3")
    assert (log.matched, log.tokens.input_tokens) == (2, 107)
    assert [(one.request_key, one.field, one.cause, one.log, one.provider) for one in log.differences] == [
        ("ses_3-0", "record", "unexplained", 2, 1)
    ]


def test_an_id_of_nobody_that_the_provider_counted_twice_is_of_no_lost_attempt(ledger: Ledger) -> None:
    log = compared(ledger, [*WHOLE_LOG, line(4, at_us=40_600_000)], "ses_1")
    assert (log.matched, log.unexplained) == (5, 1)
    assert [(one.request_id, one.request_key, one.log) for one in log.differences if one.cause == "unexplained"] == [
        ("up-4", None, 2)
    ]


def test_two_attempts_of_one_id_are_two_lines(ledger: Ledger) -> None:
    retried = encode([Discrepancy("provider_request_id", "retried", "up-31 up-31", None, "up-31")])
    add_finalized(ledger, "ses_4", "small", [at(1, 31, attempts=2, input_tokens=200, discrepancies=retried)])
    both = [line(31), line(31, output_tokens=0, cache_read_tokens=0)]
    assert compared(ledger, both, "ses_4").differences == ()
    assert [one.log for one in compared(ledger, both[:1], "ses_4").differences] == [1]


@pytest.mark.parametrize("field", ["input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"])
def test_a_count_below_zero_is_a_fault_of_the_file(field: str) -> None:
    with pytest.raises(UserError, match=rf"^log:2: .*{field}.*; each line is a JSON object with a request_id$"):
        read_log("log", b'{"request_id": "a"}\n{"request_id": "b", "%s": -1}\n' % field.encode())


def test_lines_beyond_the_time_of_the_sessions_are_left_aside(ledger: Ledger) -> None:
    # The session is one request, from 259,200 s on, that took 1 s; the provider's clock may be 1 s off.
    second = 1_000_000
    times_us = [259_199 * second - 1, 259_199 * second, 259_261 * second, 259_261 * second + 1]
    log = compared(
        ledger, [line(21), *(line(90 + place, at_us=at_us) for place, at_us in enumerate(times_us))], "ses_3"
    )
    assert (log.lines, log.matched, log.outside) == (5, 1, 2)
    assert [(one.request_id, one.cause) for one in log.differences] == [
        ("up-91", "unexplained"),
        ("up-92", "unexplained"),
    ]


def test_between_two_sessions_nobody_was_at_work(ledger: Ledger) -> None:
    log = compared(ledger, [line(99, at_us=DAY_US)], "ses_2", "ses_3")
    assert (log.outside, [one.request_id for one in log.differences if one.log]) == (1, [])


def test_lines_and_requests_that_nothing_ties(ledger: Ledger) -> None:
    log = compared(ledger, [line(99), line(98, at_us=259_200_000_000)], "ses_3")
    assert [(one.request_id, one.request_key, one.cause) for one in log.differences] == [
        ("up-21", "ses_3-0", "unexplained"),
        ("up-98", None, "unexplained"),
        ("up-99", None, "unexplained"),
    ]


def test_no_more_lines_are_put_down_to_a_lost_gateway_than_it_can_have_lost(ledger: Ledger) -> None:
    log = compared(ledger, [*WHOLE_LOG, line(5, at_us=41_000_000), line(8, at_us=30_000_000)], "ses_1")
    nobodys = [(one.request_id, one.request_key, one.cause) for one in log.differences if one.field == "record"]
    assert nobodys == [
        ("up-8", None, "unexplained"),  # before the lost one came in
        ("up-4", "ses_1-3", "gateway_lost"),
        ("up-5", None, "unexplained"),
    ]


def test_a_line_of_long_after_is_not_put_down_to_a_lost_gateway(ledger: Ledger) -> None:
    # The last inference request of that gateway ended at 51 s; the session went on with another.
    later = at(150, 31, session_id="ses_1", request_key="ses_1-6", gateway_id="gw_2")
    ledger.absorb([Request(**{**BARE, **later})])
    others = [one for one in WHOLE_LOG if one["request_id"] != "up-4"]
    for at_us, cause in ((111_000_000, "gateway_lost"), (111_000_001, "unexplained")):
        log = compared(ledger, [*others, line(31), line(5, at_us=at_us)], "ses_1")
        assert [one.cause for one in log.differences if one.request_id == "up-5"] == [cause]


def test_what_failed_a_log_need_not_count(ledger: Ledger) -> None:
    failed = {"status": "provider_error", "input_tokens": None, "output_tokens": None, "cache_read_tokens": None}
    add_finalized(ledger, "ses_4", "small", [at(1, 31, **failed, usage_source=None)])
    [one] = compared(ledger, [], "ses_4").differences
    assert (one.request_id, one.cause) == ("up-31", "not_counted")


def test_a_page_with_a_log(ledger: Ledger) -> None:
    found = reconcile(ledger, "session ses_1", ["ses_1"], NOW_US)
    others = [{"request_id": "up-11", "input_tokens": 100}, {"request_id": "up-98", "at_us": 5}]
    assert (
        printed(found, compared(ledger, [*WHOLE_LOG, *others], "ses_1"))
        == (GOLDEN / "reconciliation_log.txt").read_text()
    )
