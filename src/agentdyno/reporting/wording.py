"""Numbers and times in the words that people read."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime

UNKNOWN = "–"
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, those that turn the direction of writing, and lone surrogates."""


def harmless(text: str) -> str:
    """A text from elsewhere for a terminal: what would steer it is spelled out, an escape as `\\x1b`."""
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def number(value: float | None, digits: int = 0) -> str:
    """A number with thousands apart; a dash for what is unknown."""
    return UNKNOWN if value is None else f"{value:,.{digits}f}"


def at_least(text: str, unknown: int) -> str:
    """A sum, marked where something that belongs to it is unknown."""
    return f"≥ {text}" if unknown else text


def usd(value: float | None, digits: int = 4) -> str:
    """An amount of money: to so many digits, or to two that are not 0 where it is small; `0` for nothing at all."""
    if not value:
        return UNKNOWN if value is None else "0"
    return number(value, max(digits, 1 - math.floor(math.log10(abs(value)))))


def whose_tokens(by_proxy: int, estimated: int, noun: str = "request") -> Iterator[str]:
    """The marks of tokens that are not the provider's own: `of 2 requests counted by proxy`."""
    if by_proxy:
        yield f"of {plural(by_proxy, noun)} counted by proxy"
    if estimated:
        yield f"of {plural(estimated, noun)} estimated"


def moment(at_us: int | None) -> str:
    """A time in UTC, to the second; a dash for what is unknown, and for what no calendar has."""
    if at_us is None:
        return UNKNOWN
    try:
        return datetime.fromtimestamp(at_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return UNKNOWN


def plural(count: int, noun: str) -> str:
    """`1 session`, `2 sessions`."""
    return f"{number(count)} {noun}" if count == 1 else f"{number(count)} {noun}s"


def ending(code: int) -> str:
    """How a process ended; a negative code is a signal's."""
    return f"exit code {code}" if code >= 0 else f"signal {-code}"
