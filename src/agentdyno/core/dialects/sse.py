"""Server-sent events, split as they arrive.

The rules are those of the HTML standard's event stream format: lines end with CR, LF or CRLF and nothing else, one BOM
at the start is skipped, a line that begins with a colon is a comment, several `data` lines make one event, and an event
that no blank line ended is discarded. Event names, ids and retry times are not kept: on every surface the data says its
own type.
"""

from __future__ import annotations

from typing import NamedTuple

_BOM = b"\xef\xbb\xbf"
_BLANKS = b" \t\r\n" + _BOM
_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")
"""How a line begins; the last is a comment's."""


class SentEvent(NamedTuple):
    """One event's data."""

    data: bytes
    offset_us: int
    """When the chunk came that holds the first byte of its first `data` line."""


def is_blank(data: bytes) -> bool:
    """Whether the first bytes of a body may yet begin anything."""
    return not data.strip(_BLANKS)


def begins_events(data: bytes) -> bool:
    """Whether a body that begins so is a stream of events, though a server may call it something else.

    A few bytes suffice: no JSON begins like any of the names that stand first in a line.
    """
    begun = data.lstrip(_BLANKS)
    return any(begun.startswith(field) or field.startswith(begun) for field in _FIELDS)


class EventSplitter:
    """Bytes in any chunking to events. The same bytes give the same data, however they are cut."""

    def __init__(self) -> None:
        self._head: bytes | None = b""
        self._partial: list[bytes] = []
        self._partial_offset_us = 0
        self._after_cr = False
        self._data: list[bytes] = []
        self._data_offset_us = 0

    def feed(self, chunk: bytes, offset_us: int) -> list[SentEvent]:
        """The events that end within `chunk`, which came at `offset_us`."""
        if self._head is not None:
            chunk = self._without_bom(self._head + chunk)
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return self._take_lines(chunk.split(b"\n"), offset_us)

    def _without_bom(self, head: bytes) -> bytes:
        """The stream's first bytes less a BOM; nothing while they may still become one."""
        if len(head) < len(_BOM) and _BOM.startswith(head):
            self._head = head
            return b""
        self._head = None
        return head.removeprefix(_BOM)

    def _take_lines(self, lines: list[bytes], offset_us: int) -> list[SentEvent]:
        """Take whole lines, the first of which may have begun earlier, and keep the last, which is not over."""
        rest = lines.pop()
        at_us = offset_us
        if lines and self._partial:
            self._partial.append(lines[0])
            lines[0] = b"".join(self._partial)
            self._partial.clear()
            at_us = self._partial_offset_us
        events = []
        for line in lines:
            if not line:
                if self._data:
                    events.append(SentEvent(b"\n".join(self._data), self._data_offset_us))
                    self._data.clear()
            elif line.startswith(b"data:") or line == b"data":
                if not self._data:
                    self._data_offset_us = at_us
                self._data.append(line[6:] if line.startswith(b"data: ") else line[5:])
            at_us = offset_us
        if rest:
            if not self._partial:
                self._partial_offset_us = offset_us
            self._partial.append(rest)
        return events
