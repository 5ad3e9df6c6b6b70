"""The file that a session's environment is written to, for those who do not want it printed."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from agentdyno.core.errors import UserError

MARK = "# agentdyno session\n"
"""The first line, by which such a file is known again: nothing else is ever replaced."""


@contextlib.contextmanager
def env_file_at(path: Path) -> Iterator[Callable[[str], None]]:
    """What writes the file at once and whole, readable by its owner only.

    That it can be written is found out on entering, before there is a key. Raises UserError where something else lies,
    a symbolic link included. When anything goes wrong while this lasts, what was written goes again.
    """
    draft = path.parent / f".{path.name}.{os.getpid()}"
    with _fault_of(path):
        _require_replaceable(path)
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with contextlib.ExitStack() as leaving, contextlib.ExitStack() as failing:
        leaving.callback(draft.unlink, missing_ok=True)

        def write(text: str) -> None:
            with _fault_of(path):
                draft.write_bytes(os.fsencode(MARK + text))
                draft.replace(path)
            failing.callback(path.unlink, missing_ok=True)

        yield write
        failing.pop_all()


def _require_replaceable(path: Path) -> None:
    """Raise UserError unless there is nothing, or an env file of a former session."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        if not path.name:
            raise UserError(f"{path} is no regular file", "name another file") from None
        return
    if not stat.S_ISREG(mode):
        raise UserError(f"{path} is no regular file", "name another file")
    with path.open("rb") as file:
        is_ours = stat.S_IMODE(mode) == 0o600 and file.read(len(MARK)) == MARK.encode()
    if not is_ours:
        raise UserError(f"{path} is there already, and is no env file of a session", "name another file")


@contextlib.contextmanager
def _fault_of(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}", "name another file") from error
