"""Collecting, case by case."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from tests.integration.collectors.spool_scripts import JUNK, answered, entered, refused, routed, with_row
from tests.integration.ledgers import Ledgers, allow_inserts, dump, opened, refuse_inserts

from agentdyno.collectors.spool import Collected, SpoolCollector
from agentdyno.core.errors import LedgerUnavailable
from agentdyno.core.exchange import SpoolRecord
from agentdyno.core.ids import digest_bytes
from agentdyno.core.normalize import NORMALIZER_VERSION
from agentdyno.core.records import Request, SpoolCursor, UnreadableRecord
from agentdyno.store.ledger import Ledger
from agentdyno.store.rows import record_of
from agentdyno.store.spool import SpoolWriter, is_live, read_blocks

MINUTE_US = 60_000_000


class Stand:
    """A live gateway's spool, a ledger, a clock, and a collector on them."""

    def __init__(self, spool: Path, ledger: Ledger) -> None:
        self.spool = spool
        self.ledger = ledger
        self.now_us = 0
        self.gateway = SpoolWriter(spool, "gw_1", segment_bytes=600)
        self.collector = self.another_collector()

    def another_collector(self) -> SpoolCollector:
        return SpoolCollector(self.spool, self.ledger, lambda: self.now_us)

    def write(self, *records: object) -> None:
        for record in records:
            if isinstance(record, bytes):
                with self.newest_segment().open("ab") as file:
                    file.write(record)
            else:
                self.gateway.append(record)  # type: ignore[arg-type]  # what else is there is a record

    def newest_segment(self) -> Path:
        return max((self.spool / "gw_1").glob("*.jsonl"))

    def row(self, key: str = "req_1") -> Request | None:
        return next((row for row in self.rows() if row.request_key == key), None)

    def rows(self) -> list[Request]:
        table = self.ledger.tables["request"]
        with self.ledger.read() as connection:
            query = sa.select(table).order_by(table.c.request_key)
            return [record_of(Request, row) for row in connection.execute(query).mappings()]

    def unreadable(self) -> list[UnreadableRecord]:
        table = self.ledger.tables["unreadable_record"]
        query = sa.select(table).order_by(table.c.segment, table.c.offset_bytes)
        with self.ledger.read() as connection:
            return [record_of(UnreadableRecord, row) for row in connection.execute(query).mappings()]

    def cursor(self) -> tuple[int, int, bool] | None:
        cursor = self.ledger.cursor("gw_1")
        return None if cursor is None else (cursor.segment, cursor.offset_bytes, cursor.closed)

    def end(self) -> tuple[int, int]:
        """The place behind everything that is written."""
        return int(self.newest_segment().stem), self.newest_segment().stat().st_size


@pytest.fixture
def stand(tmp_path: Path, ledgers: Ledgers) -> Iterator[Stand]:
    """A stand whose gateway has just begun."""
    with opened(ledgers) as ledger:
        begun = Stand(tmp_path / "spool", ledger)
        yield begun
        if is_live(tmp_path / "spool" / "gw_1"):
            begun.gateway.close()


def records_of(row: Request | None) -> int | None:
    return None if row is None else row.records


# ── one request ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_request_in_flight_has_no_row(stand: Stand) -> None:
    stand.write(entered("req_1"))
    assert stand.collector.collect() == Collected(records=1, written=0, unreadable=0)
    assert stand.rows() == []
    assert (stand.collector.in_flight("ses_1"), stand.collector.in_flight("ses_2")) == (1, 0)


def test_an_answered_request_has_its_row_at_once_and_a_better_one_when_it_is_reported(stand: Stand) -> None:
    stand.write(entered("req_1"), answered(entered("req_1")))
    stand.collector.collect()
    assert records_of(stand.row()) == 2
    assert (stand.collector.in_flight("ses_1"), stand.collector.unrouted("ses_1")) == (0, 1)
    stand.write(routed("req_1"))
    stand.collector.collect()
    row = stand.row()
    assert row is not None
    assert (row.records, row.litellm_call_id, row.output_tokens) == (3, "req_1", 4)
    assert stand.collector.unrouted("ses_1") == 0


def test_a_report_may_come_before_the_answer(stand: Stand) -> None:
    stand.write(entered("req_1"), routed("req_1"))
    stand.collector.collect()
    assert (stand.rows(), stand.collector.in_flight("ses_1")) == ([], 1)
    stand.write(answered(entered("req_1")))
    stand.collector.collect()
    assert records_of(stand.row()) == 3


