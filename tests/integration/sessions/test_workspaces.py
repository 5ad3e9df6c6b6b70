"""Workspaces: made of real repositories, by the git that is installed."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from tests.integration.sessions.git_repository import GitRepository, git

from agentdyno.core.errors import UserError
from agentdyno.core.records import TaskCard
from agentdyno.sessions.workspaces import Source, lay_out, prepare_source


class Cards:
    """A project's folder, its cache, and task cards that start from one repository."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self.repository = GitRepository(folder / "upstream")

    def prepare(self, commit: str | None = None, repository: str | None = "upstream") -> Source:
        """What workspaces of such a task card are copied from."""
        return prepare_source(TaskCard("t", "", "", repository, commit), self.folder, self.cache)

    def workspace(self, commit: str | None = None, repository: str | None = "upstream", **files: str) -> Path:
        """A new workspace of such a task card."""
        folder = self.folder / "cells" / os.urandom(4).hex() / "workspace"
        lay_out(self.prepare(commit, repository), folder, files)
        return folder


@pytest.fixture
def cards(tmp_path: Path) -> Cards:
    return Cards(tmp_path)


def prepare_and_tell(cards: Cards, begun: Event) -> None:
    begun.set()
    cards.prepare()


def names_of(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".git"}


def test_a_commit_is_laid_out_with_the_files_of_the_cell(cards: Cards) -> None:
    first = cards.repository.commit(kept="upstream's", replaced="upstream's")
    cards.repository.commit(later="x")

    workspace = cards.workspace(first, **{"replaced": "the cell's", "deep/new": "the cell's"})

    assert git(workspace, "rev-parse", "HEAD") == first
    assert git(workspace, "branch", "--show-current") == "main"
    assert git(workspace, "status", "--porcelain").splitlines() == ["M replaced", "?? deep/"]
    assert [(workspace / name).read_text() for name in ("kept", "replaced", "deep/new")] == [
        "upstream's",
        "the cell's",
        "the cell's",
    ]
    assert (workspace / "deep/new").stat().st_mode & 0o777 == 0o644


def test_nothing_of_a_solution_is_in_the_workspace(cards: Cards) -> None:
    repository = cards.repository
    repository.commit(old="x")
    repository.git("tag", "v1")
    repository.git("tag", "-a", "v1-told", "-m", "the first")
    task = repository.commit(task="do it")
    solution = repository.commit(task="THE SOLUTION")
    repository.git("tag", "-a", "v2", "-m", "solved")
    repository.git("switch", "--quiet", "-c", "other", task)
    other = repository.commit(task="ANOTHER SOLUTION")

    workspace = cards.workspace(task)

    assert git(workspace, "log", "--all", "--format=%s").splitlines() == ["task", "old"]
    assert git(workspace, "tag").splitlines() == ["v1", "v1-told"]
    assert git(workspace, "for-each-ref", "--format=%(refname)", "refs/heads") == "refs/heads/main"
    assert git(workspace, "fsck", "--full", "--lost-found") == ""
    assert git(workspace, "remote") == git(workspace, "reflog", "--all") == ""
    for hidden in (solution, other):
        with pytest.raises(subprocess.CalledProcessError):
            git(workspace, "cat-file", "-e", hidden)
    for path in (path for path in workspace.rglob("*") if path.is_file()):
        content = path.read_bytes()
        assert not any(
            word in content
            for word in (b"SOLUTION", solution.encode(), other.encode(), str(repository.folder).encode())
        )
    objects = git(workspace, "cat-file", "--batch-all-objects", "--batch-check=%(objecttype)").splitlines()
    # Two commits, each with a tree and a new file; and the annotated tag.
    assert sorted(objects) == ["blob", "blob", "commit", "commit", "tag", "tree", "tree"]


