"""What was used, by key, model, provider, harness or day: for a terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from agentdyno.reporting.tables import Column, PlainTable, plain_table
from agentdyno.reporting.wording import UNKNOWN, at_least, number, usd
from agentdyno.store.accounts import Grouping, Used

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COUNTED_BY: Mapping[str, str] = MappingProxyType(
    {"provider": "by_provider", "proxy": "by_proxy", "estimated": "estimated", "nobody": "by_nobody"}
)


def render_usage(by: Grouping, used: Sequence[Used]) -> PlainTable:
    """A row for each group. What no group has is left out, like what nobody counted."""
    columns = (
        Column(by),
        *(Column(heading, "right") for heading in ("requests", "ok", "tokens\nin", "tokens\nout")),
        *(Column(heading, "right", optional=True) for heading in ("cache\nread", "cache\nwritten", "reasoning")),
        Column("cost\nusd", "right", optional=True),
        *(Column(f"counted by\n{whom}", "right", optional=True) for whom in _COUNTED_BY),
        Column("used\nnothing", "right", optional=True),
    )
    return plain_table(columns, (_row(by, group) for group in used))


def _row(by: Grouping, used: Used) -> tuple[str | None, ...]:
    tokens, unknown = used.tokens, used.uncounted
    whose = (*(getattr(used, source) for source in _COUNTED_BY.values()), used.used_nothing)
    return (
        _name(by, used) or UNKNOWN,
        number(used.requests),
        number(used.ok),
        _sum(tokens.input_tokens, unknown.input_tokens) or UNKNOWN,
        _sum(tokens.output_tokens, unknown.output_tokens) or UNKNOWN,
        _sum(tokens.cache_read_tokens, unknown.input_tokens),
        _sum(tokens.cache_write_tokens, unknown.input_tokens),
        _sum(tokens.reasoning_tokens, unknown.output_tokens),
        None if used.cost_usd is None else at_least(usd(used.cost_usd), used.unpriced),
        *(number(count) if count else None for count in whose),
    )


def _sum(tokens: int | None, unknown: int) -> str | None:
    """A sum of tokens; of a part of the input or the output, as much is unknown as of the whole."""
    return None if tokens is None else at_least(number(tokens), unknown)


def usage_document(by: Grouping, used: Iterable[Used]) -> list[dict[str, Any]]:
    """All of it as JSON values."""
    return [
        {
            by: _name(by, group),
            "requests": group.requests,
            "ok": group.ok,
            **group.tokens._asdict(),
            "uncounted": group.uncounted._asdict(),
            "cost_usd": group.cost_usd,
            "unpriced": group.unpriced,
            "counted_by": {whom: getattr(group, source) for whom, source in _COUNTED_BY.items()},
            "used_nothing": group.used_nothing,
        }
        for group in used
    ]


def _name(by: Grouping, used: Used) -> str | None:
    """A group's name; a day as `2026-01-31`."""
    if by == "day" and isinstance(used.group, int):
        return (_EPOCH + timedelta(days=used.group)).date().isoformat()
    return None if used.group is None else str(used.group)