def test_a_refused_request_waits_for_nothing(stand: Stand) -> None:
    stand.write(refused(entered("req_1", session_id=None)))
    stand.collector.collect()
    row = stand.row()
    assert row is not None
    assert (row.records, row.status, row.error_code) == (1, "rejected", "revoked_key")
    assert stand.cursor() == (*stand.end(), False)


def test_collecting_again_finds_nothing(stand: Stand) -> None:
    stand.write(entered("req_1"), answered(entered("req_1")), routed("req_1"), b"marmalade\n")
    assert stand.collector.collect() == Collected(records=4, written=1, unreadable=1)
    before = dump(stand.ledger)
    assert stand.collector.collect() == stand.another_collector().collect() == Collected(0, 0, 0)
    assert dump(stand.ledger) == before


def test_a_spool_that_is_not_there_yet_is_empty(stand: Stand) -> None:
    assert SpoolCollector(stand.spool / "nowhere", stand.ledger, lambda: 0).collect() == Collected(0, 0, 0)


# ── the cursor ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_cursor_stops_at_the_first_request_that_waits(stand: Stand) -> None:
    stand.write(entered("req_1"), answered(entered("req_1")), routed("req_1"))
    stand.write(entered("req_2"), entered("req_3"), answered(entered("req_3")), routed("req_3"))
    stand.collector.collect()
    cursor = stand.ledger.cursor("gw_1")
    assert cursor is not None
    again = read_blocks(stand.spool / "gw_1", cursor.segment, cursor.offset_bytes, ended=False, limit_bytes=1)
    assert b'"req_2"' in next(again).lines[0]
    stand.write(answered(entered("req_2")), routed("req_2"))
    stand.collector.collect()
    assert stand.cursor() == (*stand.end(), False)


def test_the_cursor_waits_a_minute_for_a_report_and_no_longer(stand: Stand) -> None:
    stand.write(entered("req_1", at_us=0), answered(entered("req_1", at_us=0), offset_us=MINUTE_US))
    stand.now_us = 2 * MINUTE_US
    stand.collector.collect()
    assert stand.collector.unrouted("ses_1") == 1
    stand.now_us += 1
    stand.write(refused(entered("req_2")))
    stand.collector.collect()
    assert stand.collector.unrouted("ses_1") == 0
    assert stand.cursor() == (1, 0, False)  # the next batch takes it along
    stand.write(refused(entered("req_3")))
    stand.collector.collect()
    assert stand.cursor() == (*stand.end(), False)


def test_an_old_archive_is_read_by_its_own_time(stand: Stand) -> None:
    stand.now_us = 1_000 * MINUTE_US
    stand.write(entered("req_1"), answered(entered("req_1")))
    batchwise = SpoolCollector(stand.spool, stand.ledger, lambda: stand.now_us, batch_bytes=1)
    assert batchwise.collect().records == 2
    assert stand.cursor() == (1, 0, False)  # still waited for, until there was nothing more


@pytest.mark.parametrize("forgetful", [False, True])
def test_a_report_that_comes_after_the_waiting_still_lands(stand: Stand, forgetful: bool) -> None:
    stand.write(entered("req_1"), answered(entered("req_1")))
    stand.collector.collect()
    stand.now_us = 10 * MINUTE_US
    stand.write(*(refused(entered(f"req_other_{number}")) for number in range(5)))
    stand.collector.collect()
    stand.write(*(refused(entered(f"req_more_{number}")) for number in range(300 if forgetful else 1)))
    stand.collector.collect()
    assert stand.collector.unrouted("ses_1") == 0
    stand.write(routed("req_1", at_us=9 * MINUTE_US))
    stand.collector.collect()
    assert records_of(stand.row()) == 3
    assert stand.unreadable() == []


def test_a_new_collector_finds_the_beginning_of_a_request_that_it_did_not_see(stand: Stand) -> None:
    stand.write(entered("req_1"), answered(entered("req_1")), routed("req_1", "failure", at_us=1))
    stand.collector.collect()
    stand.write(refused(entered("req_2")), routed("req_1", at_us=2))
    assert stand.another_collector().collect() == Collected(records=2, written=2, unreadable=0)
    row = stand.row()
    assert row is not None
    assert (row.records, row.response_id) == (4, "of 2")


