"""The lists of models, in the shapes that the vendors' own clients read."""

from __future__ import annotations

import pytest
from anthropic.types import ModelInfo
from google.genai.types import Model as GeminiModel
from openai.types import Model

from agentdyno.gateway.model_list import Listing, listing_document, listing_of

ALL = ("org/large:8b", "small")


@pytest.mark.parametrize(
    ("path", "listing"),
    [
        ("/v1/models", Listing(None)),
        ("/models", Listing(None)),
        ("/v1beta/models", Listing(None)),
        ("/v1/models/small", Listing("small")),
        ("/v1/models/org/large:8b", Listing("org/large:8b")),
        ("/v1beta/models/small", Listing("small")),
        ("/v1/models/", None),
        ("/v2/models", None),
        ("/v1/modelsmall", None),
    ],
)
def test_what_is_asked(path: str, listing: Listing | None) -> None:
    assert listing_of("GET", path) == listing
    assert listing_of("POST", path) is None


def test_every_vendors_client_reads_the_same_list() -> None:
    document = listing_document(Listing(None), ALL, "scripted")
    assert [Model.model_validate(entry).id for entry in document["data"]] == list(ALL)
    assert [ModelInfo.construct(**entry).display_name for entry in document["data"]] == list(ALL)
    assert [GeminiModel(name=entry["name"]).name for entry in document["models"]] == [
        "models/org/large:8b",
        "models/small",
    ]
    assert (document["object"], document["has_more"]) == ("list", False)
    assert (document["first_id"], document["last_id"]) == ALL


def test_one_model_is_one_entry_of_each_list() -> None:
    everything = listing_document(Listing(None), ALL, "scripted")
    assert listing_document(Listing("small"), ALL, "scripted") == {**everything["data"][1], **everything["models"][1]}
