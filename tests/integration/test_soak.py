"""The soak, short: every request is accounted for, through an outage of the ledger and a kill of the gateway."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.soak.accounts import Row
from tests.soak.provider import Served
from tests.soak.reckoning import Reckoning, causes
from tests.soak.soaking import Outcome, Plan, soak

# The outage first: a stand that is started again serves as soon as it listens, and may be done before it is called up.
PLAN = Plan(requests=600, deadline_s=240, sessions_of_a_model=1, outage_at=0.2, outage_s=1.0, kills_at=(0.6,), seed=5)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return soak(PLAN, tmp_path_factory.mktemp("soak"))


@pytest.mark.timeout(400)
def test_every_request_of_a_soak_is_accounted_for(outcome: Outcome) -> None:
    assert outcome.faults() == []
    account, rows = outcome.account, outcome.rows
    assert len(account.asked) == PLAN.requests
    assert len(outcome.killed) == 1
    assert account.refused  # while the gateway was down
    # What a soak is for did happen, beside requests that went well.
    for ending in ("answered", "lost", "cut"):
        assert account.endings[ending] > 0
    assert {row["status"] for row in rows} >= {"ok", "provider_error", "client_disconnect"}
    assert {row["error_class"] for row in rows} >= {"rate_limit", "overloaded"}
    assert "gateway_lost" in {cause for _, cause in causes(outcome.experiment.document)}
    assert any(not line.whole for lines in outcome.accounts.served.values() for line in lines)


def ok_row(outcome: Outcome) -> tuple[int, Row]:
    """Some request that went well."""
    return next((number, rows[0]) for number, rows in outcome.accounts.rows.items() if rows[0]["status"] == "ok")


def with_rows(outcome: Outcome, *rows: Row) -> Outcome:
    """As if the ledger had these rows of that request."""
    number, _ = ok_row(outcome)
    return replace(outcome, accounts=outcome.accounts._replace(rows={**outcome.accounts.rows, number: rows}))


def with_line(outcome: Outcome, *lines: Served) -> Outcome:
    """As if the provider had logged that request so."""
    number, _ = ok_row(outcome)
    return replace(outcome, accounts=outcome.accounts._replace(served={**outcome.accounts.served, number: lines}))


def line_of(outcome: Outcome) -> Served:
    """What the provider logged of that request."""
    [line] = outcome.accounts.served[ok_row(outcome)[0]]
    return line


def reckoned(outcome: Outcome, change: Callable[[Any], object]) -> Outcome:
    """As if `dyno reconcile` had printed something else."""
    document: Any = copy.deepcopy(outcome.experiment.document)
    change(document)
    return replace(outcome, experiment=Reckoning(0, document))


FALSIFIED: dict[str, Callable[[Outcome], Outcome]] = {
    "a row is lost": with_rows,
    "a row is doubled": lambda outcome: with_rows(outcome, ok_row(outcome)[1], ok_row(outcome)[1]),
    "a token too many": lambda outcome: with_rows(
        outcome, {**ok_row(outcome)[1], "output_tokens": ok_row(outcome)[1]["output_tokens"] + 1}
    ),
    "another session": lambda outcome: with_rows(outcome, {**ok_row(outcome)[1], "session_id": "ses_another"}),
    "two attempts": lambda outcome: with_rows(outcome, {**ok_row(outcome)[1], "attempts": 2}),
    "the provider never saw it": with_line,
    "the provider saw it twice": lambda outcome: with_line(outcome, line_of(outcome), line_of(outcome)),
    "the provider was cut": lambda outcome: with_line(outcome, replace(line_of(outcome), whole=False)),
    "a rebuild changed a table": lambda outcome: replace(outcome, digests=(outcome.digests[0], {})),
    "a discrepancy is unexplained": lambda outcome: replace(
        outcome, experiment=outcome.experiment._replace(exit_code=3)
    ),
    "a line of the log is left out": lambda outcome: reckoned(
        outcome, lambda document: document["provider_log"].update(matched=document["provider_log"]["matched"] - 1)
    ),
    "a cause is wrong": lambda outcome: reckoned(
        outcome, lambda document: document["disputed"][0]["discrepancies"][0].update(cause="translated")
    ),
}


@pytest.mark.parametrize("falsified", FALSIFIED)
def test_what_does_not_hold_is_found(outcome: Outcome, falsified: str) -> None:
    assert FALSIFIED[falsified](outcome).faults() != []
