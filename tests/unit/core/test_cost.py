"""What tokens cost, by hand."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentdyno.core.cost import cost_usd
from agentdyno.core.dialects.wire import Tokens
from agentdyno.core.exchange import Price, PriceTier
from agentdyno.core.price_table import declared_price, listed_entry, listed_price
from agentdyno.core.records import ModelPrice

FULL = Price(
    "v",
    [
        PriceTier(1.0, 10.0, cache_read_usd=0.1, cache_write_usd=1.25, cache_write_1h_usd=2.0, reasoning_usd=20.0),
        PriceTier(2.0, 15.0, cache_read_usd=0.2, cache_write_usd=2.5, above_input_tokens=200),
    ],
)
BARE = Price("v", [PriceTier(1.0, 10.0)])


def test_each_part_at_its_own_price() -> None:
    tokens = Tokens(input=100, output=10, cache_read=60, cache_write=30, reasoning=4, cache_write_1h=20)
    # 10 fresh at 1, 60 read at 0.1, 10 written at 1.25, 20 for an hour at 2, 6 written at 10, 4 of reasoning at 20
    assert cost_usd(tokens, FULL) == pytest.approx(10 + 6 + 12.5 + 40 + 60 + 80)


def test_a_long_input_prices_all_tokens_by_its_tier() -> None:
    assert cost_usd(Tokens(200, 1), FULL) == pytest.approx(200 + 10)
    assert cost_usd(Tokens(201, 1), FULL) == pytest.approx(402 + 15)
    # Without prices of their own an hour costs as any write does, and reasoning as any output.
    tokens = Tokens(300, 2, cache_write=100, reasoning=2, cache_write_1h=100)
    assert cost_usd(tokens, FULL) == pytest.approx(200 * 2 + 100 * 2.5 + 2 * 15)


def test_unknown_is_none_and_free_is_zero() -> None:
    assert cost_usd(Tokens(None, 1), BARE) is None
    assert cost_usd(Tokens(1, None), BARE) is None
    assert cost_usd(Tokens(100, 1, cache_read=60), BARE) is None
    assert cost_usd(Tokens(100, 1, cache_write=1), BARE) is None
    assert cost_usd(Tokens(100, 1, cache_read=0, cache_write=0), BARE) == 110
    assert cost_usd(Tokens(100, 1), Price("v", [PriceTier(0.0, 0.0)])) == 0


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**6), st.integers(0, 10**6))
def test_what_is_read_from_a_cache_never_makes_it_dearer(fresh: int, output: int, read: int, write: int) -> None:
    price = Price("v", [PriceTier(1e-6, 5e-6, cache_read_usd=1e-7, cache_write_usd=1e-6)])
    whole = Tokens(fresh + read + write, output)
    cached = cost_usd(whole._replace(cache_read=read, cache_write=write), price)
    uncached = cost_usd(whole, price)
    assert cached is not None
    assert uncached is not None
    assert 0 <= cached <= uncached * (1 + 1e-12)


def test_a_price_of_a_providers_yaml() -> None:
    price = declared_price("corner-shop", ModelPrice(3.0, 15.0, cache_read_usd_per_million=0.3))
    assert price.tiers == [PriceTier(3e-6, 1.5e-5, cache_read_usd=0.3 / 1_000_000)]
    assert price.version.startswith("corner-shop-")
    assert price.version != declared_price("corner-shop", ModelPrice(3.0, 16.0, cache_read_usd_per_million=0.3)).version


def test_a_price_of_litellms_table() -> None:
    entry = {
        "litellm_provider": "gemini",
        "input_cost_per_token": 1.25e-6,
        "output_cost_per_token": 1e-5,
        "cache_read_input_token_cost": 1.25e-7,
        "input_cost_per_token_above_200k_tokens": 2.5e-6,
        "output_cost_per_token_above_200k_tokens": 1.5e-5,
        "input_cost_per_token_above_200k_tokens_priority": 4.5e-6,
        "cache_read_input_token_cost_above_200k_tokens": 2.5e-7,
        "output_cost_per_reasoning_token": 2e-5,
    }
    assert listed_price(entry, "v") == Price(
        "v",
        [
            PriceTier(1.25e-6, 1e-5, cache_read_usd=1.25e-7, reasoning_usd=2e-5),
            PriceTier(2.5e-6, 1.5e-5, cache_read_usd=2.5e-7, reasoning_usd=2e-5, above_input_tokens=200_000),
        ],
    )
    assert listed_price({"output_cost_per_image": 0.04}, "v") is None
    assert listed_price({"input_cost_per_token": 1e-6, "output_cost_per_token": None}, "v") is None


def test_under_which_name_a_model_is_listed() -> None:
    table = {
        "gpt-4o-mini": {"litellm_provider": "openai"},
        "gemini/gemini-2.5-pro": {"litellm_provider": "gemini"},
        "gemini-2.5-pro": {"litellm_provider": "vertex_ai-language-models"},
    }
    assert listed_entry(table, "openai", "gpt-4o-mini") is table["gpt-4o-mini"]
    assert listed_entry(table, "gemini", "gemini-2.5-pro") is table["gemini/gemini-2.5-pro"]
    assert listed_entry(table, "vertex_ai", "gemini-2.5-pro") is table["gemini-2.5-pro"]
    assert listed_entry(table, "anthropic", "gpt-4o-mini") is None
    assert listed_entry(table, "openai", "unheard-of") is None


def test_the_version_of_a_declared_price_is_a_word_of_its_own() -> None:
    version = declared_price("corner-shop", ModelPrice(3.0, 15.0)).version
    assert re.fullmatch(r"corner-shop-[0-9a-f]{12}", version)
