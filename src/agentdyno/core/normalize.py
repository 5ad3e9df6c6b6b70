"""One request's evidence to its row. Pure: the same evidence gives the same row, always.

docs/accounting.md defines every figure; what is decided here beyond it:

- The provider's own wire comes before all. Where it was not read, the wire that the harness saw is preferred to
  LiteLLM's record, since LiteLLM miscounts streams with caches. Both stand at the proxy, so that the source is `proxy`.
- Where the provider's wire was read and told no usage, whatever figures there are were made by LiteLLM: `estimated`.
- Where it was not read, LiteLLM's figures of a stream, on OpenAI's two wires or in its report, may be its own count of
  the text that went by: `estimated`, unless they have details that only a provider gives.
- What the provider served, and which tools it called, is taken from its own wire too: translation may lose it.
- Counting tokens and listing models is no inference: no tokens, no time to the first of them, no cost.
- Every attempt is priced by itself, by the price that was in force when the request was answered.
- LiteLLM may report twice, after a retry or a fallback: a success beats failures, else the last one speaks.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import msgspec

from agentdyno.core.causes import Chosen
from agentdyno.core.cost import cost_usd
from agentdyno.core.dialects.table import DIALECTS
from agentdyno.core.dialects.wire import Tokens
from agentdyno.core.discrepancies import encode
from agentdyno.core.evidence import (
    UNREADABLE_LINE,
    Attempt,
    Came,
    Evidence,
    Heard,
    Reported,
    read_identity,
    read_price,
)
from agentdyno.core.exchange import Made, Price
from agentdyno.core.fields import fields_of
from agentdyno.core.ids import attribution, canonical_json, session_tags
from agentdyno.core.reconciliation import discrepancies
from agentdyno.core.records import Request, Surface, UsageSource
from agentdyno.core.side_calls import is_inference
from agentdyno.core.verdicts import verdict
from agentdyno.core.witnesses import (
    UNKNOWN,
    answered_attempts,
    attempt_tokens,
    harness_tokens,
    proxy_tokens,
    proxy_usage,
    summed,
)

NORMALIZER_VERSION = 3
NO_ROW = (ValueError, OverflowError, *UNREADABLE_LINE)
"""What `normalize` may raise on records of absurd content."""
# What LiteLLM leaves out of a usage object of its own making, by the surfaces on whose streams it makes one.
_PROVIDERS_DETAILS: Mapping[str | None, str] = MappingProxyType(
    {"openai_chat": "prompt_tokens_details", "openai_responses": "input_tokens_details"}
)
_FIELDS = [spec.name for spec in fields_of(Request)]
_REQUEST_KEY, _SESSION_ID, _ENDED_AT_US, _RECORDS = map(
    _FIELDS.index, ("request_key", "session_id", "ended_at_us", "records")
)
_encoder = msgspec.json.Encoder()


RequestRow = tuple[Any, ...]
"""A request's values in the order of its fields: what a database takes.

Making a record of them, and taking it apart again, would cost as much as all else here.
"""


class Measured(NamedTuple):
    """Tokens, and whose numbers they are; no source when nobody counted."""

    tokens: Tokens
    source: UsageSource | None
    by_attempt: Sequence[Tokens] = ()
    """What the provider told on each attempt; none of another's numbers."""


_UNCOUNTED = Measured(UNKNOWN, None)


class _Whose(NamedTuple):
    """To whom a request belongs, as its row says it."""

    session_id: str | None = None
    experiment: str | None = None
    variant: str | None = None
    task_card: str | None = None
    key_hash: str | None = None
    key_alias: str | None = None
    provider: str | None = None
    tags: str = "[]"


_NOBODYS = _Whose()


