"""Taking a session from step to step: in the ledger first, then in the log."""

from __future__ import annotations

import logging
from typing import Any

from structlog.contextvars import bound_contextvars

from agentdyno.core.records import Phase
from agentdyno.store.ledger import Ledger

log = logging.getLogger(__name__)


def take_step(ledger: Ledger, session_id: str, current: Phase, following: Phase, **changes: Any) -> None:
    """Advance a session by one step, with what that step found out. Raises as `Ledger.advance` does."""
    ledger.advance(session_id, current, following, **changes)
    log_step(session_id, following)


def log_step(session_id: str, step: Phase) -> None:
    """Say in the log that a step was done."""
    with bound_contextvars(session=session_id, step=step):
        log.info("step done")
