"""Harnesses that others wrote, as they are, behind walls: each starts, and some work through the relay."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.integration.sandboxes.cell import Cell
from tests.integration.stand_process import HARNESSES, Project, StandProcess

from agentdyno.sessions.sandboxes import Gateway, sandbox_named, toolchain_of

PATH = f"{HARNESSES}:/usr/bin:/bin"
VERSIONS = {
    "claude": "claude --version",
    "codex": "codex --version",
    "mini": "mini --help",
    "opencode": "opencode --version",
    "pi": "pi --version",
}
WORKING = {"claude-code": "claude", "codex": "codex", "pi": "pi"}
PROMPT = 'Write the file hello.txt with the text "Hello from the stand." in it.'


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a variant of each harness that is to work."""
    project = Project(tmp_path_factory.mktemp("harnesses"))
    for folder in ("variants", "experiments"):
        for path in (project.folder / "configs" / folder).iterdir():
            path.unlink()
    for name in WORKING:
        project.write(
            f"configs/variants/{name}.yaml",
            f"provider: scripted\nmodel: write-file\nsmall_model: hello\nharness_profile: {name}\n",
        )
    return project


@pytest.mark.parametrize("program", VERSIONS)
def test_it_starts(walled: Cell, program: str) -> None:
    confined = walled.confined("sh", "-c", VERSIONS[program], environ={"PATH": PATH})
    stands_home = walled.workspace.parent.parent

    done = walled.run_confined(confined._replace(readable=toolchain_of(program, PATH, stands_home)))

    assert done.ended.exit_code == 0, done
    assert done.printed


@pytest.mark.parametrize("name", WORKING)
def test_it_works_through_the_relay(name: str, project: Project, stand: StandProcess, tmp_path: Path) -> None:
    from agentdyno.sessions.environment import render_headless
    from agentdyno.sessions.project import load_project

    options = ("--variant", name, "--task-card", "write-hello", "--repo", str(project.repo))
    session: dict[str, Any] = project.json("session", "create", *options)
    session_id: str = session["session_id"]
    address = urlsplit(stand.url)
    assert address.hostname is not None and address.port is not None
    profile = load_project(project.folder).harness_profile(name)
    cell = Cell(tmp_path / "cell", sandbox_named("bubblewrap"), session_id)
    environ = {"PATH": PATH, **session["env"]}
    confined = cell.confined(*render_headless(profile, profile.settings | session["env"], PROMPT), environ=environ)

    done = cell.run_confined(
        confined._replace(
            readable=toolchain_of(WORKING[name], PATH, project.home),
            writable=(*confined.writable, project.home / "sessions" / session_id),
            gateway=Gateway(address.hostname, address.port, Path(stand.state["gateway_socket"])),
        )
    )

    assert (cell.workspace / "hello.txt").read_text() == "Hello from the stand.\n", done
    assert done.ended.ended_by == "itself"
    project.dyno("session", "finalize", session_id, "--outcome", "completed")
    rows = project.json("session", "show", session_id, "--requests")["requests"]
    assert {row["status"] for row in rows if row["purpose"] == "work"} == {"ok"}
