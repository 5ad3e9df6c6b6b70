"""Ratios of two sides that took turns in one run, with an interval that says how far the run can be trusted."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from typing import NamedTuple

_RESAMPLES = 2_000


class Pair(NamedTuple):
    """One round of both sides, which ran next to each other: what disturbed one disturbed the other."""

    ours: float
    baseline: float


class Ratio(NamedTuple):
    """Ours over the baseline's, with a 95% interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def ratio(starts: Sequence[Sequence[Pair]]) -> Ratio:
    """The median, over starts of both programs, of the ratio of their medians over rounds.

    A process may be some percent faster or slower than the next of its kind for as long as it lives, so the interval
    is a percentile bootstrap of starts, and of rounds within each.
    """
    draw = random.Random(0)  # the same figures give the same interval
    resampled = sorted(
        _of_starts([draw.choices(rounds, k=len(rounds)) for rounds in draw.choices(starts, k=len(starts))])
        for _ in range(_RESAMPLES)
    )
    return Ratio(_of_starts(starts), resampled[round(0.025 * _RESAMPLES)], resampled[round(0.975 * _RESAMPLES) - 1])


def _of_starts(starts: Sequence[Sequence[Pair]]) -> float:
    return statistics.median(_of_medians(rounds) for rounds in starts)


def _of_medians(rounds: Sequence[Pair]) -> float:
    return statistics.median(pair.ours for pair in rounds) / statistics.median(pair.baseline for pair in rounds)


def print_head(baseline: str) -> None:
    """The head of a benchmark's table."""
    print(f"{'medians':<36} {'dyno':>12} {baseline:>12}   ratio [95% interval]")


def print_row(
    what: str, starts: Sequence[Sequence[Pair]], *, at_most: float | None = None, at_least: float | None = None
) -> None:
    """One line of a benchmark's table: both sides' medians, their ratio, and what it should be."""
    found = ratio(starts)
    target = ""
    if at_most is not None:
        target = f"   target ≤ {at_most:.2f}: {'met' if found.value <= at_most else 'MISSED'}"
    if at_least is not None:
        target = f"   target ≥ {at_least:.2f}: {'met' if found.value >= at_least else 'MISSED'}"
    pairs = [pair for rounds in starts for pair in rounds]
    ours, baseline = (statistics.median(side) for side in zip(*pairs, strict=True))
    print(f"{what:<36} {ours:>12.1f} {baseline:>12.1f}   {found}{target}")
