"""What a request is made of: its parts, in the order in which a provider's cache reads them.

All tools together are one part; each block of the system prompt, and each message, is one. A part's bytes are the
client's own, but for what moves from turn to turn while the content stays. Marks that tell a provider what to cache are
dropped. A list of one block of text is as the text itself: harnesses write it as a list only while it bears a mark. And
blanks between the members of tools, messages and their blocks are dropped too.

Nothing is raised for what the wire brings. What cannot be read is no part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import msgspec

from agentdyno.core.dialects.reading import UNREADABLE, decode, items, members
from agentdyno.core.dialects.wire import Part, PartKind

Held = Literal["said", "tool_result", "media"]
"""What a block holds: what somebody said, a tool's result, or a file."""
Members = dict[str, Any]
"""The members of an object, undecoded; but for the blocks in it, once they are settled."""
NOTHING = msgspec.Raw(b"null")
_DEEPEST = 4
"""How deep blocks stand in blocks: message, tool result, document, its source, that one's blocks."""
_ROLES: Mapping[bytes, PartKind] = MappingProxyType(
    {
        b'"user"': "user",
        b'"assistant"': "assistant",
        b'"model"': "assistant",
        b'"system"': "system",
        b'"developer"': "system",
        b'"tool"': "tool_result",
        b'"function"': "tool_result",
    }
)
_TEXTS = frozenset({b'"text"', b'"input_text"'})
_TEXT_MEMBERS = frozenset({"type", "text"})
_encode = msgspec.json.Encoder().encode
_blocks = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])


class Shape(NamedTuple):
    """How a surface writes the blocks of a message."""

    held: Callable[[Members], Held]
    """What a block holds."""
    nested: tuple[str, ...]
    """Members of messages and of blocks that hold blocks, or are one."""
    marks: tuple[str, ...] = ()
    """Members that tell the provider what to cache, and are no content."""


class _Tally(NamedTuple):
    """What is in a block."""

    held: Held
    tool_results_bytes: int = 0
    media_bytes: int = 0


class _Settled(NamedTuple):
    """A member of a block."""

    value: Any
    """What is to be encoded in the place of what was there."""
    tally: _Tally = _Tally("said")


def word(block: Members, name: str) -> bytes:
    """A member that is a word, in its quotes; empty where it is not there."""
    found = block.get(name)
    return b"" if found is None else bytes(found)


def role_kind(message: Members) -> PartKind:
    """The kind of a message, by its role."""
    return _ROLES.get(word(message, "role"), "other")


def objects(encoded: msgspec.Raw) -> list[Members]:
    """The objects of a JSON array; what else is in it is left out."""
    try:
        found = decode(encoded, _blocks)
    except UNREADABLE:
        found = [members(item) for item in items(encoded)]
    return [item for item in found if item]


def tools_parts(encoded: msgspec.Raw, shape: Shape, count: Callable[[list[Members]], int] = len) -> list[Part]:
    """All tools as one part; none where none is offered."""
    offered = objects(encoded)
    tools = count(offered)
    if not tools:
        return []
    for tool in offered:
        _settle(tool, shape)
    return [Part("tools", _encode(offered), tools=tools)]


def system_parts(encoded: msgspec.Raw, shape: Shape) -> list[Part]:
    """The blocks of a system prompt that stands apart from the messages; a text is one."""
    text = bytes(encoded)
    if text.startswith(b'"'):
        return [Part("system", text)]
    parts = []
    for block in objects(encoded):
        part, plain = message_part(block, "system", shape), _plain(block)
        parts.append(part if plain is None else Part("system", bytes(plain)))
    return parts


def message_part(message: Members, kind: PartKind, shape: Shape) -> Part:
    """A message as a part. What is around its blocks counts to what its kind says."""
    held, tool_results_bytes, media_bytes = _settle(message, shape)
    encoded = _encode(message)
    if kind == "user" and held == "tool_result":
        kind = "tool_result"
    if kind == "tool_result":
        tool_results_bytes = len(encoded) - media_bytes
    return Part(kind, encoded, tool_results_bytes, media_bytes)


def _settle(block: Members, shape: Shape, depth: int = 0) -> _Tally:
    """Take out of a message or a block what is no content, and measure what is no speech."""
    for mark in shape.marks:
        block.pop(mark, None)
    held, tool_results_bytes, media_bytes = shape.held(block), 0, 0
    for name in shape.nested if depth < _DEEPEST else ():
        if name in block:
            block[name], inner = _settle_member(block[name], shape, depth + 1)
            tool_results_bytes += inner.tool_results_bytes
            media_bytes += inner.media_bytes
            held = "tool_result" if held == "said" and inner.held == "tool_result" else held
    match held:
        case "media":
            return _Tally(held, media_bytes=len(_encode(block)))
        case "tool_result":
            return _Tally(held, len(_encode(block)) - media_bytes, media_bytes)
        case "said":
            return _Tally(held, tool_results_bytes, media_bytes)


def _settle_member(encoded: msgspec.Raw, shape: Shape, depth: int) -> _Settled:
    """Settle the blocks in a member of a block, if there are any. Together they are a result where each of them is."""
    first = bytes(memoryview(encoded)[:1])
    if first == b"{":
        block = members(encoded)
        return _Settled(block, _settle(block, shape, depth))
    if first != b"[":
        return _Settled(encoded)
    try:
        blocks = decode(encoded, _blocks)
    except UNREADABLE:
        return _Settled(encoded)
    only_results, tool_results_bytes, media_bytes = bool(blocks), 0, 0
    for block in blocks:
        tally = _settle(block, shape, depth)
        tool_results_bytes += tally.tool_results_bytes
        media_bytes += tally.media_bytes
        only_results = only_results and tally.held == "tool_result"
    plain = _plain(blocks[0]) if len(blocks) == 1 else None
    if plain is not None:
        return _Settled(plain)
    held: Held = "tool_result" if only_results else "said"
    return _Settled(blocks, _Tally(held, tool_results_bytes, media_bytes))


def _plain(block: Members) -> Any:
    """The text of a block that holds nothing else, once its marks are taken out."""
    return block["text"] if block.keys() == _TEXT_MEMBERS and word(block, "type") in _TEXTS else None
