"""What tokens cost. Pure."""

from __future__ import annotations

from agentdyno.core.dialects.wire import Tokens
from agentdyno.core.exchange import Price, PriceTier


def cost_usd(tokens: Tokens, price: Price) -> float | None:
    """The price of one attempt's tokens; None where tokens or a price that it takes are unknown.

    What a provider tells of no cache was not read from one: where `cache_read` or `cache_write` is None, all of the
    input is priced as fresh. Reasoning is part of the output, and a write that is to stay an hour part of the writes.
    """
    if tokens.input is None or tokens.output is None:
        return None
    tier = _tier(price, tokens.input)
    read, write, hour, reasoning = (
        0 if part is None else part
        for part in (tokens.cache_read, tokens.cache_write, tokens.cache_write_1h, tokens.reasoning)
    )
    hour_usd = tier.cache_write_usd if tier.cache_write_1h_usd is None else tier.cache_write_1h_usd
    reasoning_usd = tier.output_usd if tier.reasoning_usd is None else tier.reasoning_usd
    parts = (
        (tokens.input - read - write, tier.input_usd),
        (read, tier.cache_read_usd),
        (write - hour, tier.cache_write_usd),
        (hour, hour_usd),
        (tokens.output - reasoning, tier.output_usd),
        (reasoning, reasoning_usd),
    )
    total = 0.0
    for count, usd in parts:
        if count and usd is None:
            return None
        total += count * usd if usd is not None else 0.0
    return total


def _tier(price: Price, input_tokens: int) -> PriceTier:
    """The last tier that an input is in; the first is for all."""
    fitting = price.tiers[0]
    for tier in price.tiers[1:]:
        if input_tokens > tier.above_input_tokens:
            fitting = tier
    return fitting
