"""Samples of where a gateway's CPU time goes. Python imports this module by itself where its folder is on PYTHONPATH.

Only the benchmark puts it there. In a gateway's process, SIGUSR1 begins to sample and SIGUSR2 writes what was found, as
JSON, to the file that BENCH_SAMPLES names. A sample is taken for each two milliseconds of the process's CPU time, and
belongs to whoever's function is the innermost on the stack: a module of ours, with the libraries that it calls, or
LiteLLM and what carries it. What has neither on the stack is the event loop's.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

_EVERY_S = 0.002
_OURS = f"{os.sep}agentdyno{os.sep}"
# The web framework, its server and the HTTP clients are LiteLLM's choice, and bare LiteLLM has the same of them.
_THEIRS = tuple(
    f"{os.sep}site-packages{os.sep}{package}{os.sep}"
    for package in ("litellm", "aiohttp", "anyio", "fastapi", "httpx", "openai", "starlette", "uvicorn")
)


def owner_of(frame: FrameType | None) -> str:
    """Our module, `LiteLLM`, or `the event loop`."""
    while frame is not None:
        file = frame.f_code.co_filename
        if any(theirs in file for theirs in _THEIRS):
            return "LiteLLM"
        if _OURS in file:
            # To serve is the frame around everything; no time of a request is spent in it.
            module = file.rpartition(_OURS)[2]
            return "the event loop" if module in ("gateway/__main__.py", "gateway/server.py") else module
        frame = frame.f_back
    return "the event loop"


def install(target: Path) -> None:
    """Wait for the signals."""
    samples: Counter[str] = Counter()

    def take(_: int, frame: FrameType | None) -> None:
        samples[owner_of(frame)] += 1

    def begin(*_: object) -> None:
        signal.signal(signal.SIGPROF, take)
        signal.setitimer(signal.ITIMER_PROF, _EVERY_S, _EVERY_S)

    def end(*_: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        nascent = target.with_suffix(".nascent")
        nascent.write_text(json.dumps(samples))
        nascent.rename(target)

    signal.signal(signal.SIGUSR1, begin)
    signal.signal(signal.SIGUSR2, end)


if "agentdyno.gateway" in sys.orig_argv and "BENCH_SAMPLES" in os.environ:
    install(Path(os.environ["BENCH_SAMPLES"]))
