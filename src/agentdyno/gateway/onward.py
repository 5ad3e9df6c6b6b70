"""What goes on to LiteLLM: the harness's request, less all that would steer LiteLLM rather than the model."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

import msgspec
from starlette.types import Scope

from agentdyno.core.dialects.reading import UNREADABLE

# Everything by which a client could steer LiteLLM's own bookkeeping, and its wish for compression: between two
# processes of one machine it costs time, and the meter would have to undo it. Also what describes a body that may be
# written anew: as a form, LiteLLM would read in it something else than was admitted.
_WITHHELD_HEADERS = frozenset({b"accept-encoding", b"content-length", b"content-type"})
_WITHHELD_HEADER_PREFIXES = (b"x-litellm-", b"llm_provider-")
WITHHELD_MEMBER_PREFIXES = ("_", "litellm_")
"""LiteLLM passes notes to itself under such names; no vendor's parameter begins so."""
_MODEL = "model"


def onward_scope(scope: Scope, request_key: str, path: str) -> Scope:
    """The request line and headers, under a call id and a path of ours."""
    kept = [
        (name, value)
        for name, value in scope["headers"]
        if name not in _WITHHELD_HEADERS and not name.startswith(_WITHHELD_HEADER_PREFIXES)
    ]
    headers = [*kept, (b"x-litellm-call-id", request_key.encode())]
    return {**scope, "path": path, "raw_path": quote(path).encode(), "headers": headers}


def gemini_path(path: str, model_group: str) -> str:
    """A path of Gemini's surface, as LiteLLM knows it, for another model."""
    return f"/v1beta/models/{model_group}:{path.rpartition(':')[2]}"


def onward_body(body: bytes, withheld: frozenset[str], model_group: str | None = None) -> bytes | None:
    """A JSON object without the members that steer LiteLLM, and with another model's name where one is given.

    The same bytes where nothing is to be changed; None for what is no object, in which LiteLLM may yet read something.
    """
    try:
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except UNREADABLE:
        return None
    kept = {name: value for name, value in members.items() if not _is_withheld(name, withheld)}
    if model_group is not None:
        kept[_MODEL] = msgspec.Raw(msgspec.json.encode(model_group))
    elif len(kept) == len(members):
        return body
    return _encoded(kept)


def _is_withheld(name: str, withheld: frozenset[str]) -> bool:
    return name in withheld or name.startswith(WITHHELD_MEMBER_PREFIXES)


def _encoded(members: Mapping[str, msgspec.Raw]) -> bytes:
    return msgspec.json.encode(members)
