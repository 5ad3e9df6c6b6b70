"""The stand's gateway (auth, ingress meter, spool, collector beside it) against bare LiteLLM with its master key.

Both stand in front of one stub that costs next to nothing, and take turns block by block, so that whatever else the
machine does meets both.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import gateways
import psutil
from load import Target, ask_block
from ratios import print_row, ratio, verdict

ROUNDS = 15
WARM_UP_REQUESTS = 100
REQUESTS_AT_8 = 200
REQUESTS_AT_1 = 60
STREAMS = 30
MOST_P50 = 1.0
MOST_MEMORY = 1.15
LEAST_REQUESTS_PER_S = 1.05


class Round(NamedTuple):
    """What one gateway did in one round; times are medians."""

    requests_per_s: float
    p50_ms: float
    first_token_ms: float
    cpu_ms: float
    """Of the gateway's process, for each of the requests at 8 connections."""


async def one_round(gateway: gateways.Gateway) -> Round:
    """One block of each kind."""
    process = psutil.Process(gateway.pid)
    before = process.cpu_times()
    busy = await ask_block(gateway.target, REQUESTS_AT_8, connections=8)
    after = process.cpu_times()
    alone = await ask_block(gateway.target, REQUESTS_AT_1)
    streams = await ask_block(gateway.target, STREAMS, streamed=True)
    return Round(
        busy.requests_per_s,
        statistics.median(timing.end_ms for timing in alone.timings),
        statistics.median(timing.first_token_ms for timing in streams.timings),
        (after.user + after.system - before.user - before.system) * 1e3 / REQUESTS_AT_8,
    )


def measure(ours: gateways.Gateway, bare: gateways.Gateway, rounds: int) -> Iterator[tuple[Round, Round]]:
    """Rounds in turn, each side first in every second one."""
    for target in (ours.target, bare.target):
        asyncio.run(_warm_up(target))
    for number in range(rounds):
        if number % 2:
            first = asyncio.run(one_round(ours))
            yield first, asyncio.run(one_round(bare))
        else:
            second = asyncio.run(one_round(bare))
            yield asyncio.run(one_round(ours)), second


async def _warm_up(target: Target) -> None:
    await ask_block(target, WARM_UP_REQUESTS, connections=8)
    await ask_block(target, STREAMS, streamed=True)


def main() -> None:
    """Start everything, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds: int = parser.parse_args().rounds
    with (
        tempfile.TemporaryDirectory() as litellm_folder,
        tempfile.TemporaryDirectory() as stand_folder,
        gateways.upstream(Path(litellm_folder)) as upstream,
        gateways.bare_litellm(Path(litellm_folder), upstream) as bare,
        gateways.stand(Path(stand_folder), upstream) as ours,
    ):
        taken = list(measure(ours, bare, rounds))
        memories = [psutil.Process(gateway.pid).memory_full_info() for gateway in (ours, bare)]
    print(f"{rounds} rounds, {psutil.cpu_count()} cores; medians over rounds")
    print_row("", "dyno", "bare LiteLLM", "ratio [95% interval]")
    for name, what, target, at_least in (
        ("requests_per_s", "requests/s at 8 connections", LEAST_REQUESTS_PER_S, True),
        ("p50_ms", "p50 at 1 connection, ms", MOST_P50, False),
        ("first_token_ms", "first token of a stream, ms", None, False),
        ("cpu_ms", "CPU a request at 8 connections, ms", None, False),
    ):
        sides = [[getattr(side, name) for side in pair] for pair in zip(*taken, strict=True)]
        found = ratio(*sides)
        ours_median, bare_median = (f"{statistics.median(side):.2f}" for side in sides)
        said = str(found) if target is None else verdict(found, target, at_least=at_least)
        print_row(what, ours_median, bare_median, said)
    for name in ("rss", "pss"):
        ours_mib, bare_mib = (getattr(memory, name) / 2**20 for memory in memories)
        said = verdict(ratio([ours_mib], [bare_mib]), MOST_MEMORY)
        print_row(f"memory after the load, {name}, MiB", f"{ours_mib:.0f}", f"{bare_mib:.0f}", said)


if __name__ == "__main__":
    main()
