"""The evidence of a request: what its lines say together, whatever order they are heard in."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.core.evidence import ANSWERED, ENTERED, answered, heard, routed, row, tried

from agentdyno.core.dialects.wire import CONTENT_KINDS
from agentdyno.core.evidence import ENTERED as ENTERED_KIND
from agentdyno.core.evidence import MADE, UNREADABLE_LINE, Evidence, Reported, heads, read_record
from agentdyno.core.exchange import Made, SpoolRecord

REPORTS = [routed(status="failure"), routed(at_us=2), routed(at_us=3, cost_usd=0.5)]


def line_of(record: SpoolRecord) -> bytes:
    return msgspec.json.encode(record)


@pytest.mark.parametrize("key", ["req_1", "", 'with "quotes"', "ä\0"])
def test_a_key_is_told_by_the_head_of_a_line_only_where_it_stands_there_as_it_is(key: str) -> None:
    entered = msgspec.structs.replace(ENTERED, request_key=key)
    answered = msgspec.structs.replace(ANSWERED, entered=entered)
    lines = [line_of(record) for record in (entered, answered, routed(request_key=key))]
    told = [key.encode() if key in ("req_1", "") else None] * 3
    assert [head_key for _, head_key in heads(lines)] == told
    assert [read_record(line).request_key for line in lines] == [key.replace("\0", "\ufffd")] * 3


def test_a_head_tells_what_a_line_is() -> None:
    row = Made("req_1", 1, 3, None, 0, ())
    kinds = [kind for kind, _ in heads([line_of(ENTERED), line_of(ANSWERED), line_of(routed()), line_of(row)])]
    assert [kind == ENTERED_KIND for kind in kinds] == [True, False, False, False]
    assert [kind == MADE for kind in kinds] == [False, False, False, True]


@pytest.mark.parametrize(
    "line",
    [
        b'{"request_key":"req_1","kind":"entered"}',
        b'{"kind":"entered","request_key":"req_1',
        b'{"kind":"answered","request_key":"req_1"}',
        b"",
        b"marmalade",
    ],
)
def test_a_line_that_no_encoder_of_ours_wrote_has_no_head(line: bytes) -> None:
    assert heads([line]) == [(None, None)]


def test_a_request_that_was_answered_is_read_from_its_answer() -> None:
    evidence = heard(ANSWERED)
    evidence.entered_line = b"nobody looks at this"
    assert evidence.entered is not None
    assert (evidence.entered.request_key, evidence.records) == (ENTERED.request_key, 2)
    with pytest.raises(UNREADABLE_LINE):
        _ = Evidence(entered_line=b"somebody looks at this").entered


def test_what_is_still_to_be_expected() -> None:
    assert [heard(*records).settled for records in ([], [ENTERED], [ANSWERED], [routed()])] == [False] * 4
    assert heard(ANSWERED, routed()).settled
    refused = answered(forwarded=False)
    assert heard(refused).settled
    assert [heard(record).headless for record in (ENTERED, ANSWERED, routed(), refused)] == [False, True, True, False]


def test_a_copy_of_an_attempts_line_changes_nothing() -> None:
    attempts = [tried(1, http_status=429), tried(2)]
    once, copied = (heard(ENTERED, ANSWERED, *told) for told in (attempts, [*attempts, attempts[1], attempts[0]]))
    assert (copied.tried, copied.records, copied.digest) == (once.tried, 4, once.digest)
    assert row(ANSWERED, *attempts, *attempts) == row(ANSWERED, *attempts)


def test_only_an_answer_within_the_200s_is_one() -> None:
    statuses = (None, 199, 200, 204, 301, 307, 400, 529)
    begun = [attempt.succeeded for attempt in heard(*(tried(at_us=s or 0, http_status=s) for s in statuses)).tried]
    assert begun == [False, False, True, True, False, False, False, False]


@pytest.mark.parametrize(
    "changes",
    [{"complete": True}, {"abandoned": True}, {"streamed": False}, {"http_status": 529}, {"surface": None}],
)
def test_a_stream_is_endless_where_the_provider_left_out_its_end(changes: dict[str, Any]) -> None:
    lacking = tried(streamed=True, complete=False, finish_reason="stop")
    assert heard(lacking).tried[0].endless
    assert not heard(msgspec.structs.replace(lacking, **changes)).tried[0].endless


kinds = st.sampled_from([*CONTENT_KINDS, "start", "done"]) | st.text(max_size=12) | st.just('["content",7,')


@given(st.lists(st.tuples(kinds, st.integers(0, 2**40), st.integers(0, 999))))
def test_the_first_content_is_found_in_any_skeleton(events: list[tuple[str, int, int]]) -> None:
    answer = heard(answered(events=events)).answered
    assert answer is not None
    assert answer.in_events == bool(events)
    assert answer.first_content_us == next((offset for kind, offset, _ in events if kind in CONTENT_KINDS), None)


@given(st.permutations([ENTERED, ANSWERED, *REPORTS]))
def test_the_order_of_lines_is_no_part_of_their_digest(records: list[SpoolRecord]) -> None:
    evidence = heard(*records)
    assert (evidence.digest, evidence.records) == (heard(ENTERED, ANSWERED, *REPORTS).digest, 5)


def test_every_line_is_part_of_the_digest_but_the_one_that_the_answer_repeats() -> None:
    told: list[list[SpoolRecord]] = [[], [ENTERED], [ANSWERED], [ANSWERED, REPORTS[0]], [ANSWERED, *REPORTS]]
    assert len({heard(*records).digest for records in told}) == len(told)
    assert heard(ENTERED, ANSWERED).digest == heard(ANSWERED).digest
    assert isinstance(read_record(line_of(REPORTS[0])), Reported)
