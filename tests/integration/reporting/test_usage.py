"""What was used, by each trait of a request, in both databases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from tests.integration.ledgers import Ledgers, opened
from tests.integration.reporting.disputed_rows import at, fill
from tests.integration.reporting.table_rows import add_finalized

from agentdyno.reporting.usage import render_usage, usage_document
from agentdyno.store.accounts import GROUPINGS, Grouping, TokenSums, Used, Window, usage
from agentdyno.store.ledger import Ledger

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
    assert (m.cost_usd, m.unpriced) == (3.5, 1)  # 7 · 0.5; what was cut used tokens
    assert (m.by_provider, m.by_proxy, m.estimated, m.uncounted) == (8, 0, 0, 1)
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
        "cost_usd": None,
        "unpriced": 1,
        "usage_source": {"provider": 1, "proxy": 0, "estimated": 0, "none": 0},
    }


def test_what_is_unknown_is_a_dash() -> None:
    nobodys = Used(None, 2, 0, TokenSums(), None, 0, 0, 0, 0, 2)
    console = Console(width=200, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(render_usage("key", [nobodys]))
    assert capture.get().splitlines()[-1].split() == ["–", "2", "0", "–", "–", "2"]
