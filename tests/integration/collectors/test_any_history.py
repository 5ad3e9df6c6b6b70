"""Whatever happens while a spool is written and collected, the tables are those of one pass over it at the end."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import assert_never

import sqlalchemy as sa
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.integration.collectors.spool_scripts import Event, Script, answered, entered, routed, scripts
from tests.integration.ledgers import Ledgers, add_session, allow_inserts, dump, opened, refuse_inserts

from agentdyno.collectors.spool import SpoolCollector
from agentdyno.core.rollups import rollup_session
from agentdyno.store.ledger import Ledger
from agentdyno.store.queries import rollups_by_session
from agentdyno.store.spool import SpoolWriter

SOME_OFFSETS = "NEW.offset_bytes % 3 < 2"
"""Where the database refuses these, it lets some batches through: a pass may fail in its midst."""
batch_sizes = st.sampled_from([1, 300, 2_000, 2**23])


class Stage:
    """A gateway that writes, two collectors on one ledger, and a clock."""

    def __init__(self, folder: Path, ledger: Ledger, segment_bytes: int, batch_bytes: int) -> None:
        self.spool = folder / "spool"
        self.ledger = ledger
        self.now_us = 0
        self.in_time: set[str] | None = None
        """Requests of `ses_1` that had a row when it was finalized."""
        self._batch_bytes = batch_bytes
        self._writer = SpoolWriter(self.spool, "gw_1", segment_bytes)
        self._collectors = {name: self._collector() for name in "ab"}

    def _collector(self) -> SpoolCollector:
        return SpoolCollector(self.spool, self.ledger, lambda: self.now_us, self._batch_bytes)

    def play(self, script: Script, tail: bytes = b"") -> None:
        """Write and do what the script says; then the gateway dies over a tail, and one collector reads to the end."""
        for item in script:
            match item:
                case bytes():
                    self._write(item + b"\n")
                case str():
                    self._happen(item)
                case _:
                    self._writer.append(item)
        self._write(tail)
        self._writer.close()
        self._collectors["a"].collect()

    def _write(self, data: bytes) -> None:
        with max((self.spool / "gw_1").glob("*.jsonl")).open("ab") as segment:
            segment.write(data)

    def _happen(self, event: Event) -> None:
        match event:
            case "a collects" | "b collects":
                self._collectors[event[0]].collect()
            case "a fails":
                self._fail()
            case "a is killed" | "b is killed":
                self._collectors[event[0]] = self._collector()
            case "a minute passes":
                self.now_us += 61_000_000
            case "a rebuilds":
                self._collectors["a"].rebuild()
            case "ses_1 is finalized":
                if self.in_time is None:
                    self.in_time = {request.request_key for request in self.ledger.requests("ses_1")}
                    self.ledger.close_session("ses_1", "completed", 1, None)
            case _:
                assert_never(event)

    def _fail(self) -> None:
        refuse_inserts(self.ledger, "spool_cursor", SOME_OFFSETS)
        with contextlib.suppress(sa.exc.IntegrityError):
            self._collectors["a"].collect()
        allow_inserts(self.ledger, "spool_cursor")


@contextlib.contextmanager
def stage(ledgers: Ledgers, segment_bytes: int, batch_bytes: int) -> Iterator[Stage]:
    """A stage of its own, with both sessions ready to be closed."""
    with tempfile.TemporaryDirectory() as name, opened(ledgers) as ledger:
        for session_id in ("ses_1", "ses_2"):
            add_session(ledger, session_id, phase="collected")
        yield Stage(Path(name), ledger, segment_bytes, batch_bytes)


def tables_of_one_pass(ledgers: Ledgers, spool: Path) -> dict[str, list[str]]:
    with stage(ledgers, 2**20, 2**23) as fresh:
        SpoolCollector(spool, fresh.ledger, lambda: 0).collect()
        return dump(fresh.ledger)


def any_history(ledgers: Ledgers, examples: int) -> settings:
    """As many examples as SQLite takes; a ledger in PostgreSQL takes some ten times as long to make."""
    return settings(deadline=None, max_examples=examples if ledgers.kind == "sqlite" else examples // 5)


REPORTED_TWICE: Script = [
    entered("req_1"),
    entered("req_2"),
    answered(entered("req_1")),
    routed("req_1", "failure"),
    "a collects",
    "a is killed",
    routed("req_1"),
    "a collects",
]


def test_the_tables_are_those_of_one_pass(ledgers: Ledgers) -> None:
    @any_history(ledgers, 100)
    @given(
        script=scripts(
            "a collects", "b collects", "a is killed", "b is killed", "a fails", "a minute passes", "a rebuilds"
        ),
        segment_bytes=st.sampled_from([150, 500, 2**20]),
        batch_bytes=batch_sizes,
        tail=st.sampled_from([b"", b'{"kind":"ent']),
    )
    @example(script=REPORTED_TWICE, segment_bytes=150, batch_bytes=1, tail=b"")
    def the_tables_are_those_of_one_pass(script: Script, segment_bytes: int, batch_bytes: int, tail: bytes) -> None:
        with stage(ledgers, segment_bytes, batch_bytes) as played:
            played.play(script, tail)
            collected = dump(played.ledger)
            assert collected == tables_of_one_pass(ledgers, played.spool)
            for _ in range(2):
                SpoolCollector(played.spool, played.ledger, lambda: 0, batch_bytes).rebuild()
                assert dump(played.ledger) == collected

    the_tables_are_those_of_one_pass()


def test_what_comes_after_the_end_of_a_session_is_late_and_in_its_rollups(ledgers: Ledgers) -> None:
    @any_history(ledgers, 50)
    @given(
        script=scripts(
            "a collects", "b collects", "a is killed", "a minute passes", "a rebuilds", "ses_1 is finalized"
        ),
        batch_bytes=batch_sizes,
    )
    def what_comes_late_is_marked_and_rolled_up(script: Script, batch_bytes: int) -> None:
        with stage(ledgers, 500, batch_bytes) as played:
            played.play([*script, "ses_1 is finalized"])
            collected = dump(played.ledger)
            for _ in range(2):
                requests = played.ledger.requests("ses_1")
                assert played.in_time is not None
                assert {r.request_key for r in requests if not r.late} == played.in_time
                rollups = rollups_by_session(played.ledger, ["ses_1", "ses_2"])
                assert rollups.get("ses_1", ()) == rollup_session(requests)
                assert "ses_2" not in rollups  # it is not finalized
                SpoolCollector(played.spool, played.ledger, lambda: 0, batch_bytes).rebuild()
                assert dump(played.ledger) == collected

    what_comes_late_is_marked_and_rolled_up()
