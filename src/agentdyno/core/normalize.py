"""One request's evidence to its row. Pure: the same evidence gives the same row, always.

docs/accounting.md defines every figure; what is decided here beyond it:

- The wire that the harness saw is preferred to LiteLLM's record, since LiteLLM miscounts streams with caches. Both
  stand at the proxy, so that the source is `proxy`.
- A stream that was cut has perhaps told its input, but not its output: what came before its finish reason is a running
  total. Its output and reasoning are unknown.
- Where a provider told no usage of a stream, LiteLLM's figures, on a chat's wire or in its report, are its own count
  of the text that went by: `estimated`, unless they have details that only a provider gives.
- LiteLLM's record of a failure says 0 tokens and 0 USD where nothing was measured: neither is taken.
- LiteLLM may report twice, after a retry or a fallback: a success beats failures, else the last one speaks.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import msgspec

from agentdyno.core.dialects.openai_chat import litellm_tokens
from agentdyno.core.dialects.table import DIALECTS
from agentdyno.core.dialects.wire import CONTENT_KINDS, Tokens
from agentdyno.core.exchange import Answered, Entered, Identity, Routed
from agentdyno.core.ids import digest_bytes, session_tags
from agentdyno.core.records import Request, Surface, UsageSource
from agentdyno.core.verdicts import verdict

NORMALIZER_VERSION = 1
_UNKNOWN = Tokens()
_encoder = msgspec.json.Encoder()


class Evidence(NamedTuple):
    """What the spool holds of one request; `entered` is also inside `answered`, and one of the two is there."""

    entered: Entered | None
    answered: Answered | None
    routed: tuple[Routed, ...] = ()


class Measured(NamedTuple):
    """Tokens, and whose numbers they are; no source when nobody counted."""

    tokens: Tokens
    source: UsageSource | None


_UNCOUNTED = Measured(_UNKNOWN, None)


def normalize(evidence: Evidence, gateway_id: str) -> Request:
    """The row of one request seen by the run `gateway_id` of the gateway. `late` is for the ledger to set.

    Raises ValueError when the request itself is not in the evidence.
    """
    answered, reports = evidence.answered, _in_order(evidence.routed)
    entered = answered.entered if answered is not None else evidence.entered
    if entered is None:
        raise ValueError("there is no request without a record that it entered or was answered")
    routed = reports[-1] if reports else None
    identity = entered.identity
    tokens, usage_source = _measured(entered, answered, routed)
    status, error_code, error_class = verdict(entered, answered, routed, counted=usage_source is not None)
    duration_us = answered.ended_offset_us if answered is not None else None
    cost_usd = routed.cost_usd if routed is not None and routed.status != "failure" else None
    return _row(
        request_key=entered.request_key,
        session_id=identity.session_id if identity is not None else None,
        experiment=identity.experiment if identity is not None else None,
        variant=identity.variant if identity is not None else None,
        task_card=identity.task_card if identity is not None else None,
        key_hash=identity.key_hash if identity is not None else None,
        key_alias=identity.key_alias if identity is not None else None,
        surface=entered.surface,
        purpose=entered.purpose,
        path=entered.path,
        streamed=entered.streamed,
        model_requested=entered.model,
        model_served=answered.model if answered is not None else None,
        provider=identity.provider if identity is not None else None,
        litellm_call_id=routed.litellm_call_id if routed is not None else None,
        provider_request_id=_provider_request_id(answered, routed),
        response_id=_response_id(answered, routed),
        started_at_us=entered.at_us,
        ended_at_us=entered.at_us + (duration_us if duration_us is not None else 0),
        latency_ms=duration_us / 1000 if duration_us is not None else None,
        ttft_ms=_ttft_ms(answered),
        provider_latency_ms=None,
        proxy_overhead_ms=None,
        status=status,
        http_status=answered.http_status if answered is not None else None,
        error_code=error_code,
        error_class=error_class,
        finish_reason=answered.finish_reason if answered is not None else None,
        input_tokens=tokens.input,
        output_tokens=tokens.output,
        cache_read_tokens=tokens.cache_read,
        cache_write_tokens=tokens.cache_write,
        reasoning_tokens=tokens.reasoning,
        usage_source=usage_source,
        tool_calls=_tool_calls(answered),
        attempts=None,
        cost_usd=cost_usd,
        price_table_version=routed.price_table_version if routed is not None and cost_usd is not None else None,
        request_bytes=entered.request_bytes,
        response_bytes=answered.response_bytes if answered is not None else 0,
        tags=_tags_json(identity),
        gateway_id=gateway_id,
        records=(evidence.entered is not None) + (answered is not None) + len(reports),
        late=False,
        normalizer_version=NORMALIZER_VERSION,
        record_digest=digest_bytes(_encoder.encode((entered if answered is None else answered, reports))),
    )


def _in_order(reports: tuple[Routed, ...]) -> tuple[Routed, ...]:
    """LiteLLM's reports in an order of their own, whatever order they came in: the last one tells the request's end."""
    if len(reports) < 2:
        return reports
    return tuple(
        sorted(reports, key=lambda report: (report.status != "failure", report.at_us, _encoder.encode(report)))
    )


@functools.lru_cache(maxsize=4096)
def _tags_json(identity: Identity | None) -> str:
    """The request tags that a credential implies, as the row keeps them: a JSON array."""
    if identity is None:
        return "[]"
    ids = {
        "session": identity.session_id,
        "experiment": identity.experiment,
        "variant": identity.variant,
        "task_card": identity.task_card,
    }
    return json.dumps(session_tags(ids), ensure_ascii=False, separators=(",", ":"))


def _measured(entered: Entered, answered: Answered | None, routed: Routed | None) -> Measured:
    """The best figures that the witnesses have; the module's head says which are taken."""
    dialect = DIALECTS.get(cast(Surface, entered.surface))
    if answered is not None and answered.usages and dialect is not None:
        tokens = dialect.tokens(answered.usages, streamed=bool(answered.events))
        if answered.events and not answered.complete and answered.finish_reason is None:
            tokens = Tokens(tokens.input, None, tokens.cache_read, tokens.cache_write, None)
        if _was_counted(tokens):
            invented = entered.surface == "openai_chat" and answered.events and not _is_detailed(answered.usages[-1])
            return Measured(tokens, "estimated" if invented else "proxy")
    if routed is not None and routed.usage and routed.status != "failure":
        tokens = litellm_tokens(routed.usage)
        if entered.surface == "anthropic_messages":
            tokens = _without_filled_zeros(tokens)
        if _was_counted(tokens) and tokens.input != 0:
            whole = answered is not None and answered.complete
            told = not entered.streamed or (whole and _is_detailed(routed.usage))
            if not _is_detailed(routed.usage):
                tokens = tokens._replace(reasoning=None)  # of a text that went by nobody can tell
            return Measured(tokens, "proxy" if told else "estimated")
    return _UNCOUNTED


