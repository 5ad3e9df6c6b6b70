"""The headless runner on null cells: against posix_spawn, GNU parallel, bare bwrap, a plan that is done, and itself."""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from secrets import token_bytes
from typing import NamedTuple

import psutil
from ratios import Pair, print_head, print_row

from agentdyno.clock import now_us
from agentdyno.core.records import Run
from agentdyno.interruption import held_interruptions
from agentdyno.runner.experiment import Wishes, run_experiment
from agentdyno.runner.planning import Asked
from agentdyno.runner.settlement import Settled
from agentdyno.sessions.opening import Context
from agentdyno.sessions.project import load_project
from agentdyno.stand.home import Home
from agentdyno.stand.supervisor import Stand
from agentdyno.store.ledger import Ledger
from agentdyno.store.run_queries import RunCounts, unfinished_run
from agentdyno.store.runs import Claim

DYNO = Path(sys.executable).with_name("dyno")
ROUNDS = 5
MEMORY = Path("/dev/shm")
"""Both sides make their folders there, unless TMPDIR says where: they are to be measured, and no disk."""
CELLS = 500
PARALLEL_CELLS = 1_000
BWRAP_CELLS = 100
LARGE_PLAN = 10_000
EARLY = 1_000
_BARE_BWRAP = (
    *("bwrap", "--unshare-all", "--die-with-parent", "--proc", "/proc", "--dev", "/dev"),
    *("--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib"),
    *("--symlink", "usr/lib64", "/lib64", "/usr/bin/python3", "-c", "pass"),
)
_ONE_LEFT = """
UPDATE cell SET state = 'open', session_id = NULL, verdict = NULL
WHERE position = ? AND run_id = (SELECT run_id FROM cell GROUP BY run_id HAVING count(*) = ?)"""
_PROJECT = {
    "dyno.yaml": "gateway: {port: 0}\n",
    "configs/providers/scripted.yaml": "managed: scripted\nmodels: [hello]\n"
    "routes: {openai_chat: {litellm_provider: openai, path: /v1}}\n",
    "configs/harness_profiles/none.yaml": "surface: openai_chat\nenv: {KEY: '${session_key}'}\ncommand: ['true']\n",
    "configs/harness_profiles/python.yaml": "surface: openai_chat\nenv: {KEY: '${session_key}'}\n"
    "command: [/usr/bin/python3, -c, pass]\n",
    "configs/variants/none.yaml": "{provider: scripted, model: hello, harness_profile: none}\n",
    "configs/variants/python.yaml": "{provider: scripted, model: hello, harness_profile: python}\n",
    "configs/task_cards/empty.yaml": "{goal: none, prompt: none}\n",
    "configs/task_cards/cloned.yaml": "{goal: none, prompt: none, repository: repository, commit: main}\n",
    "configs/experiments/none.yaml": "{variants: [none], task_cards: [empty], sandbox: process}\n",
    "configs/experiments/cloned.yaml": "{variants: [python], task_cards: [cloned], sandbox: bubblewrap}\n",
}


class Watch:
    """Is told of a run, and keeps the memory of this process, early in it and at its end."""

    def __init__(self) -> None:
        self.planned_at_s = 0.0
        self.settled_cells = 0
        self.early_mib = self.late_mib = 0.0

    def said(self, line: str) -> None:
        """Nothing of interest."""

    def planned(self, run: Run, counts: RunCounts) -> None:
        """From here on it is the cells that take time."""
        self.planned_at_s = time.perf_counter()

    def begun(self, claim: Claim) -> None:
        """Nothing of interest."""

    def settled(self, settled: Settled) -> None:
        """Look at the memory, twice."""
        self.settled_cells += 1
        if self.settled_cells == EARLY:
            self.early_mib = _rss_mib()
        self.late_mib = _rss_mib() if self.settled_cells % EARLY == 0 else self.late_mib

    def lost(self, attempts: int) -> None:
        """Never: nobody dies here."""

    def stopping(self) -> None:
        """Nothing of interest."""


