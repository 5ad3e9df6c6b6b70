"""A soak from its start to its end: traffic, two kills of the gateway, an outage of the ledger, and the reckoning."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.soak.accounts import Accounts, Row, by_number, faults, number_of_row, read_log
from tests.soak.client import Account, Address, Client
from tests.soak.errands import errand
from tests.soak.reckoning import Reckoning, reckoning_faults
from tests.soak.trial import EXPERIMENT, Trial, trial

CONNECTIONS = 32
_LOOK_EVERY_S = 0.1
_BETWEEN_EVENTS = 3 * CONNECTIONS
"""Requests that are over at least, before the next thing happens."""
_MADE = b'{"kind":"made"'
_UNEXPLAINED = 3
"""Exit code of `dyno reconcile` where something is unexplained."""


@dataclass(frozen=True)
class Plan:
    """How long a soak is, and what happens in it."""

    requests: int
    deadline_s: float
    """For the traffic."""
    kills_at: tuple[float, ...] = (0.25, 0.7)
    """After which shares of the requests the gateway is killed."""
    outage_at: float = 0.45
    outage_s: float = 5.0
    sessions_of_a_model: int = 3
    connections: int = CONNECTIONS
    seed: int = 1


class Progress(NamedTuple):
    """How far a soak is."""

    word: str
    """What is being done."""
    done: int
    elapsed_s: float


@dataclass(frozen=True)
class Outcome:
    """All that is known when a soak is over."""

    account: Account
    accounts: Accounts
    entered: int
    """Requests that the gateway heard of, by its raw archive."""
    killed: tuple[str, ...]
    """Runs of the gateway that were killed."""
    traffic_s: float
    digests: tuple[dict[str, str], dict[str, str]]
    """Of the ledger's tables: when the stand has ended, and after another collection and a rebuild."""
    experiment: Reckoning
    sessions: list[Reckoning]

    @property
    def rows(self) -> list[Row]:
        """The ledger's rows."""
        return [*(row for rows in self.accounts.rows.values() for row in rows), *self.accounts.turned_away]

    def faults(self) -> list[str]:
        """Everything that does not hold."""
        counted = len(self.rows)
        return [
            *faults(self.accounts),
            *reckoning_faults(self.accounts, self.experiment, self.sessions, self.killed),
            *([] if self.entered == counted else [f"{self.entered} requests came in, and {counted} have a row"]),
            *([] if self.digests[0] == self.digests[1] else ["a second collection or a rebuild changed the ledger"]),
        ]


def soak(plan: Plan, folder: Path, say: Callable[[Progress], object] = lambda _: None) -> Outcome:
    """Do it, in an empty folder."""
    started_s = time.monotonic()
    tell = _Teller(say, started_s)
    tell("starting the stand")
    with trial(folder, plan.seed) as running:
        opened = running.open_sessions(plan.sessions_of_a_model)
        keys = {model: [session.key for session in sessions] for model, sessions in opened.items()}
        client = Client(Address("127.0.0.1", running.port), keys, plan.seed, plan.requests)
        tell.account = client.account
        begun_s = time.monotonic()
        killed = _have_traffic(plan, running, client, tell)
        traffic_s = time.monotonic() - begun_s
        session_ids = {model: [session.session_id for session in sessions] for model, sessions in opened.items()}
        return _reckon(plan, running, session_ids, killed, traffic_s, tell)


class _Teller:
    """Says how far a soak is."""

    def __init__(self, say: Callable[[Progress], object], started_s: float) -> None:
        self.account = Account()
        self._say = say
        self._started_s = started_s

    def __call__(self, word: str) -> None:
        self._say(Progress(word, len(self.account.asked), time.monotonic() - self._started_s))


def _have_traffic(plan: Plan, running: Trial, client: Client, tell: _Teller) -> tuple[str, ...]:
    """Have the client ask for everything, and meanwhile let happen what is planned. The killed runs of the gateway."""
    killed: list[str] = []
    events: list[tuple[float, str, Callable[[], object]]] = [
        *((share, "killing the gateway", lambda: killed.append(running.kill_the_gateway())) for share in plan.kills_at),
        (plan.outage_at, "taking the ledger away", partial(running.take_the_ledger_away, plan.outage_s)),
    ]
    with ThreadPoolExecutor(1) as pool, contextlib.ExitStack() as ending:
        asking = pool.submit(client.run, plan.connections, plan.deadline_s)
        ending.callback(client.stop)
        for share, word, happen in sorted(events, key=lambda event: event[0]):
            # By then, all sessions have shown their keys to a gateway that has just been started.
            soonest = len(client.account.asked) + _BETWEEN_EVENTS
            _await(asking, max(share * plan.requests, soonest), running, tell)
            tell(word)
            happen()
        _await(asking, plan.requests, running, tell)
        asking.result()
    return tuple(killed)


def _await(asking: Future[None], wanted: float, running: Trial, tell: _Teller) -> None:
    """Wait until so many requests are over, or the client gives up."""
    while len(tell.account.asked) < wanted and not asking.done():
        running.require_up()
        tell("asking")
        time.sleep(_LOOK_EVERY_S)


def _reckon(
    plan: Plan,
    running: Trial,
    session_ids: dict[str, list[str]],
    killed: tuple[str, ...],
    traffic_s: float,
    tell: _Teller,
) -> Outcome:
    """Close every session, collect, and have it reconciled."""
    each_session = [session_id for of_model in session_ids.values() for session_id in of_model]
    tell("closing the sessions")
    running.close_sessions(each_session)
    running.stop()
    running.stop_provider()
    tell("collecting again, and rebuilding")
    before = running.digests()
    running.dyno("normalize")
    running.dyno("normalize", "--rebuild")
    after = running.digests()
    tell("reconciling")
    rows = running.rows()
    reconcile = partial(_reconcile, running)
    return Outcome(
        tell.account,
        Accounts(
            {number: errand(plan.seed, number) for number in range(plan.requests)},
            {asked.number: asked for asked in tell.account.asked},
            by_number(read_log(running.provider_log), lambda served: served.number),
            by_number((row for row in rows if row["session_id"] is not None), number_of_row),
            [row for row in rows if row["session_id"] is None],
            session_ids,
        ),
        _entered(running.project.home / "spool"),
        killed,
        traffic_s,
        (before, after),
        reconcile(EXPERIMENT, "--provider-log", str(running.provider_log)),
        [reconcile(session_id) for session_id in each_session],
    )


def _entered(spool: Path) -> int:
    """How many requests came in, by the gateway's raw archive."""
    records = (
        json.loads(line)
        for segment in spool.glob("gw_*/*.jsonl")
        for line in segment.read_bytes().splitlines()
        if not line.startswith(_MADE)
    )
    return len({record.get("entered", record)["request_key"] for record in records})


def _reconcile(running: Trial, *arguments: str) -> Reckoning:
    done = running.project.run("reconcile", *arguments, "--json", DYNO_DATABASE_URL=running.url)
    assert done.returncode in (0, _UNEXPLAINED), done.stderr
    return Reckoning(done.returncode, json.loads(done.stdout))
