"""`dyno session start` with every kind of check, and with the examples of docs/trace.md as the command."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.integration.sessions.client import create, rows
from tests.integration.stand_process import REPOSITORY, Project

pytestmark = pytest.mark.usefixtures("stand")
PAGE = (REPOSITORY / "docs/trace.md").read_text()

# Writes a report of its tests, as a test runner does.
TESTS = """
import pathlib
assert pathlib.Path("answer.txt").read_text() == "42"
pathlib.Path("report.xml").write_text("<testsuite><testcase name='a'/></testsuite>")
"""
CARD = f"""
goal: an answer
prompt: what is it?
files: {{question.txt: "6 x 7"}}
checks:
- {{kind: file_matches, file: answer.txt, pattern: "^42$"}}
- {{kind: command, command: [grep, -q, "42", answer.txt]}}
- kind: tests_pass
  command: {json.dumps([sys.executable, "-c", TESTS])}
  file: report.xml
- {{kind: diff, max_files: 1, max_lines: 1, only: ["*.txt"]}}
- {{kind: tool_used, tool: think}}
"""
# Asks nobody, and says what it did.
WORK = """
import json, os
open("answer.txt", "w").write("42")
with open(os.environ["DYNO_TRACE"], "a") as file:
    file.write(json.dumps({"type": "step", "kind": "tool_call", "name": "think", "at": 5}) + "\\n")
    file.write(json.dumps({"type": "metric", "name": "doubt", "unit": "percent", "value": 0}) + "\\n")
"""
# Calls the scripted model write-file, whose answer has a call of a tool.
ASK = """
import json, os, urllib.request
body = {"model": os.environ["OPENAI_MODEL"], "messages": [{"role": "user", "content": "go"}], "tools": [
    {"type": "function", "function": {"name": "write_file", "parameters": {"type": "object", "properties": {
        "path": {"type": "string"}, "text": {"type": "string"}}}}}]}