def test_no_hook_and_no_setting_of_the_operator_comes_along(
    cards: Cards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for name in ("post-checkout", "post-commit", "reference-transaction", "post-index-change"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/hook-ran\n")
        (hooks / name).chmod(0o755)
    (tmp_path / "gitconfig").write_text(
        f"[core]\nhooksPath = {hooks}\nautocrlf = true\n"
        f'[init]\ntemplateDir = {hooks}\n[user]\nname = Operator\n[filter "shout"]\nsmudge = tr a-z A-Z\n'
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    cards.repository.commit(text="a\nb\n", **{".gitattributes": "text filter=shout\n"})

    workspace = cards.workspace()

    assert not (tmp_path / "hook-ran").exists()
    assert (workspace / "text").read_bytes() == b"a\nb\n"
    assert not (workspace / ".git/hooks").exists()
    assert "Operator" not in git(workspace, "config", "--list")


@pytest.mark.parametrize(
    ("named", "expected", "branch"),
    [
        (None, "second", "main"),
        ("HEAD", "second", "main"),
        ("trunk", "second", "trunk"),
        ("feature/one", "third", "feature/one"),
        ("v1", "first", "main"),
        ("told", "first", "main"),
        ("same", "third", "same"),  # a branch and a tag: the branch is meant
    ],
)
def test_what_a_commit_may_be_named_by(cards: Cards, named: str | None, expected: str, branch: str) -> None:
    repository = cards.repository
    repository.commit(first="")
    repository.git("tag", "v1")
    repository.git("tag", "-a", "told", "-m", "x")
    repository.git("tag", "same")
    repository.commit(second="")
    repository.git("switch", "--quiet", "-c", "feature/one")
    repository.commit(third="")
    repository.git("branch", "same")
    repository.git("switch", "--quiet", "trunk")

    workspace = cards.workspace(named)

    assert git(workspace, "log", "-1", "--format=%s") == expected
    assert git(workspace, "branch", "--show-current") == branch


def test_the_beginning_of_an_id_will_do(cards: Cards) -> None:
    first = cards.repository.commit(first="")
    cards.repository.commit(second="")

    assert cards.prepare(first[:8]).commit == first


def test_branches_are_looked_up_anew_and_commits_are_kept(cards: Cards) -> None:
    first = cards.repository.commit(first="")
    assert (cards.prepare().commit, cards.prepare("trunk").commit) == (first, first)

    second = cards.repository.commit(second="")
    assert (cards.prepare().commit, cards.prepare("trunk").commit) == (second, second)
    assert cards.prepare(second).commit == second

    cards.repository.git("reset", "--quiet", "--hard", first)
    assert cards.prepare("trunk").commit == first
    shutil.rmtree(cards.repository.folder / ".git/objects")
    with pytest.raises(UserError):
        cards.prepare("trunk")
    with pytest.raises(UserError):
        cards.prepare()
    # What is cached needs nobody, not even for another template of it.
    shutil.rmtree(cards.cache / "templates")
    assert {*names_of(cards.workspace(second))} == {"first", "second"}


def test_a_branch_may_become_a_folder_of_branches(cards: Cards) -> None:
    cards.repository.commit(first="")
    cards.repository.git("branch", "topic")
    cards.prepare("topic")
    cards.repository.git("branch", "-m", "topic", "topic/one")

    assert cards.prepare("topic/one").commit
    with pytest.raises(UserError, match='no commit, branch or tag topic; did you mean "topic/one"'):
        cards.prepare("topic")


def test_a_commit_that_is_on_no_branch_any_more(cards: Cards) -> None:
    first = cards.repository.commit(first="")
    gone = cards.repository.commit(second="")
    cards.repository.git("reset", "--quiet", "--hard", first)

    assert cards.prepare(gone).commit == gone


def test_only_what_is_committed_counts(cards: Cards) -> None:
    cards.repository.commit(changed="committed")
    (cards.repository.folder / "changed").write_text("not committed")
    (cards.repository.folder / "untracked").write_text("x")

    workspace = cards.workspace()

    assert (workspace / "changed").read_text() == "committed"
    assert names_of(workspace) == {"changed"}


def test_a_repository_without_its_whole_history(cards: Cards, tmp_path: Path) -> None:
    for name in ("first", "second", "third"):
        last = cards.repository.commit(**{name: ""})
    git(tmp_path, "clone", "--quiet", "--depth=2", f"file://{cards.repository.folder}", "shallow")

    workspace = cards.workspace(repository="shallow")

    assert git(workspace, "log", "--format=%s").splitlines() == ["third", "second"]
    assert git(workspace, "rev-parse", "HEAD") == last
    assert git(workspace, "fsck", "--full") == ""


def test_by_url(cards: Cards) -> None:
    first = cards.repository.commit(first="")

    source = cards.prepare(repository=f"file://{cards.repository.folder}")

    assert (source.commit, source.root) == (first, f"file://{cards.repository.folder}")


def test_without_a_repository_there_is_one_with_an_empty_commit(cards: Cards) -> None:
    source = cards.prepare(repository=None)
    workspace = cards.workspace(repository=None, **{"AGENTS.md": "be good"})

    assert (source.root, source.commit) == (None, git(workspace, "rev-parse", "HEAD"))
    assert git(workspace, "log", "--format=%an %s %at") == "dyno start 946684800"  # the year 2000
    assert git(workspace, "ls-files") == ""
    assert names_of(workspace) == {"AGENTS.md"}


@pytest.mark.parametrize("repository", ["upstream", None])
def test_workspaces_share_nothing(cards: Cards, repository: str | None) -> None:
    cards.repository.commit(first="")
    damaged, whole = cards.workspace(repository=repository), cards.workspace(repository=repository)
    for path in damaged.rglob("*"):
        if path.is_file():
            path.chmod(0o600)
            path.write_text("damaged")

    for workspace in (whole, cards.workspace(repository=repository)):
        assert git(workspace, "fsck", "--full") == ""
        assert git(workspace, "status", "--porcelain") == ""


def test_many_at_once(cards: Cards) -> None:
    commit = cards.repository.commit(first="")

    with ThreadPoolExecutor(8) as pool:
        workspaces = list(pool.map(lambda named: cards.workspace(named), [None, "trunk", commit] * 4))

    assert {git(workspace, "rev-parse", "HEAD") for workspace in workspaces} == {commit}
    assert not list(cards.cache.rglob("*.part*"))


def test_killed_at_any_instant_it_is_made_again(cards: Cards) -> None:
    commit = cards.repository.commit(**{f"file{number}": "x" * 1000 for number in range(200)})
    spawn = multiprocessing.get_context("spawn")
    for delay_ms in (5, 20, 40, 60, 80, 120):
        begun = spawn.Event()
        process = spawn.Process(target=prepare_and_tell, args=(cards, begun))
        process.start()
        begun.wait()
        time.sleep(delay_ms / 1000)
        process.kill()
        process.join()

    workspace = cards.workspace()

    assert git(workspace, "rev-parse", "HEAD") == commit
    assert len(names_of(workspace)) == 200
    assert git(workspace, "fsck", "--full") == ""
    # A git that a killed one had started may still have been writing: the next to come removes that too.
    deadline_s = time.monotonic() + 20
    while list(cards.cache.rglob("*.part*")):
        assert time.monotonic() < deadline_s
        cards.prepare()


@pytest.mark.parametrize(
    ("repository", "commit", "said"),
    [
        ("nowhere", None, "repository nowhere is not there: No such file or directory; name a URL, or a path from"),
        ("~/upstream", None, "repository ~/upstream is not there"),
        ("x" * 5000, None, "is not there: File name too long"),
        ("x" * 300_000 + "://h/r", None, "git cannot be run"),
        ("a\nb", None, "has characters that no name has"),
        ("upstream", "a\nb", "has characters that no name has"),
        ("upstream", "x" * 5000, "has no commit, branch or tag xxx"),
        ("upstream", "--all", "has no commit, branch or tag --all"),
        ("upstream", "trunk~1", 'has no commit, branch or tag trunk~1; did you mean "trunk"'),
        ("upstream", "0" * 40, f"has no commit, branch or tag {'0' * 40}"),
        ("upstream", "trunc", 'no commit, branch or tag trunc; did you mean "trunk"'),
        ("empty", None, "has no commit at its HEAD; commit there"),
        ("empty", "main", "has no commit, branch or tag main; there is none"),
        ("folder", None, "cannot be fetched: .*does not appear to be a git repository"),
        ("file:///nowhere", None, "repository file:///nowhere cannot be fetched"),
        ("nonsense://host/x", None, "repository nonsense://host/x cannot be fetched"),
        ("ext::touch gotcha", None, "cannot be fetched: transport 'ext' not allowed"),
        ("--upload-pack=touch:gotcha", None, "cannot be fetched"),
    ],
)
def test_what_does_not_exist_is_told_in_one_line(
    cards: Cards, repository: str, commit: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(cards.folder)
    cards.repository.commit(first="")
    GitRepository(cards.folder / "empty")
    (cards.folder / "folder").mkdir()

    with pytest.raises(UserError, match=said) as raised:
        cards.prepare(commit, repository)

    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 1500
    assert not list(cards.folder.rglob("gotcha"))


def test_no_password_is_told(cards: Cards) -> None:
    # Port 1 of this machine, where nothing listens.
    with pytest.raises(UserError) as raised:
        cards.prepare(repository="http://person:hunter2@127.0.0.1:1/repository.git?private_token=hunter3")

    assert "repository http://127.0.0.1:1/repository.git cannot be fetched" in str(raised.value)
    assert "hunter" not in str(raised.value)


def test_a_damaged_mirror_is_never_taken_for_the_repository_around_it(tmp_path: Path) -> None:
    around = GitRepository(tmp_path / "project")
    mine = around.commit(mine="x")
    cards = Cards(around.folder)
    commit = cards.repository.commit(first="")
    cards.prepare(commit)
    shutil.rmtree(cards.cache / "templates")
    for head in cards.cache.rglob("HEAD"):
        head.unlink()

    for named in (commit, None):
        with pytest.raises(UserError, match="cannot be fetched: not a git repository"):
            cards.prepare(named)

    assert around.git("for-each-ref", "--format=%(objectname) %(refname)") == f"{mine} refs/heads/trunk"
