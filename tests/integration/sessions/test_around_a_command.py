"""`dyno session start -- COMMAND`: everything around one command."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.integration.sessions.client import rows, show
from tests.integration.sessions.terminal import Terminal
from tests.integration.stand_process import Project

pytestmark = pytest.mark.usefixtures("stand")
PYTHON = sys.executable
ASK = """
import json, os, urllib.request
url, key, model = (os.environ["OPENAI_" + name] for name in ("BASE_URL", "API_KEY", "MODEL"))
body = json.dumps({"model": model, "messages": [{"role": "user", "content": "say hello"}]}).encode()
headers = {"authorization": "Bearer " + key, "content-type": "application/json"}
with urllib.request.urlopen(urllib.request.Request(url + "/chat/completions", body, headers)) as answer:
    text = json.load(answer)["choices"][0]["message"]["content"]
open("answer.txt", "w").write(text)
print(text)
"""


def start(project: Project, *more: str, variant: str = "plain") -> tuple[str, ...]:
    return ("session", "start", "--variant", variant, "--task-card", "say-hello", "--repo", str(project.repo), *more)


def latest(project: Project) -> dict[str, Any]:
    session: dict[str, Any] = rows(project.home / "ledger.sqlite", "SELECT * FROM session ORDER BY session_id")[-1]
    return session


def test_a_command_is_measured_and_checked(project: Project, work: Path) -> None:
    done = project.run(*start(project, "--label", "mine", "--", PYTHON, "-c", ASK), folder=work)

    assert done.returncode == 0, done.stderr
    assert done.stdout == "Hello from the stand.\n"
    session = latest(project)
    assert done.stderr.splitlines()[0] == f"session {session['session_id']}"
    assert "1 request, tokens" in done.stderr.splitlines()[1]
    assert done.stderr.splitlines()[1].endswith("1 of 1 check held")
    assert (session["outcome"], session["label"], session["command_exit_code"]) == ("completed", "mine", 0)
    assert (session["checks_passed"], session["checks_total"]) == (1, 1)
    assert session["harness_binary"] == PYTHON
    (request,) = show(project, session["session_id"])["requests"]
    assert session["launched_at_us"] < request["started_at_us"] < session["ended_at_us"]
    assert (request["purpose"], request["status"]) == ("work", "ok")


def test_as_json_standard_output_is_one_document(project: Project, work: Path) -> None:
    done = project.run(*start(project, "--json", "--", PYTHON, "-c", ASK), folder=work)

    document = json.loads(done.stdout)
    assert document["session"]["outcome"] == "completed"
    assert document["totals"]["requests"] == 1
    assert "Hello from the stand." in done.stderr.splitlines()


@pytest.mark.parametrize(
    ("program", "exit_code", "recorded"),
    [
        ("raise SystemExit(3)", 3, 3),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", 143, -15),  # 128 + 15, as a shell says it
    ],
)
def test_the_exit_code_is_passed_on_and_is_no_evidence(
    project: Project, work: Path, program: str, exit_code: int, recorded: int
) -> None:
    done = project.run(*start(project, "--", PYTHON, "-c", program), folder=work)

    assert done.returncode == exit_code
    session = latest(project)
    # It ran to its end, so the session is complete; what it is worth the checks say.
    assert (session["outcome"], session["command_exit_code"]) == ("completed", recorded)
    assert (session["checks_passed"], session["checks_total"]) == (0, 1)
    assert done.stderr.splitlines()[-2].endswith(
        f", the command ended with {'exit code 3' if recorded == 3 else 'signal 15'}, 0 of 1 check held; "
        "no request to a model came through the gateway: was the harness pointed at it?"
    )


def test_without_any_good_answer_the_first_error_is_told(project: Project, work: Path) -> None:
    refused = ASK.replace('"model": model', '"model": "another"')

    done = project.run(*start(project, "--", PYTHON, "-c", refused), folder=work)

    line = done.stderr.splitlines()[-2]
    assert ", 1 request (1 failed), tokens unknown, the command ended with exit code 1, " in line
    assert re.search(r"; no request succeeded: \w+ \(HTTP 4\d\d\)$", line)


CARELESS = """
import os, urllib.error, urllib.request
url, key = os.environ["OPENAI_BASE_URL"] + "/chat/completions", os.environ["OPENAI_API_KEY"]
body = b'{"model": "another", "messages": [{"role": "user", "content": "say hello"}]}'
headers = {"authorization": "Bearer " + key, "content-type": "application/json"}
for _ in range(2):
    try:
        urllib.request.urlopen(urllib.request.Request(url, body, headers))
    except urllib.error.HTTPError as refused:
        print("never mind", refused.code)
