"""Watching a session: its requests, each once, as their rows come into the ledger."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from agentdyno.core.records import Request
from agentdyno.core.side_calls import is_inference
from agentdyno.sessions.closing import require_session
from agentdyno.store.ledger import Ledger
from agentdyno.store.queries import requests_beside

_POLL_S = 0.25
_REFRESH_S = 3.0
_GRACE_S = 2.0
"""How long a row may wait for LiteLLM's report, which has its price: it comes within milliseconds, or not at all."""


def watch(
    ledger: Ledger,
    session_id: str,
    *,
    refresh: Callable[[], object] = lambda: None,
    wait: Callable[[float], object] = time.sleep,
    clock_s: Callable[[], float] = time.monotonic,
) -> Iterator[Request]:
    """The requests of a session until it is finalized, those first that are there already.

    Only the ledger is read: a request is seen when its row is there, which it is at its end. `refresh` is called now
    and then, to bring in what no stand collects.
    """
    shown: set[str] = set()
    found_at_s: dict[str, float] = {}
    refreshed_s: float | None = None
    while True:
        # Asked before the rows are read: those that came before the end are then all there.
        is_over = require_session(ledger, session_id).ended_at_us is not None
        now_s = clock_s()
        if refreshed_s is None or now_s - refreshed_s >= _REFRESH_S:
            refresh()
            refreshed_s = now_s
        for request in requests_beside(ledger, session_id, shown):
            waited_s = now_s - found_at_s.setdefault(request.request_key, now_s)
            if is_over or _is_settled(request) or waited_s >= _GRACE_S:
                shown.add(request.request_key)
                yield request
        if is_over:
            return
        wait(_POLL_S)


def _is_settled(request: Request) -> bool:
    """Whether a row gets no better: LiteLLM has reported and the provider was heard, or neither is to be expected."""
    heard = not request.attempts or request.provider_latency_ms is not None
    told = heard and request.litellm_call_id is not None
    return told or request.status == "rejected" or not is_inference(request.purpose)
