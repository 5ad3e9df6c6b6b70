"""A managed provider as the stand runs it: a process of its own, with a port file and a watched standard input."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 10


class Running(NamedTuple):
    """A provider that listens."""

    url: str
    process: subprocess.Popen[bytes]
    stdin: IO[bytes]


@contextmanager
def running(name: str, folder: Path, *arguments: str) -> Iterator[Running]:
    """Start `agentdyno.providers.NAME`, wait for its port, and end it by signal afterwards."""
    port_file = folder / "port"
    port_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", f"agentdyno.providers.{name}", "--port-file", str(port_file), "--die-with-parent"]
    with subprocess.Popen([*command, *arguments], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        try:
            wait_for(port_file, process)
            yield Running(f"http://127.0.0.1:{int(port_file.read_text())}", process, process.stdin)
        finally:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            finally:
                process.kill()


def wait_for(port_file: Path, process: subprocess.Popen[bytes]) -> None:
    """Return when the port is written; fail when the process ends before."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not port_file.exists():
        assert process.poll() is None, f"ended with exit code {process.returncode}"
        assert time.monotonic() < deadline, f"no port after {START_TIMEOUT_S} s"
        time.sleep(0.02)
