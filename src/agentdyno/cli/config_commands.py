"""`dyno init` and `dyno config validate|list|show`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentdyno.cli import completion
from agentdyno.cli.edges import current_folder
from agentdyno.cli.printing import Json, print_json, print_page

if TYPE_CHECKING:
    from agentdyno.core.config import Config

config_app = typer.Typer(help="Check and read the configuration.", no_args_is_help=True)


def init(
    directory: Annotated[Path, typer.Argument(help="Folder that becomes a project.")] = Path(),
) -> None:
    """Write a first dyno.yaml and example configs.

    Files that exist are left as they are.
    """
    from agentdyno.sessions.project import scaffold

    done = scaffold(directory)
    for path in done.kept:
        typer.echo(f"kept {directory / path}")
    typer.echo(f"{len(done.written)} files written, {len(done.kept)} kept; look at {directory / 'dyno.yaml'} first")


@config_app.command()
def validate(as_json: Json = False) -> None:
    """Check the whole configuration and show every fault at once."""
    from agentdyno.core.errors import ConfigFaults

    try:
        _, config = _project()
    except ConfigFaults as faults:
        if not as_json:
            raise
        print_json({"valid": False, "faults": [vars(fault) for fault in faults.faults]})
        raise typer.Exit(faults.exit_code) from None
    counts = {folder: len(entities) for folder, entities in _by_folder(config).items()}
    if as_json:
        print_json({"valid": True, "faults": [], **counts})
    else:
        typer.echo("valid: " + ", ".join(f"{n} {folder.replace('_', ' ')}" for folder, n in counts.items()))


@config_app.command("list")
def list_entities(
    kind: Annotated[
        str | None, typer.Argument(help="Only these: providers, variants, …", autocompletion=completion.folders)
    ] = None,
    as_json: Json = False,
) -> None:
    """List what is configured."""
    _, config = _project()
    chosen = _by_folder(config) if kind is None else {_folder(kind): _by_folder(config)[_folder(kind)]}
    if as_json:
        print_json({folder: sorted(entities) for folder, entities in chosen.items()})
        return
    from agentdyno.reporting.tables import Column, plain_table

    columns = (Column("name"), Column("what it is", optional=True, prose=True))
    print_page(
        *(
            plain_table(
                columns,
                [(name, _in_one_line(config, entity) or None) for name, entity in entities.items()],
                title=folder.replace("_", " "),
            )
            for folder, entities in chosen.items()
        )
    )


@config_app.command()
def show(
    kind: Annotated[
        str,
        typer.Argument(
            help="provider, harness_profile, variant, task_card or experiment.", autocompletion=completion.kinds
        ),
    ],
    name: Annotated[str, typer.Argument(help="Its name.", autocompletion=completion.entities)],
    as_json: Json = False,
) -> None:
    """Show one entity as it was understood, with its digest."""
    import os

    from agentdyno.core.config import entity_digest, fingerprint, missing_secrets
    from agentdyno.core.jsonable import to_jsonable

    _, config = _project()
    folder = _folder(kind)
    entity = getattr(config, folder.removesuffix("s"))(name)
    shown = {**to_jsonable(entity), "digest": entity_digest(entity)}
    if folder == "variants":
        provider, profile = config.provider(entity.provider), config.harness_profile(entity.harness_profile)
        shown["fingerprint"] = fingerprint(entity, provider, profile)
        shown["missing_secrets"] = missing_secrets(config, entity, os.environ)
    if as_json:
        print_json(shown)
        return
    import yaml

    typer.echo(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True, width=120), nl=False)


def _project() -> tuple[Path, Config]:
    from agentdyno.sessions.project import find_project, load_project

    project = find_project(current_folder())
    return project, load_project(project)


def _by_folder(config: Config) -> Mapping[str, Mapping[str, Any]]:
    from agentdyno.core.config import FOLDERS

    return {folder: getattr(config, folder) for folder in FOLDERS}


def _folder(kind: str) -> str:
    """The folder that a kind is called by: variant, variants, task-card, …"""
    from agentdyno.core.config import FOLDERS
    from agentdyno.core.errors import UserError
    from agentdyno.core.names import suggestion

    folder = kind.replace("-", "_").removesuffix("s") + "s"
    if folder not in FOLDERS:
        raise UserError(f'kind "{kind}" is not defined', suggestion(kind, FOLDERS))
    return folder


def _in_one_line(config: Config, entity: Any) -> str:
    """What an entity's own description says; for those without one, what they are about."""
    from agentdyno.core.records import TaskCard

    return entity.goal if isinstance(entity, TaskCard) else entity.description
