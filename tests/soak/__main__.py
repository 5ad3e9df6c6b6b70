"""The long soak, for people: `make soak`. It ends with 1 when anything does not hold."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tests.soak.accounts import TOKENS, never_let_in
from tests.soak.reckoning import causes, log_causes
from tests.soak.soaking import Outcome, Plan, Progress, soak

_SLOWEST_PER_S = 5
"""Requests: a traffic that is slower has got stuck."""
_SAY_EVERY_S = 10.0


class _Telling:
    """Prints a line whenever another thing is done, and every few seconds how far that is."""

    def __init__(self, console: Console, requests: int) -> None:
        self._console = console
        self._requests = requests
        self._last = Progress("", 0, 0.0)
        self._first: Progress | None = None

    def __call__(self, now: Progress) -> None:
        if now.word == self._last.word and now.elapsed_s < self._last.elapsed_s + _SAY_EVERY_S:
            return
        self._last = now
        self._console.print(f"{now.elapsed_s:6.0f} s  {now.word}{self._how_far(now)}", highlight=False)

    def _how_far(self, now: Progress) -> str:
        if now.word != "asking":
            return ""
        self._first = self._first or now
        elapsed_s = now.elapsed_s - self._first.elapsed_s
        per_s = (now.done - self._first.done) / elapsed_s if elapsed_s else 0.0
        left = f", {(self._requests - now.done) / per_s:.0f} s left" if per_s else ""
        return f": {now.done} of {self._requests}, {per_s:.0f}/s{left}"


def main() -> int:
    """Soak, and print what came of it; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="an empty folder to soak in, which stays; a temporary one by default")
    arguments = parser.parse_args()
    console = Console(width=110)
    plan = Plan(arguments.requests, deadline_s=120 + arguments.requests / _SLOWEST_PER_S, seed=arguments.seed)
    with tempfile.TemporaryDirectory() as temporary:
        outcome = soak(plan, arguments.keep or Path(temporary), _Telling(console, plan.requests))
    found = outcome.faults()
    _print_counts(console, outcome)
    _print_tokens(console, outcome)
    _print_causes(console, outcome)
    for fault in found:
        console.print(fault, highlight=False)
    console.print("every request is accounted for" if not found else f"{len(found)} things do not hold")
    return 1 if found else 0


def _print_counts(console: Console, outcome: Outcome) -> None:
    account, accounts = outcome.account, outcome.accounts
    statuses = _counts(asked.status for asked in account.asked if asked.ending == "answered")
    log = [line for lines in accounts.served.values() for line in lines]
    table = _table("requests", "how many", "of which")
    table.add_row("sent by the client", str(len(account.asked)), _counts(asked.ending for asked in account.asked))
    table.add_row("answered to it", str(account.endings["answered"]), statuses)
    table.add_row("never let in", str(never_let_in(accounts).total()), _counts(never_let_in(accounts).elements()))
    table.add_row("rows in the ledger", str(len(outcome.rows)), _counts(row["status"] for row in outcome.rows))
    table.add_row("tokens by", "", _counts(row["usage_source"] or "nobody" for row in outcome.rows))
    table.add_row("turned away: key not looked up", str(len(accounts.turned_away)), "")
    table.add_row("in the provider's log", str(len(log)), _counts(line.status or "left before" for line in log))
    table.add_row("connections refused", str(account.refused.total()), "")
    console.print(table)
    asked_per_s = len(account.asked) / outcome.traffic_s
    console.print(f"{outcome.traffic_s:.0f} s of traffic, {asked_per_s:.0f} requests/s; restarts are in it")


def _print_tokens(console: Console, outcome: Outcome) -> None:
    provider = next(each for each in outcome.experiment.document["accounts"] if each["witness"] == "provider")
    log = [line for lines in outcome.accounts.served.values() for line in lines]
    table = _table("tokens", "provider's log", "provider's wire, as metered", "explained difference")
    for field in TOKENS:
        logged = sum(getattr(line, field) or 0 for line in log)
        metered = provider[field] or 0
        table.add_row(field.removesuffix("_tokens"), f"{logged:,}", f"{metered:,}", f"{logged - metered:,}")
    console.print(table)


def _print_causes(console: Console, outcome: Outcome) -> None:
    document = outcome.experiment.document
    console.print(f"{document['agreed']} of {document['requests']} requests agree; the others differ in")
    table = _table("field", "cause", "witnesses", "provider's log")
    by_witness, by_log = causes(document), log_causes(document)
    for field, cause in sorted({*by_witness, *by_log}):
        table.add_row(field, cause, str(by_witness[field, cause]), str(by_log[field, cause]))
    console.print(table)


def _table(*headers: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for header in headers:
        table.add_column(header)
    return table


def _counts(values: Iterable[object]) -> str:
    found: dict[str, int] = {}
    for value in values:
        found[str(value)] = found.get(str(value), 0) + 1
    return ", ".join(f"{count} {name}" for name, count in sorted(found.items(), key=lambda item: -item[1]))


if __name__ == "__main__":
    sys.exit(main())
