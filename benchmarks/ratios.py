"""Ratios of two sides that took turns in one run, with an interval that says how far the run can be trusted."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from typing import NamedTuple

_RESAMPLES = 2_000


class Ratio(NamedTuple):
    """Ours over the baseline's, with a 95% interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def ratio(ours: Sequence[float], baseline: Sequence[float]) -> Ratio:
    """The ratio of the medians; its interval is a percentile bootstrap over rounds, resampled in pairs.

    Round i of both sides ran next to each other, so what disturbed one disturbed the other.
    """
    pairs = list(zip(ours, baseline, strict=True))
    draw = random.Random(0)  # the same figures give the same interval
    resampled = sorted(_of_medians(draw.choices(pairs, k=len(pairs))) for _ in range(_RESAMPLES))
    return Ratio(_of_medians(pairs), resampled[int(0.025 * _RESAMPLES)], resampled[int(0.975 * _RESAMPLES) - 1])


def _of_medians(pairs: Sequence[tuple[float, float]]) -> float:
    return statistics.median(ours for ours, _ in pairs) / statistics.median(baseline for _, baseline in pairs)


def print_row(what: str, ours: str, baseline: str, verdict: str) -> None:
    """One line of a benchmark's table."""
    print(f"{what:<34} {ours:>12} {baseline:>12}   {verdict}")


def verdict(found: Ratio, target: float, *, at_least: bool = False) -> str:
    """A ratio beside what it should be."""
    met = found.value >= target if at_least else found.value <= target
    return f"{found}  target {'≥' if at_least else '≤'} {target:.2f}  {'met' if met else 'MISSED'}"
