"""Spools for tests: any requests, their records in any order that a gateway may write, and what happens meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec
from hypothesis import strategies as st

from agentdyno.core.evidence import Evidence, read_record
from agentdyno.core.exchange import Answered, Entered, Identity, Made, Routed, SpoolRecord, Tried
from agentdyno.core.normalize import NORMALIZER_VERSION, made, normalize

SECOND_US = 1_000_000
Event = Literal[
    "a collects",
    "b collects",
    "a fails",
    "a is killed",
    "b is killed",
    "a minute passes",
    "a rebuilds",
    "ses_1 is finalized",
]
"""What may happen between two lines: to the collectors `a` and `b`, to the clock, to a session."""
Line = SpoolRecord | bytes
Script = list[Line | Event]

JUNK: tuple[Line, ...] = (
    b"",
    b"marmalade",
    b'{"kind":"elsewhere"}',
    b"\\xff",
    b'{"kind":"answered","entered":{"request_key":"req_00"',
    Routed("req_nobody", at_us=0, status="success"),
    Made("req_nobody", NORMALIZER_VERSION, 0, None, 0, ()),
    b'{"kind":"made","request_key":"req_01","norma',
)


def identity(session_id: str) -> Identity:
    """Whom a request of that session belongs to."""
    return Identity(session_id, "plain", "sums", "scripted", "hash", "alias")


def entered(key: str, at_us: int = SECOND_US, session_id: str | None = "ses_1") -> Entered:
    """A request that came in."""
    owner = None if session_id is None else identity(session_id)
    return Entered(key, at_us, "/v1/messages", 9, "anthropic_messages", "m", identity=owner)


def answered(request: Entered, offset_us: int = 2_000, attempts: int | None = None) -> Answered:
    """Its whole answer, of 4 output tokens."""
    usages = [{"input_tokens": 3, "output_tokens": 4}]
    return Answered(request, offset_us, 30, 200, complete=True, forwarded=True, attempts=attempts, usages=usages)


def tried(key: str, attempt: int = 1) -> Tried:
    """An attempt at the provider, of 4 output tokens."""
    usages = [{"input_tokens": 3, "output_tokens": 4}]
    return Tried(
        key, attempt, SECOND_US, 100, 900, 20, 30, "anthropic_messages", http_status=200, complete=True, usages=usages
    )


def refused(request: Entered) -> Answered:
    """Its refusal by the stand: no other record comes of such a request."""
    return Answered(request, 100, 30, 401, refusal="revoked_key", error_code="revoked_key", complete=True)


def routed(key: str, status: str = "success", at_us: int = SECOND_US) -> Routed:
    """LiteLLM's report of it."""
    return Routed(key, at_us, status, litellm_call_id=key, response_id=f"of {at_us}")


@st.composite
def _request(draw: st.DrawFn, number: int) -> list[Line]:
    """The records of one request: refused, or forwarded and then perhaps answered and reported up to twice."""
    key = f"req_{number:02d}"
    session_id = draw(st.sampled_from(["ses_1", "ses_1", "ses_2", None]))
    request = entered(key, number * SECOND_US, session_id)
    if draw(st.integers(0, 4)) == 0:
        return [refused(request)]
    reports = [
        routed(
            key,
            draw(st.sampled_from(["success", "failure"])),
            draw(st.integers(0, 9)),
        )
        for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2])))
    ]
    attempts = draw(st.sampled_from([0, 1, 1, 1, 2]))
    # Of the attempts that had begun at the end of an answer, one may be recorded later, or never.
    begun = draw(st.sampled_from([None, attempts, attempts, attempts + 1]))
    answers = [answered(request, draw(st.integers(0, 5)) * SECOND_US, begun)] if draw(st.integers(0, 4)) else []
    rest: list[SpoolRecord] = [*(tried(key, number + 1) for number in range(attempts)), *reports, *answers]
    records = [request, *draw(st.permutations(rest))]
    version = draw(st.sampled_from([None, NORMALIZER_VERSION, NORMALIZER_VERSION, NORMALIZER_VERSION - 1]))
    return list(records if version is None else with_row(records, version))


def with_row(records: Sequence[SpoolRecord], version: int = NORMALIZER_VERSION) -> Iterator[SpoolRecord]:
    """What a gateway writes that makes rows: a row once its request was answered and reported on.

    An older normalizer's row is any row: nobody is to look at it.
    """
    evidence = Evidence()
    for record in records:
        yield record
        line = msgspec.json.encode(record) + b"\n"
        read = read_record(line)
        evidence.hear(read, line)
        if evidence.settled:
            row = made(normalize(evidence, "gw_1"))
            yield (
                row
                if version == NORMALIZER_VERSION
                else msgspec.structs.replace(row, normalizer_version=version, row=("of old",))
            )


@st.composite
def scripts(draw: st.DrawFn, *events: Event) -> Script:
    """Lines of a run, each request's in their order and all of them mixed, with events in between."""
    sequences = [draw(_request(number)) for number in range(1, draw(st.integers(1, 8)) + 1)]
    sequences += [[line] for line in draw(st.lists(st.sampled_from(JUNK), max_size=2))]
    order = draw(st.permutations([number for number, lines in enumerate(sequences) for _ in lines]))
    unwritten = [iter(lines) for lines in sequences]
    script: Script = []
    for number in order:
        script.append(next(unwritten[number]))
        script += draw(st.lists(st.sampled_from(events), max_size=2))
    return script
