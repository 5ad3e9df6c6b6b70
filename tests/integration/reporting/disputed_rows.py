"""A ledger whose witnesses differ, with figures that can be worked out in the head."""

from __future__ import annotations

from typing import Any

from tests.integration.reporting.table_rows import add_finalized

from agentdyno.core.discrepancies import Discrepancy, encode
from agentdyno.core.records import SpoolCursor, UnreadableRecord
from agentdyno.store.ledger import Ledger

DAY_US = 86_400_000_000
CLEAN: dict[str, Any] = {
    **{
        "surface": "openai_chat",
        "key_alias": "key-1",
        "provider": "scripted",
        "litellm_call_id": "call",
        "attempts": 1,
    },
    **{"input_tokens": 100, "output_tokens": 10, "cache_read_tokens": 60, "cache_write_tokens": 0},
    **{"reasoning_tokens": 4, "usage_source": "provider", "cost_usd": 0.5},
}
"""A request of which all witnesses say the same."""


def said(*found: Discrepancy) -> dict[str, Any]:
    return {"discrepancies": encode(found)}


TRANSLATED = said(
    Discrepancy("input_tokens", "translated", 100, 100, None), Discrepancy("output_tokens", "translated", 10, 10, None)
)
CUT = {
    **{"status": "client_disconnect", "litellm_call_id": None, "output_tokens": None, "reasoning_tokens": None},
    **{"cache_read_tokens": None, "cache_write_tokens": None, "cost_usd": None},
    **said(
        Discrepancy("record", "no_proxy_record", 1, 0, 1), Discrepancy("input_tokens", "harness_left", 100, None, None)
    ),
}
LOST = {
    **{"status": "proxy_error", "error_class": "gateway_lost", "litellm_call_id": None, "usage_source": None},
    **{"input_tokens": None, "output_tokens": None, "cache_read_tokens": None, "cache_write_tokens": None},
    **{"reasoning_tokens": None, "cost_usd": None, "attempts": None, "provider_request_id": None},
    **said(Discrepancy("record", "gateway_lost", 0, 0, 0)),
}
RETRIED = {
    "attempts": 2,
    "input_tokens": 200,
    **said(
        Discrepancy("record", "retried", 2, 2, 1),
        Discrepancy("provider_request_id", "retried", "up-6 up-7", None, "up-7"),
        Discrepancy("input_tokens", "retried", 200, 100, 100),
    ),
}
WRONG = said(Discrepancy("output_tokens", "unexplained", 10, 11, 10))
UNREPORTED = {"litellm_call_id": None, **said(Discrepancy("record", "unexplained", 1, 0, 1))}


def at(second: int, number: int, **fields: Any) -> dict[str, Any]:
    """A request that took a second, and whose provider called it `up-N`."""
    started_at_us = second * 1_000_000
    times = {"started_at_us": started_at_us, "ended_at_us": started_at_us + 1_000_000}
    return {**CLEAN, **times, "provider_request_id": f"up-{number}", **fields}


def fill(ledger: Ledger) -> None:
    """An experiment of two sessions, in one of which not all is explained, and a session beside it."""
    trial = {"experiment": "trial"}
    side = {"purpose": "model_list", "provider_request_id": None, "attempts": 0, "input_tokens": None}
    add_finalized(
        ledger,
        "ses_1",
        "large",
        [
            at(10, 1),
            at(20, 2, **TRANSLATED),
            at(30, 3, **CUT),
            at(40, 4, **LOST),
            at(50, 7, **RETRIED),
            at(60, 0, **side),
        ],
        **trial,
        harness_profile="llm",
    )
    add_finalized(
        ledger,
        "ses_2",
        "small",
        [at(110, 11), at(120, 12, **WRONG), at(130, 13, **UNREPORTED), at(140, 14)],
        **trial,
        harness_profile="mini",
    )
    add_finalized(ledger, "ses_3", "small", [at(3 * 86_400, 21, model_requested="n", cost_usd=None)])


def end_gateway(ledger: Ledger) -> None:
    """Its run is over, and a line of it could not be read."""
    torn = UnreadableRecord("gw_1", 1, 10, 5, "sha256:1", "torn: the line has no end")
    ledger.absorb([], SpoolCursor("gw_1", 1, 15, closed=True), [torn])
