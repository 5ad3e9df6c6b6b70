"""Copies of the repositories that task cards name: fetched into a bare one, and unfolded from there commit by commit.

Submodules and what Git LFS keeps elsewhere are not fetched: their places hold an empty folder, and a pointer file. Of a
repository on this machine only what is committed counts. Fetching is done with the operator's configuration and
credentials, and without hooks; all else with no configuration at all.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from agentdyno.core.errors import UserError
from agentdyno.core.names import suggestion
from agentdyno.sessions.git import as_nobody, as_operator, exactly_bare, git_in, git_in_bare, run_git, shown
from agentdyno.sessions.removal import nascent
from agentdyno.sessions.repository import init, point, slim

MAIN_BRANCH = "main"
"""The branch of a workspace that begins at a commit or a tag."""
_HEAD = "refs/dyno/head"
_COMMIT_ID = re.compile(r"[0-9a-f]{40}")
_SHORT_ID = re.compile(r"[0-9a-f]{7,39}")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")
_SAFELY = ("-c", "core.hooksPath=/dev/null", "-c", "protocol.file.allow=always", "-c", "protocol.ext.allow=never")
_FETCH = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--update-shallow", "--")


class Origin(NamedTuple):
    """Where a repository is."""

    address: str
    """As Git is told: a URL, or an absolute path."""
    shown: str
    """The same for people and records, without credentials."""


class Wanted(NamedTuple):
    """A commit that a mirror holds, and the branch on which a workspace begins with it."""

    commit: str
    branch: str


def origin_of(repository: str, project: Path) -> Origin:
    """Where the repository of a task card is: a URL, or a path from the project's folder. Raises UserError for none."""
    _require_printable(repository)
    if "://" in repository or ":" in repository.split("/", 1)[0]:
        return Origin(repository, shown(repository))
    path = project.absolute() / repository
    try:
        path.lstat()
    except OSError as error:
        what = f"repository {shown(repository)} is not there: {error.strerror}"
        raise UserError(what, f"name a URL, or a path from {shown(str(project))}") from error
    return Origin(str(path), shown(str(path)))


def is_commit_id(ref: str | None) -> bool:
    """Whether it names one commit for good: branches and tags move, and a shorter id may be a branch as well."""
    return ref is not None and _COMMIT_ID.fullmatch(ref) is not None


def find(origin: Origin, mirror: Path, ref: str | None) -> Wanted:
    """The commit that a task card names, fetched into the mirror; the repository's HEAD for None.

    A commit that the mirror has is not asked for again. Raises UserError for what cannot be had.
    """
    if ref is None or ref == "HEAD":
        _fetch(origin, mirror, f"+HEAD:{_HEAD}")
        return Wanted(_commit(mirror, _HEAD) or _no_such(origin, mirror, "HEAD"), MAIN_BRANCH)
    _require_printable(ref)
    if is_commit_id(ref):
        return Wanted(_by_id(origin, mirror, ref) or _no_such(origin, mirror, ref), MAIN_BRANCH)
    _fetch(origin, mirror)
    for name, branch in ((f"refs/heads/{ref}", ref), (f"refs/tags/{ref}", MAIN_BRANCH)):
        if name in _refs(mirror):
            return Wanted(_commit(mirror, name) or _no_such(origin, mirror, ref), branch)
    short = _commit(mirror, ref) if _SHORT_ID.fullmatch(ref) else None
    return Wanted(short or _no_such(origin, mirror, ref), MAIN_BRANCH)


def unfold(mirror: Path, wanted: Wanted, folder: Path) -> None:
    """Make a folder a repository whose history is the commit and its ancestors, with its files laid out.

    Nothing else is in it: nothing later, no other branch, only tags of that history, no remote, no logs.
    """
    folder.mkdir(parents=True)
    init(folder, wanted.branch)
    tags = _tags_until(mirror, wanted.commit)
    roots = "".join(f"{commit}\n" for commit in (wanted.commit, *tags.values()))
    pack = folder / ".git/objects/pack/pack"
    git_in_bare(mirror, "pack-objects", "--revs", "--quiet", "--delta-base-offset", str(pack), given=roots.encode())
    _keep_shallow(mirror, wanted.commit, folder)
    point(folder, {f"refs/heads/{wanted.branch}": wanted.commit, **tags})
    git_in(folder, "read-tree", "-m", "-u", "HEAD")
    slim(folder)


