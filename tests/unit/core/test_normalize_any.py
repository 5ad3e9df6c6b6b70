"""Whatever the evidence, normalizing makes one valid row of it, and always the same."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.core.chat_corpus import chat_usage
from tests.unit.core.evidence import heard, row
from tests.unit.core.gemini_corpus import gemini_usage
from tests.unit.core.messages_corpus import messages_usage

from agentdyno.core.dialects.table import DIALECTS
from agentdyno.core.exchange import Anatomy, Answered, Entered, Identity, Price, PriceTier, Routed, Tried
from agentdyno.core.normalize import normalize
from agentdyno.core.records import Request

words = st.sampled_from(["429", "error", "RateLimitError", "Timeout", "overloaded_error", "x"])
identities = st.none() | st.builds(
    Identity, **dict.fromkeys(("session_id", "variant", "task_card", "provider", "key_hash", "key_alias"), words)
)
entereds = st.builds(
    Entered,
    request_key=words,
    at_us=st.integers(0, 2**50),
    path=words,
    request_bytes=st.integers(0, 2**40),
    surface=st.sampled_from([None, *DIALECTS]),
    streamed=st.booleans(),
    purpose=st.sampled_from(["work", "title", "token_count", "model_list"]),
    identity=identities,
)
usages = st.lists(
    st.sampled_from([{}, chat_usage(9, 3), messages_usage(9, 3), gemini_usage(9, 3), {"prompt_tokens": -1}]),
    max_size=2,
)
answereds = st.builds(
    Answered,
    entered=entereds,
    ended_offset_us=st.integers(0, 2**40),
    response_bytes=st.integers(0, 2**40),
    http_status=st.none() | st.sampled_from([200, 400, 401, 408, 429, 500, 529]),
    refusal=st.none() | words,
    disconnected=st.booleans(),
    complete=st.booleans(),
    events=st.lists(st.tuples(st.sampled_from(["start", "content", "done"]), st.integers(0, 999), st.integers(0, 99))),
    usages=usages,
    error_code=st.none() | words,
    finish_reason=st.none() | words,
    attempts=st.none() | st.integers(0, 3),
    anatomy=st.none() | st.builds(Anatomy, system_bytes=st.integers(0, 9)),
    price=st.none() | st.just(Price("v", [PriceTier(1e-6, 5e-6, cache_read_usd=1e-7)])),
)
trieds = st.builds(
    Tried,
    request_key=words,
    attempt=st.integers(1, 3),
    at_us=st.integers(0, 3),
    begun_offset_us=st.integers(0, 9),
    ended_offset_us=st.integers(9, 99),
    surface=st.sampled_from([None, *DIALECTS]),
    http_status=st.none() | st.sampled_from([200, 429, 529]),
    streamed=st.booleans(),
    complete=st.booleans(),
    abandoned=st.booleans(),
    failure=st.none() | words,
    usages=usages,
    finish_reason=st.none() | words,
    error_code=st.none() | words,
    first_content_offset_us=st.none() | st.integers(9, 99),
)
routeds = st.builds(
    Routed,
    request_key=words,
    at_us=st.integers(0, 3),
    status=st.sampled_from(["success", "failure"]),
    usage=st.none() | st.just(chat_usage(100, 20, cached=60)),
    error_class=st.none() | words,
    cost_usd=st.none() | st.floats(0, 1),
)


@given(entereds, st.none() | answereds, st.lists(routeds | trieds, max_size=5))
def test_any_evidence_makes_one_valid_row(
    entered: Entered, answer: Answered | None, reports: list[Routed | Tried]
) -> None:
    made = row(answer, *reports, entered=entered)
    # Every field of the record is there and no other, each of its declared type.
    assert msgspec.convert(vars(made), Request) == made
    # The same records in another order make the same row.
    assert Request(*normalize(heard(*reversed(reports), answer, entered), "gw_1")) == made
    parts = [part for part in (made.cache_read_tokens, made.cache_write_tokens) if part is not None]
    assert made.input_tokens is None or sum(parts) <= made.input_tokens
    if made.output_tokens is not None and made.reasoning_tokens is not None:
        assert made.reasoning_tokens <= made.output_tokens
    assert (made.status == "ok") <= (made.error_class is None and made.error_code is None)
