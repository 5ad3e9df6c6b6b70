"""Compiles the locks in requirements/, or (--check) says, offline and at once, which of them fits its inputs no more.

Each *.lock carries in its header a digest of what it was compiled from, and npm's lock repeats it: the check needs no
index, and neither uv nor npm.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
NPM_LOCK = ROOT / "requirements/harnesses-npm/package-lock.json"


class Lock(NamedTuple):
    """One compiled requirements file, and what it is compiled from."""

    name: str
    source: str
    options: tuple[str, ...] = ()
    python: str | None = None
    """The oldest Python that it is for, where that is not the project's own."""

    @property
    def path(self) -> Path:
        return ROOT / "requirements" / f"{self.name}.lock"


LOCKS = (
    Lock("stand", "pyproject.toml", ("--extra", "local", "--group", "dev")),
    # Not under the stand's overrides: what the stand must not have may be just what is wanted here.
    Lock("harnesses", "requirements/harnesses.in", ("--no-config",)),
    Lock("aider", "requirements/aider.in", ("--no-config",)),
    Lock("node", "requirements/node.in", ("--no-config",)),
    Lock("openhands", "requirements/openhands.in", ("--no-config",), python="3.12"),
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
    python = project["project"]["requires-python"] if lock.python is None else lock.python
    inputs = [requirements_of(lock.source), lock.options, python, project["tool"]["uv"]]
    return f"make lock, from inputs {hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:16]}"


def compile_lock(lock: Lock, uv: str, upgrade: bool) -> None:
    """Have uv write the lock; pins that still fit stay, unless `upgrade`."""
    command = [uv, "pip", "compile", lock.source, *lock.options, "--universal"]
    command += [
        "--python-version",
        lock.python or "3.11",
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


def compile_npm_lock(npm: str, upgrade: bool) -> None:
    """Have npm write its lock, without the registry's address in it, so that any mirror serves."""
    program = Path(shutil.which(npm) or npm).absolute()  # it is called in another folder
    command = [str(program), "update" if upgrade else "install", "--package-lock-only"]
    command += ["--omit-lockfile-registry-resolved"]
    subprocess.run([*command, "--ignore-scripts", "--no-audit", "--no-fund"], cwd=NPM_LOCK.parent, check=True)


def npm_lock_fits() -> bool:
    """Whether npm's lock was made from today's package.json, and pins every package by its hash and by no address."""
    if not NPM_LOCK.exists():
        return False
    asked = json.loads((NPM_LOCK.parent / "package.json").read_text())
    locked = json.loads(NPM_LOCK.read_text())["packages"]
    root = locked.pop("")
    kinds = ("dependencies", "optionalDependencies")
    return all(root.get(kind) == asked.get(kind) for kind in kinds) and all(
        "integrity" in package and "resolved" not in package for package in locked.values()
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compile nothing; exit 1 if a lock is out of date")
    parser.add_argument("--upgrade", action="store_true", help="move every pin to the newest version allowed")
    parser.add_argument("--uv", default="uv", help="the uv to compile with")
    parser.add_argument("--npm", default="npm", help="the npm to write its lock with")
    arguments = parser.parse_args()
    if arguments.check:
        stale = [lock.path for lock in LOCKS if out_of_date(lock)] + ([] if npm_lock_fits() else [NPM_LOCK])
        for path in stale:
            print(f"{path.relative_to(ROOT)} does not fit its inputs; run `make lock`", file=sys.stderr)
        return 1 if stale else 0
    for lock in LOCKS:
        compile_lock(lock, arguments.uv, arguments.upgrade)
    compile_npm_lock(arguments.npm, arguments.upgrade)
    return 0


if __name__ == "__main__":
    sys.exit(main())
