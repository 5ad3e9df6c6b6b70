"""Prices by model, from LiteLLM's bundled table or as a provider's YAML gives them. Pure.

Standard prices of text alone: what a provider asks for priority, batches, pictures or searches is not in them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from agentdyno.core.exchange import Price, PriceTier
from agentdyno.core.jsonable import content_digest
from agentdyno.core.records import ModelPrice

_MILLION = 1_000_000
_DIGEST_LETTERS = 12
# LiteLLM's names, whose prices for long inputs end in `_above_200k_tokens`.
_INPUT, _OUTPUT, _REASONING = "input_cost_per_token", "output_cost_per_token", "output_cost_per_reasoning_token"
_READ, _WRITE, _HOUR = (
    "cache_read_input_token_cost",
    "cache_creation_input_token_cost",
    "cache_creation_input_token_cost_above_1hr",
)
_LONG_INPUT = re.compile(_INPUT + r"_above_(\d+)k_tokens")


def declared_version(provider: str, price: ModelPrice) -> str:
    """The version of the price table that a provider's YAML is, as far as one model's price goes."""
    return f"{provider}-{content_digest(price).rpartition(':')[2][:_DIGEST_LETTERS]}"


def declared_price(provider: str, price: ModelPrice) -> Price:
    """A model's price as a provider's YAML gives it."""
    tier = PriceTier(
        input_usd=price.input_usd_per_million / _MILLION,
        output_usd=price.output_usd_per_million / _MILLION,
        cache_read_usd=_each(price.cache_read_usd_per_million),
        cache_write_usd=_each(price.cache_write_usd_per_million),
        cache_write_1h_usd=_each(price.cache_write_1h_usd_per_million),
        reasoning_usd=_each(price.reasoning_usd_per_million),
    )
    return Price(declared_version(provider, price), [tier])


def listed_price(entry: Mapping[str, Any], version: str) -> Price | None:
    """A model's price by its entry in LiteLLM's table; None where that has none for text."""
    found = (_LONG_INPUT.fullmatch(name) for name in entry)
    thousands = sorted(int(match[1]) for match in found if match is not None)
    tiers = [_tier(entry, above) for above in (0, *thousands)]
    whole = [tier for tier in tiers if tier is not None]
    return None if not whole or tiers[0] is None else Price(version, whole)


def listed_entry(table: Mapping[str, Mapping[str, Any]], litellm_provider: str, model: str) -> Mapping[str, Any] | None:
    """What LiteLLM's table has on a model of one of its providers; None where it has nothing.

    It lists some models under the provider's name and theirs, some under theirs alone, and some of its providers under
    longer names: `vertex_ai-language-models`.
    """
    entry = table.get(f"{litellm_provider}/{model}")
    if entry is not None:
        return entry
    entry = table.get(model)
    lister = None if entry is None else entry.get("litellm_provider")
    known = isinstance(lister, str) and (lister == litellm_provider or lister.startswith(f"{litellm_provider}-"))
    return entry if known else None


def _each(usd_per_million: float | None) -> float | None:
    return None if usd_per_million is None else usd_per_million / _MILLION


def _tier(entry: Mapping[str, Any], above_thousand: int) -> PriceTier | None:
    suffix = f"_above_{above_thousand}k_tokens" if above_thousand else ""

    def usd(name: str) -> float | None:
        value = entry.get(name + suffix, entry.get(name))
        return float(value) if isinstance(value, int | float) else None

    fresh, output = usd(_INPUT), usd(_OUTPUT)
    if fresh is None or output is None:
        return None
    return PriceTier(fresh, output, usd(_READ), usd(_WRITE), usd(_HOUR), usd(_REASONING), above_thousand * 1000)
