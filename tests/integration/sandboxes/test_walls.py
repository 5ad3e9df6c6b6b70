"""From inside of bubblewrap: other addresses, the operator's files and environment, other sessions. All of it is tried.

Each probe is also run in `process`, where it finds what was planted: it would find it here, if it could be found.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.integration.sandboxes import probes
from tests.integration.sandboxes.cell import PREFIX, Cell

from agentdyno.core.errors import SandboxFault
from agentdyno.core.records import Limits
from agentdyno.sessions.sandboxes import MARK, Gateway, Sandbox

SECRET = "planted-5f0c1e"


@pytest.fixture
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """An address that a cell may reach: there, something listens on a unix socket, and on no port."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        path = Path(folder, "gateway.sock")
        listener.bind(str(path))
        listener.listen()
        yield Gateway("127.0.0.1", 4141, path)


@pytest.fixture
def operators_process() -> Iterator[int]:
    """A process of the operator's, with a secret in its environment."""
    with subprocess.Popen(["sleep", "600"], env={**os.environ, "OPERATORS_SECRET": SECRET}) as process:
        yield process.pid
        process.kill()


@pytest.fixture
def elsewhere(cell: Cell) -> list[str]:
    """Files of another session, and of the operator, beside and above the cell's folder."""
    home = cell.workspace.parent.parent
    files = [home / "sessions/ses_other/environment", home / "cells/ses_other/workspace/notes", home / "ledger.sqlite"]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(SECRET)
    return [str(path) for file in files for path in (file, file.parent)]


def is_walled(cell: Cell) -> bool:
    return cell.sandbox.name == "bubblewrap"


def addresses_of_this_machine() -> Iterator[tuple[str, str]]:
    """Each address that others could reach it by."""
    for found in psutil.net_if_addrs().values():
        for each in found:
            if each.family == socket.AF_INET and not each.address.startswith("127."):
                yield "AF_INET", each.address


@pytest.mark.parametrize("has_gateway", [True, False])
def test_no_port_of_this_machine_is_reached(cell: Cell, gateway: Gateway, has_gateway: bool) -> None:
    with (
        socket.create_server(("0.0.0.0", 0)) as server,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as server6,
        socket.socket(socket.AF_UNIX) as abstract,
        socket.socket(socket.AF_UNIX) as in_file,
    ):
        abstract.bind(f"\0{SECRET}")
        in_file.bind(str(gateway.socket.with_name("other.sock")))
        abstract.listen()
        in_file.listen()
        port, port6 = server.getsockname()[1], server6.getsockname()[1]
        targets = [
            ["AF_INET", ["127.0.0.1", port]],
            ["AF_INET6", ["::1", port6]],
            ["AF_UNIX", f"\0{SECRET}"],
            ["AF_UNIX", in_file.getsockname()],
            *([family, [address, port]] for family, address in addresses_of_this_machine()),
        ]

        found = cell.answer(probes.CONNECT, json.dumps(targets), gateway=gateway if has_gateway else None)

    assert len(found) == len(targets)
    assert set(found.values()) == {"refused" if is_walled(cell) else "connected"}, found


def test_no_other_address_is_reached_and_no_name_is_found_and_neither_stalls(walled: Cell, gateway: Gateway) -> None:
    targets = [
        ["AF_INET", ["8.8.8.8", 53]],
        ["AF_INET", ["169.254.169.254", 80]],
        ["AF_INET", ["10.0.0.1", 80]],
        ["AF_INET", ["127.0.0.1", 4142]],
        ["AF_INET", ["127.0.0.2", 4141]],
        ["AF_INET6", ["::1", 4141]],
        ["AF_INET6", ["2001:4860:4860::8888", 53]],
    ]

    assert set(walled.answer(probes.CONNECT, json.dumps(targets), gateway=gateway).values()) == {"refused"}
    resolved = walled.answer(probes.RESOLVE, gateway=gateway)
    assert resolved["found"] == []
    assert resolved["took_s"] < 1


def test_without_a_gateway_there_is_none(walled: Cell) -> None:
    target = ["AF_INET", ["127.0.0.1", 4141]]

    assert walled.answer(probes.CONNECT, json.dumps([target])) == {str(target[1]): "refused"}


def test_a_gateway_that_cannot_be_had_inside_is_a_fault_of_the_sandbox(walled: Cell, gateway: Gateway) -> None:
    with pytest.raises(SandboxFault, match=r"cannot listen on 192\.0\.2\.1:4141"):
        walled.run("true", gateway=gateway._replace(host="192.0.2.1"))


