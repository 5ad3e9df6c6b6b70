"""The ingress meter: what it lets pass, what it records, and that nothing else changes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send
from tests.unit.gateway.credentials import KEY, scope_of
from tests.unit.gateway.metered import (
    BEARER,
    CHAT,
    GEMINI,
    MESSAGES,
    RESPONSES,
    Bench,
    FullDisk,
    Inner,
)

from agentdyno.core.exchange import Answered, Entered
from agentdyno.core.ids import key_hash
from agentdyno.gateway.admission import Admission
from agentdyno.gateway.ingress import MAX_BODY_BYTES
from agentdyno.store.credentials import CredentialScope

ANSWER = b'{"id":"a1","model":"served","choices":[{"finish_reason":"stop"}],"usage":{"prompt_tokens":3}}'
STREAM = (
    b'data: {"id":"a1","choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n',
    b'data: {"id":"a1","choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\ndata: {"id":"a1","cho',
    b'ices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
    b"data: [DONE]\n\n",
)
EVENT_STREAM = [(b"content-type", b"text/event-stream; charset=utf-8")]


class TestAForwardedRequest:
    def test_its_bytes_pass_unchanged_both_ways(self, tmp_path: Path) -> None:
        inner = Inner(ANSWER[:20], ANSWER[20:], headers=[(b"content-type", b"application/json"), (b"x-more", b"1")])
        body = b'{ "model" : "hello", "messages": ["\xc3\xa9"] }'
        heard = Bench(tmp_path, inner).call(body=[body[:9], body[9:]])
        assert (heard.status, heard.body, heard.headers["x-more"]) == (200, ANSWER, "1")
        assert inner.body == body

    def test_is_recorded_before_its_last_byte_goes_out(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, Inner(ANSWER))
        heard = bench.call()
        assert heard.records_at_end == 2
        entered, answered = bench.records()
        assert isinstance(entered, Entered)
        assert isinstance(answered, Answered)
        assert answered.entered == entered
        assert (entered.model, entered.streamed, entered.request_bytes) == ("hello", False, len(b'{"model":"hello"}'))
        assert entered.identity is not None
        assert entered.identity.key_hash == key_hash(KEY)
        assert (answered.http_status, answered.complete, answered.forwarded) == (200, True, True)
        assert (answered.response_id, answered.model, answered.finish_reason) == ("a1", "served", "stop")
        assert answered.usages == [{"prompt_tokens": 3}]
        assert answered.response_bytes == len(ANSWER)

    def test_but_what_steers_litellm_is_taken_from_its_body(self, tmp_path: Path) -> None:
        inner = Inner(ANSWER)
        steering = b'"api_base":"http://x", "provider\\u005fspecific_header":{"a":1}, "api_base":"http://y"'
        body = b'{"model":"hello", ' + steering + b', "seed": 1.50, "metadata":{"api_base":"mine"}}'
        bench = Bench(tmp_path, inner)
        bench.call(body=body)
        assert inner.body == b'{"model":"hello","seed":1.50,"metadata":{"api_base":"mine"}}'
        assert bench.answered().entered.request_bytes == len(body)

    def test_no_key_and_no_steering_header_goes_on(self, tmp_path: Path) -> None:
        inner = Inner(ANSWER)
        withheld = [
            (b"x-api-key", KEY.encode()),
            (b"api-key", b"k"),
            (b"cookie", b"k"),
            (b"accept-encoding", b"br"),
            (b"content-length", b"17"),
            (b"content-type", b"application/x-www-form-urlencoded"),
            (b"x-litellm-call-id", b"mine"),
            (b"x-litellm-tags", b"a,b"),
            (b"llm_provider-x-request-id", b"mine"),
        ]
        Bench(tmp_path, inner).call(headers=[BEARER, *withheld, (b"anthropic-version", b"2023-06-01")])
        assert inner.scope["headers"] == [(b"anthropic-version", b"2023-06-01"), (b"x-litellm-call-id", b"req_1")]

    def test_a_stream_is_a_skeleton_of_events(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, Inner(*STREAM, headers=EVENT_STREAM))
        heard = bench.call(body=b'{"model":"hello","stream":true}')
        answered = bench.answered()
        assert heard.body == b"".join(STREAM)
        assert [kind for kind, _, _ in answered.events] == ["start", "content", "finish", "done"]
        assert answered.complete
        assert heard.records_at_end == 2

    def test_the_providers_request_id_is_taken_from_its_headers(self, tmp_path: Path) -> None:
        headers = [(b"content-type", b"application/json"), (b"llm_provider-x-request-id", b"theirs")]
        bench = Bench(tmp_path, Inner(ANSWER, headers=headers))
        bench.call()
        assert bench.answered().provider_request_id == "theirs"

    def test_without_an_end_it_is_not_complete(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, Inner(*STREAM[:2], headers=EVENT_STREAM))
        bench.call(body=b'{"model":"hello","stream":true}')
        assert not bench.answered().complete

    def test_a_client_that_leaves_is_recorded_as_gone(self, tmp_path: Path) -> None:
        async def waits_for_the_client(_: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "http.response.start", "status": 200, "headers": EVENT_STREAM})
            await send({"type": "http.response.body", "body": STREAM[0], "more_body": True})
            assert (await receive())["type"] == "http.disconnect"

        bench = Bench(tmp_path, waits_for_the_client)
        bench.call(stays=False)
        assert (bench.answered().disconnected, bench.answered().complete) == (True, False)

    def test_a_failure_inside_is_answered_and_recorded_without_its_words(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def fails(_: Scope, receive: Receive, send: Send) -> None:
            raise KeyError("what the user said")

        bench = Bench(tmp_path, fails)
        with caplog.at_level(logging.ERROR):
            heard = bench.call(path=MESSAGES)
        assert heard.status == 500
        assert heard.json()["error"]["message"] == "The gateway failed with KeyError."
        assert (bench.answered().http_status, bench.answered().error_code) == (500, "gateway_failed")
        assert "KeyError" in caplog.text
        assert "what the user said" not in caplog.text + heard.body.decode()

    def test_one_that_outlasts_the_grace_of_a_stop_is_told_so(self, tmp_path: Path) -> None:
        async def is_cancelled(_: Scope, receive: Receive, send: Send) -> None:
            raise asyncio.CancelledError

        bench = Bench(tmp_path, is_cancelled)
        heard = bench.call()
        assert (heard.status, heard.json()["error"]["code"]) == (503, "gateway_stopped")
        assert (bench.answered().http_status, bench.answered().error_code) == (503, "gateway_stopped")

    def test_a_stream_that_outlasts_it_is_cut_and_recorded(self, tmp_path: Path) -> None:
        async def is_cancelled(_: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": EVENT_STREAM})
            raise asyncio.CancelledError

        bench = Bench(tmp_path, is_cancelled)
        assert bench.call().body == b""
        assert (bench.answered().http_status, bench.answered().complete) == (200, False)


class TestARefusal:
    @pytest.mark.parametrize(
        ("path", "code"),
        [
            (CHAT, ("error", "code")),
            (RESPONSES, ("error", "code")),
            (MESSAGES, ("error", "type")),
            (MESSAGES + "/batches", ("error", "type")),
            (GEMINI, ("error", "status")),
            ("/v1beta/cachedContents", ("error", "status")),
            ("/key/generate", ("error", "code")),
        ],
    )
    def test_speaks_the_surfaces_own_format(self, tmp_path: Path, path: str, code: tuple[str, str]) -> None:
        bench = Bench(tmp_path, Inner())
        heard = bench.call(path=path, headers=())
        assert heard.status == 401
        assert heard.json()[code[0]][code[1]] == "missing_key"
        assert (heard.json().get("type") == "error") == path.startswith(MESSAGES)

    @pytest.mark.parametrize(
        ("path", "body", "status", "code"),
        [
            (CHAT, b'{"model":"slow"}', 403, "model_not_allowed"),
            (CHAT, b'{"model":"hello","model":"slow"}', 403, "model_not_allowed"),
            (CHAT, b"{}", 400, "model_missing"),
            (CHAT, b'{"model":7}', 400, "model_missing"),
            (CHAT, b"", 400, "model_missing"),
            (CHAT, b"[" * 100_000, 400, "model_missing"),
            (CHAT, b'{"model":"hello"' + b" " * MAX_BODY_BYTES + b"}", 413, "body_too_large"),
            (RESPONSES, b'{"model":"slow"}', 403, "model_not_allowed"),
            (GEMINI.replace("hello", "slow"), b"{}", 403, "model_not_allowed"),
            (
                GEMINI.replace("generateContent", "countTokens").replace("hello", "slow"),
                b"{}",
                403,
                "model_not_allowed",
            ),
            (MESSAGES + "/count_tokens", b'{"model":"slow"}', 403, "model_not_allowed"),
            (CHAT + "/", b'{"model":"hello"}', 403, "path_not_allowed"),
            ("/v1/embeddings", b'{"model":"hello"}', 403, "path_not_allowed"),
        ],
        ids=[
            *("model", "twice", "none", "number", "empty", "nested", "large"),
            *("responses", "gemini", "gemini-count", "count", "slash", "embeddings"),
        ],
    )
    def test_of_a_known_key_belongs_to_its_session(
        self, tmp_path: Path, path: str, body: bytes, status: int, code: str
    ) -> None:
        inner = Inner()
        bench = Bench(tmp_path, inner)
        assert bench.call(path=path, body=body).status == status
        (record,) = bench.records()
        assert isinstance(record, Answered)
        assert (record.refusal, record.http_status, record.forwarded) == (code, status, False)
        assert record.entered.identity is not None
        assert record.entered.identity.session_id == "ses_1"
        assert inner.scope == {}

    def test_of_an_unknown_key_belongs_to_nobody(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, Inner())
        bench.call(headers=[(b"x-api-key", b"nobody's")])
        assert bench.answered().refusal == "unknown_key"
        assert bench.answered().entered.identity is None

    @pytest.mark.parametrize("encoding", [b"gzip", b"GZIP", b"zstd"])
    def test_of_an_encoded_body_says_so(self, tmp_path: Path, encoding: bytes) -> None:
        heard = Bench(tmp_path, Inner()).call(body=b"\x1f\x8b", headers=[BEARER, (b"content-encoding", encoding)])
        assert heard.status == 415
        assert encoding.decode().lower() in heard.json()["error"]["message"]

    def test_keeps_no_secret_and_no_novel_out_of_a_path(self, tmp_path: Path) -> None:
        secret = "sk-ant-" + "Xy7" * 8
        bench = Bench(tmp_path, Inner())
        heard = bench.call(path=f"/{secret}/" + "p" * 5_000)
        assert secret not in str(bench.records()) + heard.body.decode()
        assert len(bench.answered().entered.path) <= 200

    def test_follows_a_revocation_that_came_while_the_body_was_on_its_way(self, tmp_path: Path) -> None:
        inner = Inner()
        bench = Bench(tmp_path, inner)

        async def revoke() -> None:
            bench.credentials.scopes[key_hash(KEY)] = scope_of(KEY, revoked_at_us=1)
            await asyncio.sleep(0.05)  # longer than an admission holds

        heard = bench.call(body=[b'{"model":', b'"hello"}'], before_last_part=revoke)
        assert (heard.status, heard.json()["error"]["code"]) == (401, "revoked_key")
        assert inner.scope == {}

    def test_of_a_client_that_left_before_its_body_was_there(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, Inner())
        heard = bench.call(body=[], stays=False)
        assert heard.status is None
        assert (bench.answered().disconnected, bench.answered().forwarded) == (True, False)


class TestWithoutAKey:
    def test_only_liveness_metrics_and_greetings_are_answered(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, Inner())
        assert bench.call("HEAD", "/", headers=()).status == 200
        assert bench.call("HEAD", f"/key/{KEY}", headers=()).status == 200
        assert bench.call("GET", "/api/hello", headers=()).status == 200
        assert bench.call("GET", "/metrics", headers=()).status == 200
        assert bench.call("GET", "/health/live", headers=()).status == 503  # not warmed up yet
        bench.meter.ready = True
        alive = bench.call("GET", "/health/live", headers=())
        assert (alive.status, alive.json()) == (200, {"status": "alive", "gateway_id": "gw_1"})
        assert bench.records() == []
        for method, path in [("GET", "/"), ("POST", "/health/live"), ("GET", "/health"), ("GET", "/v1/models")]:
            assert bench.call(method, path, headers=()).status == 401

    def test_a_web_socket_is_closed(self, tmp_path: Path) -> None:
        sent = []

        async def send(message: object) -> None:
            sent.append(message)

        async def receive() -> dict[str, object]:
            return {"type": "websocket.connect"}

        bench = Bench(tmp_path, Inner())
        asyncio.run(bench.meter({"type": "websocket", "path": CHAT, "headers": [BEARER]}, receive, send))
        assert sent == [{"type": "websocket.close", "code": 1008}]


def test_metrics_count_what_was_answered(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Inner(ANSWER))
    bench.call()
    bench.call(headers=())
    shown = bench.call("GET", "/metrics", headers=()).body.decode()
    assert 'dyno_requests_total{http_status="200",surface="openai_chat"} 1.0' in shown
    assert 'dyno_requests_total{http_status="401",surface="openai_chat"} 1.0' in shown
    assert "dyno_requests_in_flight 0.0" in shown


class TestWhenTheDiskIsFull:
    def test_requests_are_refused_until_there_is_room(self, tmp_path: Path) -> None:
        inner = Inner(ANSWER)
        bench = Bench(tmp_path, inner)
        with FullDisk():
            heard = bench.call()
            assert (heard.status, heard.json()["error"]["code"]) == (503, "spool_full")
            assert "cannot record this request" in heard.json()["error"]["message"]
            assert (inner.scope, bench.records(), bench.spool.backlog) == ({}, [], 1)
            assert bench.call().status == 503
        assert bench.call().status == 200
        refusals = [record.refusal for record in bench.records() if isinstance(record, Answered)]
        assert refusals == ["spool_full", "spool_full", None]

    def test_an_answer_that_was_promised_is_given_and_its_record_kept(self, tmp_path: Path) -> None:
        with contextlib.ExitStack() as until_there_is_room:

            class FillsTheDisk(Inner):
                async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
                    until_there_is_room.enter_context(FullDisk())
                    await super().__call__(scope, receive, send)

            bench = Bench(tmp_path, FillsTheDisk(ANSWER))
            assert bench.call().status == 200
            assert (len(bench.records()), bench.spool.backlog) == (1, 1)
        bench.spool.flush()
        assert bench.answered().complete


def test_a_ledger_that_answers_slowly_is_asked_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Inner())
    asked = 0

    async def look_up(key_hash: str) -> CredentialScope | None:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.05)  # longer than an admission holds
        return await bench.credentials.look_up(key_hash)

    bench.meter._admission = Admission(look_up, bench.clock)

    assert bench.call().status == 200
    assert asked == 1
