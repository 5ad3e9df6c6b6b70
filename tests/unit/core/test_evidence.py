"""The evidence of a request: what its lines say together, whatever order they are heard in."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.core.evidence import ANSWERED, ENTERED, answered, heard, routed

from agentdyno.core.dialects.wire import CONTENT_KINDS
from agentdyno.core.evidence import UNREADABLE_LINE, Evidence, Reported, entered_key, read_record
from agentdyno.core.exchange import SpoolRecord

REPORTS = [routed(status="failure"), routed(at_us=2), routed(at_us=3, cost_usd=0.5)]


def line_of(record: SpoolRecord) -> bytes:
    return msgspec.json.encode(record)


@pytest.mark.parametrize("key", ["req_1", "", 'with "quotes"', "ä\0"])
def test_a_key_is_cut_from_a_line_only_where_it_stands_there_as_it_is(key: str) -> None:
    line = line_of(msgspec.structs.replace(ENTERED, request_key=key))
    assert entered_key(line) == (key.encode() if key in ("req_1", "") else None)
    assert read_record(line).request_key == key.replace("\0", "\ufffd")


@pytest.mark.parametrize(
    "line", [line_of(ANSWERED), line_of(routed()), b'{"request_key":"req_1","kind":"entered"}', b"", b"marmalade"]
)
def test_no_other_line_tells_its_key_so_early(line: bytes) -> None:
    assert entered_key(line) is None


def test_a_line_that_has_no_end_is_no_request() -> None:
    assert entered_key(b'{"kind":"entered","request_key":"req_1') is None


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
