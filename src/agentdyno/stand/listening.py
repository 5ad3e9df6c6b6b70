"""The sockets that the stand listens on."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import tempfile
from pathlib import Path

from agentdyno.core.errors import UserError

_PREFIX = "agentdyno-"
_SOCKET = "gateway.sock"
_LONGEST_BYTES = 107
_SHORT_TMP = "/tmp"  # noqa: S108 - for a folder of this user alone


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes any free one. Raises UserError when the address cannot be had."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"port {port} on {host} is in use", "stop what uses it, or choose another: `dyno up --port N`"
            ) from error
        raise UserError(
            f"cannot listen on {host}:{port}: {error.strerror}", "check gateway.host in dyno.yaml"
        ) from error
    return listener


def socket_in_new_folder(link: Path) -> Path:
    """Where to listen on a unix socket: in a folder for this user alone, to which the link is made to lead.

    A socket's path may have no more than 107 bytes, and that of a stand's home may well have more. What an earlier
    link leads to is removed: its stand was killed.
    """
    remove_socket_folder(link)
    try:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        if len(os.fsencode(folder / _SOCKET)) > _LONGEST_BYTES:
            folder.rmdir()
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_SHORT_TMP))
    except OSError as error:
        raise UserError(
            f"{tempfile.gettempdir()} cannot be written: {error.strerror}", "name another by TMPDIR"
        ) from error
    link.symlink_to(folder)
    return folder / _SOCKET


def remove_socket_folder(link: Path) -> None:
    """Remove the folder that the link leads to, and the link; nothing where there is none."""
    if not link.is_symlink():
        return
    folder = link.readlink()
    if folder.name.startswith(_PREFIX):  # else somebody else made the link
        shutil.rmtree(folder, ignore_errors=True)
    link.unlink()


def listen_unix(path: Path) -> socket.socket:
    """A listening unix socket. Raises UserError when there cannot be one."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        listener.listen(1024)
    except OSError as error:  # a path that is too long, too, which has no errno
        listener.close()
        raise UserError(f"cannot listen on {path}: {error.strerror or error}", "name a shorter TMPDIR") from error
    return listener
