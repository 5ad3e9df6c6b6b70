"""Undoing the compression of an answer, piece by piece, for the meter alone: what is passed on stays compressed."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol

import brotli
import zstandard


class BrokenEncoding(ValueError):
    """The bytes are not what their content encoding says."""


class Decoder(Protocol):
    """Takes encoded bytes in any chunking."""

    def __call__(self, data: bytes) -> bytes:
        """What these bytes and those before them give beyond what was given. Raises BrokenEncoding."""
        ...


def decoder_of(content_encoding: str) -> Decoder | None:
    """A decoder for the value of a `Content-Encoding` header; None where nothing is encoded.

    An encoding that is not known is none, as it is to LiteLLM's client: servers call a plain body `utf-8`.
    """
    names = [name.strip().lower() for name in content_encoding.split(",")]
    decoders = [_DECODERS[name]() for name in reversed(names) if name in _DECODERS]
    if len(decoders) < 2:
        return decoders[0] if decoders else None

    def decode(data: bytes) -> bytes:
        for decoder in decoders:
            data = decoder(data)
        return data

    return decode


class _Zlib:
    """gzip, of one member or several, and zlib's own format. What follows a member and begins none is padding."""

    def __init__(self, window_bits: int) -> None:
        self._window_bits = window_bits
        self._decompressor = zlib.decompressobj(window_bits)
        self._has_member = False

    def __call__(self, data: bytes) -> bytes:
        decoded = b""
        try:
            while data:
                if self._decompressor.eof:
                    self._has_member = True
                    self._decompressor = zlib.decompressobj(self._window_bits)
                decoded += self._decompressor.decompress(data)
                data = self._decompressor.unused_data
        except zlib.error as error:
            if not self._has_member:
                raise BrokenEncoding(str(error)) from error
        return decoded


class _Deflate:
    """`deflate`: zlib's format by the standard, and bare deflate by some servers. The first byte tells."""

    def __init__(self) -> None:
        self._zlib: _Zlib | None = None

    def __call__(self, data: bytes) -> bytes:
        if not data:
            return b""
        if self._zlib is None:
            # zlib's first byte names method 8 in its lower half; a bare deflate block that begins so would be a
            # stored one with bits set that every encoder leaves 0.
            self._zlib = _Zlib(zlib.MAX_WBITS if data[0] & 0x0F == 8 else -zlib.MAX_WBITS)
        return self._zlib(data)


def _gzip() -> Decoder:
    return _Zlib(zlib.MAX_WBITS | 16)


def _brotli() -> Decoder:
    decompressor = brotli.Decompressor()

    def decode(data: bytes) -> bytes:
        try:
            decoded: bytes = decompressor.process(data)
        except brotli.error as error:
            raise BrokenEncoding(str(error)) from error
        return decoded

    return decode


def _zstd() -> Decoder:
    decompressor = zstandard.ZstdDecompressor().decompressobj(read_across_frames=True)

    def decode(data: bytes) -> bytes:
        try:
            return decompressor.decompress(data)
        except zstandard.ZstdError as error:
            raise BrokenEncoding(str(error)) from error

    return decode


_DECODERS: Mapping[str, Callable[[], Decoder]] = MappingProxyType(
    {"gzip": _gzip, "x-gzip": _gzip, "deflate": _Deflate, "br": _brotli, "zstd": _zstd}
)
