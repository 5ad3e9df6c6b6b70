"""Request rows for tests of the ledger."""

from __future__ import annotations

import dataclasses
from typing import Any

from agentdyno.core.fields import fields_of
from agentdyno.core.records import Request

_KNOWN: dict[str, Any] = {"path": "/v1/messages", "request_bytes": 9, "response_bytes": 30}
_UNKNOWN = {spec.name: None for spec in fields_of(Request) if spec.optional} | _KNOWN
_ANSWERED = Request(
    **_UNKNOWN,
    request_key="req_1",
    purpose="work",
    streamed=False,
    started_at_us=1_000,
    ended_at_us=3_000,
    status="ok",
    tags="[]",
    harness_ids="{}",
    discrepancies="[]",
    gateway_id="gw_1",
    records=2,
    late=False,
    normalizer_version=1,
    record_digest="sha256:0",
)


def request_row(key: str, session_id: str | None = "ses_1", **fields: object) -> Request:
    """The row of a request for model `m` that took 2 ms, but for the fields that are given."""
    known = {"request_key": key, "session_id": session_id, "model_requested": "m", "latency_ms": 2.0}
    return dataclasses.replace(_ANSWERED, **{**known, **fields})  # type: ignore[arg-type]  # fields by name
