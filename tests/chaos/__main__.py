"""The long ordeal, for people: `make chaos`. It ends with 1 when anything does not hold."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from tests.chaos.ordeal import Outcome, Plan, endure, endure_two, faults, write_experiment
from tests.integration.postgres_server import PostgresServer
from tests.integration.runner.lab import Lab
from tests.integration.runner.provider import Provider

_DATABASE = "chaos"


def main() -> int:
    """Kill and resume, for one seed after the other and in every setting, and print what came of it; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=10, help="of six cells")
    arguments = parser.parse_args()
    console = Console(width=110, highlight=False)
    found: list[str] = []
    for seed in arguments.seeds:
        plan = Plan(seed, arguments.kills, arguments.repeats)
        for sandbox in ("process", "bubblewrap"):
            found += _one(console, Plan(seed, arguments.kills, arguments.repeats, sandbox=sandbox), stays_up=True)
        found += _one(console, plan, stays_up=False)
        found += _two(console, plan)
    console.print("every attempt is accounted for" if not found else f"{len(found)} things do not hold")
    return 1 if found else 0


def _one(console: Console, plan: Plan, *, stays_up: bool) -> list[str]:
    """One runner, whose stand stays up or dies with it."""
    stand = "a stand that stays up" if stays_up else "a stand that dies with it"
    console.print(f"seed {plan.seed}: one runner in {plan.sandbox}, with {stand}")
    with tempfile.TemporaryDirectory() as folder, Provider() as provider:
        lab = Lab(Path(folder), provider)
        write_experiment(lab, plan)
        if not stays_up:
            return _told(console, endure(lab, plan, console.print), plan, lab)
        with lab.up():
            return _told(console, endure(lab, plan, console.print), plan, lab)


def _two(console: Console, plan: Plan) -> list[str]:
    """Two runners with a stand each, on one shared ledger."""
    console.print(f"seed {plan.seed}: two runners in {plan.sandbox}, on a shared ledger")
    with tempfile.TemporaryDirectory() as folder, Provider() as provider, PostgresServer() as server:
        server.execute(f"CREATE DATABASE {_DATABASE}")
        labs = tuple(Lab(Path(folder, name), provider, server.url(_DATABASE)) for name in ("a", "b"))
        for each in labs:
            write_experiment(each, plan)
        with labs[0].up(), labs[1].up():
            return _told(console, endure_two((labs[0], labs[1]), plan), plan, labs[1])


def _told(console: Console, outcome: Outcome, plan: Plan, lab: Lab) -> list[str]:
    """Print what came of an ordeal; what does not hold."""
    found = faults(outcome, plan, [lab])
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(outcome.record.verdicts.items(), key=str))
    console.print(
        f"  {outcome.took_s:.0f} s, {len(outcome.killed)} kills, {len(outcome.record.runners)} runners, "
        f"{plan.cells} cells, attempts: {verdicts}; {len(outcome.served)} requests served"
    )
    for fault in found:
        console.print(f"  {fault}")
    return found


if __name__ == "__main__":
    sys.exit(main())
