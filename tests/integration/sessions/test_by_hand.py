"""A session step by step, as a person does it with a client of their own."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from tests.integration.sessions.client import ask, create, dump, rows, show
from tests.integration.sessions.held_provider import HeldProvider
from tests.integration.sessions.terminal import until
from tests.integration.stand_process import Project, StandProcess

from agentdyno.core.fields import fields_of
from agentdyno.core.records import Request, Session

pytestmark = pytest.mark.usefixtures("stand")
PLAIN = ("--variant", "plain", "--task-card", "say-hello")


def test_the_printed_snippet_is_all_that_a_shell_and_curl_need(project: Project, tmp_path: Path) -> None:
    created = project.run("session", "create", *PLAIN, "--repo", str(project.repo))
    assert created.returncode == 0, created.stderr
    body = json.dumps({"model": "hello", "messages": [{"role": "user", "content": "say hello"}]})
    script = f"""
        eval {shlex.quote(created.stdout)}
        curl -sS --fail "$OPENAI_BASE_URL/chat/completions" -H "Authorization: Bearer $OPENAI_API_KEY" \
            -H 'Content-Type: application/json' -d {shlex.quote(body)}
    """
    answered = subprocess.run(["sh", "-eu", "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    answer = json.loads(answered.stdout)
    assert answer["choices"][0]["message"]["content"] == "Hello from the stand."
    tokens = (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"])

    # Standard error tells the person what it is, without the key.
    heading, closing = created.stderr.splitlines()
    session_id = heading.removeprefix("session ").partition(",")[0]
    assert closing == f"then: dyno session finalize {session_id} --outcome completed"
    assert "OPENAI" not in created.stderr

    closed = project.run("session", "finalize", session_id, "--outcome", "completed", "--notes", "by curl")
    assert closed.stdout == f"session {session_id} completed, 1 request, tokens {tokens[0]} in, {tokens[1]} out\n"
    document = show(project, session_id)
    (request,) = document["requests"]
    assert (request["status"], request["input_tokens"], request["output_tokens"]) == ("ok", *tokens)
    session = document["session"]
    assert (session["phase"], session["outcome"], session["notes"]) == ("finalized", "completed", "by curl")
    assert session["created_at_us"] < session["launched_at_us"] == request["started_at_us"] < session["ended_at_us"]


def test_after_finalize_the_next_request_is_refused(project: Project) -> None:
    created = create(project)
    assert ask(created["env"]).status_code == 200
    project.dyno("session", "finalize", created["session_id"], "--outcome", "completed")

    refused = ask(created["env"])

    assert refused.status_code == 401
    assert refused.json()["error"]["code"] == "revoked_key"


def test_an_env_file_is_private_and_holds_what_would_be_printed(project: Project, tmp_path: Path) -> None:
    path = tmp_path / "session.env"
    command = ("session", "create", *PLAIN, "--repo", str(project.repo), "--env-file", str(path))
    project.dyno(*command)
    former = path.read_text()

    created = project.run(*command)

    assert created.returncode == 0, created.stderr
    assert created.stdout == ""
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    mark, *lines = path.read_text().splitlines()
    assert (mark, list(tmp_path.iterdir())) == ("# agentdyno session", [path])
    assert path.read_text() != former
    values = dict(line.split("=", 1) for line in lines)
    assert set(values) == {"OPENAI_BASE_URL", "OPENAI_API_BASE", "OPENAI_API_KEY", "OPENAI_MODEL", "DYNO_TRACE"}
    assert ask(values).status_code == 200


def test_the_key_is_in_the_ledger_as_a_hash_only(project: Project) -> None:
    created = create(project)

    key = created["env"]["OPENAI_API_KEY"]
    written = [path for path in project.home.rglob("*") if path.is_file() and key.encode() in path.read_bytes()]

    assert len(key) > 40
    assert written == []


def test_what_is_recorded_of_repository_stand_and_machine(project: Project, tmp_path: Path) -> None:
    (project.repo / "untracked.txt").touch()
    try:
        dirty = show(project, create(project)["session_id"])["session"]
    finally:
        (project.repo / "untracked.txt").unlink()
    git = ["git", "-C", str(project.repo)]
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()

    assert dirty["repository_root"] == str(project.repo)
    assert (dirty["repository_branch"], dirty["repository_commit"]) == ("main", head)
    assert dirty["repository_dirty"] is True
    assert dirty["variant_fingerprint"] == project.json("config", "show", "variant", "plain")["fingerprint"]
    assert dirty["agentdyno_version"] == version("agentdyno")
    assert dirty["litellm_version"] == version("litellm")
    assert dirty["price_table_version"] == f"litellm-{version('litellm')}"
    assert dirty["cpu_cores"] == os.cpu_count()
    assert dirty["memory_bytes"] == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert os.uname().release in dirty["os"]
    assert show(project, create(project)["session_id"])["session"]["repository_dirty"] is False


def test_without_repo_the_current_folder_is_measured_and_stays_clean(project: Project) -> None:
    below = project.repo / "below"
    below.mkdir()

    created = project.json("session", "create", *PLAIN, folder=below)

    session = show(project, created["session_id"])["session"]
    assert (session["repository_root"], session["repository_dirty"]) == (str(project.repo), False)
    status = subprocess.run(["git", "-C", str(project.repo), "status", "--porcelain"], capture_output=True, check=True)
    assert status.stdout == b""


def test_the_harness_and_its_version_are_recorded(project: Project) -> None:
    project.write(
        "configs/harness_profiles/python.yaml",
        "surface: openai_chat\n"
        "env: {URL: '${gateway_url}', KEY: '${session_key}'}\n"
        f"version_command: [{sys.executable}, --version]\n",
    )
    project.write("configs/variants/python.yaml", "provider: scripted\nmodel: hello\nharness_profile: python\n")

    session = show(project, create(project, "python")["session_id"])["session"]

    assert session["harness_binary"] == sys.executable
    assert session["harness_version"] == f"Python {'.'.join(map(str, sys.version_info[:3]))}"
    assert session["harness_version"] in (project.home / "harness-versions.json").read_text()


def test_finalizing_twice_changes_nothing(project: Project) -> None:
    created = create(project)
    ask(created["env"])
    project.dyno("session", "finalize", created["session_id"], "--outcome", "completed")
    before = _settled_dump(project)

    finalize = ("session", "finalize", created["session_id"][-12:], "--notes", "second")

    again = project.run(*finalize, "--outcome", "completed")
    assert again.returncode == 0
    assert again.stderr.splitlines()[-1] == "it was finalized as completed before; nothing was changed"

    other = project.run(*finalize, "--outcome", "invalid")
    assert (other.returncode, other.stdout) == (2, "")
    assert other.stderr == (f"session {created['session_id']} was finalized as completed before; nothing was changed\n")
    assert dump(project.home / "ledger.sqlite") == before


def _settled_dump(project: Project) -> list[str]:
    """The tables, once the stand's own collector has nothing left to bring."""
    project.dyno("normalize")
    return dump(project.home / "ledger.sqlite")


