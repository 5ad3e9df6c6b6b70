"""What the ingress meter makes of each surface: side calls, Gemini's paths, and keys in every place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.gateway.credentials import KEY, scope_of
from tests.unit.gateway.metered import BEARER, CHAT, GEMINI, GEMINI_STREAM, MESSAGES, RESPONSES, Bench, Inner

from agentdyno.core.exchange import Answered

EVENT_STREAM = [(b"content-type", b"text/event-stream")]


class TestAListOfModels:
    def test_names_those_of_the_variant_and_is_recorded(self, tmp_path: Path) -> None:
        inner = Inner()
        bench = Bench(tmp_path, inner, scope_of(KEY, small_model="cached"))
        heard = bench.call("GET", "/v1/models")
        assert [model["id"] for model in heard.json()["data"]] == ["hello", "cached"]
        (record,) = bench.records()
        assert isinstance(record, Answered)
        assert (record.entered.purpose, record.entered.surface) == ("model_list", None)
        assert (record.http_status, record.complete, record.forwarded, record.refusal) == (200, True, False, None)
        assert record.response_bytes == len(heard.body)
        assert record.entered.identity is not None
        assert inner.scope == {}

    def test_speaks_geminis_shape_at_its_path(self, tmp_path: Path) -> None:
        heard = Bench(tmp_path, Inner()).call("GET", "/v1beta/models")
        assert [model["name"] for model in heard.json()["models"]] == ["models/hello"]

    def test_says_nothing_of_other_models(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, Inner())
        assert bench.call("GET", "/v1/models/hello").json()["id"] == "hello"
        heard = bench.call("GET", "/v1/models/slow")
        assert (heard.status, heard.json()["error"]["code"]) == (403, "model_not_allowed")
        assert [record.entered.purpose for record in bench.records() if isinstance(record, Answered)] == [
            "model_list",
            "model_list",
        ]


class TestPurposes:
    RULES = (
        '[{"purpose":"title","offers_tools":false,"at_most_output_tokens":64},{"purpose":"probe","small_model":true}]'
    )

    @pytest.mark.parametrize(
        ("body", "purpose"),
        [
            (b'{"model":"hello","tools":[{}]}', "work"),
            (b'{"model":"hello","max_tokens":32}', "title"),
            (b'{"model":"hello","max_tokens":65}', "work"),
            (b'{"model":"cached","max_tokens":65}', "probe"),
        ],
    )
    def test_the_profiles_rules_say_it(self, tmp_path: Path, body: bytes, purpose: str) -> None:
        bench = Bench(tmp_path, Inner(b"{}"), scope_of(KEY, small_model="cached", side_calls=self.RULES))
        bench.call(body=body)
        assert bench.answered().entered.purpose == purpose

    def test_without_rules_the_small_model_tells_a_side_call(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, Inner(b"{}"), scope_of(KEY, small_model="cached"))
        bench.call(body=b'{"model":"cached"}')
        assert bench.answered().entered.purpose == "small_model"
        assert bench.answered().entered.model == "cached"

    @pytest.mark.parametrize("path", [MESSAGES + "/count_tokens", GEMINI.replace("generateContent", "countTokens")])
    def test_counting_tokens_awaits_no_report(self, tmp_path: Path, path: str) -> None:
        inner = Inner(b'{"input_tokens":3,"totalTokens":3}')
        bench = Bench(tmp_path, inner)
        assert bench.call(path=path).status == 200
        answered = bench.answered()
        assert (answered.entered.purpose, answered.forwarded, answered.complete) == ("token_count", False, True)
        assert (answered.http_status, answered.usages) == (200, [])
        # No hook names the route: it must stand in the body, or in the path.
        asked = json.loads(inner.body)["model"] if path.startswith(MESSAGES) else inner.scope["path"].split("/")[-1]
        assert asked.startswith("scripted:hello@")


class TestIdsOfTheHarness:
    HEADERS = (BEARER, (b"x-session-id", b"ses_7f3a"), (b"thread-id", b"two words"), (b"x-other", b"other"))

    def test_are_kept_by_the_headers_that_its_profile_names(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, Inner(b"{}"), scope_of(KEY, id_headers='["X-Session-Id","thread-id","authorization"]'))
        bench.call(headers=self.HEADERS)
        assert bench.answered().entered.harness_ids == {"x-session-id": "ses_7f3a"}

    def test_are_none_where_it_names_no_header(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, Inner(b"{}"))
        bench.call(headers=self.HEADERS)
        assert bench.answered().entered.harness_ids == {}


class TestGemini:
    def test_the_path_says_which_model_and_whether_it_streams(self, tmp_path: Path) -> None:
        for number, (path, streamed) in enumerate([(GEMINI, False), (GEMINI_STREAM, True)]):
            bench = Bench(tmp_path / str(number), Inner(b"{}"))
            bench.call(path=path, body=b'{"contents":[]}')
            entered = bench.answered().entered
            assert (entered.surface, entered.model, entered.streamed) == ("gemini", "hello", streamed)
            assert entered.path == path

    def test_a_stream_is_recorded_at_its_end_whatever_comes_after_the_reason_to_finish(self, tmp_path: Path) -> None:
        chunks = (
            b'data: {"candidates":[{"content":{"parts":[{"text":"Hi"}]},"finishReason":"STOP"}]}\n\n',
            b'data: {"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":1}}\n\n',
            b"",
        )
        bench = Bench(tmp_path, Inner(*chunks, headers=EVENT_STREAM))
        heard = bench.call(path=GEMINI_STREAM, query=b"alt=sse")
        assert heard.records_at_end == 2
        answered = bench.answered()
        assert answered.complete
        assert answered.usages[-1]["promptTokenCount"] == 3
        assert answered.response_bytes == sum(map(len, chunks))

    def test_no_novel_and_no_secret_is_kept_out_of_its_path(self, tmp_path: Path) -> None:
        secret = "sk-ant-" + "Xy7" * 8
        bench = Bench(tmp_path, Inner())
        assert bench.call(path=GEMINI.replace("hello", secret)).status == 400
        bench.call(path=GEMINI.replace("hello", "h" * 5_000))
        assert secret not in str(bench.records())
        assert all(len(record.entered.path) <= 200 for record in bench.records() if isinstance(record, Answered))


@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES, GEMINI, MESSAGES + "/count_tokens", "/v1/models"])
def test_the_session_is_the_same_whichever_way_its_key_came(tmp_path: Path, path: str) -> None:
    method = "GET" if path == "/v1/models" else "POST"
    inner = Inner(b"{}")
    bench = Bench(tmp_path, inner)
    for headers in ([BEARER], [(b"x-api-key", KEY.encode())], [(b"x-goog-api-key", KEY.encode())]):
        assert bench.call(method, path, headers=headers).status == 200
    assert bench.call(method, path, headers=(), query=b"key=" + KEY.encode()).status == 200
    assert bench.call(method, f"/key/{KEY}{path}", headers=()).status == 200
    answered = [record.entered for record in bench.records() if isinstance(record, Answered)]
    assert [(entered.path, entered.identity) for entered in answered] == [(path, answered[0].identity)] * 5
    assert KEY not in str(bench.records()) + str(inner.scope)


@pytest.mark.parametrize("path", [CHAT, GEMINI, GEMINI.replace("generateContent", "countTokens")])
@pytest.mark.parametrize(
    "body", [b'{"model":"hello","x":NaN}', b'{"model":"hello","\xff":1}', b'{"x":' + b"[" * 5_000 + b"]" * 5_000 + b"}"]
)
def test_what_is_no_json_object_is_refused_and_has_its_record(tmp_path: Path, path: str, body: bytes) -> None:
    inner = Inner()
    bench = Bench(tmp_path, inner)

    assert bench.call(path=path, body=body).status == 400

    assert bench.answered().refusal in ("body_unreadable", "model_missing")
    assert not inner.scope