def test_only_records_of_the_request_itself_are_recalled(stand: Stand) -> None:
    mention = entered("req_2")
    stand.write(entered("req_1"), answered(entered("req_1")), routed("req_1", "failure", at_us=1))
    stand.write(b'{"kind":"answered","about":"req_1"}\n', refused(mention), routed("req_2 like req_1"))
    stand.collector.collect()
    stand.write(routed("req_1", at_us=2))
    stand.another_collector().collect()
    assert records_of(stand.row("req_1")) == 4
    assert records_of(stand.row("req_2")) == 1


# ── a pass that fails ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dead", [False, True])
def test_what_a_failed_pass_had_read_is_read_again(stand: Stand, dead: bool) -> None:
    stand.write(entered("req_1"), answered(entered("req_1")), routed("req_1"), entered("req_2"))
    if dead:
        stand.gateway.close()
    refuse_inserts(stand.ledger, "spool_cursor")
    with pytest.raises(sa.exc.IntegrityError):
        stand.collector.collect()
    allow_inserts(stand.ledger, "spool_cursor")
    assert stand.rows() == []
    stand.collector.collect()
    assert [row.request_key for row in stand.rows()] == (["req_1", "req_2"] if dead else ["req_1"])


# ── a gateway that died ──────────────────────────────────────────────────────────────────────────────────────────────


def test_what_was_in_flight_when_the_gateway_died_is_lost_once(stand: Stand) -> None:
    stand.write(entered("req_1"), entered("req_2"), routed("req_2", "failure"), entered("req_3"))
    stand.write(answered(entered("req_3")))
    stand.collector.collect()
    assert [row.request_key for row in stand.rows()] == ["req_3"]
    stand.gateway.close()
    other = stand.another_collector()
    assert stand.collector.collect().written == 2
    assert {row.request_key: row.error_class for row in stand.rows()} == {
        "req_1": "gateway_lost",
        "req_2": "gateway_lost",
        "req_3": None,
    }
    lost = stand.row()
    assert lost is not None
    assert (lost.status, lost.latency_ms, lost.records) == ("proxy_error", None, 1)
    assert stand.cursor() == (*stand.end(), True)
    before = dump(stand.ledger)
    assert stand.collector.collect() == other.collect() == Collected(0, 0, 0)
    assert dump(stand.ledger) == before


def test_another_gateway_has_a_cursor_of_its_own(stand: Stand) -> None:
    stand.write(refused(entered("req_1")))
    stand.gateway.close()
    second = SpoolWriter(stand.spool, "gw_2")
    second.append(refused(entered("req_2")))
    stand.collector.collect()
    assert {row.request_key: row.gateway_id for row in stand.rows()} == {"req_1": "gw_1", "req_2": "gw_2"}
    cursors = [stand.ledger.cursor(name) for name in ("gw_1", "gw_2")]
    assert [isinstance(cursor, SpoolCursor) and cursor.closed for cursor in cursors] == [True, False]
    second.close()


# ── what cannot be read ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_line_that_cannot_be_read_is_counted_and_not_quoted(stand: Stand) -> None:
    lines = [line + b"\n" for line in JUNK if isinstance(line, bytes)]
    lines += [b'{"kind":"marmalade"}\n', b'{"kind":"it\'s marmalade"}\n', b"[" * 100_000 + b"\n"]
    stand.write(refused(entered("req_1")))
    offset_bytes = stand.end()[1]
    stand.write(*lines)
    assert stand.collector.collect() == Collected(records=1 + len(lines), written=1, unreadable=len(lines))
    found = stand.unreadable()
    assert [item.digest for item in found] == [digest_bytes(line[:-1]) for line in lines]
    assert [item.size_bytes for item in found] == [len(line) - 1 for line in lines]
    assert found[0].offset_bytes == offset_bytes
    assert "marmalade" not in repr(found)


def test_a_torn_tail_is_counted_when_its_gateway_is_gone(stand: Stand) -> None:
    stand.write(refused(entered("req_1")), b'{"kind":"ent')
    assert stand.collector.collect().unreadable == 0
    stand.gateway.close()
    assert stand.collector.collect().unreadable == 1
    [torn] = stand.unreadable()
    assert (torn.reason, torn.size_bytes) == ("torn: the line has no end", 12)
    assert stand.cursor() == (*stand.end(), True)


