"""Harnesses that others wrote, as they are, on four wire surfaces: rows are what the provider counted."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.stand_process import HARNESSES, Project, StandProcess

SURFACES = {
    "aider": "openai_chat",
    "claude-code": "anthropic_messages",
    "codex": "openai_responses",
    "copilot-cli": "openai_chat",
    "gemini-cli": "gemini",
    "mini-swe-agent": "openai_chat",
    "opencode": "openai_chat",
    "pi": "openai_chat",
}
WITHOUT_TOOLS = {"aider": 1}
"""How many turns there are of those that call no tool: the others call one, and are given its result."""
SCRIPTS = {"aider": "aider", "mini-swe-agent": "mini-swe-agent"}
TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
NOT_INFERENCE = ("token_count", "model_list")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a variant of each harness that works, and one whose calls are all refused."""
    project = Project(tmp_path_factory.mktemp("harnesses"))
    for path in (project.folder / "configs" / "variants").iterdir():
        path.unlink()
    for path in (project.folder / "configs" / "experiments").iterdir():
        path.unlink()
    for name in SURFACES:
        for suffix, model in (("", SCRIPTS.get(name, "write-file")), ("-refused", "unauthorized")):
            project.write(
                f"configs/variants/{name}{suffix}.yaml",
                f"provider: scripted\nmodel: {model}\nsmall_model: hello\nharness_profile: {name}\n",
            )
    return project


@pytest.fixture
def served(stand: StandProcess) -> Iterator[StandProcess]:
    """The stand, whose provider counts from zero."""
    stand.forget_served()
    yield stand


