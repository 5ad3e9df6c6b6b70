"""Where a project lies: its `dyno.yaml`, its configuration, its home, and the files that a new one begins with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import NamedTuple

from agentdyno.core.config import CONFIGS_FOLDER, SETTINGS_FILE, Config, load
from agentdyno.core.errors import UserError

HOME_FOLDER = ".dyno"
_YAML_SUFFIXES = (".yaml", ".yml")


class Scaffolded(NamedTuple):
    """What `scaffold` did, as paths relative to its target."""

    written: list[Path]
    kept: list[Path]
    """Files that were there already, and were left as they are."""


def find_project(start: Path) -> Path:
    """The nearest folder upwards that holds a `dyno.yaml`. Raises UserError when there is none."""
    here = start.resolve()
    for folder in (here, *here.parents):
        if (folder / SETTINGS_FILE).is_file():
            return folder
    raise UserError(f"no {SETTINGS_FILE} in {here} or above", "`dyno init` writes one, with examples")


def load_project(project: Path) -> Config:
    """The configuration of a project's folder. Raises ConfigFaults; UserError for a file that cannot be read."""
    settings = project / SETTINGS_FILE
    entities = [path for path in (project / CONFIGS_FOLDER).rglob("*") if path.suffix in _YAML_SUFFIXES]
    files = {path.relative_to(project).as_posix(): _text_of(path) for path in (settings, *sorted(entities))}
    return load(files, built_in_profiles())


def built_in_profiles() -> dict[str, str]:
    """The texts of the harness profiles that come with agentdyno, by the path that each would have in a project."""
    folder = resources.files("agentdyno") / "harness_profiles"
    texts = {item.name: item.read_text("utf-8") for item in folder.iterdir() if item.name.endswith(_YAML_SUFFIXES)}
    return {f"{CONFIGS_FOLDER}/harness_profiles/{name}": texts[name] for name in sorted(texts)}


def home_of(start: Path, environ: Mapping[str, str]) -> Path:
    """The stand's home: `DYNO_HOME`, else `.dyno` beside the nearest `dyno.yaml`. It is made if it is not there.

    It is readable by its owner only and ignores itself in Git, so that the measured repository stays clean.
    """
    named = environ.get("DYNO_HOME")
    home = Path(named).expanduser().absolute() if named else find_project(start) / HOME_FOLDER
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
        elif item.name.endswith(_YAML_SUFFIXES):
            yield relative / item.name, item