def test_the_operators_home_is_not_there(cell: Cell) -> None:
    with tempfile.TemporaryDirectory(dir=Path.home()) as folder:
        file = Path(folder, "secret")
        file.write_text(SECRET)

        read = cell.answer(probes.READ, json.dumps([str(file), folder]))
        listed = cell.answer(probes.READ, json.dumps([str(Path.home())]))

    assert read == ([] if is_walled(cell) else [SECRET, "secret"])
    if is_walled(cell):
        way = PREFIX.relative_to(Path.home()).parts[:1] if PREFIX.is_relative_to(Path.home()) else ()
        assert listed == list(way), "save for the way to the interpreter of these probes"


def test_other_sessions_files_are_not_there(cell: Cell, elsewhere: list[str]) -> None:
    read = cell.answer(probes.READ, json.dumps(elsewhere))

    assert (SECRET in read) == (not is_walled(cell))
    if is_walled(cell):
        assert read == ["cell"], "of the stand's home, the way to its own folder"


def test_nobody_elses_environment_can_be_read(cell: Cell, operators_process: int) -> None:
    read = cell.answer(probes.ENVIRONMENTS)

    assert cell.mark in read, "its own can"
    assert (SECRET in read) == (not is_walled(cell))


def test_nobody_elses_process_is_seen_or_reached(cell: Cell, operators_process: int) -> None:
    reached = cell.answer(probes.SIGNAL, str(operators_process), str(os.getpid()))
    assert reached == ([] if is_walled(cell) else [operators_process, os.getpid()])
    if is_walled(cell):
        names = cell.answer(probes.PROCESSES)
        assert sorted(map(int, names)) == [1, max(map(int, names))], "the relay and the probe"


def test_no_key_is_in_the_process_list(cell: Cell, tmp_path: Path) -> None:
    script = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"

    printed = cell.run("sh", "-c", script, environ={"SESSION_KEY": SECRET}).printed

    assert "cmdline" in printed and SECRET not in printed


def test_nothing_but_its_folders_can_be_written(walled: Cell) -> None:
    places = ["/", "/usr", "/usr/bin", "/etc", "/dev", "/run", "/run/agentdyno", "/var", "/root", "/home"]
    files = [f"{place.rstrip('/')}/planted" for place in (*places, str(PREFIX))]
    kernels = ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger"]
    programs = ["/etc/passwd", "/usr/bin/env", "/run/agentdyno/relay.py"]
    inside = [str(folder / "own") for folder in (walled.workspace, walled.home, walled.tmp)]

    assert walled.answer(probes.WRITE, json.dumps([*files, *kernels, *programs, *inside])) == inside


def test_what_is_written_beside_its_folders_comes_to_nothing(walled: Cell) -> None:
    beside = [walled.workspace.parent / "planted", Path("/tmp/planted-by-a-cell"), Path("/var/tmp/planted-by-a-cell")]

    walled.run("sh", "-c", " ".join(f"echo x > {path};" for path in beside))

    assert [path for path in beside if path.exists()] == []


@pytest.mark.parametrize(
    "attempt",
    [
        "mount -o remount,rw,bind /usr",
        "mount -o remount,rw /",
        "mount -t tmpfs none /usr",
        "umount /usr",
        "unshare --user --map-root-user --mount mount -o remount,rw,bind /usr",
        "unshare --user --map-root-user --mount umount /etc/passwd",
        "mknod $HOME/disk b 254 0",
        "chroot /usr true",
        "nsenter --target 1 --net true",
    ],
)
def test_a_wall_cannot_be_taken_down(walled: Cell, attempt: str) -> None:
    done = walled.run("sh", "-c", f"PATH=$PATH:/usr/sbin; {attempt} && touch /usr/planted || echo failed")

    assert done.printed.endswith("failed\n"), done
    assert not Path("/usr/planted").exists()


def test_the_process_that_tells_how_it_ended_cannot_be_reached(walled: Cell) -> None:
    forged = "for each in /proc/1/fd/*; do (echo ended 0 > $each) && echo written; done; cat /proc/1/environ"
    done = walled.run("sh", "-c", f"{forged}; kill -INT 1; kill -TERM 1; sleep 0.2; ls /proc/1/fd; exit 3")

    assert (done.ended.exit_code, done.ended.ended_by) == (3, "itself")
    assert "written" not in done.printed
    assert MARK not in done.printed


def test_what_is_not_enforced_is_said(sandbox: Sandbox) -> None:
    unlimited = Limits(processes=None, disk_bytes=None, output_bytes=None)
    words = " ".join(sandbox.unenforced(unlimited))
    assert ("network" in words) == ("files outside the workspace" in words) == (sandbox.name == "process")
    assert any(word.startswith("memory") for word in sandbox.unenforced(Limits(memory_bytes=1)))
