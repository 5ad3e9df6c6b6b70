"""A project of its own, and the stand as a person runs it: `dyno` as a process, nothing imported."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

REPOSITORY = Path(__file__).parents[2]
DYNO = Path(sys.executable).with_name("dyno")
HARNESSES = REPOSITORY / ".harnesses" / "bin"
START_TIMEOUT_S = 120
TIMEOUT_S = 120.0


def clean_environ() -> dict[str, str]:
    """The environment of the tests, without what names a home or a ledger."""
    return {name: value for name, value in os.environ.items() if name not in ("DYNO_HOME", "DYNO_DATABASE_URL")}


class Project:
    """A folder with a configuration, a Git repository to measure, and the command line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repo = folder / "repo"
        self.dyno("init")
        self.repo.mkdir()
        git = ["git", "-C", str(self.repo), "-c", "user.name=test", "-c", "user.email=test@localhost"]
        subprocess.run([*git, "init", "-q", "-b", "main"], check=True)
        subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "start"], check=True)

    @property
    def home(self) -> Path:
        """The stand's home."""
        return self.folder / ".dyno"

    def environ(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of a person who has the harnesses on the path."""
        return {**clean_environ(), "PATH": f"{HARNESSES}{os.pathsep}{os.environ['PATH']}", **(extra or {})}

    def start(self, *arguments: str, folder: Path | None = None, **extra: str) -> subprocess.Popen[str]:
        """`dyno …` as a running process."""
        return subprocess.Popen(
            [str(DYNO), *arguments],
            cwd=folder or self.folder,
            env=self.environ(extra),
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(
        self, *arguments: str, folder: Path | None = None, timeout_s: float = TIMEOUT_S, **extra: str
    ) -> subprocess.CompletedProcess[str]:
        """`dyno …` to its end, whatever its exit code; keywords are environment variables."""
        with self.start(*arguments, folder=folder, **extra) as process:
            out, err = process.communicate(timeout=timeout_s)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def dyno(self, *arguments: str, folder: Path | None = None, **extra: str) -> str:
        """What `dyno …` prints; its exit code must be 0."""
        done = self.run(*arguments, folder=folder, timeout_s=TIMEOUT_S, **extra)
        assert done.returncode == 0, f"dyno {' '.join(arguments)} → {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def json(self, *arguments: str, folder: Path | None = None) -> Any:
        """What `dyno … --json` prints."""
        return json.loads(self.dyno(*arguments, "--json", folder=folder))

    def write(self, relative: str, text: str) -> None:
        """Write one configuration file."""
        path = self.folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


class StandProcess:
    """`dyno up` on a free port, or the one named, for as long as the context lasts."""

    def __init__(self, project: Project, port: int = 0, **environ: str) -> None:
        self.project = project
        self._port = port
        self._environ = environ

    def __enter__(self) -> StandProcess:
        self.process = self.project.start("up", "--port", str(self._port), folder=None, **self._environ)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not (self.project.home / "stand.json").exists():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline, "the stand did not come up"
            time.sleep(0.05)
        self.state = json.loads((self.project.home / "stand.json").read_text())
        self.url: str = self.state["gateway_url"]
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.out, self.err = self.process.communicate(timeout=60)

    def served(self) -> Any:
        """What the scripted provider counted."""
        return httpx.get(f"{self.state['providers']['scripted']}/served").json()

    def forget_served(self) -> None:
        """Let the scripted provider count from zero."""
        httpx.delete(f"{self.state['providers']['scripted']}/served").raise_for_status()