def _tags_until(mirror: Path, commit: str) -> dict[str, str]:
    """What the tags of a commit and of its ancestors stand for, by their full names."""
    listed = git_in_bare(mirror, "for-each-ref", f"--merged={commit}", "--format=%(objectname) %(refname)", "refs/tags")
    lines = listed.decode(errors="surrogateescape").splitlines()
    return {name: target for target, name in (line.split(" ", 1) for line in lines)}


def _keep_shallow(mirror: Path, commit: str, folder: Path) -> None:
    """Where the repository itself has no more of its history, neither has what is unfolded."""
    cut = mirror / "shallow"
    if cut.exists():
        ancestors = set(git_in_bare(mirror, "rev-list", commit).decode().splitlines())
        lines = [line for line in cut.read_text().splitlines() if line in ancestors]
        (folder / ".git/shallow").write_text("".join(f"{line}\n" for line in lines))


def _by_id(origin: Origin, mirror: Path, commit_id: str) -> str | None:
    found = _commit(mirror, commit_id)
    if found is None:
        _fetch(origin, mirror)
        found = _commit(mirror, commit_id)
    if found is None:
        # On no branch any more. Some servers give it out to those who know its id.
        _try_fetch(origin, mirror, f"+{commit_id}:refs/dyno/{commit_id}")
        found = _commit(mirror, commit_id)
    return found


def _fetch(origin: Origin, mirror: Path, *more: str) -> None:
    """Bring all branches and tags of the mirror to what they are now. Raises UserError when they cannot be had."""
    failure = _try_fetch(origin, mirror, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*", *more)
    if failure is None:
        return
    if "couldn't find remote ref HEAD" in failure:
        raise UserError(f"repository {origin.shown} has no commit at its HEAD", "commit there, or name a commit")
    hint = "is that the address, and may you read what is there?"
    raise UserError(f"repository {origin.shown} cannot be fetched: {failure}", hint)


def _try_fetch(origin: Origin, mirror: Path, *refspecs: str) -> str | None:
    """What went wrong, in words; None for nothing.

    While it lasts the mirror has another name: one that was torn by a kill is never taken up again.
    """
    torn = nascent(mirror)
    if mirror.is_dir():
        mirror.rename(torn)
    else:
        torn.mkdir(parents=True)
        git_in_bare(torn, "init", "--quiet", "--bare", "--template=")
    prune = ("--prune",) if len(refspecs) > 1 else ()
    run = run_git(
        (*exactly_bare(torn), *_SAFELY, _FETCH[0], *prune, *_FETCH[1:], origin.address, *refspecs), as_operator()
    )
    torn.rename(mirror)
    return None if run.code == 0 else run.words


def _commit(mirror: Path, name: str) -> str | None:
    """The id of the commit of that name, if the mirror has one."""
    if not mirror.is_dir():
        return None
    run = run_git((*exactly_bare(mirror), "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"), as_nobody())
    return run.output.decode().strip() if run.code == 0 else None


def _refs(mirror: Path) -> list[str]:
    return git_in_bare(mirror, "for-each-ref", "--format=%(refname)").decode(errors="surrogateescape").splitlines()


def _no_such(origin: Origin, mirror: Path, ref: str) -> str:
    names = [name.split("/", 2)[2] for name in _refs(mirror) if name.startswith(("refs/heads/", "refs/tags/"))]
    what = f"repository {origin.shown} has no commit, branch or tag {shown(ref)}"
    raise UserError(what, suggestion(ref, names))


def _require_printable(name: str) -> None:
    if _UNPRINTABLE.search(name):
        raise UserError(f"repository or commit {shown(name)} has characters that no name has", "is it quoted right?")
