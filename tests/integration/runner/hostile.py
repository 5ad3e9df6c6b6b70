"""A harness that works, and on the way does what it is told by the name of a deed. Python is all that it needs.

    hostile.py DEED

It asks its model once, and leaves `done.txt` in the workspace. What it prints is told apart by `WORDS`: they are to be
found nowhere once its cell is over.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

WORDS = "-".join(("what", "only", "the", "harness", "says"))
"""Put together here, so that they are not in this text."""
MIB = 1024**2
FILES_DIR = Path(os.environ.get("FILES_DIR", "."))
WORKSPACE = Path.cwd()


def ask(model: str = "", key: str = "") -> int:
    """One request to the gateway; the status of its answer. Without a name or a key those of the session are used."""
    host, _, path = os.environ["OPENAI_BASE_URL"].removeprefix("http://").partition("/")
    address, _, port = host.partition(":")
    content = [{"role": "user", "content": WORDS}]
    body = json.dumps({"model": model or os.environ["MODEL"], "messages": content}).encode()
    head = (
        f"POST /{path}/chat/completions HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n"
        f"authorization: Bearer {key or os.environ['OPENAI_API_KEY']}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((address, int(port))) as connection:
        connection.sendall(head.encode() + body)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    return int(answer.split()[1])


def work() -> None:
    """What a harness is there for."""
    ask()
    (WORKSPACE / "done.txt").write_text("done\n")


def sleep() -> None:
    """For longer than anybody waits, under a name by which the process is known."""
    time.sleep(3600)


# ── not able to work ─────────────────────────────────────────────────────────────────────────────────────────────────


def not_logged_in() -> None:
    sys.stdout.write(f"AuthenticationError: {WORDS}\n")
    sys.exit(1)


def silently_not_logged_in() -> None:
    sys.stdout.write(f"please log in, {WORDS}\n")


def needs_a_terminal() -> None:
    os.ttyname(0)


def calls_what_is_not_shown() -> None:
    os.execv(os.environ["HIDDEN"], ["hidden"])


def reads_input() -> None:
    sys.stdin.read()
    work()


# ── processes ────────────────────────────────────────────────────────────────────────────────────────────────────────


def daemon(environ: dict[str, str]) -> None:
    """Start a program that leaves its family."""
    said, saying = os.pipe()
    if os.fork():
        os.close(saying)
        os.read(said, 1)  # until the daemon has become another program
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    os.execve("/usr/bin/sleep", ["sleep", os.environ["NAP"]], environ)


def forks_daemons() -> None:
    for _ in range(5):
        daemon(dict(os.environ))
    work()


def forks_daemons_that_hide() -> None:
    for _ in range(5):
        daemon({})
    work()


def forks_for_ever() -> None:
    """One process that is always another, while the first one waits."""
    work()
    if os.fork():
        sleep()
    os.setsid()
    while True:
        if os.fork():
            os._exit(0)
        time.sleep(0.005)


def ignores_sigterm() -> None:
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    work()
    sleep()


def takes_all_memory() -> None:
    held = []
    while True:
        held.append(bytearray(5 * MIB))
        time.sleep(0.01)


def starts_too_many_processes() -> None:
    for _ in range(200):  # and no more, so that the machine survives a fault of ours
        os.posix_spawn("/usr/bin/sleep", ["sleep", os.environ["NAP"]], os.environ)
        time.sleep(0.005)
    sleep()


def kills_itself() -> None:
    work()
    os.kill(os.getpid(), signal.SIGKILL)


def kills_its_group() -> None:
    work()
    os.killpg(0, signal.SIGKILL)


def kills_its_parent() -> None:
    """Only ever behind walls: without them its parent is the runner."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(os.getppid(), signal.SIGKILL)
    work()


def ends_by_a_fault() -> None:
    work()
    os.kill(os.getpid(), signal.SIGSEGV)


# ── disk and output ──────────────────────────────────────────────────────────────────────────────────────────────────


def fills_the_disk() -> None:
    for number in range(10_000):
        Path(f"{number}").write_bytes(bytes(MIB))


def prints_without_end() -> None:
    piece = (WORDS * 10_000).encode()
    while True:
        os.write(1, piece)


def prints_much_at_once() -> None:
    """More than it may, and is gone before anybody looks."""
    work()
    os.ftruncate(1, 1024**4)


def closes_its_output() -> None:
    os.close(1)
    os.close(2)
    work()


def writes_many_files() -> None:
    for number in range(10_000):
        os.close(os.open(f"{number}", os.O_CREAT | os.O_WRONLY))
    work()


def writes_strange_names() -> None:
    for name in (b"two\nlines", b"\xff\xfe", b'"quoted"', b"-rf", b"a\ttab", b" ", b"\\"):
        Path(os.fsdecode(name)).write_text(WORDS)
    Path(os.fsdecode(b"folder\n\xff")).mkdir()
    work()


