"""How far one gateway run was read, and which of its requests still wait for a record."""

from __future__ import annotations

import contextlib
import functools
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

from agentdyno.core.evidence import UNREADABLE_LINE, Evidence, read_identity
from agentdyno.core.records import SpoolCursor
from agentdyno.store.spool import Line

_SETTLED_KEPT = 64
ROUTED_GRACE_US = 60_000_000
"""How long a finished request waits for LiteLLM's own record, which comes within milliseconds or not at all."""


class Pending(Evidence, kw_only=True, gc=False):
    """A request whose records are not all there yet."""

    begins: Line
    """The first line that was read of it."""

    def overdue(self, now_us: int) -> bool:
        """LiteLLM's record does not come any more."""
        return self.answered is not None and now_us > self.answered.at_us + ROUTED_GRACE_US

    @property
    def session_id(self) -> str | None:
        """Whose it is; None too where that cannot be read."""
        with contextlib.suppress(*UNREADABLE_LINE):
            identity = None if self.entered is None else read_identity(self.entered.identity)
            return None if identity is None else identity.session_id
        return None


def line_before(segment: int, offset_bytes: int) -> Line:
    """What stands for the line that ends at a place."""
    return Line(segment, offset_bytes, b"")


_BEGINNING = line_before(1, 0)


@dataclass
class Run:
    """How far one gateway run was read, and what waits."""

    folder: Path
    last: Line = _BEGINNING
    """The last line that was read."""
    closed: bool = False
    exhausted: bool = False
    """The last batch found nothing more."""
    heard_at_us: int = 0
    """The latest time of a record."""
    makes_rows: bool = False
    """Its gateway makes rows, of which one was seen, and they are to be taken."""
    pending: dict[str, Pending] = field(default_factory=dict)
    settled: OrderedDict[str, Pending] = field(default_factory=OrderedDict)
    """The last few that were waited for: LiteLLM may still report a second time."""

    @functools.cached_property
    def gateway_id(self) -> str:
        """The run's name."""
        return self.folder.name

    def reopen(self, key: str, line: Line) -> Pending:
        """A request of which a line is heard, though it was not waited for."""
        pending = self.settled.pop(key) if key in self.settled else Pending(begins=line)
        self.pending[key] = pending
        return pending

    def knows(self, key: str) -> bool:
        """Whether something was read of a request that is still kept."""
        return key in self.pending or key in self.settled

    def settle(self, key: str) -> None:
        """Wait for a request no longer."""
        self.settled[key] = self.pending.pop(key)
        if len(self.settled) > _SETTLED_KEPT:
            self.settled.popitem(last=False)

    def cursor(self) -> SpoolCursor:
        """Where whoever goes on has to begin."""
        first = min((pending.begins for pending in self.pending.values()), default=None)
        place = (self.last.segment, self.last.end_bytes) if first is None else (first.segment, first.offset_bytes)
        return SpoolCursor(self.gateway_id, *place, self.closed)
