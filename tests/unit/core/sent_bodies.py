"""Requests as harnesses send them: one talk, as the body of any surface."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, TypeVar

from hypothesis import strategies as st

from agentdyno.core.dialects.table import DIALECTS
from agentdyno.core.records import Surface

SURFACES: tuple[Surface, ...] = tuple(DIALECTS)
MARK = {"type": "ephemeral"}
T = TypeVar("T")
TEXTS = st.text(st.characters(exclude_characters="#", exclude_categories=["Cs"]), min_size=1, max_size=12)


class Said(NamedTuple):
    """One message."""

    kind: Literal["user", "assistant", "tool_result"]
    text: str


class Talk(NamedTuple):
    """What a harness sends in a turn."""

    tools: tuple[str, ...]
    system: tuple[str, ...]
    said: tuple[Said, ...]


def talks() -> st.SearchStrategy[Talk]:
    """Talks of a few messages."""
    said = st.builds(Said, st.sampled_from(["user", "assistant", "tool_result"]), TEXTS)
    return st.builds(
        Talk,
        st.lists(TEXTS, max_size=3).map(tuple),
        st.lists(TEXTS, max_size=2).map(tuple),
        st.lists(said, min_size=1, max_size=5).map(tuple),
    )


def body_of(surface: Surface, talk: Talk) -> dict[str, Any]:
    """The body of a request. Its tools have a parameter that is called like a mark, and is none."""
    schema = {"type": "object", "properties": {"cache_control": {"type": "string"}}}
    match surface:
        case "anthropic_messages":
            return {
                "tools": [{"name": name, "input_schema": schema} for name in talk.tools],
                "system": [{"type": "text", "text": text} for text in talk.system],
                "messages": [_message(said) for said in talk.said],
            }
        case "openai_chat":
            functions = [{"type": "function", "function": {"name": name, "parameters": schema}} for name in talk.tools]
            system = [{"role": "system", "content": [{"type": "text", "text": text}]} for text in talk.system]
            return {"tools": functions, "messages": system + [_chat(said) for said in talk.said]}
        case "openai_responses":
            tools = [{"type": "function", "name": name, "parameters": schema} for name in talk.tools]
            return {
                "tools": tools,
                "instructions": "\n".join(talk.system),
                "input": [_item(said) for said in talk.said],
            }
        case "gemini":
            declared = [{"name": name, "parameters": schema} for name in talk.tools]
            return {
                "tools": [{"functionDeclarations": [each]} for each in declared],
                "systemInstruction": {"parts": [{"text": text} for text in talk.system]},
                "contents": [_content(said) for said in talk.said],
            }


def _message(said: Said) -> dict[str, Any]:
    if said.kind == "tool_result":
        result = [{"type": "text", "text": said.text}, {"type": "image", "source": {"type": "url", "url": "u"}}]
        return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": result}]}
    return {"role": said.kind, "content": [{"type": "text", "text": said.text}, {"type": "text", "text": "more"}]}


def _chat(said: Said) -> dict[str, Any]:
    role = "tool" if said.kind == "tool_result" else said.kind
    image = {"type": "image_url", "image_url": {"url": "u"}}
    return {"role": role, "content": [{"type": "text", "text": said.text}, image]}


def _item(said: Said) -> dict[str, Any]:
    if said.kind == "tool_result":
        return {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": said.text}]}
    return {"type": "message", "role": said.kind, "content": [{"type": "input_text", "text": said.text}]}


def _content(said: Said) -> dict[str, Any]:
    if said.kind == "tool_result":
        return {"role": "user", "parts": [{"functionResponse": {"name": said.text}}]}
    return {"role": "model" if said.kind == "assistant" else "user", "parts": [{"text": said.text}]}


def marked(surface: Surface, body: dict[str, Any], draw: Callable[[st.SearchStrategy[bool]], bool]) -> dict[str, Any]:
    """The same body with marks for the cache at some of the places where the surface takes them."""
    found = copy.deepcopy(body)
    mark = "prompt_cache_breakpoint" if surface == "openai_responses" else "cache_control"
    for block in _markable(surface, found):
        if draw(st.booleans()):
            block[mark] = MARK
    return found


def _markable(surface: Surface, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if surface != "openai_responses":
        yield from body["tools"]
        yield from body.get("system", ())
    for message in body.get("messages", body.get("input", ())):
        blocks = message.get("content", message.get("output"))
        yield from blocks
        for block in blocks:
            yield from block.get("content", ())
