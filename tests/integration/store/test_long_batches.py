"""Batches so long that what is known of them is asked for first: the same rows are left as if each came alone."""

from __future__ import annotations

import random

import pytest
from tests.integration.ledgers import Ledgers, dump, opened
from tests.integration.store.request_rows import request_row

from agentdyno.core.records import Request
from agentdyno.store.ledger import Ledger

LONG = 600


def requests(chance: random.Random) -> list[Request]:
    """Of 800 requests so many, each from one to three records; some of them twice."""
    return [
        request_row(f"req_{chance.randrange(800):03}", records=chance.choice([1, 2, 3]), cost_usd=chance.random())
        for _ in range(LONG)
    ]


def absorb_singly(ledger: Ledger, batch: list[Request], *, rebuild: bool) -> int:
    return len({request.request_key for request in batch if ledger.absorb([request], rebuild=rebuild).written})


@pytest.mark.parametrize("rebuild", [False, True])
def test_a_long_batch_leaves_what_its_rows_would_leave_one_by_one(ledgers: Ledgers, rebuild: bool) -> None:
    chance = random.Random(5)
    with opened(ledgers) as ledger, opened(ledgers) as other:
        for _ in range(4):
            batch = requests(chance)
            assert ledger.absorb(batch, rebuild=rebuild).written == absorb_singly(other, batch, rebuild=rebuild)
            assert dump(ledger) == dump(other)


def test_a_long_batch_that_is_known_changes_nothing(ledgers: Ledgers) -> None:
    batch = requests(random.Random(6))
    with opened(ledgers) as ledger:
        ledger.absorb(batch)
        before = dump(ledger)
        assert ledger.absorb(batch).written == 0
        assert dump(ledger) == before


def test_a_long_batch_that_seemed_new_and_is_not(ledgers: Ledgers) -> None:
    batch = [request_row(f"req_{number:03}", records=2) for number in range(LONG)]
    with opened(ledgers) as ledger, opened(ledgers) as other:
        for one in (ledger, other):
            one.absorb([request_row("req_590", records=1), request_row("req_591", records=3)])
        assert ledger.absorb(batch).written == absorb_singly(other, batch, rebuild=False) == LONG - 1
        assert dump(ledger) == dump(other)
