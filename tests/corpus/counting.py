"""What usage objects say by the vendors' references, told apart from how the stand reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from agentdyno.core.records import Surface


class Counted(NamedTuple):
    """Tokens by the definitions of docs/accounting.md; None is unknown."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None


def counted(surface: Surface, usages: Sequence[Mapping[str, Any]], *, whole: bool) -> Counted:
    """What the usage objects of one answer, in their order, tell of it. Of a broken answer they do not tell the output.

    Every figure of these objects is a running total.
    """
    said: dict[str, Any] = {}
    for usage in usages:
        said |= {name: value for name, value in usage.items() if value is not None}
    if not said:
        return Counted()
    match surface:
        case "openai_chat":
            found = _openai(said, "prompt", "completion")
        case "openai_responses":
            found = _openai(said, "input", "output")
        case "anthropic_messages":
            found = _anthropic(said)
        case "gemini":
            found = _google(said)
    return found if whole else found._replace(output_tokens=None, reasoning_tokens=None)


def _openai(said: Mapping[str, Any], read: str, written: str) -> Counted:
    prompt, completion = said.get(f"{read}_tokens_details", {}), said.get(f"{written}_tokens_details", {})
    return Counted(
        said.get(f"{read}_tokens"),
        said.get(f"{written}_tokens"),
        prompt.get("cached_tokens"),
        prompt.get("cache_write_tokens"),
        completion.get("reasoning_tokens"),
    )


def _anthropic(said: Mapping[str, Any]) -> Counted:
    read, written = said.get("cache_read_input_tokens"), said.get("cache_creation_input_tokens")
    cached = (0 if read is None else read) + (0 if written is None else written)
    thinking = said.get("output_tokens_details", {}).get("thinking_tokens")
    return Counted(said["input_tokens"] + cached, said["output_tokens"], read, written, thinking)


def _google(said: Mapping[str, Any]) -> Counted:
    thoughts = said.get("thoughtsTokenCount")
    return Counted(
        said["promptTokenCount"] + said.get("toolUsePromptTokenCount", 0),
        said.get("candidatesTokenCount", 0) + (0 if thoughts is None else thoughts),
        said.get("cachedContentTokenCount"),
        None,
        thoughts,
    )
