"""Starting a command: its output in a file, its environment exact, in a session of its own."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator, Sequence

from agentdyno.core.errors import SandboxFault
from agentdyno.sessions.sandboxes.contract import MARK, Confined

NOT_RUNNABLE, NOT_THERE = 126, 127
"""Exit codes of a command that could not be run, as shells give them."""
_OF_THE_PROGRAM = (errno.EACCES, errno.ENOEXEC, errno.EISDIR, errno.ELOOP, errno.ENOTDIR)


class Unrunnable(Exception):
    """The program is not there, or is none: an outcome of the command, and no fault of the sandbox."""

    def __init__(self, exit_code: int) -> None:
        super().__init__()
        self.exit_code = exit_code


@contextlib.contextmanager
def output_of(confined: Confined) -> Iterator[int]:
    """The descriptor of the file that takes what it prints: empty, and for its owner only. Raises SandboxFault."""
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
    try:
        descriptor = os.open(confined.output, flags, 0o600)
        os.fchmod(descriptor, 0o600)  # it may have been there
    except OSError as error:
        raise SandboxFault(f"{confined.output} cannot be written: {error.strerror}") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def start(
    arguments: Sequence[str], confined: Confined, output: int, pass_fds: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """Start a command where, and as what, this one is to run; without input.

    Raises Unrunnable, after a word in its output, for a program that cannot be run, and SandboxFault for all else.
    """
    try:
        return subprocess.Popen(
            arguments,
            cwd=confined.folder,
            env={**confined.environ, MARK: confined.mark} if confined.mark else confined.environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=tuple(pass_fds),
        )
    except OSError as error:
        program_is_meant = str(error.filename) != str(confined.folder)
        if program_is_meant and error.errno in (errno.ENOENT, *_OF_THE_PROGRAM):
            os.write(output, f"{arguments[0]}: {error.strerror}\n".encode(errors="surrogateescape"))
            raise Unrunnable(NOT_THERE if error.errno == errno.ENOENT else NOT_RUNNABLE) from error
        what = arguments[0] if program_is_meant else confined.folder
        hint = "shorten the prompt, or the command" if error.errno == errno.E2BIG else None
        raise SandboxFault(f"{what}: {error.strerror}", hint) from error
    except ValueError as error:  # a NUL in an argument or a variable
        raise SandboxFault(f"{arguments[0]} cannot be given its arguments or environment: {error}") from error
