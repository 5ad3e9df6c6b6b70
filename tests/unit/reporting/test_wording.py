from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentdyno.reporting.wording import UNKNOWN, usd


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, UNKNOWN),
        (0.0, "0"),
        (12_345.678_91, "12,345.6789"),
        (0.5, "0.5000"),
        (0.001_23, "0.0012"),
        (0.000_15, "0.00015"),
        (0.000_022, "0.000022"),
        (0.000_000_000_4, "0.00000000040"),
    ],
)
def test_an_amount_of_money(value: float | None, said: str) -> None:
    assert usd(value) == said


def test_digits_that_are_asked_for() -> None:
    assert [usd(value, 6) for value in (3.5, 0.000_001_5)] == ["3.500000", "0.0000015"]


@given(st.floats(1e-12, 1e6))
def test_what_is_shown_is_never_far_from_the_amount(value: float) -> None:
    # Two digits round by 5 % at most.
    assert float(usd(value).replace(",", "")) == pytest.approx(value, rel=0.051)
