"""The stand's gateway (auth, ingress meter, spool, collector beside it) against bare LiteLLM with its master key.

Both stand in front of one stub that costs next to nothing, and take turns block by block, so that whatever else the
machine does meets both. Both are started anew several times, because one process of the same program is not as fast as
the next.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import tempfile
from pathlib import Path
from typing import NamedTuple

import gateways
import psutil
from cpu_share import print_share, sample_cpu
from load import GaveNoAnswer, Target, ask_block
from ratios import Pair, print_head, print_row

STARTS = 5
ROUNDS = 5
WARM_UP_REQUESTS = 200
REQUESTS_AT_8 = 160
REQUESTS_AT_1 = 40
STREAMS = 20


class Round(NamedTuple):
    """What one gateway did in one round; times are medians."""

    requests_per_s: float
    p50_ms: float
    first_token_ms: float
    cpu_ms: float
    """Of the gateway's process, for each of the requests at 8 connections."""


class Start(NamedTuple):
    """One life of both gateways: rounds of both, and their memory after them."""

    ours: list[Round]
    bare: list[Round]
    rss_mib: Pair
    pss_mib: Pair


def measure_start(rounds: int) -> Start:
    """Start both gateways, let them take turns, each being first in every second round, and stop them."""
    with contextlib.ExitStack() as stack:
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(3)]
        upstream = stack.enter_context(gateways.upstream(folders[0]))
        ours = stack.enter_context(gateways.stand(folders[1], upstream))
        bare = stack.enter_context(gateways.bare_litellm(folders[2], upstream))
        for gateway in (ours, bare):
            asyncio.run(_warm_up(gateway.target))
        start = Start([], [], _memory_mib(ours, bare, "rss"), _memory_mib(ours, bare, "pss"))
        sides = [(ours, start.ours), (bare, start.bare)]
        for number in range(rounds):
            for gateway, taken in sides if number % 2 else reversed(sides):
                taken.append(asyncio.run(_one_round(gateway)))
        return start._replace(rss_mib=_memory_mib(ours, bare, "rss"), pss_mib=_memory_mib(ours, bare, "pss"))


async def _warm_up(target: Target) -> None:
    await ask_block(target, WARM_UP_REQUESTS, connections=8)
    await ask_block(target, STREAMS, streamed=True)


async def _one_round(gateway: gateways.Gateway) -> Round:
    """One block of each kind. Raises GaveNoAnswer, with the gateway's name."""
    try:
        before_s = _cpu_s(gateway)
        busy = await ask_block(gateway.target, REQUESTS_AT_8, connections=8)
        cpu_s = _cpu_s(gateway) - before_s
        alone = await ask_block(gateway.target, REQUESTS_AT_1)
        streams = await ask_block(gateway.target, STREAMS, streamed=True)
    except GaveNoAnswer as error:
        raise GaveNoAnswer(f"{psutil.Process(gateway.pid).name()} gave no answer: {error}") from error
    return Round(
        busy.requests_per_s,
        statistics.median(timing.end_ms for timing in alone.timings),
        statistics.median(timing.first_token_ms for timing in streams.timings),
        cpu_s * 1e3 / REQUESTS_AT_8,
    )


def _cpu_s(gateway: gateways.Gateway) -> float:
    times = psutil.Process(gateway.pid).cpu_times()
    return float(times.user + times.system)


def _memory_mib(ours: gateways.Gateway, bare: gateways.Gateway, kind: str) -> Pair:
    """Resident (`rss`), or with shared pages shared out among those who share them (`pss`)."""
    return Pair(*(getattr(psutil.Process(gateway.pid).memory_full_info(), kind) / 2**20 for gateway in (ours, bare)))


def _pairs(starts: list[Start], name: str) -> list[list[Pair]]:
    return [
        [Pair(getattr(ours, name), getattr(bare, name)) for ours, bare in zip(start.ours, start.bare, strict=True)]
        for start in starts
    ]


def measure(wanted: int, rounds: int) -> tuple[list[Start], list[str]]:
    """As many starts as wanted, and why others were given up: a gateway may die under load, and it is said which."""
    starts: list[Start] = []
    given_up: list[str] = []
    while len(starts) < wanted and len(given_up) < wanted:
        try:
            starts.append(measure_start(rounds))
        except GaveNoAnswer as error:
            given_up.append(str(error))
    return starts, given_up


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=STARTS, help="how often both gateways are started anew")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds in each start")
    arguments = parser.parse_args()
    starts, given_up = measure(arguments.starts, arguments.rounds)
    print(f"{len(starts)} starts of {arguments.rounds} rounds, {psutil.cpu_count()} cores")
    for what in given_up:
        print(f"one more was given up: {what}")
    print_head("bare LiteLLM")
    print_row("requests/s at 8 connections", _pairs(starts, "requests_per_s"), at_least=1.05)
    print_row("p50 at 1 connection, ms", _pairs(starts, "p50_ms"), at_most=1.0)
    print_row("first token of a stream, ms", _pairs(starts, "first_token_ms"))
    print_row("CPU a request at 8 connections, ms", _pairs(starts, "cpu_ms"))
    print_row("memory after the load, RSS, MiB", [[start.rss_mib] for start in starts], at_most=1.15)
    print_row("memory after the load, PSS, MiB", [[start.pss_mib] for start in starts], at_most=1.15)
    print_share(sample_cpu())


if __name__ == "__main__":
    main()
