"""`dyno up --detach`: the stand in the background, from the start to the end."""

from __future__ import annotations

import os
import signal
import socket

import httpx
import psutil
import pytest
from tests.integration.sessions.terminal import CTRL_C, Terminal, until
from tests.integration.stand_process import Project

UP = ("up", "--detach", "--port", "0")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project without the local model, which takes longer to start."""
    project = Project(tmp_path_factory.mktemp("detached"))
    for unused in ("variants/local-free-text", "variants/local-json-schema", "experiments/free-text-or-schema"):
        (project.folder / f"configs/{unused}.yaml").unlink()
    return project


def processes_of(project: Project) -> list[list[str]]:
    """Command lines of what runs for a project's home."""
    found = []
    for process in psutil.process_iter():
        try:
            arguments = process.cmdline()
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        if str(project.home) in " ".join(arguments):
            found.append(arguments)
    return found


def require_nothing_left(project: Project) -> None:
    until(lambda: processes_of(project) == [], "its processes end")
    assert not project.home.joinpath("stand.pid").exists()
    assert not project.home.joinpath("stand.json").exists()


def test_it_survives_its_terminal_and_ends_when_told(project: Project) -> None:
    with Terminal(project, *UP, folder=project.folder) as terminal:
        assert terminal.end() == 0, terminal.printed
    try:
        said = terminal.printed.splitlines()
        state = project.json("status")
        pid, url, log = state["pid"], state["gateway_url"], project.home / "logs/up.log"
        assert said[:2] == ["starting provider scripted", "starting the gateway"]
        assert said[-3:] == [
            f"the stand is up at {url}, process {pid}; `dyno down` ends it",
            f"log      {log}",
            f"pid file {project.home / 'stand.pid'}",
        ]
        assert (project.home / "stand.pid").read_text() == f"{pid}\n"
        assert os.getsid(pid) == pid  # of no terminal
        assert httpx.get(f"{url}/health/live").status_code == 200
        assert log.read_text().splitlines()[-1].startswith(f"the stand is up at {url}")
        shown = project.dyno("status")
        assert f"process {pid}\n" in shown
        assert f"logs in {project.home / 'logs'}\n" in shown

        again = project.run(*UP)
        told = f"a stand is up already at {url}; use it, or stop it with `dyno down`\n"
        assert (again.returncode, again.stdout, again.stderr) == (2, "", told)
        assert project.json("status") == state
    finally:
        assert project.dyno("down") == "the stand is down\n"
    require_nothing_left(project)


def test_what_keeps_it_from_coming_up_is_passed_on(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = project.run("up", "--detach", "--port", str(port))

    assert done.returncode == 2
    assert done.stdout == ""
    words, ended = done.stderr.splitlines()
    assert words.startswith(f"port {port} on 127.0.0.1 is in use; ")
    log = project.home / "logs/up.log"
    assert ended == f"the stand did not come up: exit code 2; all that it said is in {log}"
    assert log.read_text().splitlines()[-1] == words
    require_nothing_left(project)


def test_ctrl_c_while_it_starts_ends_it(project: Project) -> None:
    with Terminal(project, *UP, folder=project.folder) as terminal:
        terminal.see("starting the gateway")
        terminal.press(CTRL_C)
        assert terminal.end() == 130

    assert terminal.printed.splitlines()[-1].removeprefix("^C") == "interrupted"
    require_nothing_left(project)


def test_one_that_is_killed_while_it_starts(project: Project) -> None:
    with project.start(*UP) as starting:
        assert starting.stderr is not None
        while "starting the gateway" not in (line := starting.stderr.readline()):
            assert line, "it ended"
        os.kill(int((project.home / "stand.pid").read_text()), signal.SIGKILL)
        rest = starting.stderr.read()

    assert starting.returncode == 128 + signal.SIGKILL
    assert rest.splitlines()[-1].startswith("the stand did not come up: signal 9; all that it said is in ")
    until(lambda: processes_of(project) == [], "what it had started ends with it")
    assert project.run("status").returncode == 1


def test_faults_of_the_configuration_are_passed_on_too(project: Project) -> None:
    project.write("dyno.yaml", "gateway: {prot: 1}\n")
    try:
        done = project.run(*UP)
    finally:
        project.write("dyno.yaml", "")

    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == 'dyno.yaml:1: gateway.prot is not a field here; did you mean "port"?'


def test_a_log_that_cannot_be_written_is_told_in_one_line(project: Project) -> None:
    project.write("other/logs", "a file where a folder should be")
    other = project.folder / "other"

    done = project.run(*UP, DYNO_HOME=str(other))

    assert done.returncode == 2
    assert done.stderr == f"{other}/logs/up.log cannot be written: File exists; name another home by DYNO_HOME\n"
