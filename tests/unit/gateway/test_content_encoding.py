"""Compressed bodies, undone in whatever pieces they come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.compression import ENCODERS, header_of

from agentdyno.gateway.content_encoding import BrokenEncoding, decoder_of

COMPRESSED = [name for name in ENCODERS if name != "identity"]
SIZES = st.lists(st.integers(0, 30))


def pieces_of(data: bytes, sizes: list[int]) -> list[bytes]:
    """Data cut into pieces of these sizes, and the rest of it."""
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]


def decoded(content_encoding: str, pieces: list[bytes]) -> bytes:
    decoder = decoder_of(content_encoding)
    assert decoder is not None
    return b"".join(decoder(piece) for piece in pieces)


@pytest.mark.parametrize("name", COMPRESSED)
@given(data=st.binary(), sizes=SIZES)
def test_the_same_bytes_come_out_however_they_are_cut(name: str, data: bytes, sizes: list[int]) -> None:
    assert decoded(header_of(name), pieces_of(ENCODERS[name]().whole(data), sizes)) == data


@pytest.mark.parametrize("name", ["gzip", "zstd"])
@given(parts=st.lists(st.binary(), min_size=2, max_size=4), sizes=SIZES)
def test_a_body_may_have_several_parts(name: str, parts: list[bytes], sizes: list[int]) -> None:
    body = b"".join(ENCODERS[name]().whole(part) for part in parts)
    assert decoded(name, pieces_of(body, sizes)) == b"".join(parts)


@given(data=st.binary(), sizes=SIZES)
def test_encodings_in_a_row_are_undone_from_the_last(data: bytes, sizes: list[int]) -> None:
    body = ENCODERS["br"]().whole(ENCODERS["gzip"]().whole(data))
    assert decoded("gzip, BR", pieces_of(body, sizes)) == data


@pytest.mark.parametrize("name", COMPRESSED)
@given(data=st.binary(min_size=1), damage=st.binary(min_size=1), at=st.integers(0, 40), sizes=SIZES)
def test_damage_is_called_that_or_goes_unnoticed(
    name: str, data: bytes, damage: bytes, at: int, sizes: list[int]
) -> None:
    body = ENCODERS[name]().whole(data)
    damaged = body[:at] + damage + body[at + len(damage) :]
    try:
        decoded(header_of(name), pieces_of(damaged, sizes))
    except BrokenEncoding as broken:
        assert str(broken)


def test_plain_text_is_none_of_them() -> None:
    for name in ("gzip", "deflate", "zstd", "br"):
        with pytest.raises(BrokenEncoding):
            decoded(name, [b'{"id": "chatcmpl-1", "object": "chat.completion"}'])


def test_plain_bodies_need_no_decoder() -> None:
    assert decoder_of("") is decoder_of("identity") is decoder_of(" Identity , ") is None


@pytest.mark.parametrize("name", ["compress", "utf-8", "none", "\x00"])
def test_an_unknown_encoding_is_none(name: str) -> None:
    assert decoder_of(name) is None
    assert decoded(f"{name}, gzip", [ENCODERS["gzip"]().whole(b"word")]) == b"word"


@given(padding=st.sampled_from([b"\0", b"\0" * 512, b"junk", b"\r\n"]), sizes=SIZES)
def test_what_stands_behind_a_member_of_gzip_and_begins_none_is_padding(padding: bytes, sizes: list[int]) -> None:
    assert decoded("gzip", pieces_of(ENCODERS["gzip"]().whole(b"word") + padding, sizes)) == b"word"


@pytest.mark.parametrize("name", COMPRESSED)
def test_a_streams_first_event_is_not_held_back(name: str) -> None:
    encoder, decoder = ENCODERS[name](), decoder_of(header_of(name))
    assert decoder is not None
    assert [decoder(encoder.piece(event)) for event in (b"first", b"second")] == [b"first", b"second"]
