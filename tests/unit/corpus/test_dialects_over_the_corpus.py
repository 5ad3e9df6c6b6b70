"""The dialects over the provider's own bytes: however they are cut, the same answer is read, and it is the true one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.corpus.case import Answer, Case, Row, read_corpus
from tests.corpus.counting import Counted
from tests.corpus.steps import body, is_stream, steps

from agentdyno.core.dialects import wire
from agentdyno.core.dialects.table import DIALECTS

CORPUS = read_corpus()
EACH: list[tuple[Case, Answer, Row]] = [
    (case, answer, row)
    for case in CORPUS.values()
    for answer, row in zip(case.answers[len(case.answers) - len(case.rows) :], case.rows, strict=True)
    if not answer.parts or not answer.parts[0].silent
]
each = pytest.mark.parametrize(("case", "answer", "row"), EACH, ids=str)


def read(case: Case, answer: Answer, chunks: list[bytes]) -> wire.Answer:
    """What the case's dialect reads of bytes in these chunks, less the times."""
    dialect = DIALECTS[case.surface]
    reader = dialect.stream_reader() if is_stream(case, answer) else dialect.document_reader()
    for chunk in chunks:
        reader.feed(chunk, 0)
    reader.finish()
    return reader.answer


@each
def test_what_is_read_is_what_the_row_says(case: Case, answer: Answer, row: Row) -> None:
    found = read(case, answer, [body(steps(case, answer))])
    dialect = DIALECTS[case.surface]
    tokens = dialect.tokens(dialect.read_usages(json.dumps(found.usages).encode()), streamed=is_stream(case, answer))
    whole = found.complete or found.finish_reason is not None
    told = Counted(tokens.input, tokens.output, tokens.cache_read, tokens.cache_write, tokens.reasoning)
    told = told if whole else told._replace(output_tokens=None, reasoning_tokens=None)
    assert told == Counted(*(getattr(row, name) for name in Counted._fields))
    assert (found.finish_reason, found.response_id) == (row.finish_reason, row.response_id)
    assert found.tool_calls == (0 if row.tool_calls is None else row.tool_calls)
    broken_off = any(part.cut for part in answer.parts)
    assert (found.error_code is not None) == (row.status == "provider_error" and not broken_off)
    assert found.model == (None if row.response_id is None else answer.model)


@each
def test_an_answer_is_whole_only_when_it_is(case: Case, answer: Answer, row: Row) -> None:
    found = read(case, answer, [body(steps(case, answer))])
    has_end = row.status == "ok" or not is_stream(case, answer) or row.finish_reason == "failed"
    assert found.complete == (has_end and not any(part.cut or part.silent for part in answer.parts))
    kinds = {event.kind for event in found.events}
    assert bool(kinds & wire.CONTENT_KINDS) == (row.ttft and is_stream(case, answer))
    assert "malformed" not in kinds


@given(st.sampled_from(EACH), st.lists(st.integers(0, 20_000), max_size=30))
def test_any_chunking_gives_the_same_answer(each: tuple[Case, Answer, Row], places: list[int]) -> None:
    case, answer, _ = each
    data = body(steps(case, answer))
    ends = sorted({place % len(data) for place in places} | {len(data)})
    chunks = [data[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    assert read(case, answer, chunks) == read(case, answer, [data])


@pytest.mark.parametrize("case", CORPUS.values(), ids=str)
def test_a_request_is_read_as_it_is_meant(case: Case) -> None:
    facts = DIALECTS[case.surface].read_request(json.dumps(case.request).encode())
    named = case.surface != "gemini"  # there the path says it
    assert facts.model == ("corpus-1" if named else None)
    assert facts.streamed == (case.streamed and named)
    assert facts.offers_tools == ("tool_call" in case.situation)
    assert facts.output_limit_tokens == 1500
