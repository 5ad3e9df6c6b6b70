"""One request's evidence to its row. Pure: the same evidence gives the same row, always.

docs/accounting.md defines every figure; what is decided here beyond it:

- The wire that the harness saw is preferred to LiteLLM's record, since LiteLLM miscounts streams with caches. Both
  stand at the proxy, so that the source is `proxy`.
- A stream that was cut has perhaps told its input, but not its output: what came before its finish reason is a running
  total. Its output and reasoning are unknown.
- Where a provider told no usage of a stream, LiteLLM's figures, on OpenAI's two wires or in its report, are its own
  count of the text that went by: `estimated`, unless they have details that only a provider gives.
- Counting tokens and listing models is no inference: no tokens, no time to the first of them, no cost.
- LiteLLM's record of a failure says 0 tokens and 0 USD where nothing was measured: neither is taken.
- LiteLLM may report twice, after a retry or a fallback: a success beats failures, else the last one speaks.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import msgspec

from agentdyno.core.dialects.openai_chat import litellm_tokens, read_litellm_usages
from agentdyno.core.dialects.table import DIALECTS
from agentdyno.core.dialects.wire import Tokens
from agentdyno.core.evidence import UNREADABLE_LINE, Came, Evidence, Heard, Reported, read_identity
from agentdyno.core.exchange import Made
from agentdyno.core.fields import fields_of
from agentdyno.core.ids import canonical_json, session_tags
from agentdyno.core.records import Request, Surface, UsageSource
from agentdyno.core.side_calls import is_inference
from agentdyno.core.verdicts import verdict

NORMALIZER_VERSION = 2
NO_ROW = (ValueError, OverflowError, *UNREADABLE_LINE)
"""What `normalize` may raise on records of absurd content."""
# What LiteLLM leaves out of a usage object of its own making, by the surfaces on whose streams it makes one.
_PROVIDERS_DETAILS: Mapping[str | None, str] = MappingProxyType(
    {"openai_chat": "prompt_tokens_details", "openai_responses": "input_tokens_details"}
)
_UNKNOWN = Tokens()
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


_UNCOUNTED = Measured(_UNKNOWN, None)


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
    routed = reports[-1] if reports else None
    whose = _whose(bytes(entered.identity))
    tokens, usage_source = _measured(entered, answered, routed)
    status, error_code, error_class = verdict(entered, answered, routed, counted=usage_source is not None)
    duration_us = None if answered is None else answered.ended_offset_us
    priced = routed is not None and routed.status != "failure" and is_inference(entered.purpose)
    cost_usd = routed.cost_usd if routed is not None and priced else None
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
        None if answered is None else answered.model,
        whose.provider,
        None if routed is None else routed.litellm_call_id,
        _provider_request_id(answered, routed),
        _response_id(answered, routed),
        entered.at_us,
        entered.at_us if duration_us is None else entered.at_us + duration_us,
        None if duration_us is None else duration_us / 1000,
        None if answered is None else _ttft_ms(answered),
        None,  # provider_latency_ms
        None,  # proxy_overhead_ms
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
        None if answered is None else _tool_calls(answered),
        None,  # attempts
        cost_usd,
        None if routed is None or cost_usd is None else routed.price_table_version,
        entered.request_bytes,
        0 if answered is None else answered.response_bytes,
        whose.tags,
        canonical_json(entered.harness_ids) if entered.harness_ids else "{}",
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
    ids = {
        "session": identity.session_id,
        "experiment": identity.experiment,
        "variant": identity.variant,
        "task_card": identity.task_card,
    }
    return _Whose(
        tags=json.dumps(session_tags(ids), ensure_ascii=False, separators=(",", ":")),
        **msgspec.structs.asdict(identity),
    )


def _measured(entered: Came, answered: Heard | None, routed: Reported | None) -> Measured:
    """The best figures that the witnesses have; the module's head says which are taken."""
    if not is_inference(entered.purpose):
        return _UNCOUNTED
    measured = _UNCOUNTED if answered is None else _measured_on_the_wire(entered, answered)
    if measured.source is not None or routed is None or routed.status == "failure":
        return measured
    return _measured_by_litellm(entered, routed, whole=answered is not None and answered.complete)


def _measured_on_the_wire(entered: Came, answered: Heard) -> Measured:
    """What the harness was told."""
    dialect = DIALECTS.get(cast(Surface, entered.surface))
    if dialect is None:
        return _UNCOUNTED
    streamed = answered.in_events
    usages = dialect.read_usages(answered.usages)
    tokens = dialect.tokens(usages, streamed=streamed)
    if streamed and not answered.complete and answered.finish_reason is None:
        tokens = Tokens(tokens.input, None, tokens.cache_read, tokens.cache_write, None)
    if not _was_counted(tokens):
        return _UNCOUNTED
    details = _PROVIDERS_DETAILS.get(entered.surface) if streamed else None
    invented = details is not None and getattr(usages[-1], details) is None
    return Measured(tokens, "estimated" if invented else "proxy")


def _measured_by_litellm(entered: Came, routed: Reported, *, whole: bool) -> Measured:
    """What LiteLLM reported, of an answer that was whole or not."""
    for usage in read_litellm_usages(routed.usages):
        tokens = litellm_tokens(usage)
        if entered.surface == "anthropic_messages":
            tokens = _without_filled_zeros(tokens)
        if _was_counted(tokens) and tokens.input != 0:
            detailed = usage.prompt_tokens_details is not None
            told = not entered.streamed or (whole and detailed)
            if not detailed:
                tokens = tokens._replace(reasoning=None)  # of a text that went by nobody can tell
            return Measured(tokens, "proxy" if told else "estimated")
    return _UNCOUNTED


def _was_counted(tokens: Tokens) -> bool:
    """Whether anybody counted. No prompt has 0 tokens: LiteLLM writes zeros for what the provider did not say."""
    return tokens != _UNKNOWN and not (tokens.input == 0 and tokens.output == 0)


def _without_filled_zeros(tokens: Tokens) -> Tokens:
    """Tokens whose cache figures somebody told. LiteLLM's report has 0 where a message names none."""
    return tokens._replace(cache_read=tokens.cache_read or None, cache_write=tokens.cache_write or None)


def _ttft_ms(answered: Heard) -> float | None:
    """Time to the first content delta of a stream; None when there was none."""
    if not is_inference(answered.entered.purpose):
        return None
    offset_us = answered.first_content_us
    return None if offset_us is None else offset_us / 1000


def _tool_calls(answered: Heard) -> int | None:
    """Tool calls in an answer of the model; None when what came was no such answer."""
    if (
        answered.entered.surface is None
        or not is_inference(answered.entered.purpose)
        or answered.http_status is None
        or answered.http_status >= 400
    ):
        return None
    return answered.tool_calls


def _provider_request_id(answered: Heard | None, routed: Reported | None) -> str | None:
    """The provider's own id from the headers that the harness saw, or from those that LiteLLM saw."""
    if answered is not None and answered.provider_request_id is not None:
        return answered.provider_request_id
    return routed.provider_request_id if routed is not None else None


def _response_id(answered: Heard | None, routed: Reported | None) -> str | None:
    """The id inside the answer, by LiteLLM's record where the answer was cut before it."""
    if answered is not None and answered.response_id is not None:
        return answered.response_id
    return routed.response_id if routed is not None else None
