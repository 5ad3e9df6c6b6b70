"""The edges that commands hand to the floors below: folders, clock, randomness, environment."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from agentdyno.clock import now_us

if TYPE_CHECKING:
    from agentdyno.core.records import Session
    from agentdyno.sessions.deployments import DeploymentAccess
    from agentdyno.sessions.opening import Context
    from agentdyno.stand.home import Home
    from agentdyno.store.ledger import Ledger

HARNESSES = Path(".harnesses/bin")
"""Where `make harnesses` puts the programs of harnesses."""


def current_folder() -> Path:
    """The folder that the command was called in. Raises UserError when it is there no more."""
    from agentdyno.core.errors import UserError

    try:
        return Path.cwd()
    except FileNotFoundError as error:
        raise UserError("the current folder is there no more", "change to one that is") from error


def shell_exit_code(code: int) -> int:
    """A process's exit code as a shell tells it: a signal, which is negative, as 128 and its number."""
    return code if code >= 0 else 128 - code


def current_home() -> Home:
    """The stand's home, from here."""
    import os

    from agentdyno.sessions.project import home_of
    from agentdyno.stand.home import Home
    from agentdyno.store.address import named_ledger

    return Home(home_of(current_folder(), os.environ), named_ledger(os.environ))


def configured_experiments() -> tuple[str, ...]:
    """Names of the experiments that are configured here; none outside of a project, or where it has faults."""
    from agentdyno.core.errors import UserError
    from agentdyno.sessions.project import find_project, load_project

    with contextlib.suppress(UserError):
        return tuple(load_project(find_project(current_folder())).experiments)
    return ()


def deployment_access(ledger: Ledger, session: Session) -> DeploymentAccess | None:
    """What it takes to deal with a session's LiteLLM deployment, and tells people of it; None for any other session."""
    from agentdyno.sessions.deployments import deployment_provider

    return None if deployment_provider(ledger, session) is None else every_deployment_access()


def every_deployment_access() -> DeploymentAccess:
    """What it takes to deal with LiteLLM deployments, by the settings of the project that this is called in, if any."""
    import os

    from agentdyno.core.config import StandSettings
    from agentdyno.core.errors import UserError
    from agentdyno.sessions.deployments import DeploymentAccess
    from agentdyno.sessions.project import find_project, load_project

    settings = StandSettings().deployment
    with contextlib.suppress(UserError):
        settings = load_project(find_project(current_folder())).settings.deployment
    return DeploymentAccess(os.environ, settings.logs_quiet_s, settings.logs_limit_s, tell)


def tell(line: str) -> None:
    """Say something to people, beside what a command prints."""
    import typer

    typer.echo(line, err=True)


@contextlib.contextmanager
def open_ledger(home: Home, log: str = "sessions") -> Iterator[Ledger]:
    """The ledger, with sessions closed whose time-to-live has ended: whoever looks next does it, and logs it."""
    from agentdyno.logs import configure_logging
    from agentdyno.sessions.closing import close_expired
    from agentdyno.store.ledger import Ledger

    ledger = Ledger.open(home.ledger)
    configure_logging(home.log(log))
    try:
        close_expired(ledger, home, now_us)
        yield ledger
    finally:
        ledger.close()


def environ_with(harnesses: Path) -> dict[str, str]:
    """The environment, with a folder of harnesses' programs first on PATH; the usual one only if it is there.

    Raises UserError for any other that is no folder.
    """
    import os

    from agentdyno.core.errors import UserError

    if not harnesses.is_dir():
        if harnesses != HARNESSES:
            raise UserError(f"there is no folder {harnesses}", "name the one with the harnesses' programs: --harnesses")
        return dict(os.environ)
    return {**os.environ, "PATH": f"{harnesses.resolve()}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}


@contextlib.contextmanager
def session_context(environ: Mapping[str, str] | None = None) -> Iterator[Context]:
    """Everything that opening a session needs. While this lasts, interruptions are held."""
    import os
    from secrets import token_bytes

    from agentdyno.interruption import held_interruptions
    from agentdyno.sessions.opening import Context
    from agentdyno.sessions.project import find_project, load_project
    from agentdyno.stand.state import running_stand

    config = load_project(find_project(current_folder()))
    home = current_home()
    stand = running_stand(home)
    given = os.environ if environ is None else environ
    with open_ledger(home) as ledger, held_interruptions() as interruptions:
        yield Context(config, ledger, home, stand, given, now_us, token_bytes, interruptions)
