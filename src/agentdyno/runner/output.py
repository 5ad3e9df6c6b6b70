"""What a harness printed: content, of which only facts outlive its cell, unless its experiment keeps it."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agentdyno.core.errors import SandboxFault
from agentdyno.core.judgement import error_class_of
from agentdyno.core.secrets import redact

_TAIL_BYTES = 8192
_CHUNK_BYTES = 1024**2


class Output:
    """A file that takes what a harness prints. It is held open: the harness may put anything in its place."""

    def __init__(self, descriptor: int, limit_bytes: int | None) -> None:
        self._descriptor = descriptor
        self._limit_bytes = limit_bytes
        """More than that is read by nobody: a file may claim to hold what no disk could."""

    def facts(self) -> dict[str, Any]:
        """Its size, its digest, unless it is larger than it may be, and what kind of error it ends with."""
        size_bytes = os.fstat(self._descriptor).st_size
        whole = self._limit_bytes is None or size_bytes <= self._limit_bytes
        tail = os.pread(self._descriptor, _TAIL_BYTES, max(0, size_bytes - _TAIL_BYTES))
        return {
            "output_bytes": size_bytes,
            "output_digest": self._digest() if whole else None,
            "error_class": error_class_of(tail),
        }

    def keep(self, path: Path) -> None:
        """Write as much of it as it may hold to another file, redacted, for its owner only."""
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(redact(b"".join(self._chunks()).decode("utf-8", "replace")), "utf-8")

    def _digest(self) -> str:
        digest = hashlib.sha256()
        for chunk in self._chunks():
            digest.update(chunk)
        return f"sha256:{digest.hexdigest()}"

    def _chunks(self) -> Iterator[bytes]:
        at = 0
        while self._limit_bytes is None or at < self._limit_bytes:
            wanted = _CHUNK_BYTES if self._limit_bytes is None else min(_CHUNK_BYTES, self._limit_bytes - at)
            chunk = os.pread(self._descriptor, wanted, at)
            if not chunk:
                return
            yield chunk
            at += len(chunk)


@contextlib.contextmanager
def output_at(path: Path, limit_bytes: int | None) -> Iterator[Output]:
    """A new file for what a harness prints. Raises SandboxFault where there can be none."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SandboxFault(f"{path} cannot be written: {error.strerror}") from error
    try:
        yield Output(descriptor, limit_bytes)
    finally:
        os.close(descriptor)
