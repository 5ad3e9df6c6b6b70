"""Several runners at one run: every cell is scored once, and every attempt is accounted for."""

from __future__ import annotations

import contextlib
import itertools
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest
from tests.integration.ledgers import Ledgers, opened
from tests.integration.store import running_process
from tests.integration.store.run_rows import add_runner, claim_some, ended, plan_run

from agentdyno.core.records import Attempt
from agentdyno.store.address import LedgerAddress, PostgresAddress
from agentdyno.store.ledger import Ledger
from agentdyno.store.run_queries import attempts, cells, counts
from agentdyno.store.runs import Claim, RunnerEnded, Settlement, claim, recover, settle, settle_many

RUNNERS = ("a", "b", "c", "d")


def test_processes_that_claim_at_once_share_the_cells_and_one_may_die(ledgers: Ledgers) -> None:
    with opened(ledgers) as ledger, contextlib.ExitStack() as ending:
        plan_run(ledger, cells=300)
        runners = {name: add_runner(ledger, name) for name in RUNNERS}
        processes = {name: ending.enter_context(running(ledger.address, name)) for name in RUNNERS}
        for process in processes.values():
            say("go", process)
        dying = processes["a"]
        hear("claimed", dying)
        dying.kill()
        for process in processes.values():
            process.wait(timeout=60)
        assert [process.returncode for process in processes.values()] == [-signal.SIGKILL, 0, 0, 0]
        before = counts(ledger, "run_1")
        assert before.reconciled
        lost = recover(ledger, runners["a"].runner_id, 9_000)
        assert len(lost) == before.cells.claimed
        assert {attempt.runner_id for attempt in attempts(ledger, "run_1")} == set(RUNNERS)
        add_runner(ledger, "e")
        finish(ledger, "e")
        assert_each_scored_once(ledger, 300)


@contextlib.contextmanager
def running(address: LedgerAddress, runner_id: str) -> Iterator[subprocess.Popen[str]]:
    """A runner in a process of its own, which has claimed its first cells and waits to be told to go on."""
    text = address.url if isinstance(address, PostgresAddress) else str(address)
    command = [sys.executable, running_process.__file__, text, runner_id]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            hear("claimed", process)
            yield process
        finally:
            process.kill()


def say(line: str, process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


def hear(line: str, process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == f"{line}\n"


def test_threads_of_one_ledger_that_claim_at_once_share_the_cells(ledgers: Ledgers) -> None:
    with opened(ledgers) as ledger:
        plan_run(ledger, cells=120)
        barrier = Barrier(len(RUNNERS))

        def work(runner_id: str) -> list[Claim]:
            add_runner(ledger, runner_id)
            barrier.wait()
            return list(finishing(ledger, runner_id))

        with ThreadPoolExecutor(len(RUNNERS)) as pool:
            claimed = [item for found in pool.map(work, RUNNERS) for item in found]
        assert Counter(item.cell.position for item in claimed) == Counter(range(120))
        assert_each_scored_once(ledger, 120)


@pytest.mark.parametrize("turn", range(4))
def test_each_lost_attempt_is_told_to_one_of_those_who_recover_a_runner_at_once(ledgers: Ledgers, turn: int) -> None:
    with opened(ledgers) as ledger:
        plan_run(ledger, cells=20)
        runner = add_runner(ledger, "a")
        claims = claim_some(ledger, "a", 16)
        settlements = [Settlement(ended(item, "passed"), scores=True) for item in claims]
        barrier = Barrier(4)

        def recovering() -> tuple[Attempt, ...]:
            barrier.wait()
            return recover(ledger, runner.runner_id, 3_000 + turn)

        def settling() -> tuple[bool, ...]:
            barrier.wait()
            # The other way round: the order in which they are handed over makes nobody wait in a circle.
            return settle_many(ledger, settlements[::-1], 4_000)

        with ThreadPoolExecutor(4) as pool:
            recoveries = [pool.submit(recovering) for _ in range(3)]
            stood = pool.submit(settling).result()
            lost = Counter(attempt.attempt_id for recovery in recoveries for attempt in recovery.result())
        settled = [item.attempt.attempt_id for item, held in zip(claims[::-1], stood, strict=True) if held]
        assert lost + Counter(settled) == Counter(item.attempt.attempt_id for item in claims)
        found = counts(ledger, "run_1")
        assert found.reconciled
        assert (found.attempts.scored, found.cells.claimed) == (len(settled), 0)


@pytest.mark.parametrize("turn", range(4))
def test_who_is_taken_for_dead_while_it_claims_holds_nothing_in_the_end(ledgers: Ledgers, turn: int) -> None:
    with opened(ledgers) as ledger:
        plan_run(ledger, cells=20)
        runner = add_runner(ledger, "a")
        barrier, recovered = Barrier(2), Event()

        def claiming() -> None:
            barrier.wait()
            with pytest.raises(RunnerEnded):
                for number in itertools.takewhile(lambda _: not recovered.is_set(), itertools.count()):
                    claim_some(ledger, "a", now_us=number)
                claim_some(ledger, "a")

        def recovering() -> None:
            barrier.wait()
            recover(ledger, runner.runner_id, 3_000 + turn)
            recovered.set()

        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(claiming), pool.submit(recovering)]:
                done.result()
        found = counts(ledger, "run_1")
        assert found.reconciled
        assert found.cells.claimed == 0


def finishing(ledger: Ledger, runner_id: str) -> Iterator[Claim]:
    """Score cells, three at a time, until there is none that can be claimed."""
    for turn in range(1_000):
        claims = claim(ledger, "run_1", runner_id, turn, [f"ses_{runner_id}_{turn}_{number}" for number in range(3)])
        if not claims:
            return
        yield from claims
        for item in claims:
            settle(ledger, ended(item, "passed"), scores=True, now_us=turn)


def finish(ledger: Ledger, runner_id: str) -> None:
    for _ in finishing(ledger, runner_id):
        pass


def assert_each_scored_once(ledger: Ledger, total: int) -> None:
    found = counts(ledger, "run_1")
    assert found.reconciled
    assert (found.cells.total, found.cells.scored, found.attempts.scored) == (total, total, total)
    scored = {attempt.cell_id: attempt.session_id for attempt in attempts(ledger, "run_1") if attempt.scored}
    assert scored == {cell.cell_id: cell.session_id for cell in cells(ledger, "run_1")}