@pytest.mark.parametrize("outcome", ["completed", "aborted", "invalid"])
def test_every_outcome_is_kept(project: Project, outcome: str) -> None:
    created = create(project)

    closed = project.json("session", "finalize", created["session_id"], "--outcome", outcome)

    assert (closed["session"]["outcome"], closed["totals"]) == (outcome, None)


def test_a_rotated_key_replaces_the_old_one(project: Project) -> None:
    created = create(project)

    rotated = project.json("session", "env", created["session_id"], "--rotate")

    assert rotated["session_id"] == created["session_id"]
    assert ask(rotated["env"]).status_code == 200
    refused = ask(created["env"])
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "revoked_key")
    project.dyno("session", "finalize", created["session_id"], "--outcome", "completed")
    assert ask(rotated["env"]).status_code == 401


def test_two_that_finalize_at_once_differently_are_told_apart(project: Project, held: HeldProvider) -> None:
    created = create(project, "held")
    client = _Asking(created["env"])
    assert held.arrived.wait(60)
    finalize = ("session", "finalize", created["session_id"], "--outcome")
    with project.start(*finalize, "completed") as one, project.start(*finalize, "aborted") as other:
        processes = {"completed": one, "aborted": other}
        for process in processes.values():
            assert process.stderr is not None
            assert process.stderr.readline().startswith("waiting for 1 request in flight")
        held.answer.set()
        said = {outcome: process.communicate(timeout=60) for outcome, process in processes.items()}
    codes = {outcome: process.returncode for outcome, process in processes.items()}
    client.answered()

    outcome = show(project, created["session_id"])["session"]["outcome"]
    loser = {"completed": "aborted", "aborted": "completed"}[outcome]
    assert codes == {outcome: 0, loser: 2}
    assert said[loser] == ("", f"session {created['session_id']} was finalized as {outcome} meanwhile\n")


