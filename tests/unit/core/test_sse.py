"""The splitter against the rules of the event stream format, and against a reference written for clarity alone."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentdyno.core.dialects.sse import EventSplitter, begins_events, is_blank


def split(*chunks: bytes) -> list[bytes]:
    splitter = EventSplitter()
    return [event.data for chunk in chunks for event in splitter.feed(chunk, 0)]


def reference(stream: bytes) -> list[bytes]:
    """All at once: lines, then blocks, then data."""
    lines = re.split(rb"\r\n|\r|\n", stream.removeprefix(b"\xef\xbb\xbf"))
    events: list[bytes] = []
    data: list[bytes] = []
    for line in lines[:-1]:
        if line == b"":
            if data:
                events.append(b"\n".join(data))
            data = []
        name, _, value = line.partition(b":")
        if name == b"data":
            data.append(value[1:] if value[:1] == b" " else value)
    return events


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    """The stream in chunks that end at these places, taken modulo its length."""
    ends = sorted({place % (len(stream) + 1) for place in places} | {len(stream)})
    return [stream[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]


streams = st.lists(
    st.sampled_from(
        [
            b"data: a",
            b"data:b",
            b"data",
            b":c",
            b"event: e",
            b"\xef\xbb\xbf",
            b"\r",
            b"\n",
            b"\r\n",
            b" ",
            b"\xe2\x80\xa8",
        ]
    )
    | st.binary(max_size=4)
).map(b"".join)


@given(streams, st.lists(st.integers(0, 10_000), max_size=12))
@example(b"data: a\r\n\r\ndata: b\r\rdata: c\n\n", list(range(30)))
@example(b"\xef\xbb\xbfdata: a\n\n", [1, 2])
def test_any_chunking_gives_what_the_reference_gives(stream: bytes, places: list[int]) -> None:
    assert split(*cut(stream, places)) == reference(stream)


def test_only_cr_and_lf_end_lines() -> None:
    separators = "\u2028\u2029\u0085\x0b\x0c\x1c".encode()
    assert split(b"data: a" + separators + b"b\n\n") == [b"a" + separators + b"b"]


def test_several_data_lines_are_one_event() -> None:
    assert split(b"data: {\ndata: }\n\n") == [b"{\n}"]


def test_one_leading_space_belongs_to_the_format() -> None:
    assert split(b"data:  a\n\ndata:b\n\n") == [b" a", b"b"]


def test_comments_and_other_fields_are_no_data() -> None:
    assert split(b": keep-alive\n\nevent: x\nid: 1\nretry: 3\ndatabase: y\ndata: z\n\n") == [b"z"]


def test_an_event_that_no_blank_line_ended_is_discarded() -> None:
    assert split(b"data: a\n\ndata: b\n") == [b"a"]


def test_a_cr_ends_an_event_at_once() -> None:
    # The LF that may follow is in a later chunk, and a reader must not wait for it.
    assert split(b"data: a\r\r") == [b"a"]
    assert split(b"data: a\r\n\r", b"\ndata: b\r\n\r\n") == [b"a", b"b"]


def test_an_event_has_the_time_of_its_first_data_byte() -> None:
    splitter = EventSplitter()
    assert splitter.feed(b": waiting\n", 10) == []
    assert splitter.feed(b"data: a", 20) == []
    [first, second] = splitter.feed(b"\n\ndata: b\n\n", 30)
    assert (first.data, first.offset_us) == (b"a", 20)
    assert (second.data, second.offset_us) == (b"b", 30)


@pytest.mark.parametrize("blanks", [b"", b"\xef\xbb\xbf", b"\r\n\n", b" "])
@pytest.mark.parametrize("begun", [b"data: {", b"data:[DONE]", b"event: e", b"id:7", b": ping", b":", b"d", b"ret"])
def test_a_stream_is_known_by_its_first_bytes(blanks: bytes, begun: bytes) -> None:
    assert begins_events(blanks + begun)
    assert is_blank(blanks)
    assert not is_blank(blanks + begun)


@pytest.mark.parametrize("begun", [b"{", b' {"data": 1}', b"[", b'"data:"', b"null", b"<html>", b"error: no", b"dat: "])
def test_what_is_none_is_not_taken_for_one(begun: bytes) -> None:
    assert not begins_events(begun)
