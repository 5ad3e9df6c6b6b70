"""Content encodings as a server writes them: piece by piece, each of which can be read before the next."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import brotli
import zstandard


class Encoder(NamedTuple):
    """Encodes one body."""

    piece: Callable[[bytes], bytes]
    end: Callable[[], bytes]

    def whole(self, data: bytes) -> bytes:
        """All of a body."""
        return self.piece(data) + self.end()


def _zlib(window_bits: int) -> Encoder:
    encoder = zlib.compressobj(wbits=window_bits)
    return Encoder(lambda data: encoder.compress(data) + encoder.flush(zlib.Z_SYNC_FLUSH), encoder.flush)


def _brotli() -> Encoder:
    encoder = brotli.Compressor()
    return Encoder(lambda data: encoder.process(data) + encoder.flush(), encoder.finish)


def _zstd() -> Encoder:
    encoder = zstandard.ZstdCompressor().compressobj()
    block = zstandard.COMPRESSOBJ_FLUSH_BLOCK
    return Encoder(lambda data: encoder.compress(data) + encoder.flush(block), encoder.flush)


ENCODERS: Mapping[str, Callable[[], Encoder]] = MappingProxyType(
    {
        "identity": lambda: Encoder(lambda data: data, bytes),
        "gzip": lambda: _zlib(zlib.MAX_WBITS | 16),
        "deflate": lambda: _zlib(zlib.MAX_WBITS),
        "raw-deflate": lambda: _zlib(-zlib.MAX_WBITS),
        "br": _brotli,
        "zstd": _zstd,
    }
)
"""By their names; `raw-deflate` is called `deflate` too, by servers that leave out zlib's frame."""


def header_of(encoding: str) -> str:
    """What `Content-Encoding` says."""
    return encoding.removeprefix("raw-")