def test_a_label_cannot_steer_the_terminal(project: Project) -> None:
    session_id = create(project, "plain", "--label", "a\x1b[31mred")["session_id"]

    for command in (("list",), ("show", session_id)):
        printed = project.dyno("session", *command)
        assert "a\\x1b[31mred" in printed
        assert "\x1b" not in printed


def test_a_terminal_that_knows_few_letters(project: Project) -> None:
    session_id = create(project, "plain", "--label", "a日本")["session_id"]
    show_it = ("session", "show", session_id)

    assert "a??" in project.dyno(*show_it, PYTHONIOENCODING="latin-1")
    document = json.loads(project.dyno(*show_it, "--json", PYTHONIOENCODING="latin-1"))
    assert document["session"]["label"] == "a日本"


def test_a_repository_whose_name_is_no_text(project: Project, tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    subprocess.run(["git", "init", "-q", "-b", "main", str(folder)], check=True)

    created = project.json("session", "create", *PLAIN, "--repo", str(folder))

    root = show(project, created["session_id"])["session"]["repository_root"]
    assert root == f"{tmp_path}/caf\\xe9"


def test_list_tells_open_sessions_and_those_of_an_experiment(project: Project) -> None:
    options = ("--variant", "plain", "--task-card", "write-hello", "--experiment", "trial", "--label", "mine")
    ours = project.json("session", "create", *options, "--repo", str(project.repo))["session_id"]
    other = create(project)["session_id"]

    (listed,) = project.json("session", "list", "--experiment", "trial")
    assert (listed["session_id"], listed["label"]) == (ours, "mine")
    assert {ours, other} <= {session["session_id"] for session in project.json("session", "list", "--open")}

    project.dyno("session", "finalize", ours, "--outcome", "aborted")
    still_open = {session["session_id"] for session in project.json("session", "list", "--open")}
    assert (ours in still_open, other in still_open) == (False, True)
    assert ours in project.dyno("session", "list", "--experiment", "trial")


def test_an_expired_session_is_closed_by_the_stand_that_runs(project: Project) -> None:
    created = create(project)
    assert created["expires_at_us"] == show(project, created["session_id"])["session"]["created_at_us"] + 14_400_000_000
    # Waiting for four hours is not needed: they are moved into the past.
    with contextlib.closing(sqlite3.connect(project.home / "ledger.sqlite", timeout=20)) as ledger, ledger:
        ledger.execute("UPDATE session SET expires_at_us = 1 WHERE session_id = ?", (created["session_id"],))
    query = "SELECT phase, outcome, notes FROM session WHERE session_id = ?"

    def closed() -> list[dict[str, Any]]:
        return rows(project.home / "ledger.sqlite", query, created["session_id"])

    until(lambda: closed()[0]["phase"] == "finalized", "the session is closed")

    assert closed() == [{"phase": "finalized", "outcome": "aborted", "notes": "its time-to-live ended"}]
    assert ask(created["env"]).status_code == 401


class _Asking:
    """A client in another thread, whose request is kept waiting by its provider."""

    def __init__(self, env: dict[str, str]) -> None:
        self.status: int | None = None
        self._env = env
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        self.status = ask(self._env).status_code

    def answered(self) -> int | None:
        """The answer's status, once it is there."""
        self._thread.join()
        return self.status


@pytest.fixture
def held(held_provider: HeldProvider) -> Iterator[HeldProvider]:
    """The provider, which holds what comes, and lets it go at last."""
    held_provider.hold()
    yield held_provider
    held_provider.answer.set()


def test_finalizing_waits_for_what_is_in_flight(project: Project, held: HeldProvider) -> None:
    created = create(project, "held")
    client = _Asking(created["env"])
    assert held.arrived.wait(60)

    with project.start("session", "finalize", created["session_id"], "--outcome", "completed") as closing:
        assert closing.stderr is not None
        assert closing.stderr.readline() == "waiting for 1 request in flight; Ctrl-C ends the wait\n"
        # The key is revoked by now, but what it had begun goes on.
        assert ask(created["env"]).status_code == 401
        held.answer.set()
        assert closing.wait(60) == 0

    assert client.answered() == 200
    answered, refused = show(project, created["session_id"])["requests"]
    assert (answered["status"], answered["late"], answered["output_tokens"]) == ("ok", False, 3)
    assert refused["status"] == "rejected"


def test_a_row_that_comes_late_is_kept_marked_and_rolled_up(project: Project, held: HeldProvider) -> None:
    created = create(project, "held")
    session_id = created["session_id"]
    client = _Asking(created["env"])
    assert held.arrived.wait(60)
    with project.start("session", "finalize", session_id, "--outcome", "completed") as closing:
        assert closing.stderr is not None
        closing.stderr.readline()
        closing.terminate()  # the wait is cut short
        assert closing.wait(60) == 128 + 15
    ledger = project.home / "ledger.sqlite"
    rolled_up = "SELECT n, total FROM metric_rollup WHERE session_id = ? AND metric = 'output_tokens'"
    assert rows(ledger, rolled_up, session_id) == []

    held.answer.set()
    assert client.answered() == 200
    until(lambda: rows(ledger, rolled_up, session_id) != [], "the late row is rolled up")

    document = show(project, session_id)
    assert document["session"]["outcome"] == "aborted"
    assert [(row["status"], row["late"]) for row in document["requests"]] == [("ok", True)]
    assert rows(ledger, rolled_up, session_id) == [{"n": 1, "total": 3.0}]
    assert "ok (late)" in project.dyno("session", "show", session_id, "--requests")


def test_the_keys_of_json_documents(project: Project) -> None:
    fields = {record: [spec.name for spec in fields_of(record)] for record in (Session, Request)}
    created = create(project)
    ask(created["env"])
    finalized = project.json("session", "finalize", created["session_id"], "--outcome", "completed")
    shown = show(project, created["session_id"])

    assert list(created) == ["session_id", "expires_at_us", "env"]
    assert list(finalized) == ["session", "totals", "unexplained"]
    assert list(shown) == ["session", "totals", "unexplained", "trace", "requests"]
    assert list(shown["session"]) == fields[Session]
    assert list(project.json("session", "list")[0]) == [*fields[Session], "totals", "unexplained"]
    assert list(shown["requests"][0]) == fields[Request]
    assert list(shown["totals"]) == [
        *("session_id", "requests", "ok", "work_ok", "input_tokens", "output_tokens", "cost_usd"),
        *("by_proxy", "estimated", "unpriced", "uncounted", "price_tables"),
    ]
    assert list(project.json("status")) == [
        *("up", "pid", "pid_started_ticks", "gateway_id", "gateway_pid", "gateway_url", "gateway_socket"),
        "started_at_us",
        *("providers", "served", "missing_secrets", "logs"),
    ]


def test_the_stand_serves_what_its_state_says(project: Project, stand: StandProcess) -> None:
    assert project.json("status") == {"up": True, **stand.state, "logs": str(project.home / "logs")}
    shown = project.dyno("status")
    assert stand.url in shown
    assert f"\nserved: {', '.join(stand.state['served'])}\n" in shown
    assert "scripted" in stand.state["served"]
    assert shown.splitlines()[-1].startswith("not served, for want of a secret: ")
    assert "openai (OPENAI_API_KEY)" in shown.splitlines()[-1]
