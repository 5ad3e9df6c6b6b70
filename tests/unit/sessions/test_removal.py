from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentdyno.sessions.removal import nascent, remove

NOBODY = 65534


@pytest.fixture
def somebody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """When called, what is in the test's folder becomes that of a user who is not root, and the test that user.

    Paths have to be relative from then on: the folders above may be closed to them.
    """
    monkeypatch.chdir(tmp_path)
    user = os.geteuid()

    def become() -> None:
        if user == 0:
            for folder, inner, files in os.walk("."):
                for name in (".", *inner, *files):
                    os.chown(Path(folder, name), NOBODY, -1)
            os.seteuid(NOBODY)

    yield become
    os.seteuid(user)


def test_what_is_not_there_is_removed_already(tmp_path: Path) -> None:
    assert remove(tmp_path / "nothing") == ()


def test_all_kinds_of_things(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "a/b/c").mkdir(parents=True)
    (folder / "a/b/file").write_text("x")
    (folder / "a" / os.fsdecode(b"no utf-8 \xff\n")).mkdir()
    (folder / "a" / os.fsdecode(b"\xfe")).write_text("x")
    (folder / "a/.1").write_text("x")
    os.mkfifo(folder / "a/b/pipe")
    (folder / "a/b/dangling").symlink_to("nowhere")

    assert remove(folder) == ()
    assert list(tmp_path.iterdir()) == []


def test_links_are_not_followed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir(mode=0o755)
    (kept / "file").write_text("x")
    folder = tmp_path / "folder"
    (folder / "a").mkdir(parents=True)
    (folder / "a/link").symlink_to(kept)
    (tmp_path / "link").symlink_to(kept)

    assert (remove(folder), remove(tmp_path / "link")) == ((), ())
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert ((kept / "file").read_text(), kept.stat().st_mode & 0o777) == ("x", 0o755)


def test_deeper_than_a_path_can_name(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    here = os.open(folder, os.O_RDONLY)
    for _ in range(3000):  # 3,000 names of 3 bytes: a path ends at 4,096
        os.mkdir("ab", dir_fd=here)
        Path(f"/proc/self/fd/{here}/file").touch()
        inner = os.open("ab", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)

    assert remove(folder) == ()
    assert not folder.exists()


def test_what_was_made_read_only(somebody: Callable[[], None]) -> None:
    inner = Path("folder/a/b/c")
    inner.mkdir(parents=True)
    (inner / "file").write_text("x")
    somebody()
    for path in (inner / "file", inner, *inner.parents[:-1]):
        path.chmod(0)

    assert remove(Path("folder")) == ()
    assert not Path("folder").exists()


def test_what_cannot_be_removed_is_named(somebody: Callable[[], None]) -> None:
    Path("folder/a/b").mkdir(parents=True)
    somebody()
    Path().chmod(0o555)

    # All that is in it can go, but not its own name.
    assert remove(Path("folder")) == ("folder",)
    assert list(Path("folder").iterdir()) == []

    Path().chmod(0o755)


def test_what_was_never_finished_is_removed(tmp_path: Path) -> None:
    first = nascent(tmp_path / "made/it")
    first.mkdir()
    other = nascent(tmp_path / "made/other")
    other.mkdir()

    second = nascent(tmp_path / "made/it")

    assert second != first
    assert list((tmp_path / "made").iterdir()) == [other]
