"""What LiteLLM gets wrong, made to happen: its own record beside our row, which is the truth by the provider's count.

These tests pin a release. One that fails after an upgrade of LiteLLM has most likely seen a defect mended: then it
goes, and what the row says must be as true as before. Not here: what needs a cloud's own protocol (Bedrock's cache
tokens), a price (cached tokens priced as fresh) or a second deployment (a fallback's two records).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from tests.corpus.case import read_corpus
from tests.corpus.counting import Counted
from tests.corpus.provider import CorpusProvider
from tests.integration.corpus.crossing import UPSTREAMS, crossing, reported, show, tokens_of
from tests.integration.corpus.through import Seen, corpus_project, run

from agentdyno.core.records import Surface

CORPUS = read_corpus()
ASKS: list[tuple[Surface, str, str]] = [
    ("gemini", "openai", "openai_chat-streamed-cache_read"),
    ("gemini", "openai", "openai_chat-unstreamed-cache_read"),
    ("gemini", "openai", "openai_chat-unstreamed-reasoning"),
    ("gemini", "openai", "openai_chat-streamed-usage_untold"),
    ("gemini", "openai", "openai_chat-streamed-client_leaves_after_first_chunk"),
    ("gemini", "openai", "openai_chat-unstreamed-error_before_first_byte"),
    ("gemini", "anthropic", "anthropic_messages-streamed-ascii_only"),
    ("gemini", "anthropic", "anthropic_messages-unstreamed-cache_write"),
    ("gemini", "anthropic", "anthropic_messages-streamed-error_before_first_byte"),
    ("openai_chat", "anthropic", "anthropic_messages-streamed-ascii_only"),
    ("openai_chat", "anthropic", "anthropic_messages-streamed-plain"),
    ("openai_chat", "anthropic", "anthropic_messages-streamed-parallel_tool_calls"),
    ("openai_responses", "anthropic", "anthropic_messages-streamed-plain"),
    ("openai_responses", "anthropic", "anthropic_messages-streamed-client_leaves_after_first_chunk"),
    ("anthropic_messages", "google", "gemini-streamed-parallel_tool_calls"),
    ("openai_chat", "google", "gemini-streamed-parallel_tool_calls"),
    ("anthropic_messages", "openai", "openai_responses-streamed-cache_read"),
    ("anthropic_messages", "openai", "openai_responses-streamed-reasoning"),
    ("anthropic_messages", "openai", "openai_responses-streamed-client_leaves_after_first_chunk"),
    ("anthropic_messages", "vllm", "openai_chat-streamed-cache_read"),
    ("anthropic_messages", "vllm", "openai_chat-streamed-client_leaves_after_first_chunk"),
    ("openai_chat", "native", "openai_chat-streamed-usage_untold"),
    ("openai_chat", "native", "openai_chat-unstreamed-usage_untold"),
    ("openai_chat", "native", "openai_chat-streamed-client_leaves_after_first_chunk"),
    ("openai_chat", "native", "openai_chat-unstreamed-client_leaves_before_first_chunk"),
    ("openai_responses", "native", "openai_responses-streamed-client_leaves_after_first_chunk"),
    ("anthropic_messages", "native", "anthropic_messages-streamed-client_leaves_after_first_chunk"),
    ("anthropic_messages", "native", "anthropic_messages-streamed-error_midway"),
    ("gemini", "native", "gemini-streamed-client_leaves_before_first_chunk"),
    ("gemini", "native", "gemini-streamed-client_leaves_after_first_chunk"),
    ("gemini", "native", "gemini-streamed-error_midway"),
    ("openai_chat", "impatient", "openai_chat-streamed-timeout_midway"),
    ("openai_responses", "impatient", "openai_responses-streamed-timeout_midway"),
    ("anthropic_messages", "impatient", "anthropic_messages-streamed-timeout_midway"),
    ("gemini", "impatient", "gemini-streamed-timeout_midway"),
    ("openai_chat", "retrying", "openai_chat-unstreamed-retried"),
    ("gemini", "retrying", "gemini-streamed-rate_limited_then_ok"),
]


class Crossed:
    """All asks, as they were seen."""

    def __init__(self, provider: CorpusProvider, seen: Mapping[str, Seen]) -> None:
        self._provider = provider
        self.seen = seen

    def of(self, surface: Surface, upstream: str, case: str) -> Seen:
        """One of them."""
        return self.seen[f"{case}/from-{surface}-over-{upstream}"]

    def truth(self, found: Seen) -> Counted:
        """What the provider counted on its last attempt, which the row has; neither guesses nor leaves out."""
        counted = self._provider.counted(found.served[-1])
        [row] = found.rows
        assert tokens_of(row) == counted
        assert (row["attempts"], row["usage_source"]) == (len(found.served), "provider")
        return counted


@pytest.fixture(scope="module")
def crossed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crossed]:
    asks = [crossing(surface, upstream, CORPUS[case]) for surface, upstream, case in ASKS]
    with CorpusProvider(CORPUS) as provider:
        project = corpus_project(tmp_path_factory.mktemp("project"), provider, UPSTREAMS)
        seen = dict(zip((ask.name for ask in asks), run(project, provider, UPSTREAMS, asks), strict=True))
        yield Crossed(provider, seen)
        show(provider, seen)


@pytest.mark.parametrize(("surface", "upstream", "case"), ASKS, ids=str)
def test_every_request_has_one_row_whatever_litellm_reports(
    crossed: Crossed, surface: Surface, upstream: str, case: str
) -> None:
    found = crossed.of(surface, upstream, case)
    [row] = found.rows
    assert {one.path.partition("?")[0] for one in found.served} <= PATHS_OF[CORPUS[case].surface]
    assert (row["surface"], row["attempts"]) == (surface, len(found.served))
    wanted = CORPUS[case].rows[-1]
    assert (row["error_class"], row["provider_request_id"]) == (wanted.error_class, wanted.provider_request_id)


PATHS_OF: Mapping[Surface, set[str]] = {
    "openai_chat": {"/v1/chat/completions"},
    "openai_responses": {"/v1/responses"},
    "anthropic_messages": {"/v1/messages"},
    "gemini": {"/models/corpus-1:generateContent", "/models/corpus-1:streamGenerateContent"},
}


class TestGeminiTranslated:
    def test_a_stream_tells_the_harness_no_tokens_at_all(self, crossed: Crossed) -> None:
        for upstream, case in (
            ("openai", "openai_chat-streamed-cache_read"),
            ("anthropic", "anthropic_messages-streamed-ascii_only"),
        ):
            found = crossed.of("gemini", upstream, case)
            assert found.told == [Counted(0, 0, None, None, None)]
            assert 0 not in crossed.truth(found)[:3]

    def test_a_document_tells_neither_cache_nor_reasoning(self, crossed: Crossed) -> None:
        for upstream, case in (
            ("openai", "openai_chat-unstreamed-cache_read"),
            ("openai", "openai_chat-unstreamed-reasoning"),
            ("anthropic", "anthropic_messages-unstreamed-cache_write"),
        ):
            found = crossed.of("gemini", upstream, case)
            truth = crossed.truth(found)
            assert found.told == [Counted(truth.input_tokens, truth.output_tokens)]
            assert any(truth[2:])

    def test_its_record_is_that_of_a_call_within(self, crossed: Crossed) -> None:
        found = crossed.of("gemini", "openai", "openai_chat-unstreamed-cache_read")
        [record], [row] = found.reports, found.rows
        assert record["litellm_call_id"] != record["request_key"] == row["request_key"]
        assert reported(record) == crossed.truth(found)  # the 0 of streams in earlier releases is gone

    def test_a_failure_is_recorded_twice(self, crossed: Crossed) -> None:
        found = crossed.of("gemini", "openai", "openai_chat-unstreamed-error_before_first_byte")
        assert [record["status"] for record in found.reports] == ["failure", "failure"]
        assert len({record["litellm_call_id"] for record in found.reports}) == 2
        assert [(row["status"], row["error_class"]) for row in found.rows] == [("provider_error", "context_length")]

    def test_a_failure_of_the_provider_looks_like_a_lost_connection(self, crossed: Crossed) -> None:
        found = crossed.of("gemini", "anthropic", "anthropic_messages-streamed-error_before_first_byte")
        [row] = found.rows
        assert [record["error_class"] for record in found.reports] == ["BadRequestError", "APIConnectionError"]
        assert (found.served[0].status, row["http_status"]) == (400, 500)
        assert (row["status"], row["error_class"]) == ("provider_error", "invalid_request")

    def test_a_chat_provider_is_not_asked_for_the_usage(self, crossed: Crossed) -> None:
        found = crossed.of("gemini", "openai", "openai_chat-streamed-usage_untold")
        asked: dict[str, Any] = json.loads(found.served[0].body)
        assert "stream_options" not in asked
        assert [reported(record)[:2] for record in found.reports] == [(0, 0)]
        assert [(row["usage_source"], *tokens_of(row)) for row in found.rows] == [(None,) * 6]


class TestLinesThatAreNone:
    """LiteLLM's reader of Anthropic's streams divides lines at U+2028, and drops what it then cannot read."""

    @pytest.mark.parametrize("surface", ["openai_chat", "openai_responses"])
    def test_text_is_lost_and_the_output_with_it(self, crossed: Crossed, surface: Surface) -> None:
        found = crossed.of(surface, "anthropic", "anthropic_messages-streamed-plain")
        truth = crossed.truth(found)
        [record], [answer] = found.reports, found.answers
        assert "The capital of France" in answer.body.decode()
        assert "is Paris" not in answer.body.decode()
        assert reported(record).output_tokens == found.told[0].output_tokens != truth.output_tokens
        assert reported(record).input_tokens == truth.input_tokens

    def test_tool_calls_are_lost(self, crossed: Crossed) -> None:
        found = crossed.of("openai_chat", "anthropic", "anthropic_messages-streamed-parallel_tool_calls")
        assert b"tool_calls" not in found.answers[0].body
        assert reported(found.reports[0]).output_tokens == 0
        assert (crossed.truth(found).output_tokens, found.rows[0]["tool_calls"]) == (792, 2)

    def test_without_such_letters_all_is_well(self, crossed: Crossed) -> None:
        found = crossed.of("openai_chat", "anthropic", "anthropic_messages-streamed-ascii_only")
        assert reported(found.reports[0])[:4] == found.told[0][:4] == crossed.truth(found)[:4]


class TestToolCalls:
    def test_calls_of_one_chunk_are_merged_for_a_harness_that_speaks_messages(self, crossed: Crossed) -> None:
        found = crossed.of("anthropic_messages", "google", "gemini-streamed-parallel_tool_calls")
        body = found.answers[0].body.decode()
        assert body.count('"type": "tool_use"') == 1
        assert r"{\"path\": \"a.txt\"}{\"path\"" in body  # two arguments in one, which is no JSON
        assert found.rows[0]["tool_calls"] == 2
        assert crossed.truth(found) == reported(found.reports[0])

    def test_and_not_for_one_that_speaks_chat(self, crossed: Crossed) -> None:
        found = crossed.of("openai_chat", "google", "gemini-streamed-parallel_tool_calls")
        assert found.answers[0].body.count(b'"name":"read_file"') == found.rows[0]["tool_calls"] == 2


class TestUsageThatNobodyTold:
    def test_of_a_stream_it_is_invented(self, crossed: Crossed) -> None:
        found = crossed.of("openai_chat", "native", "openai_chat-streamed-usage_untold")
        [record], [row] = found.reports, found.rows
        made_up = reported(record)
        assert None not in made_up[:2]
        assert (found.told[0][:2], record["status"]) == (made_up[:2], "success")
        assert (row["usage_source"], *tokens_of(row)) == ("estimated", *made_up[:2], None, None, None)

    def test_of_a_document_it_is_0(self, crossed: Crossed) -> None:
        found = crossed.of("openai_chat", "native", "openai_chat-unstreamed-usage_untold")
        assert [reported(record)[:2] for record in found.reports] == [(0, 0)]
        assert [(row["usage_source"], *tokens_of(row)) for row in found.rows] == [(None,) * 6]


class TestStreamsThatAHarnessLeft:
    LEFT = "client_leaves_after_first_chunk"

    @pytest.mark.parametrize("surface", ["openai_chat", "openai_responses"])
    def test_are_successes_with_tokens_made_up(self, crossed: Crossed, surface: Surface) -> None:
        found = crossed.of(surface, "native", f"{surface}-streamed-{self.LEFT}")
        [record], [row] = found.reports, found.rows
        assert (record["status"], None in reported(record)[:2]) == ("success", False)
        assert (row["status"], row["usage_source"]) == ("client_disconnect", "estimated")
        assert tokens_of(row) == Counted(*reported(record)[:2])

    def test_are_successes_with_a_running_total_taken_for_the_last(self, crossed: Crossed) -> None:
        found = crossed.of("anthropic_messages", "native", f"anthropic_messages-streamed-{self.LEFT}")
        [record], [row] = found.reports, found.rows
        truth = crossed.truth(found)
        assert (record["status"], row["status"]) == ("success", "client_disconnect")
        assert reported(record).input_tokens == truth.input_tokens
        assert reported(record).output_tokens is not truth.output_tokens is None

    def test_lose_the_input_that_was_told_where_they_are_translated(self, crossed: Crossed) -> None:
        found = crossed.of("openai_responses", "anthropic", f"anthropic_messages-streamed-{self.LEFT}")
        truth, [record] = crossed.truth(found), found.reports
        assert (record["status"], reported(record).cache_read_tokens) == ("success", None)
        assert reported(record).input_tokens != truth.input_tokens

    @pytest.mark.parametrize(
        ("surface", "upstream", "case"),
        [
            ("gemini", "native", "gemini-streamed-client_leaves_before_first_chunk"),
            ("gemini", "native", "gemini-streamed-client_leaves_after_first_chunk"),
            ("gemini", "openai", "openai_chat-streamed-client_leaves_after_first_chunk"),
        ],
    )
    def test_have_no_record_where_the_harness_speaks_gemini(
        self, crossed: Crossed, surface: Surface, upstream: str, case: str
    ) -> None:
        found = crossed.of(surface, upstream, case)
        assert found.reports == []
        assert [row["status"] for row in found.rows] == ["client_disconnect"]
        assert [row["input_tokens"] for row in found.rows] == [CORPUS[case].rows[0].input_tokens]

    @pytest.mark.parametrize(
        ("upstream", "case"),
        [("openai", "openai_responses-streamed"), ("vllm", "openai_chat-streamed")],
    )
    def test_have_a_record_by_now_where_messages_are_translated(
        self, crossed: Crossed, upstream: str, case: str
    ) -> None:
        found = crossed.of("anthropic_messages", upstream, f"{case}-{self.LEFT}")
        [record], [row] = found.reports, found.rows
        assert record["status"] == "success"  # it was none; now it is a success with tokens made up
        # On the wire stood an input of 0, which is no prompt's.
        assert (row["status"], row["usage_source"]) == ("client_disconnect", "estimated")
        assert tokens_of(row) == Counted(*reported(record)[:2])

    def test_unstreamed_they_are_failures_as_long_as_their_calls_are_cancelled(self, crossed: Crossed) -> None:
        found = crossed.of("openai_chat", "native", "openai_chat-unstreamed-client_leaves_before_first_chunk")
        [record], [row] = found.reports, found.rows
        assert (record["status"], record["error_class"]) == ("failure", "HTTPException")
        assert (row["status"], row["error_class"]) == ("client_disconnect", None)


class TestErrorsInStreams:
    def test_an_error_among_messages_is_a_success(self, crossed: Crossed) -> None:
        found = crossed.of("anthropic_messages", "native", "anthropic_messages-streamed-error_midway")
        [record], [row] = found.reports, found.rows
        assert (record["status"], row["status"], row["error_class"]) == ("success", "provider_error", "overloaded")
        assert crossed.truth(found).output_tokens is None
        assert reported(record).output_tokens is not None

    @pytest.mark.parametrize("surface", ["openai_chat", "openai_responses", "anthropic_messages", "gemini"])
    def test_a_provider_that_falls_silent(self, crossed: Crossed, surface: Surface) -> None:
        found = crossed.of(surface, "impatient", f"{surface}-streamed-timeout_midway")
        assert [record["status"] for record in found.reports] == ["failure"] * (surface != "gemini")
        assert [(row["status"], row["error_class"]) for row in found.rows] == [("timeout", "timeout")]


class TestRetries:
    def test_have_two_records_under_one_id(self, crossed: Crossed) -> None:
        found = crossed.of("openai_chat", "retrying", "openai_chat-unstreamed-retried")
        assert [record["status"] for record in found.reports] == ["failure", "success"]
        assert len({record["litellm_call_id"] for record in found.reports}) == 1
        assert [(row["status"], row["attempts"]) for row in found.rows] == [("ok", 2)]
        assert crossed.truth(found) == reported(found.reports[1])

    def test_are_made_for_streams_of_gemini_too_by_now(self, crossed: Crossed) -> None:
        found = crossed.of("gemini", "retrying", "gemini-streamed-rate_limited_then_ok")
        assert [one.status for one in found.served] == [429, 200]
        assert [(row["status"], row["http_status"], row["attempts"]) for row in found.rows] == [("ok", 200, 2)]


class TestMessagesOverOpenAI:
    @pytest.mark.parametrize(
        ("upstream", "case"),
        [("openai", "openai_responses-streamed-cache_read"), ("vllm", "openai_chat-streamed-cache_read")],
    )
    def test_cache_reads_are_told_by_now(self, crossed: Crossed, upstream: str, case: str) -> None:
        found = crossed.of("anthropic_messages", upstream, case)
        truth = crossed.truth(found)
        assert truth.cache_read_tokens == reported(found.reports[0]).cache_read_tokens != 0
        assert found.told == [truth._replace(reasoning_tokens=None)]

    def test_reasoning_is_not(self, crossed: Crossed) -> None:
        found = crossed.of("anthropic_messages", "openai", "openai_responses-streamed-reasoning")
        truth = crossed.truth(found)
        assert found.told[0] == truth._replace(reasoning_tokens=None)
        assert truth.reasoning_tokens == reported(found.reports[0]).reasoning_tokens == 488
