"""One true row for each request: over all surfaces, streamed and not, whatever the provider does."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, NamedTuple

import httpx
import pytest
from tests.integration.gateway import lab
from tests.integration.gateway.lab import Key, ask, body, rows
from tests.integration.stand_process import Project, StandProcess

SCRIPTS = ("cached", "cut", "failing", "fails-midway", "hello", "overloaded", "rate-limited", "slow", "write-file")
STREAMED_ONLY = ("cut", "fails-midway", "slow")
BROKEN_OFF = ("cut", "fails-midway")
TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
_PROPERTIES = {"path": {"type": "string"}, "content": {"type": "string"}}
_SCHEMA = {"type": "object", "properties": _PROPERTIES, "required": ["path", "content"]}
TOOLS: dict[str, list[dict[str, Any]]] = {
    "openai_chat": [{"type": "function", "function": {"name": "write_file", "parameters": _SCHEMA}}],
    "openai_responses": [{"type": "function", "name": "write_file", "parameters": _SCHEMA}],
    "gemini": [{"functionDeclarations": [{"name": "write_file", "parametersJsonSchema": _SCHEMA}]}],
    "anthropic_messages": [{"name": "write_file", "input_schema": _SCHEMA}],
}


class Seen(NamedTuple):
    """One request: what the client got, what the provider counted, and the row."""

    answer: httpx.Response
    served: dict[str, Any]
    row: dict[str, Any]


class Kind(NamedTuple):
    """A kind of request."""

    script: str
    surface: str
    streamed: bool


KINDS = [
    Kind(script, surface, streamed)
    for script in SCRIPTS
    for surface in lab.PATHS
    for streamed in (False, True)
    if streamed or script not in STREAMED_ONLY
]
DONE_MARK = b"data: [DONE]\n\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return lab.small_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def keys(project: Project, stand: StandProcess) -> dict[str, Key]:
    lab.write_variants(project, SCRIPTS)
    return lab.open_sessions(project, SCRIPTS)


@pytest.fixture(scope="module")
def seen(project: Project, stand: StandProcess, keys: dict[str, Key]) -> dict[Kind, Seen]:
    """Every kind of request, made once."""
    stand.forget_served()
    answers = {}
    for kind in KINDS:
        tools: dict[str, Any] = {"tools": TOOLS[kind.surface]} if kind.script == "write-file" else {}
        answers[kind] = ask(stand, keys[kind.script], kind.surface, stream=kind.streamed, **tools)
    served = stand.served()["requests"]
    found = {}
    for script in SCRIPTS:
        count = sum(kind.script == script for kind in KINDS)
        # LiteLLM reports nothing of a Gemini stream that was broken off.
        found[script] = iter(rows(project, keys[script].session_id, count, settled=script not in BROKEN_OFF))
    assert len(served) == len(KINDS)
    return {
        kind: Seen(answer, request, next(found[kind.script]))
        for (kind, answer), request in zip(answers.items(), served, strict=True)
    }


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind)))
def test_what_every_row_says(seen: dict[Kind, Seen], keys: dict[str, Key], kind: Kind) -> None:
    answer, served, row = seen[kind]
    assert (row["surface"], row["streamed"], row["model_requested"]) == (kind.surface, kind.streamed, kind.script)
    assert row["session_id"] == keys[kind.script].session_id
    assert row["http_status"] == answer.status_code
    assert row["request_key"] == answer.headers["x-litellm-call-id"]
    reported = kind.script not in BROKEN_OFF or kind.surface != "gemini"
    assert row["litellm_call_id"] == (row["request_key"] if reported else None)
    assert row["provider_request_id"] == served["request_id"]
    assert row["attempts"] == 1
    assert 0 < row["provider_latency_ms"] < row["latency_ms"]
    assert row["proxy_overhead_ms"] == row["latency_ms"] - row["provider_latency_ms"]
    # LiteLLM adds an end mark to responses, which have an end of their own.
    added = DONE_MARK if kind.surface == "openai_responses" else b""
    assert row["response_bytes"] in (len(answer.content), len(answer.content.removesuffix(added)))
    assert row["latency_ms"] > 0
    assert json.loads(row["tags"]) == [
        f"session:{row['session_id']}",
        f"variant:scripted-{kind.script}",
        "task_card:say-hello",
    ]


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind.script in ("cached", "hello", "slow", "write-file")], ids=str
)
def test_a_success(seen: dict[Kind, Seen], kind: Kind) -> None:
    answer, served, row = seen[kind]
    assert (row["status"], row["error_class"], row["error_code"], row["http_status"]) == ("ok", None, None, 200)
    assert [row[name] for name in TOKENS] == told(served)
    assert row["response_id"] is not None
    assert row["response_id"] in answer.text
    if kind.streamed:
        assert 0 < row["provider_ttft_ms"] < row["ttft_ms"] <= row["latency_ms"]
    else:
        assert (row["ttft_ms"], row["provider_ttft_ms"]) == (None, None)
    assert row["usage_source"] == "provider"
    if kind.streamed and kind.surface == "openai_chat":
        # The stand asked for the usage; the harness did not, and is not shown it.
        assert "prompt_tokens" not in answer.text


def told(served: dict[str, Any]) -> list[int | None]:
    """The tokens that an answer tells of what was served. Gemini's names no part that is 0, and no cache writes."""
    tokens = [served[name] for name in TOKENS]
    if served["surface"] != "gemini":
        return tokens
    reads, _, reasoning = tokens[2:]
    return [*tokens[:2], reads or None, None, reasoning or None]


