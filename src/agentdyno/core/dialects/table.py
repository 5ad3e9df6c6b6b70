"""Which dialect speaks on which surface, and which surface a path is."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from agentdyno.core.dialects import anthropic_messages, openai_chat
from agentdyno.core.dialects.wire import Dialect
from agentdyno.core.records import Surface

DIALECTS: Mapping[Surface, Dialect] = MappingProxyType(
    {"openai_chat": openai_chat, "anthropic_messages": anthropic_messages}
)
_SURFACES: Mapping[str, Surface] = MappingProxyType(
    {
        "/v1/chat/completions": "openai_chat",
        "/chat/completions": "openai_chat",
        "/v1/messages": "anthropic_messages",
    }
)


def surface_of(method: str, path: str) -> Surface | None:
    """The surface of an HTTP request, by its method and its path without query; None when it is not inference."""
    return _SURFACES.get(path) if method == "POST" else None
