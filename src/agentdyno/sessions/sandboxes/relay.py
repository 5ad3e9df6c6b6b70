"""The first process inside a sandbox: starts the command, and carries its connections to the gateway.

Run by path, with `-I -S`: it imports nothing of ours, and little of Python's, for each cell waits for it.

    relay.py STATUS_FD SOCKET HOST PORT PROGRAM ARGUMENT...

SOCKET is empty where there is no gateway to be reached. As the first process of its namespace it also reaps orphans,
and when it ends, the kernel ends all others there. STATUS_FD is told one line each:

    started           the sandbox is there, and the command runs
    fault WORDS       it could not be made; no command ran
    unrunnable ERRNO  there is a sandbox, but no such program
    ended STATUS      how the command ended, as wait() tells it
"""

from __future__ import annotations

import _ctypes
import _signal  # type: ignore[import-not-found]  # the stubs leave it out; signal takes long to import
import _socket
import _thread
import os
import sys

TYPE_CHECKING = False  # typing takes long to import
if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK_BYTES = 65536
_BACKLOG = 128
_IGNORED_BY_PYTHON = (13, 25)  # SIGPIPE and SIGXFSZ, which a program of its own expects to die of
_PR_SET_DUMPABLE = 4
_BUSY_S = 0.05


def main() -> None:
    """Do as the arguments say."""
    status, socket_path, host, port, *command = sys.argv[1:]
    descriptor = int(status)
    os.set_inheritable(descriptor, False)
    if socket_path:
        try:
            listener = listen(host, int(port))
        except OSError as error:
            tell(descriptor, f"fault it cannot listen on {host}:{port}: {error.strerror}")
            return
        _thread.start_new_thread(accept, (listener, socket_path))
    environ = given_environ()  # nobody but root can read it afterwards
    try:
        withdraw()
    except OSError as error:
        tell(descriptor, f"fault it cannot be hidden from what it starts: {error}")
        return
    try:
        child = os.posix_spawnp(command[0], command, environ, setsigdef=_IGNORED_BY_PYTHON)
    except OSError as error:
        tell(descriptor, f"unrunnable {error.errno}")
        return
    tell(descriptor, "started")
    tell(descriptor, f"ended {reap_until(child)}")


def given_environ() -> dict[bytes, bytes]:
    """The environment as it was given: Python itself adds to it where no language is set."""
    with open("/proc/self/environ", "rb") as file:  # noqa: PTH123 - pathlib takes long to import
        entries = [entry.partition(b"=") for entry in file.read().split(b"\0") if entry]
    return {name: value for name, _, value in entries}


def withdraw() -> None:
    """Let nothing in here reach into this process, by its folder in /proc or by tracing it: it tells how things ended.

    Nor end it by a signal for which Python has a handler; for others the first process of a namespace has none. Raises
    OSError when the kernel refuses.
    """
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    # ctypes itself, which would take long to import, calls it so.
    library = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]  # None: what this program itself is linked with
    prctl = _ctypes.dlsym(library, "prctl")
    if _ctypes.call_function(prctl, (_PR_SET_DUMPABLE, 0, 0, 0, 0)) != 0:
        raise OSError("prctl failed")


def tell(descriptor: int, line: str) -> None:
    """Say one thing to whoever made the sandbox."""
    os.write(descriptor, f"{line}\n".encode())


def reap_until(child: int) -> int:
    """Reap whatever ends, until the child does: its status."""
    while True:
        pid, status = os.wait()
        if pid == child:
            return status


def listen(host: str, port: int) -> _socket.socket:
    """A socket at the gateway's address, which nobody else has in this namespace."""
    family = _socket.AF_INET6 if ":" in host else _socket.AF_INET
    listener = _socket.socket(family, _socket.SOCK_STREAM)
    listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(_BACKLOG)
    return listener


def accept(listener: _socket.socket, socket_path: str) -> None:
    """Carry every connection, for as long as this process lives."""
    while True:
        try:
            descriptor, _ = listener._accept()  # type: ignore[attr-defined]  # the stubs leave it out
        except OSError:  # too many descriptors: some will be given back
            wait_a_little()
            continue
        begin(carry, _socket.socket(fileno=descriptor), socket_path)


def begin(work: Callable[..., None], *arguments: object) -> None:
    """Let a thread do it, as soon as the machine has one to give: a connection that nobody carries never ends."""
    while True:
        try:
            _thread.start_new_thread(work, arguments)
        except RuntimeError:
            wait_a_little()
        else:
            return


def wait_a_little() -> None:
    """Sleep, with what is imported for it only now."""
    import time

    time.sleep(_BUSY_S)


def carry(client: _socket.socket, socket_path: str) -> None:
    """Carry one connection, both ways, to its end."""
    gateway = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        client.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        gateway.connect(socket_path)
    except OSError:  # the gateway is gone: the client sees its connection end
        gateway.close()
        client.close()
        return
    back = _thread.allocate_lock()
    back.acquire()

    def carry_back() -> None:
        pump(gateway, client)
        back.release()

    begin(carry_back)
    pump(client, gateway)
    back.acquire()
    client.close()
    gateway.close()


def pump(source: _socket.socket, target: _socket.socket) -> None:
    """Carry what comes from one to the other, and its end too. Where one has broken off, both do."""
    try:
        while data := source.recv(_CHUNK_BYTES):
            target.sendall(data)
        target.shutdown(_socket.SHUT_WR)
    except OSError:
        break_off(source)
        break_off(target)


def break_off(connection: _socket.socket) -> None:
    """End a connection both ways."""
    try:
        connection.shutdown(_socket.SHUT_RDWR)
    except OSError:
        return  # it has ended already


if __name__ == "__main__":
    main()
    os._exit(0)  # what Python would tidy up goes with the namespace
