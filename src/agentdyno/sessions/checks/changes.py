"""What was changed in a working folder, told against a picture of it that was taken before the work.

The picture is a Git repository of the stand's own, outside of the folder: what an agent does to the folder's own
`.git`, to attributes, hooks or filters changes nothing, for Git is never let into the folder. The stand reads the files
itself and hands them over; Git keeps them, compares them, and says what the `.gitignore` files of the beginning leave
out. What they leave out does not count, nor does anything named `.git`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import subprocess
import time
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple, cast

DEADLINE_S = 60.0
_LARGE_BYTES = 16 * 1024**2
"""A larger file counts as one line: its digest."""
_RULES_LIMIT_BYTES = 1024**2
_CHUNK_BYTES = 1024**2
_NO_REPOSITORY = (0, 128)
_SETTINGS = (
    *("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.attributesFile=/dev/null"),
    *("-c", "core.excludesFile=/dev/null", "-c", "core.fsync=none", "-c", "fastimport.unpackLimit=0"),
    *("-c", "safe.directory=*", "-c", "core.compression=0"),
)


class Snapshot(NamedTuple):
    """A working folder as it was."""

    workspace: Path
    folder: Path
    """What is kept of it lies there."""
    below: str = ""
    """Where the folder lies in the repository that holds it, with a slash at the end; empty at its top."""
    paths: frozenset[bytes] = frozenset()
    fault: str | None = None
    """Why there is none."""


class Changes(NamedTuple):
    """What was added, changed or removed since; a file that was moved was removed and added."""

    paths: tuple[str, ...] = ()
    """Relative to the working folder; bytes that are no UTF-8 as lone surrogates."""
    lines: int = 0
    """Lines added, and lines removed."""
    fault: str | None = None
    """Why it is not known."""


class _Unknown(Exception):
    """Why something could not be found out."""


class _Clock(NamedTuple):
    """When it has to be done."""

    end_s: float
    limit_s: float

    @classmethod
    def of(cls, limit_s: float) -> _Clock:
        return cls(time.monotonic() + limit_s, limit_s)

    def left_s(self) -> float:
        """Raises _Unknown when there is no time left."""
        left_s = self.end_s - time.monotonic()
        if left_s <= 0:
            raise self.over()
        return left_s

    def over(self) -> _Unknown:
        """That there was too little time."""
        return _Unknown(f"took longer than {self.limit_s:g} s")


def take_snapshot(workspace: Path, folder: Path, deadline_s: float = DEADLINE_S) -> Snapshot:
    """Keep a working folder as it is now, in a folder of its own that the agent does not see."""
    clock = _Clock.of(deadline_s)
    below = ""
    try:
        (folder / "rules").mkdir(parents=True, mode=0o700)
        git = _Git(folder, clock)
        git.ask("init", "--quiet", "--template=")
        git.count_lines_of_all()
        found = list(_files(os.fsencode(workspace), clock))
        below = _place_in_repository(git, workspace)
        _keep_rules(workspace, folder / "rules", below, found)
        tracked = frozenset(git.ask("ls-files", "-z", inside=workspace, fine=_NO_REPOSITORY).split(b"\0"))
        paths = git.counted(found, below, tracked)
        git.keep("before", workspace, paths)
    except _Unknown as unknown:
        return Snapshot(workspace, folder, below, fault=f"the working folder's beginning is not known: {unknown}")
    except OSError as error:
        return Snapshot(workspace, folder, below, fault=f"the working folder cannot be read: {error.strerror}")
    return Snapshot(workspace, folder, below, frozenset(paths))


def changes_since(snapshot: Snapshot, deadline_s: float = DEADLINE_S) -> Changes:
    """What was changed since a snapshot was taken. Both may be called from any thread; neither raises."""
    if snapshot.fault is not None:
        return Changes(fault=snapshot.fault)
    clock = _Clock.of(deadline_s)
    try:
        git = _Git(snapshot.folder, clock)
        found = list(_files(os.fsencode(snapshot.workspace), clock))
        git.keep("after", snapshot.workspace, git.counted(found, snapshot.below, snapshot.paths))
        told = git.ask("diff-tree", "-r", "-z", "--numstat", "--no-renames", "--text", "before", "after")
    except _Unknown as unknown:
        return Changes(fault=f"what was changed is not known: {unknown}")
    except OSError as error:
        return Changes(fault=f"the working folder cannot be read: {error.strerror}")
    rows = [row.split(b"\t", 2) for row in told.split(b"\0") if row]
    return Changes(
        tuple(os.fsdecode(path) for _, _, path in rows), sum(int(added) + int(removed) for added, removed, _ in rows)
    )


def _files(workspace: bytes, clock: _Clock) -> Iterator[bytes]:
    """Paths of all files and links below a folder, relative to it, without what is named `.git`."""
    folders = [b""]
    while folders:
        clock.left_s()
        below = folders.pop()
        with os.scandir(os.path.join(workspace, below)) as entries:  # noqa: PTH118 - bytes, of any name
            for entry in entries:
                path = below + entry.name
                if entry.name == b".git":
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(path + b"/")
                elif entry.is_symlink() or entry.is_file(follow_symlinks=False):
                    yield path


def _place_in_repository(git: _Git, workspace: Path) -> str:
    """Where the folder lies in the repository that holds it, if any: rules above it hold in it too."""
    return os.fsdecode(git.ask("rev-parse", "--show-prefix", inside=workspace, fine=_NO_REPOSITORY)).removesuffix("\n")


def _keep_rules(workspace: Path, rules: Path, below: str, found: Iterable[bytes]) -> None:
    """Copy every `.gitignore` to where it would lie in an otherwise empty working tree."""
    kept = rules / below
    kept.mkdir(parents=True, exist_ok=True)
    names = [os.fsdecode(path) for path in found if path == b".gitignore" or path.endswith(b"/.gitignore")]
    above = [f"{'../' * level}.gitignore" for level in range(1, below.count("/") + 1)]
    for name in (*names, *above):
        content = _rules_in(workspace / name)
        if content is not None:
            (kept / name).parent.mkdir(parents=True, exist_ok=True)
            (kept / name).write_bytes(content)


def _rules_in(path: Path) -> bytes | None:
    """A file of rules; None where there is none, for a link too, as in Git, and for what is too large to be one."""
    try:
        with _opened(os.fsencode(path)) as file:
            content = file.read(_RULES_LIMIT_BYTES + 1)
    except OSError:
        return None
    return content if len(content) <= _RULES_LIMIT_BYTES else None


def _opened(path: bytes) -> IO[bytes]:
    """A file of which nothing is known: neither a link is followed, nor the writer of a pipe waited for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    return os.fdopen(descriptor, "rb", buffering=0)


