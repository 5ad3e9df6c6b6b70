"""A runner in a process of its own, which has joined run_1: it scores cells until it can claim none.

It says `claimed` each time that it has claimed; after the first time it waits for a line on its standard input.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import sys
from pathlib import Path

from agentdyno.store.address import LedgerAddress, ledger_address
from agentdyno.store.ledger import Ledger
from agentdyno.store.runs import claim, settle


def main(address: LedgerAddress, runner_id: str) -> None:
    """Work until there is nothing to be claimed."""
    with contextlib.closing(Ledger.open(address)) as ledger:
        for turn in itertools.count():
            claims = claim(ledger, "run_1", runner_id, turn, [f"ses_{runner_id}_{turn}_{n}" for n in range(4)])
            if not claims:
                return
            say("claimed")
            if turn == 0:
                sys.stdin.readline()
            for item in claims:
                settle(ledger, dataclasses.replace(item.attempt, verdict="passed"), scores=True, now_us=turn)


def say(what: str) -> None:
    """One line, at once."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(ledger_address(sys.argv[1]) if "://" in sys.argv[1] else Path(sys.argv[1]), sys.argv[2])