def test_a_report_of_a_request_that_never_came_in_is_counted(stand: Stand) -> None:
    stand.write(routed("req_nobody"), refused(entered("req_1")))
    assert stand.collector.collect() == Collected(records=2, written=1, unreadable=1)
    assert [item.reason for item in stand.unreadable()] == ["reports a request that never came in"]
    assert stand.cursor() == (*stand.end(), False)


def test_a_request_that_no_row_can_hold_does_not_stop_the_others(stand: Stand) -> None:
    unstorable = entered("req_2", at_us=2**63 - 1)  # and it ended later than a column can tell
    unthinkable = msgspec.structs.replace(answered(entered("req_4")), events=[("content", 10**400, 1)])
    for number in (1, 2, 3, 4, 5):
        request = unstorable if number == 2 else entered(f"req_{number}")
        stand.write(request, unthinkable if number == 4 else answered(request), routed(request.request_key))
    collected = stand.collector.collect()
    assert collected == Collected(records=15, written=3, unreadable=2)
    assert [row.request_key for row in stand.rows()] == ["req_1", "req_3", "req_5"]
    assert {item.reason for item in stand.unreadable()} == {"makes no row: OverflowError"}
    blocks = read_blocks(stand.spool / "gw_1", ended=True, limit_bytes=2**20)
    lines = [line for block in blocks for line in block.lines]
    bad = [line for line in lines if b'"answered"' in line and (b'"req_2"' in line or b'"req_4"' in line)]
    assert [item.digest for item in stand.unreadable()] == [digest_bytes(line[:-1]) for line in bad]
    assert stand.cursor() == (*stand.end(), False)
    before = dump(stand.ledger)
    assert stand.collector.collect() == Collected(0, 0, 0)
    stand.collector.rebuild()
    assert dump(stand.ledger) == before


def test_a_nul_from_a_client_costs_no_row(stand: Stand) -> None:
    for number, odd in enumerate(["a\0b", "\0"], start=1):
        request = msgspec.structs.replace(entered(f"req_{number}"), path=f"/v1/{odd}", model=odd)
        stand.write(request, answered(request), routed(request.request_key))
    assert stand.collector.collect() == Collected(records=6, written=2, unreadable=0)
    assert [(row.path, row.model_requested) for row in stand.rows()] == [
        ("/v1/a\ufffdb", "a\ufffdb"),
        ("/v1/\ufffd", "\ufffd"),
    ]


def test_a_fault_of_the_database_blames_no_request(stand: Stand) -> None:
    stand.write(refused(entered("req_1")))
    with stand.ledger.write() as connection:
        connection.exec_driver_sql("ALTER TABLE request RENAME TO elsewhere")
    with pytest.raises(LedgerUnavailable):
        stand.collector.collect()
    assert stand.unreadable() == []


# ── rebuild ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_rebuild_makes_rows_of_an_older_normalizer_new(stand: Stand) -> None:
    stand.write(entered("req_1"), answered(entered("req_1")), routed("req_1"))
    stand.collector.collect()
    before = dump(stand.ledger)
    with stand.ledger.write() as connection:
        connection.exec_driver_sql("UPDATE request SET output_tokens = 99, normalizer_version = 0")
    assert stand.collector.collect().written == 0
    assert stand.collector.rebuild().written == 1
    assert dump(stand.ledger) == before


def test_a_rebuild_keeps_rows_whose_records_are_gone(stand: Stand) -> None:
    stand.write(*(refused(entered(f"req_{number}")) for number in range(4)))
    stand.collector.collect()
    before = dump(stand.ledger)
    (stand.spool / "gw_1" / "000001.jsonl").unlink()
    assert 0 < stand.collector.rebuild().written < 4
    assert dump(stand.ledger) == before


# ── rows that the gateway made ───────────────────────────────────────────────────────────────────────────────────────


def made(version: int = NORMALIZER_VERSION) -> list[SpoolRecord]:
    """All that a gateway writes of a request, the last being its row."""
    return list(with_row([entered("req_1"), answered(entered("req_1")), routed("req_1", at_us=7)], version))