class _Git:
    """Git, on the stand's own repository, with nobody's settings but these."""

    def __init__(self, folder: Path, clock: _Clock) -> None:
        self._rules = folder / "rules"
        self._clock = clock
        own = {"GIT_DIR": os.fspath(folder / "kept.git"), "GIT_WORK_TREE": os.fspath(self._rules)}
        self._outside = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_OPTIONAL_LOCKS": "0",
            "LC_ALL": "C",
        }
        self._environ = {**self._outside, **own}

    def ask(
        self,
        *arguments: str,
        content: bytes | None = None,
        inside: Path | None = None,
        fine: Collection[int] = (0,),
    ) -> bytes:
        """What it prints; `inside` a folder, of the repository that holds it. Raises _Unknown."""
        try:
            done = subprocess.run(
                ["git", *_SETTINGS, *arguments],
                input=b"" if content is None else content,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=self._environ if inside is None else self._outside,
                cwd=self._rules if inside is None else inside,
                timeout=self._clock.left_s(),
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise self._clock.over() from None
        except FileNotFoundError:
            raise _Unknown("git is not installed") from None
        if done.returncode not in fine:
            raise _Unknown(f"git {arguments[0]} ended with exit code {done.returncode}")
        return done.stdout

    def count_lines_of_all(self) -> None:
        """Let it compare what it would take for no text too: of that it would count no lines."""
        attributes = Path(self._environ["GIT_DIR"]) / "info" / "attributes"
        attributes.parent.mkdir(exist_ok=True)
        attributes.write_text("* diff\n")

    def counted(self, found: Collection[bytes], below: str, known: Collection[bytes]) -> list[bytes]:
        """Those paths, sorted, that no rule leaves out, or that are known already."""
        prefix = os.fsencode(f"./{below}")  # a path that began with a colon would be taken for a pattern
        unknown = [prefix + path for path in found if path not in known]
        left_out: set[bytes] = set()
        if unknown:
            # It ends with 1 when there is none.
            told = self.ask("check-ignore", "--no-index", "--stdin", "-z", content=b"\0".join(unknown), fine=(0, 1))
            left_out = {path.removeprefix(prefix) for path in told.split(b"\0")}
        return sorted(path for path in found if path in known or path not in left_out)

    def keep(self, name: str, workspace: Path, paths: Iterable[bytes]) -> None:
        """Keep files under a name. Git reads them from us, not from the folder."""
        process = subprocess.Popen(
            ["git", *_SETTINGS, "fast-import", "--quiet", "--done", "--force", "--depth=0"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self._environ,
            cwd=self._rules,
        )
        stream = cast("IO[bytes]", process.stdin)
        try:
            self._send(stream, name, os.fsencode(workspace), paths)
            stream.close()
            code = process.wait(self._clock.left_s())
        except subprocess.TimeoutExpired:
            raise self._clock.over() from None
        except BrokenPipeError:
            code = process.wait()
        finally:
            process.kill()
            with contextlib.suppress(BrokenPipeError):  # it is no longer there for what was not sent yet
                stream.close()
            process.wait()
        if code != 0:
            raise _Unknown(f"git fast-import ended with exit code {code}")

    def _send(self, stream: IO[bytes], name: str, workspace: bytes, paths: Iterable[bytes]) -> None:
        stream.write(f"commit refs/heads/{name}\ncommitter dyno <dyno@localhost> 0 +0000\ndata 0\n".encode())
        for path in paths:
            self._clock.left_s()
            _send_file(stream, path, os.path.join(workspace, path), self._clock)  # noqa: PTH118 - bytes, of any name
        stream.write(b"done\n")


def _send_file(stream: IO[bytes], path: bytes, place: bytes, clock: _Clock) -> None:
    """One file in the words of `git fast-import`."""
    status = os.lstat(place)
    if stat.S_ISLNK(status.st_mode):
        _send_content(stream, b"120000", path, os.readlink(place))  # noqa: PTH115 - bytes, of any name
        return
    mode = b"100755" if status.st_mode & stat.S_IXUSR else b"100644"
    with _opened(place) as file:
        _send_content(stream, mode, path, _content(file, clock))


def _content(file: IO[bytes], clock: _Clock) -> bytes:
    """All of a file; of a large one, its digest in a line."""
    pieces, size_bytes, large = [], 0, None
    while piece := file.read(_CHUNK_BYTES):
        clock.left_s()
        size_bytes += len(piece)
        if large is not None:
            large.update(piece)
            continue
        pieces.append(piece)
        if size_bytes > _LARGE_BYTES:
            large = hashlib.sha256(b"".join(pieces))
    return b"".join(pieces) if large is None else f"{large.hexdigest()}\n".encode()


def _send_content(stream: IO[bytes], mode: bytes, path: bytes, content: bytes) -> None:
    quoted = b"".join(b"\\%03o" % byte if byte in b'"\\\n' else bytes([byte]) for byte in path)
    stream.write(b'M %s inline "%s"\ndata %d\n' % (mode, quoted, len(content)))
    stream.write(content)
    stream.write(b"\n")
