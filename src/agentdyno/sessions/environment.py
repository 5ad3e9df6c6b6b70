"""The environment that points a harness at the gateway: variables and files, rendered from its profile."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from agentdyno.core.errors import UserError
from agentdyno.core.ids import KEY_PATH_PREFIX
from agentdyno.core.records import HarnessProfile, Variant
from agentdyno.core.templates import render_command, render_values
from agentdyno.sessions.trace import TRACE_VARIABLE, trace_file


class Rendered(NamedTuple):
    """A profile filled in for one session."""

    env: dict[str, str]
    files: dict[Path, str]
    workspace_files: dict[str, str]
    home_files: dict[str, str]


def program_of(profile: HarnessProfile) -> str | None:
    """The harness's own program. The version command names it; the headless one may go through a shell."""
    declared = (*profile.version_command[:1], *profile.command[:1])
    return declared[0] if declared else None


def template_values(
    variant: Variant,
    profile: HarnessProfile,
    *,
    gateway_url: str,
    session_id: str,
    files_dir: Path,
    workspace: Path,
    setup_dir: Path,
) -> dict[str, str]:
    """What templates may name, less the session's key and the prompt."""
    return {
        **profile.settings,
        **variant.settings,
        **setup_values(variant, setup_dir),
        "gateway_url": gateway_url,
        "session_id": session_id,
        "files_dir": str(files_dir),
        "workspace": str(workspace),
    }


def setup_values(variant: Variant, setup_dir: Path) -> dict[str, str]:
    """What templates may name before there is any session."""
    return {
        "model": variant.model,
        "small_model": variant.model if variant.small_model is None else variant.small_model,
        "setup_dir": str(setup_dir),
    }


def render_environment(
    variant: Variant, profile: HarnessProfile, values: dict[str, str], session_key: str, files_dir: Path
) -> Rendered:
    """The variables and files of one session. A file's path must stay below `files_dir` (UserError).

    Where its trace lies is always told; no template changes that.
    """
    with_key = {
        **values,
        "session_key": session_key,
        "gateway_url_with_key": f"{values['gateway_url']}{KEY_PATH_PREFIX}{session_key}",
    }
    files = {}
    for name, text in render_values(profile.files, with_key).items():
        files[below(files_dir, name)] = text
    env = render_values({**profile.network_guards, **profile.env, **variant.env}, with_key)
    return Rendered(
        {**env, TRACE_VARIABLE: str(trace_file(files_dir))},
        files,
        render_values(variant.workspace_files, with_key),
        render_values(variant.home_files, with_key),
    )


def below(folder: Path, name: str) -> Path:
    """The path of a configured file below its folder. Raises UserError for a name that leads out of it."""
    path = Path(os.path.normpath(folder / name))
    if not path.is_relative_to(folder):
        raise UserError(f"file {name!r} leaves its folder", "use a relative path without ..")
    return path


def require_headless(profile: HarnessProfile) -> None:
    """Raise UserError unless the profile has a headless command."""
    if not profile.command:
        raise UserError(f"harness profile {profile.name} has no headless command", "name one: `… -- COMMAND`")


def render_headless(profile: HarnessProfile, values: dict[str, str], prompt: str) -> tuple[str, ...]:
    """The profile's headless command."""
    return render_command(profile.command, {**values, "prompt": prompt})


def write_files(folder: Path, files: dict[Path, str]) -> None:
    """Write rendered files, readable by their owner only: they may hold the session's key."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        path.write_bytes(os.fsencode(text))
