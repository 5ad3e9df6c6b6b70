"""The spool's records: content-free facts of one exchange, from which its row can be made again at any time.

A gateway appends four kinds of lines for a request, joined by `request_key`: `entered` before a byte of it goes on,
`tried` when an attempt at the provider is over, `answered` before the last byte of its answer goes out, and `routed`
when LiteLLM reports what it did. Behind the last of them it appends `made`, the row that they make, to spare whoever
collects the making; it tells nothing that they do not tell. They are JSON objects, told apart by `kind`. None can refer
back to itself, so that the garbage collector has no business with them.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

Whole = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""A number that fits a column: a line that holds another is unreadable, and must not stop those after it."""


class Identity(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """To whom a request belongs, settled by its credential."""

    session_id: str
    variant: str
    task_card: str
    provider: str
    key_hash: str
    key_alias: str
    experiment: str | None = None


class Entered(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="kind", tag="entered"):
    """A request came in. `surface` is none for a path that is not inference."""

    request_key: str
    at_us: Whole
    path: str
    request_bytes: Whole
    surface: str | None = None
    model: str | None = None
    streamed: bool = False
    purpose: str = "work"
    """What the request is for: the harness's work, or a kind of side call."""
    harness_ids: dict[str, str] = {}
    """Ids of its own that the harness sent, by the headers that its profile names."""
    identity: Identity | None = None


class Anatomy(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What a harness sent, part by part: sizes and keyed digests, and no text."""

    system_bytes: Whole = 0
    tools: Whole = 0
    """How many tools are offered."""
    tools_bytes: Whole = 0
    history_bytes: Whole = 0
    """Of what people and the model said, tool calls included."""
    tool_results_bytes: Whole = 0
    media_bytes: Whole = 0
    """Of pictures and other files, wherever they stand."""
    messages: Whole = 0
    prefix: list[tuple[str, int, str]] = []
    """The parts in the order in which a provider's cache reads them: kind, bytes, digest keyed by the credential."""


class PriceTier(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """USD a token, where the input has more than some tokens."""

    input_usd: float
    output_usd: float
    cache_read_usd: float | None = None
    cache_write_usd: float | None = None
    cache_write_1h_usd: float | None = None
    """Of what is to stay an hour; as `cache_write_usd` where it has no price of its own."""
    reasoning_usd: float | None = None
    """Of reasoning; as `output_usd` where it has no price of its own."""
    above_input_tokens: Whole = 0


class Price(msgspec.Struct, frozen=True, gc=False):
    """What a model's tokens cost, by a version of a price table."""

    version: str
    tiers: list[PriceTier]
    """By `above_input_tokens`, the lowest first: the last that an attempt's input is in prices all of its tokens."""


class Tried(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="kind", tag="tried"):
    """One attempt at the provider, from the provider's own bytes. Offsets count as those of an answer do."""

    request_key: str
    attempt: Whole
    """1 for the first."""
    at_us: Whole
    """When it ended."""
    begun_offset_us: Whole
    ended_offset_us: Whole
    """When the last byte came, or the attempt failed."""
    request_bytes: Whole = 0
    response_bytes: Whole = 0
    """As on the wire: compressed, if the provider compressed."""
    surface: str | None = None
    """The protocol that the provider was spoken to in; none where no dialect reads it."""
    head_offset_us: Whole | None = None
    """When the answer's head came."""
    first_content_offset_us: Whole | None = None
    http_status: Whole | None = None
    provider_request_id: str | None = None
    streamed: bool = False
    complete: bool = False
    """It came to its end as its surface marks it."""
    abandoned: bool = False
    """It was ended from this side, before the provider's end."""
    failure: str | None = None
    """The exception that ended it, or the reading of it: `BrokenEncoding` where it is not compressed as it says."""
    usages: list[dict[str, Any]] = []
    response_id: str | None = None
    model: str | None = None
    finish_reason: str | None = None
    tool_calls: Whole = 0
    error_code: str | None = None


class Answered(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="kind", tag="answered"):
    """An answer ended, or was cut. Offsets count from the first byte of the request, on a monotonic clock."""

    entered: Entered
    ended_offset_us: Whole
    response_bytes: Whole
    http_status: Whole | None = None
    refusal: str | None = None
    """Why the stand itself refused: unknown_key, expired_key, revoked_key, …"""
    disconnected: bool = False
    """The harness went away before the end."""
    complete: bool = False
    forwarded: bool = False
    """LiteLLM was asked, so a `routed` record is to be expected."""
    attempts: Whole | None = None
    """Attempts at the provider that had begun by then, each of which has a `tried` record; none without a meter."""
    anatomy: Anatomy | None = None
    price: Price | None = None
    """By which its tokens are priced; none where no table tells."""
    events: list[tuple[str, int, int]] = []
    """Skeleton of a stream: kind, offset in microseconds, size in bytes."""
    usages: list[dict[str, Any]] = []
    """The answer's usage objects: verbatim, less texts that are no words. A messages stream's first is its start's."""
    response_id: str | None = None
    model: str | None = None
    finish_reason: str | None = None
    tool_calls: Whole = 0
    error_code: str | None = None
    provider_request_id: str | None = None


class Routed(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="kind", tag="routed"):
    """What LiteLLM's callback reported of one request."""

    request_key: str
    at_us: Whole
    status: str
    litellm_call_id: str | None = None
    litellm_provider: str | None = None
    model: str | None = None
    api_base: str | None = None
    response_id: str | None = None
    provider_request_id: str | None = None
    usage: dict[str, Any] | None = None
    """LiteLLM's own usage object, verbatim."""
    error_code: str | None = None
    error_class: str | None = None
    cost_usd: float | None = None
    """What LiteLLM says that it cost."""


class Made(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="made"):
    """The row that the records of a request before this one make, by the normalizer of a version.

    A normalizer of the same version need not make it again; any other, and every rebuild, goes by the records alone.
    What must be known of a row before it is written stands before it, so that it need not be read twice.
    """

    request_key: str
    normalizer_version: Whole
    records: Whole
    """How many it was made of."""
    session_id: str | None
    ended_at_us: Whole
    row: tuple[Any, ...]
    """The values of a request's fields, in their order."""


SpoolRecord = Entered | Tried | Answered | Routed | Made
