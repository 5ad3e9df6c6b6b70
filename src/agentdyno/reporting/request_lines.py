"""Requests one by one, for a terminal that shows them as they come."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal, NamedTuple

from agentdyno.core.records import Request
from agentdyno.reporting.wording import UNKNOWN, harmless, number, usd


class _Field(NamedTuple):
    heading: str
    width: int
    """Of most values: a line with a longer one is longer."""
    justify: Literal["<", ">"] = "<"


_FIELDS = (
    _Field("came in", 9),
    _Field("purpose", 11),
    _Field("model", 20),
    _Field("status", 17),
    _Field("latency ms", 10, ">"),
    _Field("ttft ms", 7, ">"),
    _Field("tokens in", 9, ">"),
    _Field("out", 7, ">"),
    _Field("counted by", 10),
    _Field("cost usd", 9, ">"),
    _Field("error", 0),
)
HEADING = "  ".join(f"{field.heading:{field.justify}{field.width}}" for field in _FIELDS)


def request_line(request: Request) -> str:
    """What a request came to, below `HEADING`. A dash is unknown."""
    values = (
        datetime.fromtimestamp(request.started_at_us / 1e6, UTC).strftime("%H:%M:%SZ"),
        request.purpose,
        request.model_requested or UNKNOWN,
        request.status,
        number(request.latency_ms),
        number(request.ttft_ms),
        number(request.input_tokens),
        number(request.output_tokens),
        request.usage_source or UNKNOWN,
        usd(request.cost_usd),
        request.error_class or "",
    )
    cells = (f"{harmless(value):{field.justify}{field.width}}" for field, value in zip(_FIELDS, values, strict=True))
    return "  ".join(cells).rstrip()
