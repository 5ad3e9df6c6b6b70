"""The vendors' own clients read the corpus over a socket, and agree with its rows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import anthropic
import openai
import pytest
from google.genai import errors as google_errors
from tests.corpus.case import SURFACES, Case, Row, read_corpus
from tests.corpus.counting import Counted
from tests.corpus.provider import CorpusProvider
from tests.integration.corpus.vendor_readers import CUTS, STATUS_ERRORS, TIMEOUTS, Ask, ResponseFailed, Told, vendors

from agentdyno.core.records import Surface

CORPUS = read_corpus()
ERRORS_IN_STREAMS = (openai.APIError, anthropic.APIError, google_errors.APIError, ResponseFailed)
RAISED: dict[Surface, dict[int, type[Exception]]] = {
    "openai_chat": {400: openai.BadRequestError, 500: openai.InternalServerError, 429: openai.RateLimitError},
    "openai_responses": {400: openai.BadRequestError, 401: openai.AuthenticationError, 429: openai.RateLimitError},
    "anthropic_messages": {
        400: anthropic.BadRequestError,
        429: anthropic.RateLimitError,
        529: anthropic.InternalServerError,
    },
    "gemini": {403: google_errors.ClientError, 429: google_errors.ClientError, 503: google_errors.ServerError},
}


@pytest.fixture(scope="module")
def provider() -> Iterator[CorpusProvider]:
    with CorpusProvider(CORPUS) as running:
        yield running


@pytest.fixture(scope="module")
def clients(provider: CorpusProvider) -> Iterator[Mapping[Surface, Ask]]:
    with vendors(provider.url) as clients:
        yield clients


@pytest.fixture(autouse=True)
def _counts_from_zero(provider: CorpusProvider) -> None:
    provider.forget()


def cases(*situations: str) -> pytest.MarkDecorator:
    """Each case of these situations."""
    return pytest.mark.parametrize("case", [case for case in CORPUS.values() if case.situation in situations], ids=str)


def until_it_ends(ask: Ask, case: Case, error: type[Exception] | tuple[type[Exception], ...]) -> Told:
    """What was told before the client raised such an error."""
    told = Told()
    with pytest.raises(error):
        for told in ask(case):  # noqa: B007 - the last one counts
            pass
    return told


def tokens(row: Row) -> Counted:
    """The tokens of a row."""
    return Counted(*(getattr(row, name) for name in Counted._fields))


def is_answered_at_once(case: Case) -> bool:
    """Whether the first request gets a whole answer."""
    [*earlier, row] = case.rows
    return not earlier and len(case.answers) == 1 and row.status == "ok"


@pytest.mark.parametrize("case", [case for case in CORPUS.values() if is_answered_at_once(case)], ids=str)
def test_an_answer(clients: Mapping[Surface, Ask], provider: CorpusProvider, case: Case) -> None:
    *_, told = clients[case.surface](case)
    [row], [served] = case.rows, provider.served_of(case.name)
    assert told.tokens == tokens(row) == provider.counted(served)
    assert (told.response_id, told.finish_reason) == (row.response_id, row.finish_reason)
    assert told.tool_calls == row.tool_calls
    assert (served.status, served.whole, served.left) == (200, True, False)
    takes_it = str(case.last.encoding) in served.accepted
    assert served.encoding == (case.last.encoding if takes_it else None)
    assert takes_it or case.last.encoding not in ("gzip", "deflate")


@cases("rate_limited_then_ok", "retried")
def test_a_client_that_tries_again(provider: CorpusProvider, case: Case) -> None:
    with vendors(provider.url, attempts=2) as clients:
        *_, told = clients[case.surface](case)
    assert told.tokens == tokens(case.rows[-1])
    assert [served.status for served in provider.served_of(case.name)] == [429, 200]
    assert [provider.counted(served) for served in provider.served_of(case.name)] == [Counted(), told.tokens]


@cases("rate_limited_then_ok", "error_before_first_byte")
def test_an_error_in_place_of_an_answer(clients: Mapping[Surface, Ask], provider: CorpusProvider, case: Case) -> None:
    status = case.answers[0].status
    with pytest.raises(RAISED[case.surface][status]) as raised:
        list(clients[case.surface](case))
    assert isinstance(raised.value, STATUS_ERRORS)
    told = raised.value.code if isinstance(raised.value, google_errors.APIError) else raised.value.status_code
    assert told == status
    assert not isinstance(raised.value, google_errors.APIError) or raised.value.status is not None
    if isinstance(raised.value, openai.APIStatusError | anthropic.APIStatusError):
        assert raised.value.request_id == case.rows[0].provider_request_id
    assert [(served.status, served.usages) for served in provider.served_of(case.name)] == [(status, [])]


@cases("error_midway", "error_event", "cut")
def test_an_answer_that_breaks(clients: Mapping[Surface, Ask], provider: CorpusProvider, case: Case) -> None:
    breaks = case.last.parts[-1]
    told = until_it_ends(clients[case.surface], case, CUTS if breaks.cut else ERRORS_IN_STREAMS)
    [row], [served] = case.rows, provider.served_of(case.name)
    assert told.tokens == tokens(row) == provider.counted(served)
    assert (told.finish_reason, told.response_id) == (row.finish_reason, row.response_id)
    assert not served.whole


@cases("timeout", "client_leaves_before_first_chunk")
def test_a_provider_that_says_nothing(provider: CorpusProvider, case: Case) -> None:
    with vendors(provider.url, patience_s=0.1) as clients:
        assert until_it_ends(clients[case.surface], case, TIMEOUTS) == Told()
    [served] = provider.served_of(case.name)
    assert (served.status, served.left, provider.counted(served)) == (None, True, Counted())


@cases("timeout_midway", "client_leaves_after_first_chunk")
def test_a_provider_that_falls_silent(provider: CorpusProvider, case: Case) -> None:
    with vendors(provider.url, patience_s=1.0) as clients:
        told = until_it_ends(clients[case.surface], case, TIMEOUTS)
    [row], [served] = case.rows, provider.served_of(case.name)
    assert told.tokens == tokens(row) == provider.counted(served)
    assert (served.status, served.whole, served.left) == (200, False, True)


@pytest.mark.parametrize("surface", SURFACES)
def test_a_client_that_leaves(clients: Mapping[Surface, Ask], provider: CorpusProvider, surface: Surface) -> None:
    case = CORPUS[f"{surface}-streamed-client_leaves_after_first_chunk"]
    with contextlib.closing(clients[surface](case)) as reading:
        told = next(told for told in reading if told.pieces)
    assert told.tokens == tokens(case.rows[0])
    [served] = provider.served_of(case.name)
    assert (served.status, served.whole, served.left) == (200, False, True)
