"""A body compressed as it goes out, piece by piece.

Brotli and Zstandard both have blocks that hold bytes as they are. A stream of such is as valid as any other, and needs
no library: https://www.rfc-editor.org/rfc/rfc7932#section-9.2 and https://www.rfc-editor.org/rfc/rfc8878#section-3.1.1.
"""

from __future__ import annotations

import zlib
from typing import Protocol

from tests.corpus.case import Encoding

_GZIP_BITS = 31  # a window of 32 KiB in gzip's format; without the 16 it is zlib's, which HTTP calls deflate
_ZSTD_HEAD = b"\x28\xb5\x2f\xfd\x00\x58"  # the magic number, no flags, and a window of 2 MiB
_MAX_BLOCK = 2**16


class Compressor(Protocol):
    """Compresses one body."""

    def piece(self, data: bytes) -> bytes:
        """Bytes from which all of `data` can be read, with what came before."""
        ...

    def end(self) -> bytes:
        """What ends the body."""
        ...


class Plain:
    """Leaves a body as it is."""

    def piece(self, data: bytes) -> bytes:
        """The same bytes."""
        return data

    def end(self) -> bytes:
        """Nothing."""
        return b""


class Deflated:
    """zlib's compression, in one of its two formats."""

    def __init__(self, window_bits: int) -> None:
        self._deflate = zlib.compressobj(wbits=window_bits)

    def piece(self, data: bytes) -> bytes:
        """Compressed, and flushed so that it can be read at once."""
        return self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        """The checksum."""
        return self._deflate.flush(zlib.Z_FINISH)


class StoredBrotli:
    """Brotli whose blocks are stored."""

    def __init__(self) -> None:
        self._head_bits = 1  # one bit 0: a window of 64 KiB

    def piece(self, data: bytes) -> bytes:
        """A block for each 64 KiB."""
        return b"".join(self._block(data[start : start + _MAX_BLOCK]) for start in range(0, len(data), _MAX_BLOCK))

    def _block(self, data: bytes) -> bytes:
        # Not the last, four nibbles of length, the length less one, stored: 1 + 2 + 16 + 1 bits, the lowest first.
        bits = ((len(data) - 1) << 3 | 1 << 19) << self._head_bits
        self._head_bits = 0
        return bits.to_bytes(3, "little") + data

    def end(self) -> bytes:
        """An empty block that says it is the last."""
        return b"\x06" if self._head_bits else b"\x03"


class StoredZstd:
    """Zstandard whose blocks are stored."""

    def __init__(self) -> None:
        self._head = _ZSTD_HEAD

    def piece(self, data: bytes) -> bytes:
        """A block for each 64 KiB."""
        head, self._head = self._head, b""
        blocks = [data[start : start + _MAX_BLOCK] for start in range(0, len(data), _MAX_BLOCK)]
        return head + b"".join((len(block) << 3).to_bytes(3, "little") + block for block in blocks)

    def end(self) -> bytes:
        """An empty block that says it is the last."""
        return self._head + b"\x01\x00\x00"


def compressor(encoding: Encoding | None) -> Compressor:
    """For one body; None leaves it plain."""
    match encoding:
        case None:
            return Plain()
        case "gzip":
            return Deflated(_GZIP_BITS)
        case "deflate":
            return Deflated(zlib.MAX_WBITS)
        case "br":
            return StoredBrotli()
        case "zstd":
            return StoredZstd()
