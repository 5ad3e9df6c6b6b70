"""`dyno session watch`: requests as they come."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from typing import IO

import pytest
from tests.integration.ledgers import Ledgers, add_session, opened
from tests.integration.sessions.client import ask, create, show
from tests.integration.sessions.held_provider import HeldProvider
from tests.integration.sessions.terminal import CTRL_C, Terminal
from tests.integration.stand_process import Project
from tests.unit.core.request_rows import request_row

from agentdyno.core.records import Request
from agentdyno.sessions.watching import watch
from agentdyno.store.ledger import Ledger

# ── with a stand ─────────────────────────────────────────────────────────────────────────────────────────────────────


def finalize(project: Project, session_id: str) -> None:
    project.dyno("session", "finalize", session_id, "--outcome", "completed")


def pipe_of(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


@pytest.mark.usefixtures("stand")
def test_requests_are_told_as_they_come(project: Project) -> None:
    session = create(project)
    assert ask(session["env"]).status_code == 200
    with project.start("session", "watch", session["session_id"], "--json") as watching:
        out = pipe_of(watching.stdout)
        told = [json.loads(out.readline())]
        assert ask(session["env"]).status_code == 200
        told.append(json.loads(out.readline()))
        assert watching.poll() is None, "it goes on until the session is finalized"
        finalize(project, session["session_id"])
        assert (out.read(), pipe_of(watching.stderr).read()) == ("", "")

    assert watching.returncode == 0
    assert told == show(project, session["session_id"])["requests"]


@pytest.mark.usefixtures("stand")
def test_a_request_that_takes_long_is_told_after_one_that_came_later(
    project: Project, held_provider: HeldProvider
) -> None:
    session = create(project, "held")
    held_provider.hold()
    with project.start("session", "watch", session["session_id"], "--json") as watching:
        out = pipe_of(watching.stdout)
        slow = threading.Thread(target=ask, args=(session["env"],))
        slow.start()
        try:
            assert held_provider.arrived.wait(60)
            assert ask({**session["env"], "OPENAI_MODEL": "another"}).status_code == 403
            refused = json.loads(out.readline())
        finally:
            held_provider.answer.set()
            slow.join()
        answered = json.loads(out.readline())
        finalize(project, session["session_id"])
        assert out.read() == ""

    assert [row["status"] for row in (refused, answered)] == ["rejected", "ok"]
    assert answered["started_at_us"] < refused["started_at_us"]


@pytest.mark.usefixtures("stand")
def test_on_a_terminal_it_is_a_table_that_grows_until_ctrl_c(project: Project) -> None:
    session = create(project)
    assert ask(session["env"]).status_code == 200
    with Terminal(project, "session", "watch", session["session_id"], folder=project.folder) as terminal:
        terminal.see("work         hello")
        terminal.press(CTRL_C)
        assert terminal.end() == 128 + signal.SIGINT

    heading, row, *_ = terminal.printed.splitlines()
    assert heading.split()[:3] == ["came", "in", "purpose"]
    assert row.split()[1:4] == ["work", "hello", "ok"]
    finalize(project, session["session_id"])

    over = project.dyno("session", "watch", session["session_id"])
    assert over.splitlines()[1].split()[1:4] == ["work", "hello", "ok"]


def test_a_session_that_nobody_opened(project: Project) -> None:
    done = project.run("session", "watch", "ses_nothing")

    assert done.returncode == 2
    assert done.stderr.startswith('there is no session "ses_nothing"; ')


# ── the order of things ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def ledger(ledgers: Ledgers) -> Iterator[Ledger]:
    with opened(ledgers) as ledger:
        add_session(ledger)
        yield ledger


class Script:
    """What happens while the watch waits, in order; the clock goes on by a second at each."""

    def __init__(self, ledger: Ledger, *events: Request | None) -> None:
        self._ledger = ledger
        self._events = list(events)
        self.now_s = 0.0

    def wait(self, _: float) -> None:
        self.now_s += 1
        if not self._events:
            self._ledger.advance("ses_1", "created", "collected", outcome="aborted")
            self._ledger.close_session("ses_1", "aborted", 1, None)
        elif (event := self._events.pop(0)) is not None:
            self._ledger.absorb([event])

    def watched(self) -> list[tuple[float, str, str | None]]:
        """When each request was told of, its key, and its provider's id."""
        requests = watch(self._ledger, "ses_1", wait=self.wait, clock_s=lambda: self.now_s)
        return [(self.now_s, request.request_key, request.provider_request_id) for request in requests]


def row(key: str, started_at_us: int, **fields: object) -> Request:
    return request_row(request_key=key, started_at_us=started_at_us, **{"litellm_call_id": key, **fields})


def test_rows_are_told_once_whatever_their_order(ledger: Ledger) -> None:
    early, late, again = row("a", 1), row("b", 2), row("b", 2, records=9)

    # b at 1 s, a at 2 s though it came in first, and b's better row at 3 s is no news.
    assert Script(ledger, late, early, again).watched() == [(1.0, "b", None), (2.0, "a", None)]


def test_a_row_that_may_get_better_is_waited_for(ledger: Ledger) -> None:
    poor = row("a", 1, litellm_call_id=None, records=2)
    whole = row("a", 1, records=3, provider_request_id="its own")

    assert Script(ledger, poor, whole).watched() == [(2.0, "a", "its own")]


def test_a_row_that_gets_no_better_is_told_after_a_while(ledger: Ledger) -> None:
    poor = row("a", 1, litellm_call_id=None)

    # There at 1 s, told after 2 s of grace.
    assert Script(ledger, poor, None, None, None).watched() == [(3.0, "a", None)]


def test_at_the_end_nothing_is_waited_for(ledger: Ledger) -> None:
    poor = row("a", 1, litellm_call_id=None)

    # There at 1 s; at 2 s the session is over.
    assert Script(ledger, poor).watched() == [(2.0, "a", None)]


@pytest.mark.parametrize("fields", [{"status": "rejected"}, {"purpose": "model_list"}])
def test_what_litellm_does_not_report_gets_no_better(ledger: Ledger, fields: dict[str, str]) -> None:
    assert Script(ledger, row("a", 1, litellm_call_id=None, **fields)).watched() == [(1.0, "a", None)]


def test_many_at_once(ledger: Ledger) -> None:
    ledger.absorb([row(f"{number:04}", number) for number in range(1200)])

    assert [key for _, key, _ in Script(ledger).watched()] == [f"{number:04}" for number in range(1200)]
