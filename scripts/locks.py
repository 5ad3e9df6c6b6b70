"""Compiles requirements/*.lock, or (--check) says, offline and at once, which of them no longer fits its inputs.

Each lock carries in its header a digest of what it was compiled from, so that the check needs neither uv nor an index.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Lock(NamedTuple):
    """One compiled requirements file, and what it is compiled from."""

    name: str
    source: str
    options: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        return ROOT / "requirements" / f"{self.name}.lock"


LOCKS = (
    Lock("stand", "pyproject.toml", ("--extra", "local", "--group", "dev")),
    # Not under the stand's overrides: what the stand must not have may be just what is wanted here.
    Lock("harnesses", "requirements/harnesses.in", ("--no-config",)),
    Lock("tools", "requirements/tools.in", ("--no-config",)),
)


def requirements_of(source: str) -> object:
    """What a source asks for, without what does not change the outcome: comments, or a project's other settings."""
    text = (ROOT / source).read_text()
    if not source.endswith(".toml"):
        return [line for line in text.splitlines() if line and not line.startswith("#")]
    project = tomllib.loads(text)
    return [
        project["project"]["dependencies"],
        project["project"]["optional-dependencies"],
        project["dependency-groups"],
    ]


def header(lock: Lock) -> str:
    """The header's line that names the inputs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    inputs = [requirements_of(lock.source), lock.options, project["project"]["requires-python"], project["tool"]["uv"]]
    return f"make lock, from inputs {hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:16]}"


def compile_lock(lock: Lock, uv: str, upgrade: bool) -> None:
    """Have uv write the lock; pins that still fit stay, unless `upgrade`."""
    command = [uv, "pip", "compile", lock.source, *lock.options, "--universal", "--python-version", "3.11"]
    command += [
        "--generate-hashes",
        "--quiet",
        "--custom-compile-command",
        header(lock),
        "-o",
        str(lock.path.relative_to(ROOT)),
    ]
    subprocess.run([*command, "--upgrade"] if upgrade else command, cwd=ROOT, check=True)


def out_of_date(lock: Lock) -> bool:
    """Whether the lock is missing or was compiled from other inputs than today's."""
    return not lock.path.exists() or header(lock) not in lock.path.read_text()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compile nothing; exit 1 if a lock is out of date")
    parser.add_argument("--upgrade", action="store_true", help="move every pin to the newest version allowed")
    parser.add_argument("--uv", default="uv", help="the uv to compile with")
    arguments = parser.parse_args()
    if arguments.check:
        stale = [lock.path.name for lock in LOCKS if out_of_date(lock)]
        for name in stale:
            print(f"requirements/{name} does not fit its inputs; run `make lock`", file=sys.stderr)
        return 1 if stale else 0
    for lock in LOCKS:
        compile_lock(lock, arguments.uv, arguments.upgrade)
    return 0


if __name__ == "__main__":
    sys.exit(main())