"""


def test_a_command_that_ends_well_though_every_call_failed(project: Project, work: Path) -> None:
    done = project.run(*start(project, "--", PYTHON, "-c", CARELESS), folder=work)

    assert done.returncode == 3
    assert done.stdout == "never mind 403\n" * 2
    session = latest(project)
    assert (session["outcome"], session["command_exit_code"]) == ("completed", 0)
    remark = "exit code 0, though none of its 2 requests succeeded"
    assert re.search(rf"; {remark}: \w+ \(HTTP 403\)$", done.stderr.splitlines()[-2])
    assert f"ended with {remark}" in project.dyno("session", "show", session["session_id"])
    assert show(project, session["session_id"])["totals"]["ok"] == 0


def test_a_command_that_ends_well_though_it_called_nobody(project: Project, work: Path) -> None:
    done = project.run(*start(project, "--json", "--", "true"), folder=work)

    assert done.returncode == 3
    document = json.loads(done.stdout)
    assert (document["session"]["command_exit_code"], document["totals"]) == (0, None)
    shown = project.dyno("session", "show", document["session"]["session_id"])
    assert "ended with exit code 0, though it made no request to a model through the gateway" in shown


def test_the_command_has_the_terminal(project: Project, work: Path) -> None:
    program = "import sys; print(all(s.isatty() for s in (sys.stdin, sys.stdout, sys.stderr)), 'and', input('name? '))"

    with Terminal(project, *start(project, "--", PYTHON, "-c", program), folder=work) as terminal:
        terminal.see("name? ")
        terminal.press(b"dyno\n")
        assert terminal.end() == 3  # it made no request

    assert "True and dyno" in terminal.printed


def test_files_of_a_task_card_are_laid_in_and_never_overwrite(project: Project, work: Path) -> None:
    project.write(
        "configs/task_cards/given.yaml",
        "goal: read\nprompt: read\nfiles: {in/given.txt: 'words\n\n'}\n"
        "checks: [{kind: file_matches, file: out.txt, pattern: words}]\n",
    )
    options = ("--variant", "plain", "--task-card", "given", "--repo", str(project.repo))
    copy = ("sh", "-c", "cp in/given.txt out.txt")

    done = project.run("session", "start", *options, "--json", "--", *copy, folder=work)
    assert json.loads(done.stdout)["session"]["checks_passed"] == 1

    (work / "in/given.txt").write_text("mine\n")
    before = latest(project)
    refused = project.run("session", "start", *options, "--", *copy, folder=work)
    assert refused.returncode == 2
    assert "is there already, and is not the task card's; move it away, or start elsewhere" in refused.stderr
    assert (work / "in/given.txt").read_text() == "mine\n"
    assert latest(project) == before


CLIENT = """
import json, pathlib, sys, urllib.request

settings = json.loads(pathlib.Path(sys.argv[1]).read_text())
messages = [{"role": "user", "content": sys.argv[2]}]
body = json.dumps({"model": settings["model"], "max_tokens": 50, "messages": messages})
headers = {"x-api-key": settings["key"], "content-type": "application/json", "anthropic-version": "2023-06-01"}
request = urllib.request.Request(settings["url"] + "/v1/messages", body.encode(), headers)
for _ in range(settings["rounds"]):
    with urllib.request.urlopen(request) as answer:
        pathlib.Path("answer.txt").write_text(json.load(answer)["content"][0]["text"])
"""
PROFILE = """\
description: a client that nobody has heard of
surface: anthropic_messages
env: {{}}
files:
  client/settings.json: |
    {{"url": "${{gateway_url}}", "key": "${{session_key}}", "model": "${{model}}", "rounds": ${{rounds}}}}
command: [{client}, "${{files_dir}}/client/settings.json", "${{prompt}}"]
version_command: [{client}, --version]
settings: {{rounds: "1"}}
"""


def test_a_harness_is_added_by_one_file(project: Project, work: Path) -> None:
    client = work / "unheard-of"
    client.write_text(f"#!{PYTHON}\nimport sys\nif '--version' in sys.argv: sys.exit(print('unheard-of 7'))\n{CLIENT}")
    client.chmod(0o700)
    project.write("configs/harness_profiles/unheard-of.yaml", PROFILE.format(client=client))
    project.write(
        "configs/variants/unheard-of.yaml",
        "provider: scripted\nmodel: hello\nharness_profile: unheard-of\nsettings: {rounds: '2'}\n",
    )

    document = json.loads(project.dyno(*start(project, "--json", variant="unheard-of"), folder=work))

    session = document["session"]
    assert (session["outcome"], session["checks_passed"]) == ("completed", 1)
    assert (session["harness_binary"], session["harness_version"]) == (str(client), "unheard-of 7")
    requests = show(project, session["session_id"])["requests"]
    assert [(row["surface"], row["status"]) for row in requests] == [("anthropic_messages", "ok")] * 2
    assert not (project.home / "sessions" / session["session_id"]).exists(), "the rendered file held the key"
