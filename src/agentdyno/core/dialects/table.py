"""Which dialect speaks on which surface, and what an HTTP request asks for by its path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from agentdyno.core.dialects import anthropic_messages, gemini, openai_chat, openai_responses
from agentdyno.core.dialects.reading import name
from agentdyno.core.dialects.wire import Dialect
from agentdyno.core.records import Surface


class Call(NamedTuple):
    """What an HTTP request asks for, as far as its path says."""

    surface: Surface
    model: str | None = None
    """The model, on a surface whose paths name it."""
    streamed: bool | None = None
    """Whether the answer is to be a stream, on a surface whose paths say so."""
    counts_tokens: bool = False
    """It asks how many tokens a prompt has, and for no answer of the model."""


DIALECTS: Mapping[Surface, Dialect] = MappingProxyType(
    {
        "openai_chat": openai_chat,
        "openai_responses": openai_responses,
        "anthropic_messages": anthropic_messages,
        "gemini": gemini,
    }
)
_PATHS: Mapping[str, Call] = MappingProxyType(
    {
        "/v1/chat/completions": Call("openai_chat"),
        "/chat/completions": Call("openai_chat"),
        "/v1/responses": Call("openai_responses"),
        "/responses": Call("openai_responses"),
        "/v1/messages": Call("anthropic_messages"),
        "/v1/messages/count_tokens": Call("anthropic_messages", counts_tokens=True),
    }
)
_UPSTREAM_ENDINGS: Mapping[str, Surface] = MappingProxyType(
    {
        "/chat/completions": "openai_chat",
        "/responses": "openai_responses",
        "/messages": "anthropic_messages",
        ":generateContent": "gemini",
        ":streamGenerateContent": "gemini",
    }
)
# Vertex takes other vendors' own bodies: which of them, the publisher says.
_VERTEX_RAW = re.compile(
    r"/publishers/(?P<publisher>anthropic|mistralai)/models/(?!count-tokens:)[^/:]+:(?:rawPredict|streamRawPredict)$"
)
_VERTEX_PUBLISHERS: Mapping[str, Surface] = MappingProxyType(
    {"anthropic": "anthropic_messages", "mistralai": "openai_chat"}
)
_GEMINI = re.compile(r"/(?:v1beta|v1)/models/(?P<model>.+):(?P<operation>\w+)")
_GEMINI_CALLS = ("generateContent", "streamGenerateContent", "countTokens")


def call_of(method: str, path: str) -> Call | None:
    """What an HTTP request asks for, by its method and its path without query; None when it is not inference."""
    if method != "POST":
        return None
    match = _GEMINI.fullmatch(path)
    if match is None:
        return _PATHS.get(path)
    model, operation = match["model"], match["operation"]
    if operation not in _GEMINI_CALLS:
        return None
    return Call(
        "gemini", model=name(model), streamed=operation.startswith("stream"), counts_tokens=operation == "countTokens"
    )


def upstream_surface(path: str) -> Surface | None:
    """The protocol in which a provider is asked, by how its path ends; None where no dialect reads it."""
    found = next((surface for ending, surface in _UPSTREAM_ENDINGS.items() if path.endswith(ending)), None)
    if found is not None:
        return found
    raw = _VERTEX_RAW.search(path)
    return None if raw is None else _VERTEX_PUBLISHERS[raw["publisher"]]
