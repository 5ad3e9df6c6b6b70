"""The README's commands, run as they stand there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.integration.stand_process import DYNO, REPOSITORY, Project, StandProcess

# Done before any test runs, or done by the fixture on a free port.
_DONE_ELSEWHERE = ("make ", "export PATH=", "dyno up")


def by_hand() -> list[str]:
    """The shell blocks of the chapter "By hand", without what is done elsewhere."""
    chapter = (REPOSITORY / "README.md").read_text().partition("## By hand")[2].partition("\n## ")[0]
    blocks = re.findall(r"```sh\n(.*?)```", chapter, re.DOTALL)
    kept = ["\n".join(line for line in block.splitlines() if not line.startswith(_DONE_ELSEWHERE)) for block in blocks]
    return [block for block in kept if block.strip()]


def run(project: Project, folder: Path, script: str) -> str:
    """What a block prints when a person's shell runs it."""
    environ = project.environ()
    environ["PATH"] = f"{DYNO.parent}:{environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", script], cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_every_command_of_the_readme_works(project: Project) -> None:
    prepare, around_one_command, step_by_step, close, last = by_hand()
    assert "ok" in run(project, project.folder, prepare)
    with StandProcess(project) as stand:
        subprocess.run(["git", "init", "-q", str(project.folder)], check=True)
        run(project, project.folder, around_one_command)
        run(project, project.folder, step_by_step)
        (session,) = project.json("session", "list", "--open")
        shown = run(project, project.folder, close.replace("ID", session["session_id"]))
        assert "hello" in shown
        assert "scripted-mini-swe-agent" in run(project, project.folder, last)
        assert stand.process.wait(30) == 0
    assert [s["outcome"] for s in project.json("session", "list")] == ["completed"] * 3
