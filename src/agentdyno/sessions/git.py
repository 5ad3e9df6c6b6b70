"""Running git: it asks nobody, is given a limited time, and what it says is told without credentials."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from agentdyno.core.errors import DynoError, UserError
from agentdyno.core.secrets import redact

_LIMIT_S = 1800.0
_COMMITTING = {"NAME": "dyno", "EMAIL": "dyno@localhost", "DATE": "2000-01-01T00:00:00Z"}
_LONGEST_SHOWN = 300
# By these the caller's git hook, or a person's shell, would lead it to another repository than the one it is told.
_LEADING_ELSEWHERE = re.compile(
    r"GIT_(?:DIR|WORK_TREE|INDEX_FILE|OBJECT_DIRECTORY|ALTERNATE_OBJECT_DIRECTORIES|COMMON_DIR|NAMESPACE|PREFIX"
    r"|GRAFT_FILE|SHALLOW_FILE|REPLACE_REF_BASE|TRACE.*)"
)
_CREDENTIALS = re.compile(r"(?<=://)[^/\s]*@")
_QUERY = re.compile(r"(?<=\S)\?\S*")
_ASIDE = re.compile(r"(?:remote|hint|warning):|\s*$", re.IGNORECASE)
_LEVEL = re.compile(r"^(?:fatal|error): ")


class GitRun(NamedTuple):
    """How git ended, and what came of it."""

    code: int
    output: bytes
    words: str
    """What it said was wrong, in one line, without credentials."""


def as_operator() -> dict[str, str]:
    """The operator's own environment, with their configuration and credentials, and nobody to answer a question."""
    kept = {name: value for name, value in os.environ.items() if not _LEADING_ELSEWHERE.fullmatch(name)}
    kept.pop("SSH_ASKPASS", None)
    return {**kept, "GIT_TERMINAL_PROMPT": "0", "SSH_ASKPASS_REQUIRE": "never", "LC_ALL": "C"}


def as_nobody() -> dict[str, str]:
    """An environment in which git does the same on every machine, at any time.

    There is no configuration but the repository's own, and what it commits has always the same author and date.
    """
    identity = {f"GIT_{role}_{name}": value for role in ("AUTHOR", "COMMITTER") for name, value in _COMMITTING.items()}
    return {
        **identity,
        "PATH": os.environ.get("PATH", os.defpath),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }


def run_git(arguments: Sequence[str], environ: Mapping[str, str], given: bytes = b"") -> GitRun:
    """Run git to its end, with `given` as its input. Raises UserError when it is not installed or takes too long."""
    # Not a pipe: what git leaves running, such as a connection of ssh that is kept, would hold it open.
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                ["git", *arguments],
                env=environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                start_new_session=True,  # without a terminal, what git starts cannot ask there either
            )
        except FileNotFoundError as error:
            raise UserError("git is not installed", "install it: the stand records what it measures") from error
        except (OSError, ValueError) as error:
            raise UserError(f"git cannot be run: {error}", "shorten the names that it is given") from error
        output = _output_of(process, given)
        said.seek(0)
        return GitRun(process.returncode, output, _in_one_line(said.read().decode(errors="replace")))


def _output_of(process: subprocess.Popen[bytes], given: bytes) -> bytes:
    """What it prints until it ends. It does not outlive this, whatever is raised meanwhile."""
    with process:
        try:
            return process.communicate(given, timeout=_LIMIT_S)[0]
        except subprocess.TimeoutExpired as error:
            raise UserError(f"git took longer than {_LIMIT_S:g} s") from error
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)


def git_in(folder: Path, *arguments: str, given: bytes = b"") -> bytes:
    """What git prints, in a repository that the stand made itself. Raises DynoError when it fails."""
    return _sure(exactly(folder), arguments, folder, given)


def git_in_bare(folder: Path, *arguments: str, given: bytes = b"") -> bytes:
    """The same, in a repository without a working folder."""
    return _sure(exactly_bare(folder), arguments, folder, given)


def exactly(folder: Path) -> tuple[str, ...]:
    """Arguments for the repository of this folder. Where it has none, git must not find one further up."""
    return ("-C", str(folder), "--git-dir=.git")


def exactly_bare(folder: Path) -> tuple[str, ...]:
    """The same, for a repository without a working folder."""
    return ("-C", str(folder), "--git-dir=.")


def _sure(where: Sequence[str], arguments: Sequence[str], folder: Path, given: bytes) -> bytes:
    run = run_git((*where, *arguments), as_nobody(), given)
    if run.code != 0:
        what = f"git {arguments[0]} failed in {shown(str(folder))}: {run.words}"
        raise DynoError(what, "is the disk full? Else remove that folder: it is made again")
    return run.output


def shown(address: str) -> str:
    """An address, or a text with some in it, as people and records may see it: without credentials, in one line."""
    bare = _QUERY.sub("", _CREDENTIALS.sub("", address)) if "://" in address else address
    line = redact(os.fsencode(bare).decode(errors="backslashreplace"))
    printable = "".join(letter if letter.isprintable() else "�" for letter in line)
    return printable if len(printable) <= _LONGEST_SHOWN else f"{printable[:_LONGEST_SHOWN]}…"


def _in_one_line(said: str) -> str:
    lines = [line for line in said.splitlines() if not _ASIDE.match(line)]
    return shown(_LEVEL.sub("", lines[0])) if lines else "it does not say why"
