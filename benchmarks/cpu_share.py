"""Whose CPU time the gateway's is, sampled in a life of the stand that nothing else is measured in."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path

import gateways
from load import ask_block

_SAMPLER = Path(__file__).with_name("sampler")
_REQUESTS = 1_200
_STREAMS = 300
_SHOWN = 6


def sample_cpu() -> Counter[str]:
    """Samples of the gateway's process under load, unstreamed and streamed, by whose they are."""
    with contextlib.ExitStack() as stack:
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(2)]
        upstream = stack.enter_context(gateways.upstream(folders[0]))
        target = folders[0] / "samples.json"
        on_path = os.pathsep.join([str(_SAMPLER), *filter(None, [os.environ.get("PYTHONPATH")])])
        environ = {"PYTHONPATH": on_path, "BENCH_SAMPLES": str(target)}
        stand = stack.enter_context(gateways.stand(folders[1], upstream, **environ))
        asyncio.run(ask_block(stand.target, _STREAMS, connections=8))
        os.kill(stand.pid, signal.SIGUSR1)
        asyncio.run(ask_block(stand.target, _REQUESTS, connections=8))
        asyncio.run(ask_block(stand.target, _STREAMS, connections=8, streamed=True))
        os.kill(stand.pid, signal.SIGUSR2)
        while not target.exists():
            time.sleep(0.01)
        return Counter(json.loads(target.read_text()))


def print_share(samples: Counter[str]) -> None:
    """The share of our own code, and which of its modules make it up."""
    total = samples.total()
    ours = Counter({module: count for module, count in samples.items() if module.endswith(".py")})
    print(f"share of our own code in the gateway's CPU time: {ours.total() / total:.1%} of {total} samples")
    print(f"  LiteLLM and what carries it {samples['LiteLLM'] / total:.1%}, ", end="")
    print(f"the event loop {samples['the event loop'] / total:.1%}")
    for module, count in ours.most_common(_SHOWN):
        print(f"  {module:<34} {count / total:.1%}")
