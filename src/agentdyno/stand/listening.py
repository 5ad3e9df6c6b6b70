"""The sockets that the stand listens on."""

from __future__ import annotations

import errno
import socket

from agentdyno.core.errors import UserError


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
