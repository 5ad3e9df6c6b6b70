"""The eight steps of a session: none can be skipped, none reordered.

    chosen → created → credentialed → recorded → rendered → launched → collected → finalized

Giving up is allowed from anywhere: a session that is aborted goes to `collected` and then `finalized` from whichever
step it had reached. Pure.
"""

from __future__ import annotations

from typing import get_args

from agentdyno.core.errors import DynoError
from agentdyno.core.records import Outcome, Phase

PHASES: tuple[Phase, ...] = get_args(Phase)


class OutOfOrder(DynoError):
    """A step of a session was attempted before the one that it needs."""


class MovedMeanwhile(DynoError):
    """Another process took the session's step first."""


def require_next(current: Phase, following: Phase, outcome: Outcome | None = None) -> None:
    """Raise OutOfOrder unless `following` is the step after `current`, or an aborted session is being closed."""
    here, there = PHASES.index(current), PHASES.index(following)
    giving_up = outcome in ("aborted", "invalid") and following == "collected" and here < there
    if there != here + 1 and not giving_up:
        raise OutOfOrder(f"a session that is {current} cannot become {following}")