def _is_detailed(usage: Mapping[str, Any]) -> bool:
    """Whether a provider told a usage: LiteLLM's own count of a text that went by has no details of the prompt."""
    return usage.get("prompt_tokens_details") is not None


def _was_counted(tokens: Tokens) -> bool:
    """Whether anybody counted. No prompt has 0 tokens: LiteLLM writes zeros for what the provider did not say."""
    return tokens != _UNKNOWN and not (tokens.input == 0 and tokens.output == 0)


def _without_filled_zeros(tokens: Tokens) -> Tokens:
    """Tokens whose cache figures somebody told. LiteLLM's report has 0 where a message names none."""
    return tokens._replace(cache_read=tokens.cache_read or None, cache_write=tokens.cache_write or None)


def _ttft_ms(answered: Answered | None) -> float | None:
    """Time to the first content delta of a stream; None when there was none."""
    if answered is None:
        return None
    for kind, offset_us, _ in answered.events:
        if kind in CONTENT_KINDS:
            return offset_us / 1000
    return None


def _tool_calls(answered: Answered | None) -> int | None:
    """Tool calls in an answer of the model; None when what came was no such answer."""
    if (
        answered is None
        or answered.entered.surface is None
        or answered.http_status is None
        or answered.http_status >= 400
    ):
        return None
    return answered.tool_calls


def _provider_request_id(answered: Answered | None, routed: Routed | None) -> str | None:
    """The provider's own id from the headers that the harness saw, or from those that LiteLLM saw."""
    if answered is not None and answered.provider_request_id is not None:
        return answered.provider_request_id
    return routed.provider_request_id if routed is not None else None


def _response_id(answered: Answered | None, routed: Routed | None) -> str | None:
    """The id inside the answer, by LiteLLM's record where the answer was cut before it."""
    if answered is not None and answered.response_id is not None:
        return answered.response_id
    return routed.response_id if routed is not None else None


def _row(**fields: Any) -> Request:
    """A row from all its fields, filled in at once.

    A frozen dataclass sets its fields one by one through a guard; with 45 of them that takes longer than all else here.
    """
    row = object.__new__(Request)
    object.__setattr__(row, "__dict__", fields)
    return row
