"""Headless cells of a LiteLLM deployment that fail in the middle: no key of theirs stays good for anything."""

from __future__ import annotations

import json

import pytest
from tests.integration.deployments.conftest import TeamProject
from tests.integration.deployments.litellm_deployment import LitellmDeployment

ENV = "OPENAI_BASE_URL: '${gateway_url}/v1', OPENAI_API_KEY: '${session_key}'"
CARD = "goal: a file\nprompt: work\ntimebox_s: 30\n"
FAILING = {
    # What it lays into its HOME would lie in a folder of everybody's.
    "home": (f"env: {{{ENV}, HOME: /nonexistent/home}}\n", "true", "workspace_failed"),
    # One of its files is where the folder of the other should be.
    "files": (f"env: {{{ENV}}}\nfiles: {{a: text, a/b: text}}\n", "true", "stand_error"),
    "check": (f"env: {{{ENV}}}\n", "kill -9 $$", "sandbox_failed"),
}


@pytest.mark.parametrize("case", FAILING)
def test_what_fails_in_the_middle_leaves_no_key(project: TeamProject, deployment: LitellmDeployment, case: str) -> None:
    profile, check, failure = FAILING[case]
    project.write(
        "configs/harness_profiles/shell.yaml", f"surface: openai_chat\n{profile}command: [sh, -c, 'exit 0']\n"
    )
    project.write(
        "configs/variants/shell.yaml",
        "provider: team\nmodel: large\nharness_profile: shell\nhome_files: {settings: text}\n",
    )
    command = json.dumps(["sh", "-c", check])
    project.write("configs/task_cards/work.yaml", f"{CARD}checks: [{{kind: command, command: {command}}}]\n")
    project.write(
        "configs/experiments/trial.yaml",
        "variants: [shell]\ntask_cards: [work]\nsandbox: process\nmax_attempts: 1\n",
    )

    done = project.run("run", "trial", "--json")

    assert done.returncode == 1, done
    (attempt,) = project.table("SELECT * FROM attempt")
    assert (attempt["verdict"], attempt["failure"]) == ("stand_failure", failure), (attempt, done)
    assert (len(deployment.generated), deployment.keys) == (1, {})
    assert [row["phase"] for row in project.table("SELECT phase FROM session")] == ["finalized"]
    assert all(row["revoked_at_us"] for row in project.table("SELECT revoked_at_us FROM credential"))
