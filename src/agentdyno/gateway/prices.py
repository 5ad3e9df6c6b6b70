"""By which price the tokens of each route are priced: told by the stand, looked up when the gateway starts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from agentdyno.core.exchange import Price
from agentdyno.core.price_table import declared_price, listed_entry, listed_price
from agentdyno.core.records import Provider
from agentdyno.gateway.litellm_config import model_group


class PriceSource(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where the price of one route comes from: the provider's YAML, else LiteLLM's table, else nowhere."""

    declared: Price | None = None
    litellm_provider: str | None = None
    """Under which LiteLLM's table lists it; none for a provider at an address of its own, which charges as it likes."""
    model: str = ""


def price_sources(providers: Iterable[Provider]) -> dict[str, PriceSource]:
    """The source of each route's price, by its model group."""
    return {
        model_group(provider.name, model, surface): _source(provider, model, route.litellm_provider)
        for provider in providers
        for surface, route in provider.routes.items()
        for model in provider.models
    }


def _source(provider: Provider, model: str, litellm_provider: str) -> PriceSource:
    declared = provider.prices.get(model)
    if declared is not None:
        return PriceSource(declared=declared_price(provider.name, declared))
    if provider.managed is not None or provider.base_url is not None:
        return PriceSource()
    return PriceSource(litellm_provider=litellm_provider, model=model)


def resolved_prices(
    sources: Mapping[str, PriceSource], table: Mapping[str, Mapping[str, Any]], version: str
) -> dict[str, Price]:
    """The price of each route that has one. `table` is LiteLLM's, by its name for a model."""
    found = {group: _price(source, table, version) for group, source in sources.items()}
    return {group: price for group, price in found.items() if price is not None}


def _price(source: PriceSource, table: Mapping[str, Mapping[str, Any]], version: str) -> Price | None:
    if source.declared is not None or source.litellm_provider is None:
        return source.declared
    entry = listed_entry(table, source.litellm_provider, source.model)
    return None if entry is None else listed_price(entry, version)
