"""Working on a run: claims cells, runs them side by side, settles them, and takes over what dead runners held."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import NamedTuple, Protocol

import psutil

from agentdyno.core.errors import UserError
from agentdyno.core.ids import time_ordered_id
from agentdyno.core.records import Limits, Run, Runner
from agentdyno.runner.bench import Bench
from agentdyno.runner.cell import attempt
from agentdyno.runner.recovery import end_runner, recover_the_dead, tidy
from agentdyno.runner.removals import Removals
from agentdyno.runner.settlement import Settled, Settler
from agentdyno.sessions.opening import Context
from agentdyno.sessions.sandboxes import adopt_orphans
from agentdyno.stand.processes import own_start_ticks
from agentdyno.store import run_queries
from agentdyno.store.run_queries import RunCounts
from agentdyno.store.runs import Claim, RunnerEnded, beat, claim, join

_BEAT_EVERY_S = 5.0
_LOOK_EVERY_S = 0.1
_IDLE_S = 0.25
"""Between two questions whether a cell that another runner holds has become free."""
_LONGEST_PAUSE_S = 30.0


class Observer(Protocol):
    """Is told what happens in a run, from several threads."""

    def begun(self, claim: Claim) -> None:
        """An attempt has begun."""

    def settled(self, settled: Settled) -> None:
        """An attempt is over."""

    def lost(self, attempts: int) -> None:
        """So many attempts were lost, because their runner died."""

    def stopping(self) -> None:
        """Somebody asked for the end: what runs is ended, and nothing more is begun."""


class _Shared(NamedTuple):
    """What the workers of one runner share."""

    bench: Bench
    run: Run
    runner: Runner
    settler: Settler
    observer: Observer
    alone: threading.Lock
    """Held by whoever claims: cells are begun in their order."""


def work(bench: Bench, run: Run, jobs: int, observer: Observer, require_gateway: Callable[[], object]) -> RunCounts:
    """Work on a run until no cell of it is open, with so many cells side by side; how far it is then.

    Interrupted, what runs is ended and settled as such. Raises what `require_gateway` does, which is called every now
    and then, LedgerUnavailable, and RunnerEnded if another runner took this one for dead.
    """
    context = bench.context
    tidy(context, host_id())
    with adopt_orphans(), _joined(context, run) as runner, Removals() as removals:
        settler = Settler(bench, removals, observer.settled)
        shared = _Shared(bench, run, runner, settler, observer, threading.Lock())
        with ThreadPoolExecutor(jobs + 1, thread_name_prefix="cell") as pool:
            settling = pool.submit(settler.run)
            workers = [pool.submit(_work, shared) for _ in range(jobs)]
            try:
                _watch(shared, workers, settling, require_gateway)
            finally:
                bench.stop.set()
                wait(workers)
                settler.close()
            for future in (*workers, settling):
                future.result()
    return run_queries.counts(context.ledger, run.run_id)


@contextlib.contextmanager
def _joined(context: Context, run: Run) -> Iterator[Runner]:
    """This process as a runner of the run."""
    now_us = context.clock_us()
    runner = Runner(
        runner_id=time_ordered_id("rnr", now_us, context.random(10)),
        run_id=run.run_id,
        host=host_id(),
        pid=os.getpid(),
        pid_started_ticks=own_start_ticks(),
        started_at_us=now_us,
        seen_at_us=now_us,
    )
    join(context.ledger, runner)
    try:
        yield runner
    finally:
        end_runner(context, runner, here=True)


def host_id() -> str:
    """An id of this machine, as it is since it was started, and as a container sees it.

    A process id means nothing beyond, and containers of one machine have the same ids, and often names.
    """
    boot, processes = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    if not boot.exists():
        return f"{os.uname().nodename} {psutil.boot_time()}"
    return f"{os.uname().nodename} {boot.read_text().strip()} {processes.stat().st_ino}"


def _watch(
    shared: _Shared,
    workers: list[Future[None]],
    settling: Future[None],
    require_gateway: Callable[[], object],
) -> None:
    """Look after a run, in the main thread, until its workers are done. Raises what one of them raised."""
    context, runner = shared.bench.context, shared.runner
    asked = False
    next_beat_s = time.monotonic()
    while not all(worker.done() for worker in workers):
        done, _ = wait([*workers, settling], _LOOK_EVERY_S, FIRST_COMPLETED)
        for future in done:
            future.result()
        if len(done):
            time.sleep(_LOOK_EVERY_S / 10)
        if context.interruptions.asked and not asked:
            asked = True
            shared.settler.hurried = context.interruptions.more()
            shared.observer.stopping()
            shared.bench.stop.set()
        if time.monotonic() >= next_beat_s:
            next_beat_s = time.monotonic() + _BEAT_EVERY_S
            if not beat(context.ledger, runner.runner_id, context.clock_us()):
                raise RunnerEnded("another runner took this one for dead", "go on with `dyno run … --resume`")
            if not asked:
                require_gateway()
                lost = recover_the_dead(context, shared.run.run_id, runner.host, runner.runner_id)
                if lost:
                    shared.observer.lost(len(lost))


def _work(shared: _Shared) -> None:
    """Take cells until none is open."""
    stop = shared.bench.stop
    while not stop.is_set:
        claimed = _claim(shared)
        if claimed is None:
            if not run_queries.has_open_cells(shared.bench.context.ledger, shared.run.run_id):
                return
            time.sleep(_IDLE_S)
            continue
        shared.observer.begun(claimed)
        _pause_after(claimed, shared)
        shared.settler.put(attempt(shared.bench, claimed))


def _claim(shared: _Shared) -> Claim | None:
    context = shared.bench.context
    now_us = context.clock_us()
    session_id = time_ordered_id("ses", now_us, context.random(10))
    with shared.alone:
        claims = claim(context.ledger, shared.run.run_id, shared.runner.runner_id, now_us, [session_id])
    return claims[0] if claims else None


def _pause_after(claimed: Claim, shared: _Shared) -> None:
    """Give the stand, or a provider, time to recover before what failed by its fault is tried again."""
    if claimed.cell.failures:
        pause_s = min(2.0 ** (claimed.cell.failures - 1), _LONGEST_PAUSE_S)
        deadline_s = time.monotonic() + pause_s
        while time.monotonic() < deadline_s and not shared.bench.stop.is_set:
            time.sleep(_LOOK_EVERY_S)


def require_fit(limits: Limits, jobs: int) -> None:
    """Raise UserError when so many cells at once would need more than the machine has of what is set aside for each."""
    for name, each, there in (
        ("cores", limits.guaranteed_cpu_cores, os.cpu_count() or 1),
        ("bytes of memory", limits.guaranteed_memory_bytes, psutil.virtual_memory().total),
    ):
        if each is not None and each * jobs > there:
            raise UserError(
                f"{jobs} cells at once need {each * jobs:,.15g} {name}, and this machine has {there:,}",
                f"let fewer run at once: --jobs {int(there // each)}" if each <= there else "set less aside for each",
            )