def start(project: Project, variant: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    """`dyno session start` in a new repository, with a HOME of its own and nothing outside within reach."""
    work, user_home = (project.folder / "runs" / variant / name for name in ("work", "home"))
    user_home.mkdir(parents=True)
    subprocess.run(["git", "init", "-q", str(work)], check=True)
    offline = dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"), "http://127.0.0.1:9")
    at_home: dict[str, Any] = {"HOME": str(user_home), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    options = ("--variant", variant, "--task-card", "write-hello", "--json")
    return project.run("session", "start", *options, folder=work, **(at_home | offline)), work


def rows_of(project: Project, session_id: str) -> list[dict[str, Any]]:
    """A session's rows of inference."""
    shown = project.json("session", "show", session_id, "--requests")
    return [row for row in shown["requests"] if row["purpose"] not in NOT_INFERENCE]


def as_counted(row: dict[str, Any]) -> tuple[Any, ...]:
    """A row as the provider counts: what its surface does not tell is 0."""
    return (row["provider_request_id"], *(row[name] or 0 for name in TOKENS))


@pytest.mark.parametrize("name", SURFACES)
def test_a_session_of_a_real_harness(name: str, project: Project, served: StandProcess) -> None:
    done, work = start(project, name)

    assert done.returncode == 0, done.stderr
    session = json.loads(done.stdout)["session"]
    rows = rows_of(project, session["session_id"])
    counted = [entry for entry in served.served()["requests"] if entry["operation"] == "generate"]
    assert (work / "hello.txt").read_text() == "Hello from the stand.\n"
    assert session["harness_version"], "its version was read"
    assert {row["surface"] for row in rows} == {SURFACES[name]}
    assert {row["status"] for row in rows} == {"ok"}
    assert sorted(map(as_counted, rows)) == sorted(
        (entry["request_id"], *(entry[token] for token in TOKENS)) for entry in counted
    )
    assert_grows(project, session["session_id"], WITHOUT_TOOLS.get(name, 2))


def assert_grows(project: Project, session_id: str, turns: int) -> None:
    """The session's work is one conversation in which each turn sends what the last one sent, and more."""
    found = project.json("anatomy", session_id)
    [work] = [each["turns"] for each in found["conversations"] if each["purpose"] == "work"]
    assert (len(work), found["unmeasured_requests"]) == (turns, 0)
    assert work[0]["bytes"]["system"] > 0
    assert (work[0]["bytes"]["tools"] > 0) == (work[0]["tools"] > 0) == (turns > 1)
    for before, after in itertools.pairwise(work):
        assert (after["continues"], after["broken"]) == (before["request_key"], None)
        assert (after["kept_parts"], after["kept_bytes"]) == (before["parts"], before["prefix_bytes"])
        assert after["messages"] > before["messages"]
        assert [after["bytes"][part] - before["bytes"][part] for part in ("system", "tools")] == [0, 0]
        assert after["bytes"]["history"] > before["bytes"]["history"], "the model's call was added to it"
        assert after["bytes"]["tool_results"] > before["bytes"]["tool_results"]
        assert sum(after["estimated_tokens"].values()) == pytest.approx(after["input_tokens"], abs=2)


@pytest.mark.parametrize("name", ["aider", "pi"])
def test_an_exit_code_of_0_does_not_hide_that_every_call_failed(
    name: str, project: Project, stand: StandProcess
) -> None:
    done, _ = start(project, f"{name}-refused")

    session = json.loads(done.stdout)["session"]
    assert (session["command_exit_code"], done.returncode) == (0, 3)
    assert session["checks_passed"] == 0
    assert {row["status"] for row in rows_of(project, session["session_id"])} == {"provider_error"}


def test_a_harness_kept_in_a_shell_still_asks_the_gateway_when_its_session_is_over(
    project: Project, stand: StandProcess
) -> None:
    project.write("configs/variants/by-hand.yaml", "provider: scripted\nmodel: hello\nharness_profile: llm\n")
    options = ("--variant", "by-hand", "--task-card", "say-hello", "--repo", str(project.repo))
    created = project.json("session", "create", *options)
    session_id = created["session_id"]

    def ask() -> subprocess.CompletedProcess[str]:
        command = [str(HARNESSES / "llm"), "prompt", "--no-log", "Say hello."]
        return subprocess.run(command, env=project.environ(created["env"]), capture_output=True, text=True, check=False)

    assert ask().stdout == "Hello from the stand.\n"
    project.dyno("session", "finalize", session_id, "--outcome", "completed")
    assert "was revoked" in ask().stderr
    project.dyno("normalize")
    assert [row["status"] for row in rows_of(project, session_id)] == ["ok", "rejected"]


def test_the_check_of_a_harness_says_what_it_sent(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write("configs/harness_profiles/idle.yaml", "surface: openai_chat\nenv: {}\ncommand: [echo, I am idle]\n")
    page = tmp_path / "page.md"
    page.write_text("Before.\n\n<!-- status: begin -->\nold\n<!-- status: end -->\n\nAfter.\n")

    done = project.run("harness", "check", "pi", "idle", "llm", "--page", str(page), "--json", "--refused")

    [pi, idle, llm] = json.loads(done.stdout)
    assert done.returncode == 1, "one of them was run, and is not verified"
    assert (pi["state"], pi["findings"], pi["requests"], pi["served"]) == ("verified", [], 2, 2)
    assert pi["refused"]["exit_code"] == 0, "it says success, though every call was refused"
    assert idle["state"] == "differs"
    assert idle["findings"] == ["no request to a model came through the gateway", "its tool did not write the file"]
    assert (pi["last_words"], idle["last_words"]) == (None, "I am idle")
    assert (llm["state"], llm["requests"]) == ("deferred", None)
    text = page.read_text()
    assert text.startswith("Before.\n\n<!-- status: begin -->\n| harness |")
    assert "| pi |" in text and "old" not in text and text.endswith("<!-- status: end -->\n\nAfter.\n")


def test_a_profile_of_ones_own_wins_over_the_one_that_comes_with_the_stand(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write(
        "configs/harness_profiles/pi.yaml",
        "surface: openai_chat\nenv: {}\ncommand: [no-such-program]\ninstall: ask around\n",
    )

    [report] = json.loads(project.run("harness", "check", "pi", "--json").stdout)

    assert (report["state"], report["findings"]) == ("not installed", ["no-such-program is not on PATH: ask around"])
    assert "no-such-program" in project.dyno("harness", "show", "pi")


def test_no_line_of_python_knows_a_harness() -> None:
    profiles = Path(HARNESSES).parents[1] / "src" / "agentdyno"
    names = [path.stem for path in (profiles / "harness_profiles").glob("*.yaml") if len(path.stem) > 3]
    words = {
        *names,
        *(name.partition("-")[0] for name in names if name.partition("-")[0] not in ("openai", "anthropic")),
    }
    words -= {"gemini", "mini", "llm"}  # a wire surface, and words of other meanings
    known = [
        f"{path}: {word}"
        for path in profiles.rglob("*.py")
        for word in sorted(words)
        if word in path.read_text().lower()
    ]
    assert known == []
