"""Sessions of a LiteLLM deployment by hand, through the command line, and what is told where something is amiss."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import httpx
import pytest
from tests.integration.deployments.conftest import KEY_ENV, MASTER_KEY, TeamProject, variant
from tests.integration.deployments.deployment_server import DeploymentServer
from tests.integration.deployments.litellm_deployment import LitellmDeployment

from agentdyno.sessions.doctor import examine
from agentdyno.stand.installation import Finding

START = ("session", "start", "--variant", "large", "--task-card", "say-hello", "--repo", "repo", "--", "true")


def finalize(session_id: str, outcome: str = "completed") -> tuple[str, ...]:
    return ("session", "finalize", session_id, "--outcome", outcome)


def ask(env: dict[str, str], **asked: Any) -> httpx.Response:
    body = {"model": env["OPENAI_MODEL"], "messages": [{"role": "user", "content": "say hello"}], **asked}
    headers = {"authorization": f"Bearer {env['OPENAI_API_KEY']}"}
    return httpx.post(f"{env['OPENAI_BASE_URL']}/chat/completions", json=body, headers=headers)


def one_line(project: TeamProject, *arguments: str, admin_key: str = MASTER_KEY) -> str:
    """The one line that a command ends with that could not do its work."""
    done = project.run(*arguments, PLANTED_ADMIN_KEY=admin_key)
    assert done.returncode in (1, 2), done
    assert done.stdout == ""
    assert MASTER_KEY not in done.stderr
    (line,) = done.stderr.splitlines()
    return line


# ── by hand ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_by_hand(project: TeamProject, deployment: LitellmDeployment) -> None:
    opened = project.create()
    assert ask(opened["env"]).status_code == 200
    rotated = json.loads(project.dyno("session", "env", opened["session_id"], "--rotate", "--json"))
    assert ask(opened["env"]).status_code == 401, "the old key is deleted"
    assert ask(rotated["env"]).status_code == 200

    watched = project.start("session", "watch", opened["session_id"], "--json")
    done = project.run(*finalize(opened["session_id"]))
    seen, _ = watched.communicate(timeout=60)

    assert done.returncode == 0, done.stderr
    assert "requests in the logs of team: 3; waiting until none has come for 0.8 s, at most 20 s" in done.stderr
    assert ask(rotated["env"]).status_code == 401
    found = project.requests()
    assert [row["status"] for row in found] == ["ok", "rejected", "ok"]
    assert len({row["key_hash"] for row in found}) == 2
    assert {json.loads(line)["request_key"] for line in seen.splitlines()} == {row["request_key"] for row in found}


def test_finalized_twice_changes_nothing(project: TeamProject) -> None:
    session_id = project.create()["session_id"]
    project.dyno(*finalize(session_id))

    done = project.run(*finalize(session_id))

    assert done.returncode == 0
    assert "it was finalized as completed before; nothing was changed" in done.stderr


def test_logs_that_come_too_late_are_read_later(project: TeamProject, deployment: LitellmDeployment) -> None:
    project.write("dyno.yaml", "deployment: {logs_quiet_s: 5, logs_limit_s: 0.3}\n")
    deployment.logs.written_after_s = 3600
    opened = project.create()
    ask(opened["env"])
    done = project.run(*finalize(opened["session_id"]))
    assert "were not known to be whole after 0.3 s; `dyno normalize` reads what comes later" in done.stderr
    assert project.requests() == []

    deployment.logs.write_all()
    assert "1 spend logs read, 1 rows written, 0 unreadable" in project.dyno("normalize")
    assert "1 spend logs read, 0 rows written, 0 unreadable" in project.dyno("normalize")

    (row,) = project.requests()
    assert (row["late"], row["input_tokens"]) == (1, 40)
    rollups = project.table("SELECT metric, total FROM metric_rollup WHERE metric = 'input_tokens'")
    assert rollups == [{"metric": "input_tokens", "total": 40.0}]


def test_a_session_whose_time_is_over_is_closed_without_asking(
    project: TeamProject, server: DeploymentServer, deployment: LitellmDeployment
) -> None:
    project.write("dyno.yaml", "session: {time_to_live_s: 3}\n")
    opened = project.create()
    assert ask(opened["env"]).status_code == 200
    server.stop()
    while not (closed := project.table("SELECT * FROM session WHERE outcome = 'aborted'")):
        project.dyno("session", "list")
    assert closed[0]["notes"] == "its time-to-live ended"

    server.start()
    assert ask(opened["env"]).status_code == 401, "the key ended there too"
    assert "2 spend logs read, 2 rows written, 0 unreadable" in project.dyno("normalize")
    assert [(row["status"], row["late"]) for row in project.requests()] == [("ok", 1), ("rejected", 1)]


def test_an_older_deployment_without_pages(project: TeamProject, deployment: LitellmDeployment) -> None:
    deployment.has_pages = False
    opened = project.create()
    for _ in range(2):
        ask(opened["env"])
    project.dyno(*finalize(opened["session_id"]))

    assert [row["input_tokens"] for row in project.requests()] == [40, 41]
    assert "/spend/logs" in deployment.asked


# ── what does not work ───────────────────────────────────────────────────────────────────────────────────────────────


def test_without_an_admin_key(project: TeamProject) -> None:
    assert one_line(project, *START, admin_key="") == (
        f"provider team is a LiteLLM deployment, and {KEY_ENV} is not set; "
        "set it to the deployment's master key, or a proxy admin's"
    )
    assert project.table("SELECT * FROM session") == []


def test_an_admin_key_that_cannot_be_sent(project: TeamProject) -> None:
    line = one_line(project, *START, admin_key="two words")
    assert line == f"what {KEY_ENV} holds is no key; expected letters, digits and signs, without blanks"


@pytest.mark.parametrize(("key", "status"), [("sk-of-nobody-here", 401), ("no-key-of-litellm", 401)])
def test_a_key_that_the_deployment_does_not_take(project: TeamProject, key: str, status: int) -> None:
    line = one_line(project, *START, admin_key=key)

    assert line.endswith(
        f" refuses the key in {KEY_ENV} (HTTP {status} on /key/generate); it must be the master key, or a proxy admin's"
    )
    assert line.startswith("LiteLLM deployment team at http://127.0.0.1:")
    assert [row["outcome"] for row in project.table("SELECT * FROM session")] == ["aborted"]


def test_a_virtual_key_is_no_admins(project: TeamProject) -> None:
    virtual = project.create()["env"]["OPENAI_API_KEY"]

    assert f"refuses the key in {KEY_ENV} (HTTP 403 on /key/generate)" in one_line(project, *START, admin_key=virtual)


def test_a_deployment_without_a_database(project: TeamProject, deployment: LitellmDeployment) -> None:
    deployment.has_database = False

    line = one_line(project, *START)

    assert line.endswith(
        " has no database (HTTP 500 on /key/generate); virtual keys and spend logs need one: set its DATABASE_URL"
    )


def test_a_deployment_that_is_down(project: TeamProject, server: DeploymentServer) -> None:
    server.stop()

    line = one_line(project, *START)

    assert line.startswith(f"LiteLLM deployment team at {server.url} cannot be reached: ")
    assert line.endswith("; see that it runs")


def test_down_at_the_end_the_session_stays_open(project: TeamProject, server: DeploymentServer) -> None:
    opened = project.create()
    ask(opened["env"])
    server.stop()
    assert " cannot be reached: " in one_line(project, *finalize(opened["session_id"]))
    assert [row["phase"] for row in project.table("SELECT * FROM session")] == ["rendered"]

    server.start()
    project.dyno(*finalize(opened["session_id"]))

    assert [row["outcome"] for row in project.table("SELECT * FROM session")] == ["completed"]
    assert [row["status"] for row in project.requests()] == ["ok"]


def test_a_session_can_be_given_up_without_its_deployment(project: TeamProject, server: DeploymentServer) -> None:
    opened = project.create()
    server.stop()

    done = project.run(*finalize(opened["session_id"], "aborted"))

    assert done.returncode == 0
    assert "the key there ends by itself, and `dyno normalize` reads the logs" in done.stderr
    assert [row["outcome"] for row in project.table("SELECT * FROM session")] == ["aborted"]
    assert project.run("normalize").returncode == 1, "what could not be read is no success"


def test_a_server_that_is_no_litellm(project: TeamProject, server: DeploymentServer) -> None:
    text = (project.folder / "configs/providers/team.yaml").read_text().replace(f"{server.url}/", f"{server.url}/other")
    project.write("configs/providers/team.yaml", text)

    line = one_line(project, *START)

    assert line.endswith(" answers HTTP 404 on /key/generate: Not Found; is base_url the address of a LiteLLM proxy?")


# ── around it ────────────────────────────────────────────────────────────────────────────────────────────────────────


def finding(project: TeamProject, admin_key: str = MASTER_KEY) -> Finding:
    findings = examine(project.folder, {"PATH": os.environ["PATH"], KEY_ENV: admin_key}, time.time())
    return next(item for item in findings if item.name == "provider team")


def test_doctor(project: TeamProject, server: DeploymentServer, deployment: LitellmDeployment) -> None:
    assert finding(project) == Finding(
        "provider team", "ok", f"a LiteLLM deployment: it answers, and takes the key in {KEY_ENV}"
    )
    assert set(deployment.asked) == {"/spend/logs/v2"}, "looking changes nothing"
    assert deployment.generated == []
    refused = finding(project, "sk-of-nobody-here")
    assert refused.state == "warning"
    assert refused.found.startswith(f"LiteLLM deployment team at {server.url} refuses the key in {KEY_ENV} (HTTP 401")
    assert refused.found.endswith("; used by large, limited, messages, small, unpriced")
    assert "is not set" in finding(project, "").found
    server.stop()
    assert f"LiteLLM deployment team at {server.url} cannot be reached" in finding(project).found


def test_a_harness_with_its_key_in_the_address_does_not_fit(project: TeamProject) -> None:
    project.write(
        "configs/harness_profiles/keyless.yaml",
        "surface: openai_chat\nenv: {URL: '${gateway_url_with_key}/v1'}\n",
    )
    project.write("configs/variants/keyless.yaml", variant("large", "keyless"))

    done = project.run("config", "validate")

    assert done.returncode == 2
    assert (
        'harness_profile "keyless" puts the key into the address, which only the stand\'s gateway takes' in done.stderr
    )