def writes_deep_folders() -> None:
    """Deeper than a path can name, and than Python can call, in all that it may write to."""
    work()
    for top in (WORKSPACE, FILES_DIR, Path(os.environ["HOME"])):
        os.chdir(top)
        for _ in range(3000):
            os.mkdir("d")  # noqa: PTH102 - relative to a folder that no path can name
            os.chdir("d")


# ── its folders ──────────────────────────────────────────────────────────────────────────────────────────────────────


def emptied(folder: Path) -> None:
    """Remove what may be removed of a folder; behind walls the folder itself stays."""
    shutil.rmtree(folder, ignore_errors=True)


def deletes_its_workspace() -> None:
    ask()
    emptied(WORKSPACE)


def replaces_its_workspace() -> None:
    """By a link to a folder where all checks would hold."""
    work()
    emptied(WORKSPACE)
    with contextlib.suppress(OSError):
        WORKSPACE.symlink_to(os.environ["ELSEWHERE"])


def closes_its_workspace() -> None:
    work()
    WORKSPACE.chmod(0)


def deletes_its_cell() -> None:
    ask()
    emptied(WORKSPACE.parent)


def replaces_its_output() -> None:
    """Without walls, the file that takes what it prints is there to be replaced."""
    work()
    for name in ("output", "check-output"):
        with contextlib.suppress(OSError):
            (WORKSPACE.parent / name).unlink(missing_ok=True)
            os.mkfifo(WORKSPACE.parent / name)


def writes_outside() -> None:
    with contextlib.suppress(OSError):
        Path(os.environ["ELSEWHERE"], f"written-in-{os.environ['WALLS']}").write_text(WORDS)
    work()


def links_what_checks_need() -> None:
    """A link where a file for the checks is laid in."""
    work()
    Path("run-tests.sh").symlink_to(Path(os.environ["ELSEWHERE"], "kept"))


# ── what the stand gave it ───────────────────────────────────────────────────────────────────────────────────────────


def changes_its_files() -> None:
    for path in FILES_DIR.iterdir():
        path.write_text(WORDS)
    work()


def removes_its_files() -> None:
    emptied(FILES_DIR)
    work()


def replaces_its_files() -> None:
    emptied(FILES_DIR)
    with contextlib.suppress(OSError):
        FILES_DIR.symlink_to(os.environ["ELSEWHERE"])
    work()


def traces_into_a_pipe() -> None:
    os.mkfifo(os.environ["DYNO_TRACE"])
    work()


def traces_garbage() -> None:
    Path(os.environ["DYNO_TRACE"]).write_bytes(b'{"type": "step"\n[[[[\n\0\xff\n' + WORDS.encode() + b"\n")
    work()


def traces_without_end() -> None:
    with Path(os.environ["DYNO_TRACE"]).open("wb") as trace:
        trace.truncate(1024**4)
    work()


def traces_elsewhere() -> None:
    Path(os.environ["DYNO_TRACE"]).symlink_to("/etc/passwd")
    work()


# ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def asks_with_a_live_key() -> None:
    ask(key=os.environ["LIVE_KEY"])
    (WORKSPACE / "done.txt").write_text("done\n")


def asks_with_a_dead_key() -> None:
    ask(key=os.environ["DEAD_KEY"])
    (WORKSPACE / "done.txt").write_text("done\n")


def asks_with_no_key() -> None:
    ask(key="sk-none")
    (WORKSPACE / "done.txt").write_text("done\n")


def asks_for_another_model() -> None:
    ask(model="write-file")
    (WORKSPACE / "done.txt").write_text("done\n")


def waits_for_its_provider() -> None:
    work()


def leaves_a_request_open() -> None:
    """In flight when its time is over, by a process that is not its first."""
    (WORKSPACE / "done.txt").write_text("done\n")
    if os.fork():
        sleep()
    os.setsid()
    ask()


# ── checks ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def hangs_the_command() -> None:
    work()
    Path("hang-command").touch()


def hangs_the_tests() -> None:
    work()
    Path("hang-tests").touch()


def hangs_the_pattern() -> None:
    ask()
    Path("done.txt").write_text("a" * 60)


def leaves_pipes_for_the_checks() -> None:
    """A file that a check reads is no file."""
    ask()
    os.mkfifo("done.txt")


DEEDS: dict[str, Callable[[], None]] = {
    name.replace("_", "-"): deed
    for name, deed in list(globals().items())
    if callable(deed) and getattr(deed, "__module__", "") == __name__ and deed.__code__.co_argcount == 0
}

if __name__ == "__main__":
    DEEDS[sys.argv[1]]()