def test_cached_and_reasoning_tokens_are_part_of_their_whole(seen: dict[Kind, Seen]) -> None:
    for kind in KINDS:
        if kind.script == "cached":
            written = None if kind.surface == "gemini" else 150
            assert [seen[kind].row[name] for name in TOKENS] == [1200, 90, 1000, written, 64]


def test_the_first_token_is_not_the_first_byte(seen: dict[Kind, Seen]) -> None:
    for surface in lab.PATHS:
        row = seen[Kind("slow", surface, True)].row
        assert row["ttft_ms"] >= 375  # 500 ms, less a quarter of jitter
        assert row["latency_ms"] - row["ttft_ms"] >= 1000  # over 60 further pieces of 30 ms or more


def test_tool_calls_are_counted(seen: dict[Kind, Seen]) -> None:
    for kind in KINDS:
        if kind.script == "write-file":
            assert seen[kind].row["tool_calls"] == 1
            assert seen[kind].row["finish_reason"] in ("tool_calls", "completed", "tool_use", "STOP")
        elif kind.script == "hello":
            assert seen[kind].row["tool_calls"] == 0


@pytest.mark.parametrize(
    ("script", "http_status", "error_class"),
    [("failing", 500, "server_error"), ("rate-limited", 429, "rate_limit"), ("overloaded", 529, "overloaded")],
)
def test_an_error_of_the_provider(seen: dict[Kind, Seen], script: str, http_status: int, error_class: str) -> None:
    for kind in KINDS:
        if kind.script == script:
            answer, served, row = seen[kind]
            assert served["status"] == http_status
            # LiteLLM tells Anthropic's 529 as a 500.
            retold = script == "overloaded" and kind.surface == "anthropic_messages"
            assert answer.status_code == (500 if retold else http_status)
            assert (row["status"], row["error_class"]) == ("provider_error", error_class)
            assert [row[name] for name in ("input_tokens", "output_tokens", "ttft_ms", "cost_usd")] == [None] * 4


def test_a_stream_that_is_broken_off(seen: dict[Kind, Seen]) -> None:
    for kind in KINDS:
        if kind.script in BROKEN_OFF:
            answer, served, row = seen[kind]
            assert served["broken_off"] == ("cut" if kind.script == "cut" else "error")
            assert row["status"] == "provider_error"
            assert answer.status_code == 200 or kind.script == "cut"  # LiteLLM may see the cut before the first piece
            assert row["error_class"] in ("connection", "server_error")
            assert row["error_code"] is not None
            # What the model would have said at the end nobody told; the input where the surface names it at once.
            assert (row["output_tokens"], row["cost_usd"]) == (None, None)
            assert row["input_tokens"] in (None, served["input_tokens"])


def test_the_row_is_the_same_whether_or_not_a_chat_stream_shows_its_usage(
    project: Project, stand: StandProcess, keys: dict[str, Key]
) -> None:
    key = lab.open_session(project, "cached")
    shown = ask(stand, key, stream=True, stream_options={"include_usage": True})
    hidden = ask(stand, key, stream=True, stream_options={"include_usage": False})
    assert '"usage"' in shown.text
    assert '"usage":{' not in hidden.text.replace(" ", "")
    first, second = rows(project, key.session_id, 2, settled=True)
    assert [first[name] for name in TOKENS] == [second[name] for name in TOKENS] == [1200, 90, 1000, 150, 64]


STEERING: dict[str, Any] = {
    "api_base": "http://127.0.0.1:9",
    "api_key": "sk-of-the-client",
    "base_url": "http://127.0.0.1:9",
    "custom_llm_provider": "anthropic",
    "deployment_id": "x",
    "extra_headers": {"authorization": "Bearer of-the-client"},
    "fallbacks": [{"model": "slow", "api_base": "http://127.0.0.1:9"}],
    "input_cost_per_token": 1,
    "litellm_call_id": "of-the-client",
    "litellm_metadata": {"tags": ["of-the-client"]},
    "max_retries": 3,
    "metadata": {"tags": ["of-the-client"], "user_api_key_alias": "of-the-client"},
    "mock_response": "of the client",
    "no-log": True,
    "model_list": [{"model_name": "hello", "litellm_params": {"model": "openai/slow"}}],
    "num_retries": 3,
    "provider_specific_header": {
        "custom_llm_provider": "openai,anthropic",
        "extra_headers": {"authorization": "Bearer of-the-client", "x-api-key": "of-the-client"},
    },
    "specific_deployment": True,
    "tags": ["of-the-client"],
    "timeout": 0.001,
    "user_config": {"model_list": []},
}
STEERING_HEADERS = {
    "x-litellm-call-id": "of-the-client",
    "x-litellm-tags": "of-the-client",
    "x-litellm-num-retries": "3",
    "x-litellm-timeout": "0.001",
    "x-litellm-api-key": "sk-of-the-client",
    "x-litellm-spend-logs-metadata": '{"tags": ["of-the-client"]}',
}


