"""What a run is said to have done, arm by arm, and how far it is said to be while it runs."""

from __future__ import annotations

from tests.integration.ledgers import Ledgers, add_session, opened
from tests.integration.store.request_rows import request_row
from tests.integration.store.run_rows import add_runner, claim_some, ended, plan_run

from agentdyno.cli.run_progress import Tally
from agentdyno.reporting.runs import run_report
from agentdyno.runner.settlement import Settled
from agentdyno.store.run_queries import counts
from agentdyno.store.runs import settle

USED = {"usage_source": "provider", "input_tokens": 1, "output_tokens": 1}


def test_an_arm_has_what_its_cells_came_to(ledgers: Ledgers) -> None:
    with opened(ledgers) as ledger:
        run = plan_run(ledger, cells=10)
        add_runner(ledger, "a")
        claims = claim_some(ledger, "a", 9)
        of_plain = [claim for claim in claims if claim.cell.arm == "plain"]
        assert len(of_plain) >= 4
        for claim, command_ms in zip(of_plain[:3], (8.0, 2.0, 4.0), strict=True):
            passed = command_ms != 8.0
            add_session(
                ledger, claim.attempt.session_id, outcome="completed", checks_total=1, checks_passed=int(passed)
            )
            attempt = ended(
                claim,
                "passed" if passed else "failed",
                failure=None if passed else "checks_failed",
                command_ms=command_ms,
                unenforced=("network",) if passed else ("memory", "network"),
            )
            settle(ledger, attempt, scores=True, now_us=3_000)
        # One session has a request of its harness's work; that of the other check that held has none.
        ledger.absorb([request_row("req_1", of_plain[1].attempt.session_id, **USED)])
        failed = ended(of_plain[3], "stand_failure", failure="gateway_down", command_ms=99.0)
        settle(ledger, failed, scores=False, now_us=3_000)

        report = run_report(ledger, run)
        plain, other = report.arms
        assert (plain.cells, plain.scored, plain.passed, plain.unjudged, plain.open) == (5, 3, 2, 0, 2)
        assert (plain.failures, plain.stand_failures) == ({"checks_failed": 1}, {"gateway_down": 1})
        assert plain.command_ms == 4.0  # of 2, 4 and 8; 99 scored nothing
        assert (plain.figures.sessions, plain.figures.judged, plain.figures.succeeded) == (3, 3, 1)
        assert (other.cells, other.scored, other.command_ms, other.figures.sessions) == (5, 0, None, 0)
        assert report.unenforced == ("memory", "network")


def test_what_was_spent_and_given_up_before_counts_where_a_run_goes_on(ledgers: Ledgers) -> None:
    with opened(ledgers) as ledger:
        run = plan_run(ledger, max_attempts=1)
        add_runner(ledger, "a")
        first, second = claim_some(ledger, "a", 2)
        add_session(ledger, first.attempt.session_id)
        ledger.absorb([request_row("req_1", first.attempt.session_id, cost_usd=0.5, **USED)])
        settle(ledger, ended(first, "passed"), scores=True, now_us=3_000)
        tally = Tally(ledger)
        tally.begin(run, counts(ledger, run.run_id))
        assert (tally.done, tally.total, tally.cost()) == (1, 4, "cost 0.5000 USD")

        attempt = ended(second, "stand_failure")
        settle(ledger, attempt, scores=False, now_us=3_000)
        added = request_row("req_2", second.attempt.session_id, cost_usd=0.25, **USED)
        tally.count(Settled(second, attempt, stood=True, requests=(added,)))
        assert counts(ledger, run.run_id).cells.given_up == 1
        assert (tally.done, tally.cost()) == (2, "cost 0.7500 USD")
