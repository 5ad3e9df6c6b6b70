"""Rows of requests for tests: a bare one, of which each test says only what it is about."""

from __future__ import annotations

import dataclasses
from typing import Any

from tests.unit.core.evidence import row

from agentdyno.core.exchange import Answered, Entered, Identity
from agentdyno.core.records import Request

_IDENTITY = Identity(
    session_id="ses_1", variant="v", task_card="t", provider="p", key_hash="k", key_alias="a", experiment=None
)
_ENTERED = Entered(request_key="req_1", at_us=0, path="/v1/messages", request_bytes=0, model="m", identity=_IDENTITY)
_BARE = dataclasses.replace(row(Answered(_ENTERED, 0, 0, 200, complete=True), entered=_ENTERED), latency_ms=None)


def request_row(**fields: Any) -> Request:
    """An `ok` row of session `ses_1` and model `m` in which nothing was measured but `fields`."""
    return dataclasses.replace(_BARE, **fields)
