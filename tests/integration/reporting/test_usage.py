"""What was used, by each trait of a request, in both databases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.integration.ledgers import Ledgers, opened
from tests.integration.reporting.disputed_rows import at, fill
from tests.integration.reporting.table_rows import add_finalized

from agentdyno.reporting.usage import render_usage, usage_document
from agentdyno.store.accounts import GROUPINGS, Grouping, TokenSums, Uncounted, Used, Window, usage
from agentdyno.store.ledger import Ledger
from agentdyno.store.queries import session_totals

GOLDEN = Path(__file__).parent / "golden" / "usage.txt"
EVERYTHING = Window()


@pytest.fixture
def ledger(ledgers: Ledgers) -> Iterator[Ledger]:
    with opened(ledgers) as ledger:
        fill(ledger)
        yield ledger


def test_by_model(ledger: Ledger) -> None:
    m, n = usage(ledger, "model", EVERYTHING)

    # ses_1: five, of which one was cut and one lost; ses_2: four. The list of models is no inference.
    assert (m.group, m.requests, m.ok) == ("m", 9, 7)
    assert m.tokens == TokenSums(900, 70, 420, 0, 28)  # 500 + 400; 3 · 10 + 4 · 10; seven whole ones · 60 and · 4
    assert (m.cost_usd, m.unpriced) == (3.5, 2)  # 7 · 0.5; what was cut used tokens, what was lost may have
    assert m.uncounted == Uncounted(input_tokens=1, output_tokens=2)  # of what was cut the input was told
    assert (m.by_provider, m.by_proxy, m.estimated, m.by_nobody, m.used_nothing) == (8, 0, 0, 1, 0)
    assert (n.group, n.requests, n.cost_usd, n.unpriced) == ("n", 1, None, 1)


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("key", {"key-1": 10, None: 1}),
        ("model", {"m": 10, "n": 1}),
        ("provider", {"scripted": 10, None: 1}),
        ("harness", {"llm": 7, "mini": 4}),
        ("day", {0: 9, 3: 1, 4: 1}),
    ],
)
def test_by_each_trait(ledger: Ledger, by: Grouping, groups: dict[str | int | None, int]) -> None:
    last_of_day_3, first_of_day_4 = 4 * 86_400 - 1, 4 * 86_400
    add_finalized(
        ledger, "ses_4", "small", [at(first_of_day_4, 31, key_alias=None, provider=None)], harness_profile="llm"
    )
    assert {used.group: used.requests for used in usage(ledger, by, EVERYTHING)} == groups
    earlier = usage(ledger, by, Window(since_us=last_of_day_3 * 1_000_000))
    assert [used.requests for used in earlier] == [1]


def test_whatever_the_grouping_the_sums_are_the_same(ledger: Ledger) -> None:
    sums = {
        by: (
            sum(used.requests for used in usage(ledger, by, EVERYTHING)),
            sum(used.tokens.input_tokens or 0 for used in usage(ledger, by, EVERYTHING)),
            sum(used.cost_usd or 0 for used in usage(ledger, by, EVERYTHING)),
        )
        for by in GROUPINGS
    }
    assert set(sums.values()) == {(10, 1000, 3.5)}


def test_of_a_window(ledger: Ledger) -> None:
    def counted(window: Window) -> list[tuple[str | int | None, int]]:
        return [(used.group, used.requests) for used in usage(ledger, "harness", window)]

    assert counted(Window({"ses_2"})) == [("mini", 4)]
    assert counted(Window(set())) == []
    assert counted(Window(since_us=120_000_000)) == [("llm", 1), ("mini", 3)]
    assert counted(Window(until_us=20_000_000)) == [("llm", 1)]
    assert counted(Window({"ses_1"}, 20_000_000, 40_000_000)) == [("llm", 2)]


def test_the_table_as_it_is_printed(ledger: Ledger) -> None:
    console = Console(width=10_000, force_terminal=False, color_system=None)
    with console.capture() as capture:
        for by in GROUPINGS:
            console.print(render_usage(by, usage(ledger, by, EVERYTHING)))
    assert "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines()) == GOLDEN.read_text()


def test_the_table_as_json(ledger: Ledger) -> None:
    _, last = json.loads(json.dumps(usage_document("day", usage(ledger, "day", EVERYTHING))))
    assert last == {
        "day": "1970-01-04",
        "requests": 1,
        "ok": 1,
        "input_tokens": 100,
        "output_tokens": 10,
        "cache_read_tokens": 60,
        "cache_write_tokens": 0,
        "reasoning_tokens": 4,
        "uncounted": {"input_tokens": 0, "output_tokens": 0},
        "cost_usd": None,
        "unpriced": 1,
        "counted_by": {"provider": 1, "proxy": 0, "estimated": 0, "nobody": 0},
        "used_nothing": 0,
    }


def test_what_is_unknown_is_a_dash() -> None:
    nobodys = Used(None, 5, 0, TokenSums(), Uncounted(2, 2), None, 2, 0, 0, 0, by_nobody=2, used_nothing=3)
    console = Console(width=200, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(render_usage("key", [nobodys]))
    assert capture.get().splitlines()[-1].split() == ["–", "5", "0", "–", "–", "2", "3"]


TOLD_NOTHING = {
    **dict.fromkeys([*TokenSums._fields, "cost_usd", "usage_source"]),
    **{"status": "provider_error", "attempts": 1, "http_status": 500},
}


@pytest.mark.parametrize(
    ("ended", "may_have_used"),
    [
        ({"status": "ok", "http_status": 200}, True),
        ({"status": "client_disconnect", "http_status": 200}, True),
        ({"status": "timeout", "error_class": "timeout", "http_status": 408}, True),
        ({"status": "proxy_error", "error_class": "gateway_lost", "http_status": None, "attempts": None}, True),
        ({"error_class": "incomplete_stream", "http_status": 200}, True),
        ({"error_class": "overloaded", "http_status": 200}, True),  # inside a stream
        ({"error_class": "connection"}, True),  # amid an answer: the HTTP error is LiteLLM's
        ({"error_class": "rate_limit", "http_status": 429}, False),
        ({"error_class": "server_error"}, False),
        ({"error_class": None}, False),
        ({"error_class": "rate_limit", "http_status": None, "attempts": None}, False),  # in a deployment's log
        ({"status": "rejected", "http_status": 401, "attempts": None}, False),
        ({"status": "proxy_error", "error_class": "invalid_request", "http_status": 400, "attempts": 0}, False),
    ],
    ids=str,
)
def test_what_may_have_used_tokens(ledger: Ledger, ended: dict[str, Any], may_have_used: bool) -> None:
    add_finalized(ledger, "ses_4", "small", [at(1, 31, **{**TOLD_NOTHING, **ended})])
    [used] = usage(ledger, "model", Window({"ses_4"}))
    count = int(may_have_used)
    assert (used.unpriced, used.uncounted, used.by_nobody) == (count, Uncounted(count, count), count)
    assert used.used_nothing == 1 - count
    totals = session_totals(ledger, ["ses_4"])["ses_4"]
    assert (totals.unpriced, totals.uncounted) == (used.unpriced, used.uncounted)


def test_an_error_with_tokens_used_them(ledger: Ledger) -> None:
    add_finalized(ledger, "ses_4", "small", [at(1, 31, **{**TOLD_NOTHING, "usage_source": "proxy", "input_tokens": 9})])
    [used] = usage(ledger, "model", Window({"ses_4"}))
    assert (used.unpriced, used.uncounted, used.by_proxy, used.used_nothing) == (1, Uncounted(0, 1), 1, 0)


def test_which_prices_a_sessions_cost_is_by(ledger: Ledger) -> None:
    dear, cheap = ({"price_table_version": version} for version in ("deployment:team", "1.106.2"))
    add_finalized(ledger, "ses_4", "small", [at(1, 31, **dear), at(2, 32, **cheap), at(3, 33, **dear), at(4, 34)])
    assert session_totals(ledger, ["ses_1", "ses_4"])["ses_4"].price_tables == ("1.106.2", "deployment:team")
    assert session_totals(ledger, ["ses_1", "ses_4"])["ses_1"].price_tables == ()
