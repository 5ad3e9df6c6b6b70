"""A PostgreSQL server of the tests' own, from the programs that `pgserver` carries."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg

from agentdyno.sessions.orphans import ends_with_parent

NOBODY = 65534
GUARDED_USER, PASSWORD = "guarded", "pass/word@1"
START_TIMEOUT_S = 30
_ACCESS = f"local all {GUARDED_USER} scram-sha-256\nlocal all all trust\n"


class PostgresServer:
    """A server that listens on a socket in a folder of its own. As a context it is up, and afterwards gone."""

    def __init__(self) -> None:
        # The path of a Unix socket has at most 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
        self.folder.chmod(0o755)
        self._programs = self._place_programs()
        for name in ("data", "sockets"):
            (self.folder / name).mkdir(mode=0o700)
            if os.geteuid() == 0:
                os.chown(self.folder / name, NOBODY, NOBODY)
        (self.folder / "sockets").chmod(0o755)
        command = [
            "initdb",
            "--no-sync",
            "-E",
            "UTF8",
            "--locale=C",
            "-A",
            "trust",
            "-U",
            "owner",
            "-D",
            self.folder / "data",
        ]
        self._start(command).communicate()
        (self.folder / "data" / "pg_hba.conf").write_text(_ACCESS)
        self._process: subprocess.Popen[bytes] | None = None

    def _place_programs(self) -> Path:
        """Where the programs are: PostgreSQL does not run as root, and another user may not see our environment."""
        spec = importlib.util.find_spec("pgserver")
        assert spec is not None
        assert spec.origin is not None
        package = Path(spec.origin).parent
        if os.geteuid() != 0:
            return package / "pginstall" / "bin"
        for part in (package / "pginstall", package.with_name("pgserver.libs")):
            shutil.copytree(part, self.folder / part.relative_to(package.parent))
        return self.folder / "pgserver" / "pginstall" / "bin"

    def _start(self, command: list[Any]) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [self._programs / command[0], *command[1:]],
                cwd=self.folder,
                user=NOBODY if os.geteuid() == 0 else None,
                group=NOBODY if os.geteuid() == 0 else None,
                extra_groups=[] if os.geteuid() == 0 else None,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=ends_with_parent(),
            )

    def start(self) -> None:
        """Let it come up, and wait until it answers."""
        settings = {"listen_addresses": "", "fsync": "off", "unix_socket_directories": self.folder / "sockets"}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._process = self._start(["postgres", "-D", self.folder / "data", *options])
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def stop(self) -> None:
        """End it and every connection to it, at once; what is committed stays."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def url(self, database: str = "postgres", user: str = "owner") -> str:
        """The URL of a database."""
        return f"postgresql://{user}@/{database}?host={self.folder / 'sockets'}"

    def execute(self, statement: str) -> None:
        """Run one statement outside of a transaction."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement.encode())

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.folder)