def normalize(evidence: Evidence, gateway_id: str) -> RequestRow:
    """The row of one request seen by the run `gateway_id` of the gateway. `late` is for the ledger to set.

    Raises ValueError when the request itself is not in the evidence, and one of UNREADABLE_LINE when it cannot be read.
    """
    entered, answered, reports = evidence.entered, evidence.answered, _in_order(evidence.routed)
    if entered is None:
        raise ValueError("there is no request without a record that it entered or was answered")
    routed, tried = reports[-1] if reports else None, evidence.tried
    last = tried[-1] if tried else None
    whose = _whose(bytes(entered.identity))
    measured = _measured(entered, answered, tried, routed)
    tokens, usage_source = measured.tokens, measured.source
    status, error_code, error_class = verdict(entered, answered, routed, last, counted=usage_source is not None)
    latency_ms = None if answered is None else answered.ended_offset_us / 1000
    provider_latency_ms = _provider_latency_ms(answered, tried)
    price = None if answered is None or usage_source is None else _price(bytes(answered.price))
    cost = None if price is None else _cost_usd(measured, price)
    parts = None if answered is None else answered.anatomy
    said = Chosen(status, tokens, usage_source, cost, None if price is None else price.version)
    return (
        entered.request_key,
        whose.session_id,
        whose.experiment,
        whose.variant,
        whose.task_card,
        whose.key_hash,
        whose.key_alias,
        entered.surface,
        entered.purpose,
        entered.path,
        entered.streamed,
        entered.model,
        _model_served(answered, last),
        whose.provider,
        None if routed is None else routed.litellm_call_id,
        _provider_request_id(answered, routed, last),
        _response_id(answered, routed),
        entered.at_us,
        entered.at_us if answered is None else answered.at_us,
        latency_ms,
        None if answered is None else _ttft_ms(answered),
        provider_latency_ms,
        None if last is None else _provider_ttft_ms(entered, last),
        None if latency_ms is None or provider_latency_ms is None else latency_ms - provider_latency_ms,
        status,
        None if answered is None else answered.http_status,
        error_code,
        error_class,
        None if answered is None else answered.finish_reason,
        tokens.input,
        tokens.output,
        tokens.cache_read,
        tokens.cache_write,
        tokens.reasoning,
        usage_source,
        None if answered is None else _tool_calls(answered, last),
        _attempts(answered, routed, tried),
        cost,
        None if price is None or cost is None else price.version,
        entered.request_bytes,
        None if answered is None else answered.response_bytes,
        None if parts is None else parts.system_bytes,
        None if parts is None else parts.tools,
        None if parts is None else parts.tools_bytes,
        None if parts is None else parts.history_bytes,
        None if parts is None else parts.tool_results_bytes,
        None if parts is None else parts.media_bytes,
        None if parts is None else parts.messages,
        None if parts is None else bytes(parts.prefix).decode(),
        whose.tags,
        canonical_json(entered.harness_ids) if entered.harness_ids else "{}",
        encode(discrepancies(entered, answered, reports, tried, said)),
        gateway_id,
        evidence.records,
        False,  # late
        NORMALIZER_VERSION,
        evidence.digest,
    )


def made(row: RequestRow) -> Made:
    """A row as the spool holds it."""
    return Made(row[_REQUEST_KEY], NORMALIZER_VERSION, row[_RECORDS], row[_SESSION_ID], row[_ENDED_AT_US], row)


def _in_order(reports: tuple[Reported, ...]) -> tuple[Reported, ...]:
    """LiteLLM's reports in an order of their own, whatever order they came in: the last one tells the request's end."""
    if len(reports) < 2:
        return reports
    return tuple(
        sorted(reports, key=lambda report: (report.status != "failure", report.at_us, _encoder.encode(report)))
    )


@functools.lru_cache(maxsize=256)
def _whose(encoded: bytes) -> _Whose:
    """What a row says of a credential, from its JSON, and the request tags that it implies, as a JSON array."""
    identity = read_identity(encoded)
    if identity is None:
        return _NOBODYS
    return _Whose(
        tags=json.dumps(session_tags(attribution(identity)), ensure_ascii=False, separators=(",", ":")),
        **msgspec.structs.asdict(identity),
    )


@functools.lru_cache(maxsize=256)
def _price(encoded: bytes) -> Price | None:
    return read_price(encoded)


def _measured(entered: Came, answered: Heard | None, tried: tuple[Attempt, ...], routed: Reported | None) -> Measured:
    """The best figures that the witnesses have; the module's head says which are taken."""
    if not is_inference(entered.purpose):
        return _UNCOUNTED
    by_attempt = [attempt_tokens(attempt) for attempt in answered_attempts(tried)]
    told = summed(by_attempt)
    if told != UNKNOWN:
        return Measured(told, "provider", by_attempt)
    if len(by_attempt) > 1:
        return _UNCOUNTED  # the others tell of the last attempt alone
    measured = _UNCOUNTED if answered is None else _measured_on_the_wire(entered, answered)
    if measured.source is None and routed is not None:
        measured = _measured_by_litellm(entered, routed, whole=answered is not None and answered.complete)
    if measured.source is not None and by_attempt:
        # Of a text that went by nobody can tell what a cache served, or what was thought: LiteLLM says 0.
        return Measured(Tokens(measured.tokens.input, measured.tokens.output), "estimated")
    return measured