class Bench(NamedTuple):
    """A project whose stand is up."""

    folder: Path
    context: Context

    def run(self, experiment: str, cells: int, jobs: int, watch: Watch | None = None) -> float:
        """Run so many cells; how long it took from the plan on, in ms for each.

        Raises RuntimeError unless all of them were settled.
        """
        observer = Watch() if watch is None else watch
        run_experiment(self.context, self.folder, Wishes(Asked(experiment, repeats=cells), jobs), observer)
        elapsed_s = time.perf_counter() - observer.planned_at_s
        if observer.settled_cells != cells:
            raise RuntimeError(f"{observer.settled_cells} of {cells} cells were settled")
        return elapsed_s * 1e3 / cells

    def last_cell_ms(self, cells: int) -> float:
        """CPU of a `dyno run --resume` of the one cell that a plan of so many has left."""
        with self.context.ledger.write() as connection:
            connection.exec_driver_sql(_ONE_LEFT, (cells // 2, cells))
        cpu_ms = _cpu_ms(self.folder, "run", "none", "--resume", "--json")
        if unfinished_run(self.context.ledger, "none") is not None:
            raise RuntimeError("the last cell was not run")
        return cpu_ms


@contextlib.contextmanager
def bench() -> Iterator[Bench]:
    """A project in a folder that is gone afterwards, and its stand."""
    with _scratch() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        for file, text in _PROJECT.items():
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        _make_repository(folder / "repository")
        config, home = load_project(folder), Home(folder / ".dyno")
        home.folder.mkdir()
        environ = {name: value for name, value in os.environ.items() if not name.startswith("DYNO_")}
        interruptions = stack.enter_context(held_interruptions())
        stand = stack.enter_context(Stand(home, config, "127.0.0.1", 0, environ, lambda _: None, interruptions))
        ledger = stack.enter_context(contextlib.closing(Ledger.open(home.ledger)))
        yield Bench(folder, Context(config, ledger, home, stand.state, environ, now_us, token_bytes, interruptions))


def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() and "TMPDIR" not in os.environ else None)


def _make_repository(folder: Path) -> None:
    folder.mkdir()
    for number in range(20):
        (folder / f"file_{number}.py").write_text(f"NUMBER = {number}\n" * 20)
    identity = ("-c", "user.name=bench", "-c", "user.email=bench@localhost")
    for arguments in (("init", "-q", "-b", "main"), ("add", "."), (*identity, "commit", "-q", "-m", "start")):
        subprocess.run(["git", *arguments], cwd=folder, check=True)


def _rss_mib() -> float:
    return float(psutil.Process().memory_info().rss) / 2**20


def _spawned_ms(count: int) -> float:
    program = shutil.which("true") or "/usr/bin/true"
    began_s = time.perf_counter()
    for _ in range(count):
        os.waitpid(os.posix_spawn(program, ["true"], os.environ), 0)
    return (time.perf_counter() - began_s) * 1e3 / count


def _parallel_ms(count: int) -> float:
    with _scratch() as folder:
        numbers = "\n".join(map(str, range(count))).encode()
        command = ["parallel", "-j8", "--joblog", "joblog", "--results", "results", "true", "{}"]
        began_s = time.perf_counter()
        subprocess.run(command, input=numbers, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        return (time.perf_counter() - began_s) * 1e3 / count


def _bwrap_ms(count: int) -> float:
    began_s = time.perf_counter()
    for _ in range(count):
        subprocess.run(_BARE_BWRAP, check=True, stdin=subprocess.DEVNULL)
    return (time.perf_counter() - began_s) * 1e3 / count


def _taking_turns(rounds: int, ours: Callable[[], float], baseline: Callable[[], float]) -> list[list[Pair]]:
    """Each is first in every second round."""
    ours(), baseline()
    pairs = []
    for number in range(rounds):
        if number % 2:
            first = ours()
            pairs.append(Pair(first, baseline()))
        else:
            first = baseline()
            pairs.append(Pair(ours(), first))
    return [pairs]


def _cpu_ms(folder: Path, *arguments: str) -> float:
    """CPU time of a `dyno` command, its children's aside: those are the harness, and no stand of its own."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([DYNO, *arguments], cwd=folder, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3


def _last_cells(there: Bench, rounds: int) -> list[list[Pair]]:
    """What the last cell of the large plan costs more than a single one, and what `dyno --help` does."""
    pairs = []
    for _ in range(rounds):
        one = there.last_cell_ms(1)
        pairs.append(Pair(there.last_cell_ms(LARGE_PLAN) - one, _cpu_ms(there.folder, "--help")))
    return [pairs]


def main() -> None:
    """Take all measures, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds of each pair")
    rounds = parser.parse_args().rounds
    with bench() as there:
        spawned = _taking_turns(rounds, lambda: there.run("none", CELLS, 1), lambda: _spawned_ms(CELLS))
        eight = _taking_turns(
            rounds, lambda: there.run("none", PARALLEL_CELLS, 8), lambda: _parallel_ms(PARALLEL_CELLS)
        )
        walled = _taking_turns(rounds, lambda: there.run("cloned", BWRAP_CELLS, 1), lambda: _bwrap_ms(BWRAP_CELLS))
        watch = Watch()
        there.run("none", LARGE_PLAN, 8, watch)
        there.run("none", 1, 1)
        last = _last_cells(there, rounds)
    print(f"{rounds} rounds, {os.cpu_count()} cores")
    print_head("baseline")
    print_row("null cell, posix_spawn; ms", spawned, at_most=5)
    print_row("1,000 cells, parallel -j8; ms each", eight, at_most=1)
    print_row("clone in bubblewrap, bare bwrap; ms", walled, at_most=3)
    print_row("last cell of 10,000, --help; CPU ms", last, at_most=1)
    print_row("MiB after 10,000 cells, after 1,000", [[Pair(watch.late_mib, watch.early_mib)]], at_most=1.1)


if __name__ == "__main__":
    main()
