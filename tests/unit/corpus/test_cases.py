"""The corpus itself: nothing is missing, nothing can be mistaken for something else, and it says what it means."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator
from itertools import product
from typing import Any

import msgspec
import pytest
from tests.corpus.case import FOLDER, SITUATIONS, SURFACES, Answer, Case, Row, read_case, read_corpus
from tests.corpus.compression import compressor
from tests.corpus.counting import Counted, counted
from tests.corpus.steps import Send, body, steps, usages_of

CORPUS = read_corpus()
TOKENS = Counted._fields


def each() -> list[tuple[Case, Answer, Row]]:
    """Every answer with its row; of an attempt that LiteLLM repeats there is no row."""
    return [
        (case, answer, row)
        for case in CORPUS.values()
        for answer, row in zip(case.answers[len(case.answers) - len(case.rows) :], case.rows, strict=True)
    ]


def figures(value: Any) -> Iterator[int]:
    """All numbers in it but 0."""
    if isinstance(value, dict):
        for member in value.values():
            yield from figures(member)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from figures(item)
    elif type(value) is int and value > 0:
        yield value


def test_every_situation_on_every_surface_streamed_and_not() -> None:
    wanted = {
        f"{surface}-{streamed}-{situation}"
        for surface, streamed, situation in product(SURFACES, ("unstreamed", "streamed"), SITUATIONS)
    }
    assert wanted <= CORPUS.keys()
    assert len(wanted) == 96  # 4 surfaces, 2 forms of an answer, 12 situations


def test_what_cannot_be_as_it_is_named_says_what_it_is_instead() -> None:
    instead = {case.name for case in CORPUS.values() if case.realised_as}
    documents = {
        f"{surface}-unstreamed-{situation}"
        for surface in SURFACES
        for situation in ("error_midway", "client_leaves_after_first_chunk")
    }
    assert instead == documents | {"gemini-unstreamed-cache_write", "gemini-streamed-cache_write"}


def test_a_file_in_another_place_is_refused() -> None:
    with pytest.raises(ValueError, match="holds openai_chat-streamed-plain"):
        read_case(FOLDER / "openai_chat" / "streamed" / ".." / "streamed" / "plain.yaml")


def test_no_figure_occurs_twice() -> None:
    seen: Counter[int] = Counter()
    for case in CORPUS.values():
        own = {n for answer in case.answers for n in figures([answer.start_usage, answer.usage])}
        seen.update(own | {n for row in case.rows for n in figures([getattr(row, name) for name in TOKENS])})
    assert [figure for figure, times in seen.items() if times > 1] == []
    for _, _, row in each():
        told = list(figures([getattr(row, name) for name in TOKENS]))
        assert len(told) == len(set(told))


def test_no_id_occurs_twice() -> None:
    answers = [answer for case in CORPUS.values() for answer in case.answers]
    ids = [found for a in answers for found in (a.id, a.headers.get("request-id"), a.headers.get("x-request-id"))]
    assert max(Counter(found for found in ids if found is not None).values()) == 1


@pytest.mark.parametrize(("case", "answer", "row"), each(), ids=str)
def test_a_row_says_what_the_usage_objects_say(case: Case, answer: Answer, row: Row) -> None:
    done = steps(case, answer)
    whole = any(isinstance(step, Send) and step.terminal for step in done)
    told = counted(case.surface, usages_of(done), whole=whole)
    assert Counted(*(getattr(row, name) for name in TOKENS)) == told
    assert row.usage_source == (None if told == Counted() else "provider")


@pytest.mark.parametrize(("case", "answer", "row"), each(), ids=str)
def test_a_row_has_the_ids_that_went_out(case: Case, answer: Answer, row: Row) -> None:
    sent = body(steps(case, answer))
    header = {"anthropic_messages": "request-id", "gemini": None}.get(case.surface, "x-request-id")
    assert row.provider_request_id == (None if header is None else answer.headers.get(header))
    assert row.response_id is None or row.response_id.encode() in sent
    assert (row.response_id is not None) == (row.http_status == 200)


def test_there_is_something_of_everything_that_is_hard_to_read() -> None:
    streams = {case.name: body(steps(case, case.last)) for case in CORPUS.values() if case.streamed}
    for odd in ("\u2028", "🗼", "event: ping", ": keep-alive", "corpus_progress", "event: error"):
        assert any(odd.encode() in stream for stream in streams.values()), odd
    assert {case.last.lines for case in CORPUS.values()} == {"lf", "crlf", "cr"}
    assert {case.last.encoding for case in CORPUS.values()} == {None, "gzip", "deflate", "br", "zstd"}


def test_every_member_of_a_case_is_known() -> None:
    encoded = msgspec.yaml.decode((FOLDER / "gemini" / "streamed" / "plain.yaml").read_bytes())
    with pytest.raises(msgspec.ValidationError, match="tokens_of_input"):
        msgspec.convert({**encoded, "tokens_of_input": 1}, Case)


@pytest.mark.parametrize(("encoding", "window_bits"), [("gzip", 31), ("deflate", 15)])
def test_compressed_pieces_can_be_read_as_they_come(encoding: Any, window_bits: int) -> None:
    compress, decompress = compressor(encoding), zlib.decompressobj(wbits=window_bits)
    pieces = [b"data: one\n\n", b"data: " + b"two" * 70_000 + b"\n\n"]
    assert [decompress.decompress(compress.piece(piece)) for piece in pieces] == pieces
    assert decompress.decompress(compress.end()) == b""
    assert decompress.eof


def test_stored_blocks_are_as_the_references_say() -> None:
    # RFC 7932: 1 bit of window, then not last, 4 nibbles, 3 - 1 = 2 bytes more than one, stored: bits 4 and 20.
    brotli = compressor("br")
    assert brotli.piece(b"abc") + brotli.piece(b"d") + brotli.end() == b"\x20\x00\x10abc\x00\x00\x08d\x03"
    # RFC 8878: magic, descriptor, window, then blocks with last, type and size in 1, 2 and 21 bits.
    zstd = compressor("zstd")
    assert zstd.piece(b"abc") + zstd.end() == b"\x28\xb5\x2f\xfd\x00\x58\x18\x00\x00abc\x01\x00\x00"