def damaged(record: SpoolRecord) -> bytes:
    """A record's line whose head is as it was."""
    line = msgspec.json.encode(record)
    return line[: len(line) // 2] + b"\n"


def test_a_row_that_the_gateway_made_is_the_one_that_its_records_make(stand: Stand) -> None:
    stand.write(*with_row([entered("req_0"), answered(entered("req_0")), routed("req_0")]), *made())
    stand.collector.collect()
    rows = stand.rows()

    stand.collector.rebuild()

    assert stand.rows() == rows
    assert [row.records for row in rows] == [3, 3]


def test_where_the_gateway_made_the_row_the_records_are_not_read(stand: Stand) -> None:
    request, answer, report, row = made()
    stand.write(*with_row([entered("req_0"), answered(entered("req_0")), routed("req_0")]))
    stand.write(request, damaged(answer), report, row)

    stand.collector.collect()

    assert (records_of(stand.row()), stand.unreadable()) == (3, [])


def test_a_row_of_another_normalizer_is_not_taken(stand: Stand) -> None:
    stand.write(*with_row([entered("req_0"), answered(entered("req_0")), routed("req_0")]), *made(version=1))

    stand.collector.collect()

    row = stand.row()
    assert row is not None
    assert (row.records, row.response_id, row.normalizer_version) == (3, "of 7", NORMALIZER_VERSION)


def test_a_report_that_comes_after_the_row_makes_it_anew(stand: Stand) -> None:
    stand.write(*with_row([entered("req_0"), answered(entered("req_0")), routed("req_0")]))
    stand.write(*made(), routed("req_1", at_us=9_000_000))

    stand.collector.collect()

    row = stand.row()
    assert row is not None
    assert (row.records, row.response_id) == (4, "of 9000000")


def test_a_row_that_cannot_be_read_is_noted_and_made_from_the_records(stand: Stand) -> None:
    *records, row = made()
    stand.write(*with_row([entered("req_0"), answered(entered("req_0")), routed("req_0")]), *records, damaged(row))

    stand.collector.collect()

    assert records_of(stand.row()) == 3
    assert len(stand.unreadable()) == 1


def without_foretelling(row: bytes) -> bytes:
    """As a gateway wrote it that told nothing before the row."""
    before, after = row.split(b',"records"')
    return before + after[after.index(b',"row"') :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda row: row.replace(b'"/v1/messages"', b'"/v1/\xffessages"'),
        lambda row: row.replace(b'"/v1/messages",', b""),
        lambda row: row.replace(b'"/v1/messages"', b'"/v1/\\ud800"'),
    ],
)
def test_a_row_that_is_damaged_behind_its_head_is_noted_and_made_from_the_records(
    stand: Stand, damage: Callable[[bytes], bytes]
) -> None:
    *records, row = made()
    others = [list(with_row([entered(key), answered(entered(key)), routed(key)])) for key in ("req_0", "req_2")]
    stand.write(*others[0], *records, damage(msgspec.json.encode(row)) + b"\n", *others[1])

    assert stand.collector.collect() == Collected(records=12, written=3, unreadable=1)

    damaged, good = stand.row(), stand.row("req_2")
    assert (records_of(damaged), records_of(good)) == (3, 3)
    assert damaged is not None
    assert (damaged.path, damaged.response_id) == ("/v1/messages", "of 7")
    assert stand.cursor() == (*stand.end(), False)


def test_a_row_of_which_nothing_is_told_before_it_is_not_taken(stand: Stand) -> None:
    *records, row = made()
    stand.write(*records, without_foretelling(msgspec.json.encode(row)) + b"\n")

    assert stand.collector.collect() == Collected(records=4, written=1, unreadable=0)
    assert records_of(stand.row()) == 3


@pytest.mark.parametrize("batch_bytes", [1, 400, 1_000, 10_000])
def test_a_row_is_taken_wherever_its_batch_begins_and_ends(stand: Stand, batch_bytes: int) -> None:
    requests = [list(with_row([entered(key), answered(entered(key)), routed(key)])) for key in ("req_0", "req_1")]
    stand.write(*(record for both in zip(*requests, strict=True) for record in both))

    SpoolCollector(stand.spool, stand.ledger, lambda: stand.now_us, batch_bytes).collect()

    assert [row.records for row in stand.rows()] == [3, 3]
    assert stand.unreadable() == []
    assert stand.cursor() == (*stand.end(), False)
