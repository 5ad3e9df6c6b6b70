"""A ledger with sessions whose figures can be worked out in the head."""

from __future__ import annotations

from typing import Any

from tests.integration.ledgers import add_session

from agentdyno.core.fields import fields_of
from agentdyno.core.records import Request
from agentdyno.core.trace import Trace
from agentdyno.store.ledger import Ledger
from agentdyno.store.traces import write_trace

STAND = {"agentdyno_version": "0.1.0", "cpu": "one", "harness_version": "1", "memory_bytes": 8}


BARE: dict[str, Any] = {
    **{spec.name: None for spec in fields_of(Request)},
    **{"path": "/v1/messages", "streamed": False, "started_at_us": 1, "ended_at_us": 2, "status": "ok"},
    **{"request_bytes": 1, "response_bytes": 1, "tags": "[]", "gateway_id": "gw_1", "records": 3, "late": False},
    **{
        "purpose": "work",
        "harness_ids": "{}",
        "discrepancies": "[]",
        "model_requested": "m",
        "normalizer_version": 1,
        "record_digest": "sha256:0",
    },
}
"""A request of which nothing was measured."""


def add_finalized(ledger: Ledger, session_id: str, variant: str, requests: list[dict[str, Any]], **fields: Any) -> None:
    """A finalized session with these requests."""
    outcome, trace = fields.pop("outcome", "completed"), fields.pop("trace", Trace())
    add_session(ledger, session_id, variant=variant, phase="collected", **{**STAND, **fields})
    ledger.absorb(
        [
            Request(**{**BARE, "request_key": f"{session_id}-{place}", "session_id": session_id, **request})
            for place, request in enumerate(requests)
        ]
    )
    write_trace(ledger, session_id, trace)
    ledger.close_session(session_id, outcome, 5_000, None)


def fill(ledger: Ledger) -> None:
    """Two variants of experiment `trial`, and what a table leaves out of its figures."""
    trial = {"experiment": "trial"}
    add_finalized(
        ledger,
        "ses_1",
        "large",
        [
            {"latency_ms": 2000.0, "ttft_ms": 100.0, "input_tokens": 10, "output_tokens": 4},
            {"latency_ms": 1000.0, "ttft_ms": None, "input_tokens": 20, "output_tokens": 6},
        ],
        **trial,
        checks_passed=1,
        checks_total=1,
    )
    add_finalized(
        ledger,
        "ses_2",
        "large",
        [
            {"latency_ms": 4000.0, "ttft_ms": 300.0, "input_tokens": 30, "output_tokens": 2},
            {"latency_ms": 9000.0, "status": "timeout", "input_tokens": 99},
        ],
        **trial,
        checks_passed=1,
        checks_total=2,
    )
    small = {"latency_ms": 500.0, "input_tokens": 1000, "output_tokens": 1234}
    add_finalized(ledger, "ses_3", "small", [small], **trial)
    add_finalized(ledger, "ses_4", "small", [{"latency_ms": 1.0}], **trial, outcome="aborted", cpu="two")
    add_finalized(ledger, "ses_5", "small", [{"latency_ms": 2.0}], **trial, outcome="invalid", cpu="three")
    add_session(ledger, "ses_6", variant="small", phase="rendered", **trial)
    add_finalized(ledger, "ses_7", "small", [{"latency_ms": 3.0}])
