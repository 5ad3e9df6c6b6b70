"""Evidence of one request for tests: a whole answer, of which each test says only what is otherwise."""

from __future__ import annotations

from typing import Any

import msgspec

from agentdyno.core.evidence import Evidence, read_record
from agentdyno.core.exchange import Answered, Entered, Identity, Routed, SpoolRecord, Tried
from agentdyno.core.normalize import normalize
from agentdyno.core.records import Request

IDENTITY = Identity(
    session_id="ses_1",
    variant="fast",
    task_card="capitals",
    provider="scripted",
    key_hash="ab12",
    key_alias="ses_1-1",
    experiment="schema",
)
ENTERED = Entered(
    request_key="req_1",
    at_us=1_700_000_000_000_000,
    path="/v1/chat/completions",
    request_bytes=200,
    surface="openai_chat",
    model="gpt-4.1",
    identity=IDENTITY,
)
STREAMED = msgspec.structs.replace(ENTERED, streamed=True)
ANSWERED = Answered(
    entered=ENTERED, ended_offset_us=1_500, response_bytes=80, http_status=200, complete=True, forwarded=True
)


def answered(**changes: Any) -> Answered:
    return msgspec.structs.replace(ANSWERED, **changes)


def routed(**changes: Any) -> Routed:
    return msgspec.structs.replace(Routed(request_key="req_1", at_us=1, status="success"), **changes)


def failure(error_class: str | None = None, **changes: Any) -> Routed:
    return routed(status="failure", error_class=error_class, **changes)


def tried(attempt: int = 1, **changes: Any) -> Tried:
    """An attempt at a chat provider that answered, whole, 1 ms after it was asked."""
    whole = Tried(
        request_key="req_1",
        attempt=attempt,
        at_us=attempt,
        begun_offset_us=200,
        ended_offset_us=1_200,
        surface="openai_chat",
        http_status=200,
        complete=True,
    )
    return msgspec.structs.replace(whole, **changes)


def heard(*records: SpoolRecord | None) -> Evidence:
    """The evidence of these records, as a collector reads them from the spool."""
    evidence = Evidence()
    for record in records:
        if record is not None:
            line = msgspec.json.encode(record) + b"\n"
            evidence.hear(read_record(line), line)
    return evidence


def row(answer: Answered | None, *reports: Routed | Tried, entered: Entered | None = ENTERED) -> Request:
    return Request(*normalize(heard(entered, answer, *reports), "gw_1"))
