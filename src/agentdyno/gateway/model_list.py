"""The lists of models that harnesses ask for before they work. Pure.

OpenAI's, Anthropic's and Google's clients ask at the same paths, so that one document speaks to all three.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

_PATH = re.compile(r"(?:/v1|/v1beta)?/models(?:/(?P<model>.+))?", re.DOTALL)
_OPERATIONS = ("generateContent", "streamGenerateContent", "countTokens")
_SINCE = "1970-01-01T00:00:00Z"
"""A time that the vendors' shapes demand and nobody knows."""


class Listing(NamedTuple):
    """What is asked for."""

    model: str | None
    """The one model asked about; none for the list of all."""


def listing_of(method: str, path: str) -> Listing | None:
    """What a request asks of the models; None when it is no such request."""
    match = _PATH.fullmatch(path)
    return Listing(match["model"]) if match is not None and method == "GET" else None


def listing_document(listing: Listing, models: Sequence[str], owner: str) -> dict[str, Any]:
    """The answer to it, in all shapes at once."""
    if listing.model is not None:
        return {**_model(listing.model, owner), **_gemini_model(listing.model)}
    pages = {"has_more": False, "first_id": models[0], "last_id": models[-1]}
    data = [_model(model, owner) for model in models]
    return {"object": "list", "data": data, **pages, "models": [_gemini_model(model) for model in models]}


def _model(model: str, owner: str) -> dict[str, Any]:
    openai = {"id": model, "object": "model", "created": 0, "owned_by": owner}
    return {**openai, "type": "model", "display_name": model, "created_at": _SINCE}


def _gemini_model(model: str) -> dict[str, Any]:
    return {"name": f"models/{model}", "displayName": model, "supportedGenerationMethods": list(_OPERATIONS)}
