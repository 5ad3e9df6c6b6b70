"""The contract of a provider that the stand starts as a child process.

    python -m agentdyno.providers.NAME --port 0 --port-file F --die-with-parent

It listens, and only then writes its port to F (atomically: whoever can read F can connect). It ends with exit code 0 on
SIGTERM and SIGINT and, with --die-with-parent, when its standard input ends, which the kernel brings about however the
parent dies. A person's mistake is one line on standard error and exit code 2.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from agentdyno.core.errors import DynoError, UserError

_STDIN = 0


@dataclass(frozen=True)
class ChildOptions:
    """Where a child listens and how its parent hears of it."""

    host: str
    port: int
    """0: any free one."""
    port_file: Path | None
    die_with_parent: bool


def add_child_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that every child takes."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0, the default, takes a free one")
    parser.add_argument("--port-file", type=Path, help="file to write the port to, once listening")
    parser.add_argument("--die-with-parent", action="store_true", help="end when standard input ends")


def child_options(arguments: argparse.Namespace) -> ChildOptions:
    """The options out of arguments that `add_child_arguments` declared."""
    return ChildOptions(arguments.host, arguments.port, arguments.port_file, arguments.die_with_parent)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises UserError when the address cannot be had."""
    try:
        return socket.create_server((host, port), backlog=1024)
    except (OSError, OverflowError) as error:
        raise UserError(
            f"cannot listen on {host}:{port}: {error}", "choose another port, or 0 for a free one"
        ) from error


class StopRequest:
    """What tells a child to end. Signals count from the moment this is made: a stop during a slow start is not lost."""

    def __init__(self, *, watch_stdin: bool) -> None:
        self._told, tell = os.pipe()
        self._watched = [self._told, _STDIN] if watch_stdin else [self._told]
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: os.write(tell, b"."))

    def wait(self) -> None:
        """Block until a signal came or, where watched, standard input ended."""
        while True:
            ready, _, _ = select.select(self._watched, [], [])
            if self._told in ready or os.read(_STDIN, 4096) == b"":
                return


def serve_until_stopped(serving: AbstractContextManager[int], options: ChildOptions) -> None:
    """Enter `serving`, which gives the port it listens on, announce that port, and leave when told to stop."""
    stop = StopRequest(watch_stdin=options.die_with_parent)
    with serving as port:
        if options.port_file is not None:
            write_port(options.port_file, port)
        stop.wait()


def write_port(file: Path, port: int) -> None:
    """Write the port so that a reader sees the whole number or no file. Raises UserError when it cannot be written."""
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        unfinished.write_text(f"{port}\n")
        unfinished.replace(file)
    except OSError as error:
        raise UserError(
            f"cannot write the port to {file}: {error.strerror}", "name a file in a folder that exists"
        ) from error


def run_program(program: Callable[[Sequence[str]], None]) -> int:
    """Run a child's main function on the command line's arguments; the exit code."""
    try:
        program(sys.argv[1:])
    except DynoError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0