@pytest.mark.parametrize("surface", lab.PATHS)
def test_a_client_cannot_steer_the_gateway(
    project: Project, stand: StandProcess, keys: dict[str, Key], surface: str
) -> None:
    key = lab.open_session(project, "hello")
    stand.forget_served()
    url, headers = stand.url + lab.path_of(surface, "hello"), {**key.headers, **STEERING_HEADERS}
    for name, value in STEERING.items():
        answer = httpx.post(url, json=body(key, surface, **{name: value}), headers=headers)
        assert answer.status_code == 200, (name, answer.text)
        assert "Hello from the stand." in answer.text
    served = stand.served()["requests"]
    assert [request["script"] for request in served] == ["hello"] * len(STEERING)
    assert "of-the-client" not in str(rows(project, key.session_id, len(STEERING), settled=True))
    for row in rows(project, key.session_id, len(STEERING)):
        assert (row["status"], row["litellm_call_id"]) == ("ok", row["request_key"])


def test_of_gemini_only_the_path_says_whether_it_streams(
    project: Project, stand: StandProcess, keys: dict[str, Key]
) -> None:
    key = lab.open_session(project, "hello")
    for stream in (False, True):
        url = stand.url + lab.path_of("gemini", "hello", stream=stream)
        answer = httpx.post(url, json={**body(key, "gemini"), "stream": not stream}, headers=key.headers)
        assert answer.status_code == 200, answer.text
    assert [(row["status"], row["streamed"]) for row in rows(project, key.session_id, 2)] == [("ok", 0), ("ok", 1)]


def test_an_error_is_not_tried_again_at_a_clients_wish(project: Project, stand: StandProcess) -> None:
    key = lab.open_session(project, "failing")
    stand.forget_served()
    ask(stand, key, num_retries=3, max_retries=3, retry_policy={"InternalServerErrorRetries": 3})
    assert stand.served()["totals"]["requests"] == 1
    assert len(rows(project, key.session_id, 1)) == 1


class TestAClientThatLeaves:
    def test_in_the_middle_of_a_stream(self, project: Project, stand: StandProcess) -> None:
        key = lab.open_session(project, "slow")
        for surface in lab.PATHS:
            stand.forget_served()
            url = stand.url + lab.path_of(surface, "slow", stream=True)
            with httpx.stream("POST", url, json=body(key, surface, stream=True), headers=key.headers) as answer:
                next(chunk for chunk in answer.iter_text() if "dyna" in chunk or " A" in chunk or '"A' in chunk)
            assert_cancelled(stand)
        for row in rows(project, key.session_id, 4):
            assert (row["status"], row["http_status"], row["error_class"]) == ("client_disconnect", 200, None)
            assert row["ttft_ms"] is not None
            assert row["output_tokens"] is None or row["usage_source"] == "estimated"

    @pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "unstreamed"])
    def test_before_the_first_token(self, project: Project, stand: StandProcess, streamed: bool) -> None:
        key = lab.open_session(project, "slow")
        for surface in lab.PATHS:
            stand.forget_served()
            with pytest.raises(httpx.ReadTimeout):
                ask(stand, key, surface, stream=streamed, timeout=0.25)
            assert_cancelled(stand)
        for row in rows(project, key.session_id, 4):
            assert (row["status"], row["error_class"], row["ttft_ms"]) == ("client_disconnect", None, None)
            if not streamed:
                assert row["http_status"] is None

    def test_with_the_whole_answer_it_is_a_success(self, project: Project, stand: StandProcess) -> None:
        key = lab.open_session(project, "hello")
        url = stand.url + lab.PATHS["openai_chat"]
        with httpx.stream("POST", url, json=body(key, stream=True), headers=key.headers) as answer:
            text = ""
            for chunk in answer.iter_text():
                text += chunk
                if "[DONE]" in text:
                    break
        (row,) = rows(project, key.session_id, 1, settled=True)
        assert row["status"] == "ok"


def assert_cancelled(stand: StandProcess) -> None:
    """The provider was asked, and was left before its answer was whole: it would have taken over two seconds."""

    def served() -> dict[str, Any] | None:
        requests: list[dict[str, Any]] = stand.served()["requests"]
        return requests[0] if requests else None

    assert lab.wait_for("the provider's count", served)["complete"] is False


def test_the_gateways_own_rows_are_those_that_its_records_make(project: Project, stand: StandProcess) -> None:
    def rows() -> list[tuple[object, ...]]:
        with lab.ledger(project) as ledger:
            return [tuple(row) for row in ledger.execute("SELECT * FROM request ORDER BY request_key")]

    kinds = Counter(record["kind"] for record in lab.spool_records(project))
    assert kinds["made"] > 0.8 * kinds["routed"], "all but those that LiteLLM reported twice, or too early"
    collected = rows()
    project.dyno("normalize", "--rebuild")
    assert rows() == collected
