"""What a bubblewrap sandbox shows of the file system: of the system what programs need, and of the rest nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from agentdyno.core.records import Limits
from agentdyno.sessions.sandboxes.contract import Confined

_TOP = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32")
"""The system's programs and libraries; all but the first are links into it on most systems."""
_ETC = (
    "alternatives",
    "ca-certificates",
    "group",
    "hosts",
    "ld.so.cache",
    "localtime",
    "nsswitch.conf",
    "passwd",
    "pki",
    "ssl",
)
_ANYONE_WRITES = 0o222
_FOR_ANYONE = ("/tmp", "/var/tmp")  # noqa: S108 - the sandbox's own
_TMP_BYTES = 256 * 1024**2


def tmp_bytes(limits: Limits) -> int:
    """What a /tmp in memory may hold, and /var/tmp and /dev/shm as well; a cell's own TMPDIR is a folder on disk."""
    return min(limit for limit in (_TMP_BYTES, limits.memory_bytes, limits.disk_bytes) if limit)


def system_mounts(tmp_bytes: int, root: Path = Path("/")) -> Iterator[str]:
    """The system's programs, libraries and common settings, read-only; /proc, /dev and a /tmp of so many bytes."""
    for name in _TOP:
        yield from _shown(root / name, f"/{name}")
    for name in _ETC:
        yield from _shown(root / "etc" / name, f"/etc/{name}")
    yield from ("--proc", "/proc")
    for path in _writable_for_root(root / "proc"):
        yield from ("--ro-bind", str(path), f"/proc/{path.name}")
    in_memory = ("--perms", "1777", "--size", str(tmp_bytes), "--tmpfs")
    yield from ("--dev", "/dev", *in_memory, "/dev/shm", "--remount-ro", "/dev")  # noqa: S108
    for folder in _FOR_ANYONE:  # no links: a project may lie in one of them
        yield from (*in_memory, folder)


def _writable_for_root(proc: Path) -> Iterator[Path]:
    """The kernel's settings: where the stand is root's, the kernel takes a cell's root for their owner.

    A process's own entries are numbers, or links.
    """
    for path in sorted(proc.iterdir()):
        if not path.name.isdecimal() and not path.is_symlink() and _holds_writable(path):
            yield path


def _holds_writable(path: Path) -> bool:
    """Whether it, or anything below it, may be written by anyone at all."""
    try:
        if path.is_dir():
            return any(_holds_writable(each) for each in path.iterdir() if not each.is_symlink())
        return bool(path.stat().st_mode & _ANYONE_WRITES)
    except OSError:  # what cannot be told is taken for writable
        return True


def _shown(path: Path, name: str) -> Iterator[str]:
    if path.is_symlink():
        yield from ("--symlink", str(path.readlink()), name)
    elif path.exists():
        yield from ("--ro-bind", str(path), name)


def cell_mounts(confined: Confined) -> Iterator[str]:
    """The cell's own, at the same paths as outside: what lies deeper comes later, and covers what it lies in."""
    bound = {
        **dict.fromkeys(confined.readable, "--ro-bind"),
        **dict.fromkeys((confined.folder, *confined.writable), "--bind"),
    }
    for path in sorted(bound, key=lambda path: len(path.parts)):
        yield from (bound[path], str(path), str(path))
