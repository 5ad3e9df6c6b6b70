"""One spend log of a LiteLLM deployment to its row. Pure: the same log gives the same row, always.

The deployment is the only witness. What its log does not tell is None: the time to the first token (its first piece of
a stream may be an opening event), the HTTP status, the attempts, the provider's own time. What is decided here beyond
docs/accounting.md and docs/deployments.md:

- Tokens are LiteLLM's own figures, so that their source is `proxy`. Of a stream they may be its count of the text that
  went by: `estimated`, unless they have details that only a provider gives. So are those of a failure.
- A log is a stream's when its first piece came before its end: LiteLLM writes the same time twice for all others.
- 0 USD is what LiteLLM writes where it knows no price: it is no price, except of an answer from LiteLLM's own cache.
- Of its many texts nothing is kept but ids, names of models, and codes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec

from agentdyno.core.dialects.openai_chat import litellm_tokens, read_litellm_usages
from agentdyno.core.dialects.reading import (
    UNREADABLE,
    decode,
    error_code,
    identifier,
    name,
    natural,
    text,
    usage_object,
)
from agentdyno.core.discrepancies import Discrepancy, encode
from agentdyno.core.fields import fields_of
from agentdyno.core.ids import attribution, canonical_json, digest_bytes, session_tags
from agentdyno.core.normalize import RequestRow
from agentdyno.core.records import Purpose, Request, Session, Surface, UsageSource
from agentdyno.core.side_calls import is_inference
from agentdyno.core.verdicts import recorded_verdict

SPEND_LOG_VERSION: Final = 1
"""Of the function that makes these rows; it is no version of the normalizer's."""
_MAX_ID = 1024
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NO_MOMENT_US = (datetime(9999, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
"""Later than any log, and than what can be shown as a date."""
_MOST_USD = 1e9
"""More than any request costs: so many of them can still be summed."""
_SURFACES: Mapping[str, Surface] = MappingProxyType(
    {
        "completion": "openai_chat",
        "acompletion": "openai_chat",
        "responses": "openai_responses",
        "aresponses": "openai_responses",
        "anthropic_messages": "anthropic_messages",
        "aanthropic_messages": "anthropic_messages",
        "generate_content": "gemini",
        "agenerate_content": "gemini",
        "generate_content_stream": "gemini",
        "agenerate_content_stream": "gemini",
    }
)
"""The surface of each kind of call that LiteLLM logs. Others, such as embeddings, are none of a harness's."""
_ONE_WITNESS: Final = encode([Discrepancy("record", "went_round_meter", provider=0, proxy=1, harness=0)])
_CACHE_HIT = "_cache_hit"
"""What LiteLLM puts behind an answer's id where it had the answer itself."""


def price_table(provider: str) -> str:
    """What stands in the place of a price table's version where a deployment says what requests cost."""
    return f"deployment:{provider}"


class SpendLog(msgspec.Struct):
    """A log as it is read. Whatever it holds beyond this, prompts and answers above all, is not."""

    request_id: Any = None
    api_key: Any = None
    call_type: Any = None
    status: Any = None
    started: Any = msgspec.field(default=None, name="startTime")
    first_piece: Any = msgspec.field(default=None, name="completionStartTime")
    ended: Any = msgspec.field(default=None, name="endTime")
    model: Any = None
    model_group: Any = None
    prompt_tokens: Any = None
    completion_tokens: Any = None
    spend: Any = None
    cache_hit: Any = None
    litellm_call_id: Any = None
    metadata: Any = None


class Holder(NamedTuple):
    """Whose key it is that the logs are of."""

    session: Session
    key_hash: str
    key_alias: str


class _Times(NamedTuple):
    started_at_us: int
    ended_at_us: int
    streamed: bool


_log = msgspec.json.Decoder(SpendLog)
_mapping = msgspec.json.Decoder(dict[str, Any])


def read_spend_log(encoded: bytes) -> SpendLog:
    """A log from its JSON. Raises one of UNREADABLE for what is none."""
    return decode(encoded, _log)


def logs_run(provider: str) -> str:
    """What stands in rows in the place of a gateway's run, for a deployment's provider."""
    return f"litellm:{provider}"


def request_row(log: SpendLog, encoded: bytes, holder: Holder) -> RequestRow:
    """The row of a log of the holder's key, which was read from `encoded`. `late` is for the ledger to set.

    Raises ValueError, in words that quote nothing, where it has no id, not its times, or another's key.
    """
    request_id, times = text(log.request_id, _MAX_ID), _times(log)
    if log.api_key != holder.key_hash:
        raise ValueError("it is of another key")
    if request_id is None:
        raise ValueError("it has no request_id")
    if times is None:
        raise ValueError("it does not tell when it began and ended")
    metadata, purpose = _object(log.metadata), _purpose(log, holder.session)
    failed = "failure" in (log.status, metadata.get("status"))
    inference = is_inference(purpose)
    return _row(
        **_whose(holder),
        **_outcome(log, metadata, request_id, failed=failed),
        **(_figures(log, metadata, streamed=times.streamed, failed=failed) if inference else {}),
        **(_price(log, holder.session.provider) if inference else {}),
        request_key=_request_key(holder.key_hash, request_id),
        surface=_surface(log),
        purpose=purpose,
        streamed=times.streamed,
        litellm_call_id=identifier(log.litellm_call_id) or identifier(metadata.get("litellm_call_id")),
        started_at_us=times.started_at_us,
        ended_at_us=times.ended_at_us,
        latency_ms=(times.ended_at_us - times.started_at_us) / 1000,
        harness_ids="{}",
        discrepancies=_ONE_WITNESS,
        records=1,
        late=False,
        normalizer_version=SPEND_LOG_VERSION,
        record_digest=digest_bytes(encoded),
    )


def _row(**values: Any) -> RequestRow:
    """The values in the order of a request's fields; None for those that are not given."""
    return tuple(values.get(spec.name) for spec in fields_of(Request))


def _request_key(key_hash: str, request_id: str) -> str:
    """A key of ours: LiteLLM's id is the provider's own, which another provider's may be like."""
    return "log_" + hashlib.sha256(f"{key_hash} {request_id}".encode(errors="surrogatepass")).hexdigest()


def _whose(holder: Holder) -> dict[str, Any]:
    """To whom a request belongs, as its row says it."""
    session = holder.session
    return {
        "session_id": session.session_id,
        "experiment": session.experiment,
        "variant": session.variant,
        "task_card": session.task_card,
        "key_hash": holder.key_hash,
        "key_alias": holder.key_alias,
        "provider": session.provider,
        "gateway_id": logs_run(session.provider),
        "tags": canonical_json(session_tags(attribution(session))),
    }


def _times(log: SpendLog) -> _Times | None:
    started_at_us, first_piece_us, ended_at_us = map(_moment_us, (log.started, log.first_piece, log.ended))
    if started_at_us is None or ended_at_us is None or ended_at_us < started_at_us:
        return None
    return _Times(started_at_us, ended_at_us, first_piece_us is not None and first_piece_us < ended_at_us)


def _moment_us(value: Any) -> int | None:
    """A time as a log writes it, in microseconds; without a zone it is UTC. None for what is no time."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        at_us = ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // timedelta(microseconds=1)
    except (ValueError, OverflowError):
        return None
    return at_us if 0 <= at_us < _NO_MOMENT_US else None


def _object(value: Any) -> Mapping[str, Any]:
    """A JSON object, which some ways of asking give as text; an empty one for anything else."""
    if isinstance(value, str):
        try:
            return decode(value.encode(errors="surrogatepass"), _mapping)
        except UNREADABLE:
            return {}
    return value if isinstance(value, dict) else {}


def _surface(log: SpendLog) -> Surface | None:
    return _SURFACES.get(log.call_type) if isinstance(log.call_type, str) else None


def _purpose(log: SpendLog, session: Session) -> Purpose:
    """What a request was for, as far as its model tells. What was refused early is logged without a kind of call."""
    asked = name(log.model_group) or name(log.model)
    if (log.call_type and _surface(log) is None) or asked is None:
        return "other"
    return "small_model" if asked == session.small_model and asked != session.model else "work"


def _outcome(log: SpendLog, metadata: Mapping[str, Any], request_id: str, *, failed: bool) -> dict[str, Any]:
    """How a request ended, and what it was asked of and answered by."""
    model_group = name(log.model_group)
    if not failed:
        answer_id = identifier(request_id.partition(_CACHE_HIT)[0])
        served = {"model_requested": model_group, "model_served": name(log.model), "response_id": answer_id}
        return {"status": "ok", **served}
    error = _object(metadata.get("error_information"))
    code = error_code({"code": error["error_code"]}) if error.get("error_code") else None
    return {
        **recorded_verdict(name(error.get("error_class")), code)._asdict(),
        # Of a request that got nowhere LiteLLM writes what was asked for in the place of its own model's name.
        "model_requested": model_group or name(log.model),
        "provider_request_id": identifier(error.get("error_provider_request_id")),
    }


def _figures(log: SpendLog, metadata: Mapping[str, Any], *, streamed: bool, failed: bool) -> dict[str, Any]:
    """LiteLLM's tokens, and whether they are more than its own count of a text; nothing where it told none."""
    told = {
        "prompt_tokens": natural(log.prompt_tokens),
        "completion_tokens": natural(log.completion_tokens),
        **_object(metadata.get("additional_usage_values")),
        **_object(metadata.get("usage_object")),
    }
    try:
        (usage,) = read_litellm_usages(msgspec.json.encode([usage_object(told) or {}]))
    except (*UNREADABLE, OverflowError):  # figures beyond all sense
        return {}
    tokens, detailed = litellm_tokens(usage), usage.prompt_tokens_details is not None
    if _surface(log) == "anthropic_messages":
        # LiteLLM writes 0 where a message names none.
        tokens = tokens._replace(cache_read=tokens.cache_read or None, cache_write=tokens.cache_write or None)
    if tokens.input is None or tokens.input == 0:  # no prompt has 0 tokens
        return {}
    source: UsageSource = "estimated" if failed or (streamed and not detailed) else "proxy"
    return {
        "input_tokens": tokens.input,
        "output_tokens": tokens.output,
        "cache_read_tokens": tokens.cache_read,
        "cache_write_tokens": tokens.cache_write,
        "reasoning_tokens": tokens.reasoning if detailed else None,  # of a text that went by nobody can tell
        "usage_source": source,
    }


def _price(log: SpendLog, provider: str) -> dict[str, Any]:
    """What the deployment says that a request cost; nothing where it knows no price."""
    spend = natural(log.spend) if isinstance(log.spend, int) else log.spend
    if not isinstance(spend, int | float) or not 0 <= spend <= _MOST_USD:
        return {}
    if spend == 0 and log.cache_hit not in (True, "True", "true"):
        return {}
    return {"cost_usd": float(spend), "price_table_version": price_table(provider)}
