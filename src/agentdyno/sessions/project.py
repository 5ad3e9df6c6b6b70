"""Where a project lies: its `dyno.yaml`, its configuration, its home, and the files that a new one begins with."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import NamedTuple

from agentdyno.core.config import Config, load
from agentdyno.core.config.documents import parse
from agentdyno.core.config.entities import name_of
from agentdyno.core.errors import UserError
from agentdyno.core.layout import CONFIGS_FOLDER, HOME_FOLDER, SETTINGS_FILE, YAML_SUFFIXES
from agentdyno.sessions.lookup import home_path, nearest_project


class Scaffolded(NamedTuple):
    """What `scaffold` did, as paths relative to its target."""

    written: list[Path]
    kept: list[Path]
    """Files that were there already, and were left as they are."""


def find_project(start: Path) -> Path:
    """The nearest folder upwards that holds a `dyno.yaml`. Raises UserError when there is none."""
    project = nearest_project(start)
    if project is None:
        what = f"no {SETTINGS_FILE} in {start.resolve()} or above"
        raise UserError(what, "`dyno init` writes one, with examples")
    return project


def load_project(project: Path) -> Config:
    """The configuration of a project's folder. Raises ConfigFaults; UserError for a file that cannot be read."""
    settings = project / SETTINGS_FILE
    entities = [path for path in (project / CONFIGS_FOLDER).rglob("*") if path.suffix in YAML_SUFFIXES]
    files = {path.relative_to(project).as_posix(): _text_of(path) for path in (settings, *sorted(entities))}
    return load(files, built_in_profiles())


def built_in_profiles() -> dict[str, str]:
    """The texts of the harness profiles that come with agentdyno, by the path that each would have in a project."""
    folder = resources.files("agentdyno") / "harness_profiles"
    texts = {item.name: item.read_text("utf-8") for item in folder.iterdir() if item.name.endswith(YAML_SUFFIXES)}
    return {f"{CONFIGS_FOLDER}/harness_profiles/{name}": texts[name] for name in sorted(texts)}


def profile_text(start: Path, name: str) -> str:
    """The YAML of a harness profile: the project's own, if there is a project around `start` that has one."""
    texts = _by_name(built_in_profiles())
    with contextlib.suppress(UserError):
        own = (find_project(start) / CONFIGS_FOLDER / "harness_profiles").glob("*.yaml")
        texts |= _by_name({str(path): _text_of(path) for path in own})
    return texts[name]


def _by_name(texts: Mapping[str, str]) -> dict[str, str]:
    return {name_of(parse(file, text)[0]): text for file, text in texts.items()}


def first_configuration() -> Config:
    """What `dyno init` writes, as a configuration."""
    with tempfile.TemporaryDirectory() as folder:
        scaffold(Path(folder))
        return load_project(Path(folder))


def home_of(start: Path, environ: Mapping[str, str]) -> Path:
    """The stand's home: `DYNO_HOME`, else `.dyno` beside the nearest `dyno.yaml`. It is made if it is not there.

    It is readable by its owner only and ignores itself in Git, so that the measured repository stays clean.
    """
    home = home_path(start, environ) or find_project(start) / HOME_FOLDER
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        ignore = home / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
    except OSError as error:
        what = f"{home} cannot be used as the stand's home: {error.strerror}"
        raise UserError(what, "name another by DYNO_HOME") from error
    return home


def scaffold(target: Path) -> Scaffolded:
    """Write a first configuration into a folder, without changing a file that is there already."""
    written, kept = [], []
    for relative, source in _templates(resources.files("agentdyno") / "templates", Path()):
        file = target / relative
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("xb") as out:
                out.write(source.read_bytes())
            written.append(relative)
        except FileExistsError:
            kept.append(relative)
        except OSError as error:
            raise UserError(f"{file} cannot be written: {error.strerror}") from error
    return Scaffolded(written, kept)


def _text_of(path: Path) -> str:
    try:
        # What is not UTF-8 reaches the parser as lone surrogates, which it reports with their line.
        return path.read_bytes().decode("utf-8", errors="surrogateescape")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def _templates(folder: Traversable, relative: Path) -> Iterator[tuple[Path, Traversable]]:
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        if item.is_dir():
            yield from _templates(item, relative / item.name)
        elif item.name.endswith(YAML_SUFFIXES):
            yield relative / item.name, item