headers = {"authorization": "Bearer " + os.environ["OPENAI_API_KEY"], "content-type": "application/json"}
url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers)).read()
"""


def start(project: Project, work: Path, task_card: str, *command: str, variant: str = "plain") -> dict[str, Any]:
    """What `session start --json` prints, with its standard error as `stderr`."""
    options = ("--variant", variant, "--task-card", task_card, "--repo", str(project.repo), "--json")
    done = project.run("session", "start", *options, "--", *command, folder=work)
    document: dict[str, Any] = json.loads(done.stdout)
    return {**document, "stderr": done.stderr}


def shown(project: Project, document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = project.json("session", "show", document["session"]["session_id"])
    return found


def test_every_kind_of_check(project: Project, work: Path) -> None:
    project.write("configs/task_cards/answer.yaml", CARD)

    ended = start(project, work, "answer", sys.executable, "-c", WORK)

    assert "does not hold" not in ended["stderr"]
    assert (ended["session"]["checks_passed"], ended["session"]["checks_total"]) == (5, 5)
    assert not any((project.home / "snapshots").iterdir())


def test_each_check_that_does_not_hold_is_told(project: Project, work: Path) -> None:
    project.write("configs/task_cards/answer.yaml", CARD)

    ended = start(project, work, "answer", "sh", "-c", "printf 43 >answer.txt; rm question.txt")

    told = [line for line in ended["stderr"].splitlines() if line.startswith("check ")]
    assert told == [
        "check 1 (file_matches) does not hold: answer.txt does not match",
        "check 2 (command) does not hold: ended with exit code 1 instead of 0",
        "check 3 (tests_pass) does not hold: ended with exit code 1 instead of 0",
        "check 4 (diff) does not hold: files touched: 2, at most 1 allowed",
        "check 5 (tool_used) does not hold: calls of think in the trace: 0, at least 1 needed",
    ]
    assert (ended["session"]["checks_passed"], ended["session"]["checks_total"]) == (0, 5)


def test_tool_calls_are_counted_by_the_rows(project: Project, work: Path) -> None:
    project.write(
        "configs/variants/tools.yaml", "provider: scripted\nmodel: write-file\nharness_profile: openai-client\n"
    )
    project.write("configs/task_cards/tools.yaml", "goal: g\nprompt: p\nchecks: [{kind: tool_used}]\n")

    assert start(project, work, "tools", sys.executable, "-c", ASK, variant="tools")["session"]["checks_passed"] == 1
    idle = start(project, work, "tools", sys.executable, "-c", ASK)  # the model hello calls none
    assert idle["session"]["checks_passed"] == 0
    assert "check 1 (tool_used) does not hold: tool calls: 0, at least 1 needed" in idle["stderr"].splitlines()


JUDGED = """
goal: g
prompt: p
checks:
- {kind: command, command: [sh, own/judge.sh]}
- {kind: diff, max_files: 1}
check_files: {own/judge.sh: "grep -q 42 answer.txt"}
"""


def test_files_for_the_checks_are_laid_in_over_what_is_there(project: Project, work: Path) -> None:
    """They are no part of what was changed, and no link leads them elsewhere."""
    project.write("configs/task_cards/judged.yaml", JUDGED)
    cheating = "echo 43 >answer.txt"
    (work / "good").mkdir()
    for name in ("cheated", "linked", "blocked"):
        (work / name).mkdir()

    good = start(project, work / "good", "judged", "sh", "-c", "test ! -e own; echo 42 >answer.txt")
    assert good["session"]["checks_passed"] == 2
    cheated = start(
        project, work / "cheated", "judged", "sh", "-c", f"{cheating}; mkdir own; echo exit 0 >own/judge.sh"
    )
    assert "check 1 (command) does not hold: ended with exit code 1 instead of 0" in cheated["stderr"]
    for name, how in (("linked", "ln -s .. own"), ("blocked", "mkdir -p own/judge.sh/x")):
        ended = start(project, work / name, "judged", "sh", "-c", f"{cheating}; {how}")
        assert ended["session"]["checks_passed"] == 0
        said = "does not hold: the files for the checks have no place in what was left"
        assert ended["stderr"].count(said) == 2
    assert not (work / "judge.sh").exists()


def test_a_check_sees_neither_the_sessions_key_nor_its_trace(project: Project, work: Path) -> None:
    script = 'test -z "$OPENAI_API_KEY$DYNO_TRACE"'
    project.write(
        "configs/task_cards/keyless.yaml",
        f"goal: g\nprompt: p\nchecks: [{{kind: command, command: {json.dumps(['sh', '-c', script])}}}]\n",
    )

    assert start(project, work, "keyless", "true")["session"]["checks_passed"] == 1


def test_a_session_that_calls_no_model_has_its_trace(project: Project, work: Path) -> None:
    ended = start(project, work, "say-hello", sys.executable, "-c", WORK)

    trace = shown(project, ended)["trace"]
    assert trace["steps"] == {"steps": 1, "failed": 0}
    [metric] = trace["metrics"]
    assert (metric["name"], metric["unit"], metric["summary"]["median"]) == ("doubt", "percent", 0.0)
    lines = project.dyno("session", "show", ended["session"]["session_id"]).splitlines()
    assert [re.sub(r"\s{2,}", "  ", line.strip()) for line in lines if line.startswith(("steps", "metric"))] == [
        "steps  1",
        "metric  doubt 0 percent",
    ]
    compared = project.json("compare")["variants"]
    assert any(one["name"] == "doubt" for variant in compared for one in variant["traced"])


def test_faults_of_a_trace_are_told(project: Project, work: Path) -> None:
    ended = start(project, work, "say-hello", "sh", "-c", 'echo secret >>"$DYNO_TRACE"')

    assert "a fault in the trace: line 1 is no JSON" in ended["stderr"].splitlines()
    assert "secret" not in ended["stderr"]


def test_a_session_by_hand_has_one_too(project: Project) -> None:
    opened = create(project)
    path = Path(opened["env"]["DYNO_TRACE"])
    path.write_text('{"type": "metric", "name": "score", "unit": "points", "value": 3}\n')
    rotated = project.json("session", "env", opened["session_id"], "--rotate")
    assert rotated["env"]["DYNO_TRACE"] == str(path)

    project.dyno("session", "finalize", opened["session_id"], "--outcome", "completed")

    query = "SELECT name, unit, value FROM trace_metric WHERE session_id = ?"
    assert rows(project.home / "ledger.sqlite", query, opened["session_id"]) == [
        {"name": "score", "unit": "points", "value": 3.0}
    ]
    assert not path.exists()


def test_no_template_says_where_the_trace_lies(project: Project) -> None:
    project.write(
        "configs/variants/astray.yaml",
        "provider: scripted\nmodel: hello\nharness_profile: openai-client\nenv: {DYNO_TRACE: /tmp/elsewhere}\n",
    )
    opened = create(project, "astray")
    (project.folder / "configs/variants/astray.yaml").unlink()

    assert opened["env"]["DYNO_TRACE"] == str(project.home / "sessions" / opened["session_id"] / "trace.jsonl")
    project.dyno("session", "finalize", opened["session_id"], "--outcome", "aborted")


# ── docs/trace.md ────────────────────────────────────────────────────────────────────────────────────────────────────


def example(language: str) -> str:
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    [code] = found
    assert len([line for line in code.splitlines() if line]) <= 12
    return code


@pytest.mark.parametrize(
    ("command", "language", "step", "metric"),
    [
        ((sys.executable, "-c"), "python", ("tool_call", "render"), ("render_ms", "ms")),
        (("sh", "-euc"), "sh", ("action", "count"), ("words", "words")),
    ],
)
def test_the_examples_of_the_page(
    project: Project,
    work: Path,
    command: tuple[str, str],
    language: str,
    step: tuple[str, str],
    metric: tuple[str, str],
) -> None:
    ended = start(project, work, "say-hello", *command, example(language))

    session_id = ended["session"]["session_id"]
    ledger = project.home / "ledger.sqlite"
    [found] = rows(ledger, "SELECT * FROM step WHERE session_id = ?", session_id)
    assert (found["kind"], found["name"], found["ok"]) == (*step, 1)
    assert ended["session"]["created_at_us"] // 10**6 * 10**6 <= found["at_us"] <= ended["session"]["ended_at_us"]
    [measured] = rows(ledger, "SELECT * FROM trace_metric WHERE session_id = ?", session_id)
    assert (measured["name"], measured["unit"]) == metric
    assert measured["value"] > 0
    assert "fault in the trace" not in ended["stderr"]


@pytest.mark.parametrize(("command", "language"), [((sys.executable, "-c"), "python"), (("sh", "-ec"), "sh")])
def test_the_examples_do_nothing_where_no_session_is(work: Path, command: tuple[str, str], language: str) -> None:
    subprocess.run([*command, example(language)], cwd=work, env={"PATH": "/usr/bin:/bin"}, check=True)

    assert list(work.iterdir()) == []
