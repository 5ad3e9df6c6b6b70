"""Patterns of paths: `*` and `?` stand for what is within one name, `**` for any number of names."""

from __future__ import annotations

import re
from collections.abc import Iterable

_TOKEN = re.compile(
    r"(?P<folders>\*\*/)|(?P<anything>\*\*)|(?P<name>\*)|(?P<one>\?)|(?P<set>\[!?\]?[^\]/]*\])|(?P<own>.)", re.S
)


def paths_matching(patterns: Iterable[str]) -> re.Pattern[str]:
    """An expression that a path, relative and with slashes, matches in full when it fits one of the patterns."""
    return re.compile("|".join(f"(?:{_expression(pattern)})" for pattern in patterns) or r"(?!)", re.S)


def _expression(pattern: str) -> str:
    return "".join(_part(match) for match in _TOKEN.finditer(pattern.removeprefix("./")))


def _part(match: re.Match[str]) -> str:
    text = match[0]
    if match["folders"]:
        return "(?:.*/)?"
    if match["anything"]:
        return ".*"
    if match["name"]:
        return "[^/]*"
    if match["one"]:
        return "[^/]"
    if match["set"]:
        return _character_set(text[1:-1])
    return re.escape(text)


def _character_set(inside: str) -> str:
    negated = inside.startswith("!")
    characters = inside.removeprefix("!").replace("\\", r"\\").replace("[", r"\[").replace("]", r"\]")
    characters = characters.replace("^", r"\^").replace("&", r"\&").replace("~", r"\~").replace("|", r"\|")
    return f"(?!/)[{'^' if negated else ''}{characters}]"
