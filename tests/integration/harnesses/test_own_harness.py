"""`dyno harness check` of harnesses that are a few lines long, and not all of them well-behaved."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from tests.integration.stand_process import Project

UNSTREAMED_GEMINI = """
import json, os, subprocess, sys, urllib.request

contents = [{"role": "user", "parts": [{"text": sys.argv[1]}]}]
shell = {"name": "bash", "description": "run a shell command", "parameters": {
    "type": "OBJECT", "properties": {"command": {"type": "STRING"}}, "required": ["command"]}}
while True:
    body = json.dumps({"contents": contents, "tools": [{"functionDeclarations": [shell]}]}).encode()
    headers = {"content-type": "application/json", "x-goog-api-key": os.environ["KEY"]}
    with urllib.request.urlopen(urllib.request.Request(os.environ["URL"], body, headers)) as answer:
        content = json.load(answer)["candidates"][0]["content"]
    calls = [part["functionCall"] for part in content["parts"] if "functionCall" in part]
    if not calls:
        break
    for call in calls:
        subprocess.run(call["args"]["command"], shell=True, check=True)
    done = [{"functionResponse": {"name": call["name"], "response": {"output": ""}}} for call in calls]
    contents += [content, {"role": "user", "parts": done}]
"""
LEAVES_A_WRITER = """
import subprocess, sys
from pathlib import Path

writer = '''
import itertools, os, time
until = time.monotonic() + 60
for n in itertools.takewhile(lambda _: time.monotonic() < until, itertools.count()):
    os.makedirs("left", exist_ok=True)
    open(f"left/{n}", "w").close()
    time.sleep(0.001)
'''
process = subprocess.Popen([sys.executable, "-c", writer], start_new_session=True)
Path(__file__).with_name("writer.pid").write_text(str(process.pid))
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with harnesses of its own."""
    project = Project(tmp_path)
    env = 'env: {URL: "${gateway_url}/v1beta/models/${model}:generateContent", KEY: "${session_key}"}'
    for name, program in (("plain", UNSTREAMED_GEMINI), ("untidy", LEAVES_A_WRITER)):
        project.write(f"{name}.py", program)
        command = json.dumps([sys.executable, str(tmp_path / f"{name}.py"), "${prompt}"])
        project.write(f"configs/harness_profiles/{name}.yaml", f"surface: gemini\n{env}\ncommand: {command}\n")
    project.write("no-program", "#!/no/such/interpreter\n")
    (tmp_path / "no-program").chmod(0o700)
    command = json.dumps([str(tmp_path / "no-program")])
    project.write("configs/harness_profiles/broken.yaml", f"surface: gemini\nenv: {{}}\ncommand: {command}\n")
    (tmp_path / "tmp").mkdir()
    return project


def test_each_is_reported_whatever_the_others_do(project: Project) -> None:
    """One whose answers carry no id, one that cannot be started, one that goes on writing after its end."""
    names = ("plain", "broken", "untidy")
    done = project.run("harness", "check", *names, "--json", TMPDIR=str(project.folder / "tmp"))
    os.kill(int((project.folder / "writer.pid").read_text()), signal.SIGKILL)

    [plain, broken, untidy] = json.loads(done.stdout)
    assert (plain["state"], plain["findings"], plain["requests"], plain["served"]) == ("verified", [], 2, 2)
    assert broken["state"] == "differs"
    assert broken["findings"] == [f"{project.folder}/no-program cannot be run: No such file or directory"]
    assert untidy["state"] == "differs"
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"\xff", "is no text in UTF-8"),
        (b"# Harnesses", "has no place for the table"),
    ],
)
def test_a_page_without_a_place_for_the_table_is_told_at_once(
    project: Project, content: bytes | None, words: str
) -> None:
    page = project.folder / "page.md"
    if content is not None:
        page.write_bytes(content)

    done = project.run("harness", "check", "plain", "--page", str(page))

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{page} {words}")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGHUP])
def test_one_that_is_interrupted_leaves_nothing(project: Project, signum: signal.Signals) -> None:
    temporary = project.folder / "tmp"
    with project.start("harness", "check", "plain", TMPDIR=str(temporary)) as process:
        while not list(temporary.glob("dyno-check-*/home/spool/gw_*")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        os.kill(process.pid, signum)
        _, err = process.communicate(timeout=60)

    assert process.returncode == 128 + signum
    assert "exit code" not in err
    assert not list(temporary.iterdir())
