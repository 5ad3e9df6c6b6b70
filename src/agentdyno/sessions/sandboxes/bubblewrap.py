"""The sandbox `bubblewrap`: no address but the gateway is there, and no folder but the cell's can be written."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from agentdyno.core.errors import SandboxFault
from agentdyno.core.records import Limits
from agentdyno.sessions.sandboxes import relay
from agentdyno.sessions.sandboxes.census import children_of
from agentdyno.sessions.sandboxes.contract import Confined, Ended, Stop
from agentdyno.sessions.sandboxes.cores import confined_to
from agentdyno.sessions.sandboxes.keeping import Keeper, Kept, by_whom
from agentdyno.sessions.sandboxes.limits import polled
from agentdyno.sessions.sandboxes.mounts import cell_mounts, system_mounts, tmp_bytes
from agentdyno.sessions.sandboxes.starting import NOT_RUNNABLE, NOT_THERE, Unrunnable, output_of, start

PROGRAM = "bwrap"
_WALLS = ("--unshare-user", "--unshare-all", "--cap-drop", "ALL", "--die-with-parent", "--new-session")
"""Without capabilities, root inside is root of nothing: else it would be the real one, where the stand is root's."""
_RELAY, _SOCKET = "/run/agentdyno/relay.py", "/run/agentdyno/gateway.sock"
_WORDS = frozenset({"started", "fault", "unrunnable", "ended"})
_SYSTEMS_OWN = Path("/usr")
_PROBE_TIMEOUT_S = 10.0
_LAST_WORDS_BYTES = 300


def why_not(path: str | None = None) -> str | None:
    """Why bubblewrap does not work on this machine, in its own words; None where it does.

    `path` is the PATH that it is looked for on: this process's own by default.
    """
    program = shutil.which(PROGRAM, path=path)
    if program is None:
        return f"{PROGRAM} is not on the PATH"
    command = [program, *_WALLS, *system_mounts(tmp_bytes(Limits())), "--", "/bin/true"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PROBE_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    words = done.stderr.decode(errors="replace").strip().splitlines()
    return None if done.returncode == 0 else (words[-1] if words else f"exit code {done.returncode}")


class BubblewrapSandbox:
    """Walls of namespaces. A relay inside carries what is sent to the gateway's address to its unix socket."""

    name = "bubblewrap"

    def __init__(self) -> None:
        self._keeper = Keeper()
        self._program = shutil.which(PROGRAM) or PROGRAM
        self._python = Path(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))
        prefix = Path(os.path.realpath(sys.base_prefix))
        self._system = functools.cache(lambda tmp_bytes: tuple(system_mounts(tmp_bytes)))
        self._readable = () if prefix.is_relative_to(_SYSTEMS_OWN) else (prefix,)

    def unenforced(self, limits: Limits) -> tuple[str, ...]:
        """Limits that are looked at; what is written to memory instead of a disk has a size of its own."""
        return polled(limits)

    def run(self, confined: Confined, stop: Stop) -> Ended:
        """Run one command to its end, behind walls."""
        visible = confined._replace(readable=(*self._readable, *confined.readable))
        with output_of(confined) as output, self._keeper.cores.lent(confined.limits.cpu_cores) as cores:
            told, telling = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            with os.fdopen(told, "rb") as telling_how:
                beginning = self._keeper.beginning()
                arguments = tuple(self._arguments(visible, telling))
                try:
                    with confined_to(cores):
                        process = self._keeper.started(lambda: start(arguments, confined, output, (telling,)))
                except Unrunnable as unrunnable:
                    raise SandboxFault(f"{self._program} cannot be run", "install bubblewrap") from unrunnable
                finally:
                    os.close(telling)

                def send(signum: int) -> None:
                    _send(process.pid, signum)

                kept = self._keeper.keep(process, confined, output, stop, beginning, send)
                return _ended(kept, (telling_how.read() or b"").decode(errors="replace"), output)

    def _arguments(self, confined: Confined, telling: int) -> Iterator[str]:
        yield from (self._program, *_WALLS, "--as-pid-1")
        yield from self._system(tmp_bytes(confined.limits))
        yield from cell_mounts(confined)
        yield from ("--ro-bind", relay.__file__, _RELAY)
        gateway = confined.gateway
        if gateway is not None:
            yield from ("--ro-bind", str(gateway.socket), _SOCKET)
        yield from ("--remount-ro", "/", "--chdir", str(confined.folder), "--")
        yield from (str(self._python), "-I", "-S", _RELAY, str(telling))
        yield from ("", "", "") if gateway is None else (_SOCKET, gateway.host, str(gateway.port))
        yield from confined.arguments


def _send(pid: int, signum: int) -> None:
    """Send a signal to what runs inside; bubblewrap itself would die of it, and take everything along.

    The first process in there, the relay, ignores a SIGTERM for want of a handler; its children get it, in its group or
    out of it.
    """
    try:
        inside = children_of(pid)
    except OSError:  # it has ended, or the kernel does not tell
        inside = set()
    for first in inside:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(first, signum)
        for child in _outside_of_group(first):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signum)
    if signum == signal.SIGKILL:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signum)


def _outside_of_group(first: int) -> list[int]:
    """The children of a process that are in no group of its own."""
    try:
        return [child for child in children_of(first) if os.getpgid(child) != first]
    except OSError:  # it has ended, or one of them has
        return []


def _ended(kept: Kept, told: str, output: int) -> Ended:
    """How the command ended, by what the relay told. Raises SandboxFault when there was no sandbox."""
    words = {word: rest for word, _, rest in (line.partition(" ") for line in told.splitlines())}
    try:
        exit_code = _exit_code(words)
    except (ValueError, OverflowError):
        # The relay says no such thing: what ran beside it said it in its place, and is to blame for its own end.
        return Ended(-signal.SIGKILL, kept.reason, kept.command_ms)
    if exit_code is None:
        if "started" not in words and kept.reason == "itself":
            raise SandboxFault(f"bubblewrap could not start a cell: {words.get('fault') or _last_words(output)}")
        exit_code = -signal.SIGKILL
    return Ended(exit_code, by_whom(exit_code, kept.reason), kept.command_ms)


def _exit_code(words: Mapping[str, str]) -> int | None:
    """The exit code that the relay told; None where it told none. Raises ValueError, OverflowError for other words."""
    if not words.keys() <= _WORDS:
        raise ValueError("these are no words of the relay")
    if "ended" in words:
        return os.waitstatus_to_exitcode(int(words["ended"]))
    if "unrunnable" in words:
        return NOT_THERE if int(words["unrunnable"]) == errno.ENOENT else NOT_RUNNABLE
    return None


def _last_words(output: int) -> str:
    lines = os.pread(output, _LAST_WORDS_BYTES, 0).decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
