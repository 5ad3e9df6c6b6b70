"""The folder of the gateway's unix socket: for its owner alone, and gone with the stand, however that ended."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest
from tests.integration.stand_process import Project, StandProcess

from agentdyno.core.errors import UserError
from agentdyno.stand.listening import listen_unix, remove_socket_folder, socket_in_new_folder


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project whose path is too long for a unix socket's, with the scripted provider alone."""
    folder = tmp_path / ("long" * 20) / ("longer" * 10)
    folder.mkdir(parents=True)
    project = Project(folder)
    for path in (project.folder / "configs").glob("*/*.yaml"):
        if path.stem not in ("scripted", "scripted-llm", "say-hello"):
            path.unlink()
    return project


def test_a_stand_takes_it_along(project: Project) -> None:
    with StandProcess(project) as stand:
        socket = Path(stand.state["gateway_socket"])
        assert (socket.is_socket(), socket.parent.stat().st_mode & 0o777) == (True, 0o700)
        assert (project.home / "gateway-socket").resolve() == socket.parent.resolve()

    assert not socket.parent.exists()
    assert not (project.home / "gateway-socket").is_symlink()


def test_what_a_killed_stand_left_goes_when_the_next_comes_up(project: Project) -> None:
    with StandProcess(project) as killed:
        left = Path(killed.state["gateway_socket"])
        children = psutil.Process(killed.process.pid).children()
        killed.process.send_signal(signal.SIGKILL)
        killed.process.wait()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == [], "they end with their stand"
    (project.home / "stand.json").unlink()
    assert left.parent.exists()

    with StandProcess(project) as stand:
        assert not left.parent.exists()
        assert Path(stand.state["gateway_socket"]).is_socket()


def test_a_link_to_something_else_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    link = tmp_path / "link"
    link.symlink_to(precious)

    remove_socket_folder(link)

    assert (precious.is_dir(), link.is_symlink()) == (True, False)


def test_folders_for_sockets_that_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="shorter TMPDIR"):
        listen_unix(tmp_path / ("x" * 200))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(UserError, match="name another by TMPDIR"):
        socket_in_new_folder(tmp_path / "link")
