"""A Git repository as a person makes it, for tests that start from one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

PERSON = {"NAME": "Person", "EMAIL": "person@localhost"}


class GitRepository:
    """A folder with a history."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=trunk")

    def git(self, *arguments: str) -> str:
        """What git prints."""
        return git(self.folder, *arguments)

    def commit(self, **files: str) -> str:
        """Write files (`a__b` is `a/b`), commit them, and return the commit's id."""
        for name, text in files.items():
            path = self.folder / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", " ".join(files) or "nothing")
        return self.git("rev-parse", "HEAD")


def git(folder: Path, *arguments: str) -> str:
    """What git prints there. Raises CalledProcessError when it fails."""
    identity = {f"GIT_{role}_{name}": value for role in ("AUTHOR", "COMMITTER") for name, value in PERSON.items()}
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        env={"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, **identity},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()