def _measured_on_the_wire(entered: Came, answered: Heard) -> Measured:
    """What the harness was told."""
    tokens = harness_tokens(entered, answered)
    if tokens == UNKNOWN:
        return _UNCOUNTED
    details = _PROVIDERS_DETAILS.get(entered.surface) if answered.in_events else None
    if details is None:
        return Measured(tokens, "proxy")
    usages = DIALECTS[cast(Surface, entered.surface)].read_usages(answered.usages)
    return Measured(tokens, "estimated" if getattr(usages[-1], details) is None else "proxy")


def _measured_by_litellm(entered: Came, routed: Reported, *, whole: bool) -> Measured:
    """What LiteLLM reported, of an answer that was whole or not."""
    tokens, usage = proxy_tokens(entered, routed), proxy_usage(routed)
    if tokens == UNKNOWN or usage is None:
        return _UNCOUNTED
    told = not entered.streamed or (whole and usage.prompt_tokens_details is not None)
    return Measured(tokens, "proxy" if told else "estimated")


def _cost_usd(measured: Measured, price: Price) -> float | None:
    """What all attempts cost together; None where that of one of them is unknown."""
    costs = [cost_usd(tokens, price) for tokens in measured.by_attempt or (measured.tokens,)]
    return None if None in costs else math.fsum(cost for cost in costs if cost is not None)


def _attempts(answered: Heard | None, routed: Reported | None, tried: tuple[Attempt, ...]) -> int | None:
    """Attempts at the provider; None where nothing metered them, or they went round the meter."""
    begun = None if answered is None else answered.attempts
    attempts = len(tried) if begun is None else max(begun, len(tried))
    return attempts if attempts or (begun == 0 and (routed is None or routed.status == "failure")) else None


def _provider_latency_ms(answered: Heard | None, tried: tuple[Attempt, ...]) -> float | None:
    """From the first byte of a request to the provider to the last of its answer, summed over all attempts."""
    if not tried or answered is None or len(tried) < (answered.attempts or 0):
        return None
    return sum(attempt.ended_offset_us - attempt.begun_offset_us for attempt in tried) / 1000


def _provider_ttft_ms(entered: Came, attempt: Attempt) -> float | None:
    """The provider's own time to the first content delta of a stream; None when there was none."""
    if not is_inference(entered.purpose) or not attempt.streamed or attempt.first_content_offset_us is None:
        return None
    return (attempt.first_content_offset_us - attempt.begun_offset_us) / 1000


def _ttft_ms(answered: Heard) -> float | None:
    """Time to the first content delta of a stream; None when there was none."""
    if not is_inference(answered.entered.purpose):
        return None
    offset_us = answered.first_content_us
    return None if offset_us is None else offset_us / 1000


def _tool_calls(answered: Heard, attempt: Attempt | None) -> int | None:
    """Tool calls in an answer of the model; None when what came was no such answer."""
    if (
        answered.entered.surface is None
        or not is_inference(answered.entered.purpose)
        or answered.http_status is None
        or answered.http_status >= 400
    ):
        return None
    if attempt is not None and attempt.succeeded and attempt.surface in DIALECTS:
        return attempt.tool_calls
    return answered.tool_calls


def _model_served(answered: Heard | None, attempt: Attempt | None) -> str | None:
    """The model that the provider's answer named, or else the one that the harness was told."""
    if attempt is not None and attempt.model is not None:
        return attempt.model
    return None if answered is None else answered.model


def _provider_request_id(answered: Heard | None, routed: Reported | None, attempt: Attempt | None) -> str | None:
    """The provider's own id from its headers, or from those that the harness saw, or LiteLLM."""
    witnesses = (attempt, answered, routed)
    return next((w.provider_request_id for w in witnesses if w is not None and w.provider_request_id is not None), None)


def _response_id(answered: Heard | None, routed: Reported | None) -> str | None:
    """The id inside the answer, by LiteLLM's record where the answer was cut before it."""
    if answered is not None and answered.response_id is not None:
        return answered.response_id
    return routed.response_id if routed is not None else None
