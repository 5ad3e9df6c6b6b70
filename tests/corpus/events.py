"""An event of a stream, as the surfaces make them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple


class Event(NamedTuple):
    """One event of a stream, or a comment."""

    data: Mapping[str, Any] | str
    """A JSON object, or text as it is."""
    name: str | None = None
    usage: Mapping[str, Any] | None = None
    """The usage object in it."""
    terminal: bool = False
    """It marks the end of the answer."""
    comment: bool = False
    escapes_line_separators: bool = False
    """Write U+2028 and U+2029 as escapes, as Google's JSON does; the others write them as they are."""

    def encoded(self, line_end: str) -> bytes:
        """Its bytes on the wire."""
        data = self.data if isinstance(self.data, str) else json.dumps(self.data, ensure_ascii=False)
        if self.comment:
            return f": {data}{line_end}{line_end}".encode()
        if self.escapes_line_separators:
            data = data.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
        head = "" if self.name is None else f"event: {self.name}{line_end}"
        return f"{head}data: {data}{line_end}{line_end}".encode()
