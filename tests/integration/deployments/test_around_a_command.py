"""A whole session of a LiteLLM deployment around one command: its key, its rows, and what is nowhere."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from tests.integration.deployments.canned_answers import WORDS
from tests.integration.deployments.conftest import CLIENT, KEY_ENV, MASTER_KEY, TeamProject
from tests.integration.deployments.deployment_server import DeploymentServer
from tests.integration.deployments.litellm_deployment import BYSTANDER, LitellmDeployment
from tests.integration.deployments.litellm_records import hash_token
from tests.integration.stand_process import Project

CHAT = ("OPENAI_BASE_URL/chat/completions", "OPENAI_API_KEY")
MESSAGES = ("ANTHROPIC_BASE_URL/v1/messages", "ANTHROPIC_API_KEY")
_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")


def start(project: Project, variant: str, where: tuple[str, str], asked: list[dict[str, Any]]) -> tuple[str, ...]:
    """A session around a client that sends what is to be asked, one after the other."""
    options = ("--variant", variant, "--task-card", "say-hello", "--repo", str(project.repo), "--label", "mine")
    return ("session", "start", *options, "--", sys.executable, "-c", CLIENT, *where, json.dumps(asked))


class Worked(NamedTuple):
    """What a session left that asked for all kinds of answers."""

    project: TeamProject
    deployment: LitellmDeployment
    rows: list[dict[str, Any]]
    environ: dict[str, str]
    """Of its command."""
    printed: str


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory, template: Project) -> Iterator[Worked]:
    """That session, looked at by many tests."""
    deployment = LitellmDeployment(MASTER_KEY)
    with DeploymentServer(deployment) as server:
        project = TeamProject(tmp_path_factory.mktemp("worked"), template, server.url)
        asked: list[dict[str, Any]] = [
            {"model": "large"},
            {"model": "large", "stream": True},
            {"model": "small"},
            {"model": "limited"},
        ]
        done = project.run(*start(project, "large", CHAT, asked))
        assert done.returncode == 0, done.stderr
        left = project.folder / "environment.json"
        environ = json.loads(left.read_text())
        left.unlink()
        yield Worked(project, deployment, project.requests(), environ, done.stdout + done.stderr)


def test_every_log_of_the_key_is_a_row(worked: Worked) -> None:
    told = ("model_requested", "purpose", "status", "error_class", "error_code", "streamed", "usage_source")
    assert [tuple(row[name] for name in told) for row in worked.rows] == [
        ("large", "work", "ok", None, None, 0, "proxy"),
        ("large", "work", "ok", None, None, 1, "proxy"),
        ("small", "small_model", "ok", None, None, 0, "proxy"),
        # The key is for the variant's own models, and `limited` is none of them.
        ("limited", "work", "rejected", "permission", "403", 0, None),
    ]
    assert [row["surface"] for row in worked.rows] == ["openai_chat", "openai_chat", "openai_chat", None]


def test_rows_have_the_tokens_that_the_deployment_counted(worked: Worked) -> None:
    answered = worked.rows[:3]
    assert [tuple(row[name] for name in _TOKENS) for row in answered] == [
        (served["usage"]["prompt_tokens"], served["usage"]["completion_tokens"], 12, 7, 3)
        for served in worked.deployment.served
    ]
    assert [row["response_id"] for row in answered] == [served["request_id"] for served in worked.deployment.served]
    # 49 tokens at 0.000002 USD each.
    assert worked.rows[0]["cost_usd"] == pytest.approx(0.000_098)
    assert worked.rows[0]["price_table_version"] == "deployment:team"
    assert [row["latency_ms"] for row in answered] == [20.0] * 3


def test_what_a_log_cannot_tell_is_unknown(worked: Worked) -> None:
    unknown = ("ttft_ms", "http_status", "attempts", "provider_latency_ms", "proxy_overhead_ms", "finish_reason")
    for row in worked.rows:
        assert {row[name] for name in unknown} == {None}
        assert row["gateway_id"] == "litellm:team"


def test_anothers_logs_of_the_same_time_are_nobodys_here(worked: Worked) -> None:
    assert len(worked.deployment.logs.all_of(BYSTANDER)) == len(worked.deployment.served) == 3
    assert len(worked.rows) == 4
    assert {row["key_hash"] for row in worked.rows} == {hash_token(worked.environ["OPENAI_API_KEY"])}
    assert worked.project.table("SELECT * FROM unreadable_record") == []


def test_the_key_is_the_sessions_alone(worked: Worked) -> None:
    (session,) = worked.project.table("SELECT * FROM session")
    (credential,) = worked.project.table("SELECT * FROM credential")
    (generated,) = worked.deployment.generated
    session_id = session["session_id"]
    assert generated["key_alias"] == f"large/say-hello/{session_id}" == credential["alias"]
    assert generated["metadata"] == {"session": session_id, "variant": "large", "task_card": "say-hello"}
    assert generated["models"] == ["large", "small"]
    assert 0 < int(generated["duration"].removesuffix("s")) <= 14_400
    assert generated["key_type"] == "llm_api"
    assert "max_budget" not in generated
    assert credential["issuer"] == "litellm"


def test_at_the_end_the_key_is_deleted(worked: Worked) -> None:
    (credential,) = worked.project.table("SELECT * FROM credential")
    assert worked.deployment.keys == {}
    assert list(worked.deployment.deleted) == [credential["key_hash"]]
    assert credential["revoked_at_us"] is not None


def test_the_session_is_recorded_as_any_other(worked: Worked) -> None:
    (session,) = worked.project.table("SELECT * FROM session")
    assert (session["phase"], session["outcome"], session["label"]) == ("finalized", "completed", "mine")
    # The deployment does not tell its version, and has prices of its own.
    assert (session["litellm_version"], session["price_table_version"]) == (None, "deployment:team")
    shown = worked.project.dyno("session", "show", session["session_id"], "--requests")
    assert "4 (1 failed)" in shown
    assert "LiteLLM None" not in shown
    assert "large" in worked.project.dyno("compare")


def test_the_command_has_its_key_and_not_the_admins(worked: Worked) -> None:
    assert KEY_ENV not in worked.environ
    assert MASTER_KEY not in str(worked.environ)


def test_planted_keys_and_words_are_nowhere(worked: Worked) -> None:
    session_id = worked.rows[0]["session_id"]
    shown = worked.printed + worked.project.dyno("session", "show", session_id, "--requests", "--json")
    shown += worked.project.dyno("normalize")
    files = {path: path.read_bytes() for path in worked.project.folder.rglob("*") if path.is_file()}
    assert worked.project.home / "ledger.sqlite" in files
    for secret in (MASTER_KEY, worked.environ["OPENAI_API_KEY"], WORDS, "planted words of a prompt"):
        assert secret not in shown
        for path, held in files.items():
            assert secret.encode() not in held, path


def test_over_messages(project: TeamProject) -> None:
    asked = [{"model": "large", "stream": stream} for stream in (False, True)]
    project.dyno(*start(project, "messages", MESSAGES, asked))

    told = ("surface", "streamed", "status", "input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")
    assert [tuple(row[name] for name in told) for row in project.requests()] == [
        ("anthropic_messages", 0, "ok", 40, 12, 7, 9),
        ("anthropic_messages", 1, "ok", 41, 12, 7, 10),
    ]


def test_a_providers_refusal_and_an_unknown_price(project: TeamProject) -> None:
    done = project.run(*start(project, "limited", CHAT, [{"model": "limited"}]))
    project.dyno(*start(project, "unpriced", CHAT, [{"model": "unpriced"}]))

    assert done.returncode == 3, "exit code 0, though its only request failed"
    refused, unpriced = project.requests()
    told = ("status", "error_class", "error_code", "provider_request_id", "input_tokens", "usage_source")
    assert [refused[name] for name in told] == ["provider_error", "rate_limit", "429", "req_429", None, None]
    assert (unpriced["status"], unpriced["cost_usd"], unpriced["price_table_version"]) == ("ok", None, None)
