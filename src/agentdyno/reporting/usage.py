"""What was used, by key, model, provider, harness or day: for a terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from agentdyno.reporting.tables import Column, PlainTable, plain_table
from agentdyno.reporting.wording import UNKNOWN, number
from agentdyno.store.accounts import Grouping, Used

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SOURCES = ("by_provider", "by_proxy", "estimated", "uncounted")


def render_usage(by: Grouping, used: Sequence[Used]) -> PlainTable:
    """A row for each group. What no group has is left out, like what nobody counted."""
    columns = (
        Column(by),
        *(Column(heading, "right") for heading in ("requests", "ok", "tokens\nin", "tokens\nout")),
        *(Column(heading, "right", optional=True) for heading in ("cache\nread", "cache\nwritten", "reasoning")),
        Column("cost\nusd", "right", optional=True),
        *(
            Column(f"counted by\n{witness}", "right", optional=True)
            for witness in ("provider", "proxy", "an estimate", "nobody")
        ),
    )
    return plain_table(columns, (_row(by, group) for group in used))


def _row(by: Grouping, used: Used) -> tuple[str | None, ...]:
    whole, parts = used.tokens[:2], used.tokens[2:]
    return (
        _name(by, used) or UNKNOWN,
        number(used.requests),
        number(used.ok),
        *(number(count) for count in whole),
        *(None if count is None else number(count) for count in parts),
        _cost(used),
        *(number(count) if (count := getattr(used, source)) else None for source in _SOURCES),
    )


def _cost(used: Used) -> str | None:
    """The sum of what is known, marked where some of it is not."""
    if used.cost_usd is None:
        return None
    return f"≥ {number(used.cost_usd, 4)}" if used.unpriced else number(used.cost_usd, 4)


def usage_document(by: Grouping, used: Iterable[Used]) -> list[dict[str, Any]]:
    """All of it as JSON values."""
    return [
        {
            by: _name(by, group),
            "requests": group.requests,
            "ok": group.ok,
            **group.tokens._asdict(),
            "cost_usd": group.cost_usd,
            "unpriced": group.unpriced,
            "usage_source": {
                "provider": group.by_provider,
                "proxy": group.by_proxy,
                "estimated": group.estimated,
                "none": group.uncounted,
            },
        }
        for group in used
    ]


def _name(by: Grouping, used: Used) -> str | None:
    """A group's name; a day as `2026-01-31`."""
    if by == "day" and isinstance(used.group, int):
        return (_EPOCH + timedelta(days=used.group)).date().isoformat()
    return None if used.group is None else str(used.group)
