"""A ledger with something in each table that the stand writes."""

from __future__ import annotations

from tests.integration.ledgers import add_session
from tests.integration.store.request_rows import request_row

from agentdyno.core.records import Credential, HarnessProfile, Provider, Route, SpoolCursor, UnreadableRecord, Variant
from agentdyno.core.trace import parse_trace
from agentdyno.store.ledger import Ledger
from agentdyno.store.traces import write_trace

REQUESTS = 30
TRACE = """
{"type": "step", "kind": "tool_call", "name": "bash", "ok": false}
{"type": "metric", "name": "render_ms", "unit": "µs", "value": 0.1}
{"type": "metric", "name": "render_ms", "unit": "µs", "value": 3}
"""


def fill(ledger: Ledger, prefix: str = "a") -> None:
    """Two sessions, one of them over, with requests, a key each, and what could not be read."""
    ledger.remember(
        [
            Provider("scripted", {"openai_chat": Route("openai", "/v1")}, ("m",)),
            HarnessProfile("llm", "openai_chat", {"KEY": "${session_key}"}, description="größer, 😀"),
            Variant("plain", "scripted", "m", "llm", settings={"temperature": "0"}),
        ]
    )
    for session_id in (f"ses_{prefix}_open", f"ses_{prefix}_over"):
        add_session(ledger, session_id, phase="collected", repository_dirty=False, memory_bytes=2**40)
        ledger.issue(Credential(f"hash of {session_id}", session_id, "alias", 1_000, 9_000))
        rows = [
            request_row(f"req_{session_id}_{number}", session_id, latency_ms=number / 3, cost_usd=0.1 * number)
            for number in range(REQUESTS)
        ]
        ledger.absorb(rows, SpoolCursor(f"gw_{prefix}", 1, 100, False))
        write_trace(ledger, session_id, parse_trace([TRACE.encode()], session_id, 4_000))
    ledger.absorb(
        [request_row(f"req_{prefix}_nobody", None)],
        unreadable=[UnreadableRecord(f"gw_{prefix}", 1, offset, 7, "sha256:0", "torn") for offset in (5, 50, 500)],
    )
    ledger.close_session(f"ses_{prefix}_over", "completed", 5_000, "fine")
