"""uvicorn, as more than one of it can run in a process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import uvicorn


class AsgiServer(uvicorn.Server):
    """uvicorn that leaves signals to us: it would raise them again before LiteLLM's logs are flushed."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield
