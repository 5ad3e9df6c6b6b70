"""Several who write to one ledger at once: no row is left out of a rollup, and nobody waits in a circle."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from tests.integration.ledgers import Ledgers, add_session, dump, opened
from tests.integration.store.request_rows import request_row

from agentdyno.core.lifecycle import OutOfOrder
from agentdyno.core.records import Credential, UnreadableRecord, Variant
from agentdyno.core.rollups import rollup_session
from agentdyno.store.queries import rollups_by_session


def at_once(*jobs: Callable[[], object]) -> None:
    """Do all of it at the same time, and raise what any of them raises."""
    start = Barrier(len(jobs))

    def begin(job: Callable[[], object]) -> object:
        start.wait()
        return job()

    with ThreadPoolExecutor(len(jobs)) as pool:
        for done in [pool.submit(begin, job) for job in jobs]:
            done.result()


def test_rollups_hold_every_row_whoever_was_first(ledgers: Ledgers) -> None:
    sessions = [f"ses_{number:02d}" for number in range(20)]
    with opened(ledgers) as ledger:
        for session_id in sessions:
            add_session(ledger, session_id, phase="collected")
            absorb = functools.partial(ledger.absorb, [request_row(f"req_{session_id}", session_id)])
            at_once(absorb, functools.partial(ledger.close_session, session_id, "completed", 5, None), absorb)
        rollups = rollups_by_session(ledger, sessions)
        for session_id in sessions:
            requests = ledger.requests(session_id)
            assert len(requests) == 1
            assert rollups[session_id] == rollup_session(requests)


def test_what_many_collect_at_once_makes_nobody_wait_in_a_circle(ledgers: Ledgers) -> None:
    chance = random.Random(3)
    rows = [request_row(f"req_{number}", session_id=None) for number in range(4_000)]
    unreadable = [UnreadableRecord("gw_1", 1, offset, 7, "sha256:0", "torn") for offset in range(4_000)]
    with opened(ledgers) as ledger:
        shuffled = [(chance.sample(rows, 4_000), chance.sample(unreadable, 4_000)) for _ in range(4)]
        at_once(*(functools.partial(ledger.absorb, some) for some, _ in shuffled))
        at_once(*(functools.partial(ledger.absorb, [], None, some) for _, some in shuffled))
        assert [len(dump(ledger)[name]) for name in ("request", "unreadable_record")] == [4_000, 4_000]


@pytest.mark.parametrize("turn", range(5))
def test_a_session_that_ends_while_it_gets_a_key_has_no_live_one(ledgers: Ledgers, turn: int) -> None:
    keys = [f"{turn}_{number}" for number in range(6)]

    def issue() -> None:
        try:
            for number, key in enumerate(keys):
                ledger.issue(Credential(key, "ses_1", key, created_at_us=number, expires_at_us=9_000))
        except OutOfOrder:
            return

    with opened(ledgers) as ledger:
        add_session(ledger, phase="collected")
        at_once(issue, lambda: ledger.close_session("ses_1", "completed", 5, None), lambda: ledger.revoke(["ses_1"], 5))
        scopes = [ledger.credential_scope(key) for key in keys]
        assert all(scope is None or scope.revoked_at_us is not None for scope in scopes)


def test_of_several_that_get_a_key_at_once_one_has_a_live_one(ledgers: Ledgers) -> None:
    keys = [f"key_{number}" for number in range(4)]

    def issuing(key: str) -> Callable[[], object]:
        return lambda: ledger.issue(Credential(key, "ses_1", key, created_at_us=1, expires_at_us=9_000))

    with opened(ledgers) as ledger:
        add_session(ledger)
        at_once(*map(issuing, keys))
        scopes = [ledger.credential_scope(key) for key in keys]
        assert [scope is not None and scope.revoked_at_us is None for scope in scopes].count(True) == 1


def test_the_same_configuration_may_be_kept_by_many_at_once(ledgers: Ledgers) -> None:
    variants = [Variant(f"v{number}", "p", "m", "h") for number in range(40)]
    with opened(ledgers) as ledger:
        at_once(*(functools.partial(ledger.remember, variants[::order]) for order in (1, -1, 1, -1)))
        with ledger.read() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM variant").scalar_one() == len(variants)


def test_a_report_sees_one_moment(ledgers: Ledgers) -> None:
    with opened(ledgers) as ledger:
        add_session(ledger)
        with ledger.read() as connection:
            counts = [connection.exec_driver_sql("SELECT count(*) FROM request").scalar_one()]
            ledger.absorb([request_row("req_1")])
            counts.append(connection.exec_driver_sql("SELECT count(*) FROM request").scalar_one())
        assert counts == [0, 0]
        assert len(ledger.requests("ses_1")) == 1
