"""Names of what is configured and recorded, looked up without loading any of it: for a shell that completes a word."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from agentdyno.core.layout import CONFIGS_FOLDER, HOME_FOLDER, SETTINGS_FILE, YAML_SUFFIXES
from agentdyno.core.names import NAME
from agentdyno.stand.home import Home
from agentdyno.store.address import named_ledger
from agentdyno.store.glance import newest_session_ids

_NEWEST = 100
_GIVEN_NAME = re.compile(r"""^name:[ \t]*["']?([^\s"'#]+)""", re.MULTILINE)


def nearest_project(start: Path) -> Path | None:
    """The nearest folder upwards that holds a `dyno.yaml`."""
    here = start.resolve()
    return next((folder for folder in (here, *here.parents) if (folder / SETTINGS_FILE).is_file()), None)


def home_path(start: Path, environ: Mapping[str, str]) -> Path | None:
    """Where the stand's home is, or would be: `DYNO_HOME`, else `.dyno` beside the nearest `dyno.yaml`."""
    named = environ.get("DYNO_HOME")
    if named:
        return Path(named).expanduser().absolute()
    project = nearest_project(start)
    return None if project is None else project / HOME_FOLDER


def names_in(project: Path, folder: str) -> tuple[str, ...]:
    """Names of the entities in one folder of a project's `configs/`, with those that come with agentdyno.

    Read at a glance: what a file says wrong otherwise does not matter here. Raises OSError, UnicodeDecodeError.
    """
    names = {_name(path.stem, path.read_text("utf-8")) for path in _yaml_files(project / CONFIGS_FOLDER / folder)}
    if folder == "harness_profiles":
        built_in = (resources.files("agentdyno") / folder).iterdir()
        names |= {Path(item.name).stem for item in built_in if item.name.endswith(YAML_SUFFIXES)}
    return tuple(sorted(name for name in names if NAME.fullmatch(name)))


def newest_sessions(start: Path, environ: Mapping[str, str], *, only_open: bool) -> tuple[str, ...]:
    """Ids of the newest sessions, newest first; none where there is no ledger. Raises UserError as `named_ledger`."""
    home = home_path(start, environ)
    if home is None:
        return ()
    return newest_session_ids(Home(home, named_ledger(environ)).ledger, _NEWEST, only_open=only_open)


def _yaml_files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix in YAML_SUFFIXES] if folder.is_dir() else []


def _name(stem: str, text: str) -> str:
    given = _GIVEN_NAME.search(text)
    return stem if given is None else given[1]
