"""The experiments that come with agentdyno, with real harnesses, in small: their reports have all of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.integration.stand_process import HARNESSES, Project

LIMIT_S = 400


def run(project: Project, experiment: str, *arguments: str) -> list[dict[str, Any]]:
    """The attempts of a run; each must have passed."""
    done = project.run(
        *("run", experiment, "--jobs", "2", "--json", "--harnesses", str(HARNESSES), *arguments), timeout_s=LIMIT_S
    )
    assert done.returncode == 0, done
    events = [json.loads(line) for line in done.stdout.splitlines()]
    settled = [event for event in events if event["event"] == "settled"]
    assert [event for event in settled if event["attempt"]["verdict"] != "passed"] == []
    return settled


def first_turn(project: Project, session_id: str) -> dict[str, Any]:
    """What a session's first request of its work was made of."""
    conversations = project.json("anatomy", session_id)["conversations"]
    turn: dict[str, Any] = next(each for each in conversations if each["purpose"] == "work")["turns"][0]
    return turn


@pytest.mark.timeout(LIMIT_S)
def test_agents_do_the_small_tasks_with_the_same_scripted_model(project: Project) -> None:
    agents = ("overhead-claude-code", "overhead-codex", "overhead-mini-swe-agent", "overhead-pi")
    settled = run(project, "harness-overhead", "--repeats", "1", "--variants", ",".join(agents))
    assert sorted((each["arm"], each["task_card"]) for each in settled) == sorted(
        (agent, card) for agent in agents for card in ("write-hello", "read-note", "count-lines")
    )
    for each in settled:
        turns = project.json("session", "show", each["attempt"]["session_id"])["totals"]["work_ok"]
        assert turns == (3 if each["task_card"] == "count-lines" else 2)


@pytest.mark.timeout(LIMIT_S)
def test_an_instruction_file_and_tools_are_seen_in_what_is_sent(project: Project) -> None:
    settled = run(project, "config-arms", "--repeats", "1", "--task-cards", "write-hello")
    sent = {each["arm"]: first_turn(project, each["attempt"]["session_id"]) for each in settled}
    plain, equipped = sent["claude-code-plain"], sent["claude-code-equipped"]
    no_file, no_server, looked_up = (
        sent[f"claude-code-equipped-without-{part}"]
        for part in ("workspace_files-claude.md", "workspace_files-.mcp.json", "env-enable_tool_search")
    )
    assert sent["claude-code-plain-aa"]["bytes"] == plain["bytes"]
    assert equipped["bytes"]["history"] - no_file["bytes"]["history"] > 500  # the file has some 700 bytes
    assert equipped["bytes"]["tools"] == no_file["bytes"]["tools"]
    assert equipped["tools"] - no_server["tools"] == 3
    assert equipped["bytes"]["tools"] > no_server["bytes"]["tools"]
    # Looked up, the three are known by their names alone, which stand in the system prompt.
    assert (looked_up["tools"], looked_up["bytes"]["tools"]) == (plain["tools"], plain["bytes"]["tools"])
    assert looked_up["bytes"]["system"] > plain["bytes"]["system"]
