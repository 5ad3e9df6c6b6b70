"""What a discrepancy is: one field of a request of which its witnesses do not say the same, and why.

A row keeps those of its request as JSON, each with one cause out of a closed list. So every witness's own figures can
be told from a row and its discrepancies:

- one that has no record of the request says nothing, and is named in the field `record` alone. That a provider has
  none where no attempt was begun, and nobody claims otherwise, is no discrepancy;
- one that has a record, and is in no discrepancy of a field, says what the row says. Of a part of the input or the
  output, to say nothing and to say 0 are the same;
- `cost_usd` is LiteLLM's alone, where it takes its price from the same table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal, get_args

import msgspec

from agentdyno.core.records import Request

Witness = Literal["provider", "proxy", "harness"]
TokenField = Literal["input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens"]
DisputedField = Literal["record", "status", "attempts", "provider_request_id", "tool_calls", "cost_usd"] | TokenField
Cause = Literal[
    "awaited",
    "gateway_lost",
    "went_round_meter",
    "provider_unread",
    "provider_cut",
    "retried",
    "translated",
    "harness_left",
    "harness_not_told",
    "no_proxy_record",
    "proxy_record_twice",
    "proxy_failed",
    "proxy_calls_cut_success",
    "proxy_calls_error_success",
    "proxy_counts_no_failure",
    "proxy_estimated",
    "proxy_filled_zeros",
    "proxy_dropped_cache",
    "proxy_dropped_reasoning",
    "priced_otherwise",
    "unexplained",
]
"""Why witnesses differ; docs/reconciliation.md says what each means, and on which evidence it is given."""
Said = int | float | str | None
"""What a witness says of a field. None: it says nothing."""

WITNESSES: Final[tuple[Witness, ...]] = get_args(Witness)
TOKEN_FIELDS: Final[tuple[TokenField, ...]] = get_args(TokenField)
CAUSES: Final[tuple[Cause, ...]] = get_args(Cause)
PARTS: Mapping[TokenField, TokenField] = MappingProxyType(
    {
        "cache_read_tokens": "input_tokens",
        "cache_write_tokens": "input_tokens",
        "reasoning_tokens": "output_tokens",
    }
)
"""Which whole each part belongs to."""
_encoder = msgspec.json.Encoder()


class Discrepancy(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One field of a request of which the witnesses do not say the same."""

    field: DisputedField
    cause: Cause
    provider: Said = None
    proxy: Said = None
    harness: Said = None


_decoder = msgspec.json.Decoder(tuple[Discrepancy, ...])


def encode(found: Sequence[Discrepancy]) -> str:
    """Discrepancies as a row has them: a JSON array."""
    return _encoder.encode(found).decode() if found else "[]"


def decode(encoded: str) -> tuple[Discrepancy, ...]:
    """The discrepancies of a row. Raises msgspec.DecodeError for what no `encode` wrote."""
    return () if encoded == "[]" else _decoder.decode(encoded)


def said_by(witness: Witness, field: TokenField, request: Request, found: Sequence[Discrepancy]) -> int | None:
    """What one witness says of a figure of a request, by its row and its discrepancies. None: nothing."""
    if not records_of(witness, request, found):
        return None
    named = next((one for one in found if one.field == field), None)
    said: int | None = getattr(request, field) if named is None else getattr(named, witness)
    return said


def records_of(witness: Witness, request: Request, found: Sequence[Discrepancy]) -> int:
    """How many records a witness has of a request. Of one that the stand answered itself, only the harness has."""
    named = next((one for one in found if one.field == "record"), None)
    if named is not None:
        told: int = getattr(named, witness)
        return told
    match witness:
        case "provider":
            attempts = next((one.provider for one in found if one.field == "attempts"), request.attempts)
            return 0 if attempts is None else int(attempts)
        case "proxy":
            return 0 if request.litellm_call_id is None else 1
        case "harness":
            return 1
