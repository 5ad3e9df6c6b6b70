"""Options and arguments that several commands take, with what a shell may complete them to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agentdyno.cli import completion


def _text(value: str | None) -> str | None:
    """A text that is stored or looked for. Raises UserError for bytes that are none."""
    from agentdyno.core.errors import UserError

    try:
        (value or "").encode()
    except UnicodeEncodeError:
        raise UserError(f"{value!a} is no text in the terminal's encoding", "write it in UTF-8") from None
    return value


_SESSION_ID = "Session's id, or enough of its beginning or end."

VariantName = Annotated[str, typer.Option("--variant", help="Variant to measure.", autocompletion=completion.variants)]
TaskCardName = Annotated[
    str, typer.Option("--task-card", help="Task card to work on.", autocompletion=completion.task_cards)
]
ExperimentName = Annotated[
    str | None,
    typer.Option("--experiment", help="Experiment that it belongs to.", autocompletion=completion.experiments),
]
ExperimentToCompare = Annotated[
    str | None,
    typer.Argument(help="Experiment; all sessions when left out.", autocompletion=completion.experiments),
]
Label = Annotated[str | None, typer.Option("--label", help="A name of your own.", callback=_text)]
Notes = Annotated[str | None, typer.Option("--notes", help="Remarks to keep with it.", callback=_text)]
Repo = Annotated[Path, typer.Option("--repo", help="Repository that is worked in.")]
EnvFile = Annotated[Path | None, typer.Option("--env-file", help="Write the variables there instead of printing them.")]
SessionId = Annotated[str, typer.Argument(help=_SESSION_ID, callback=_text, autocompletion=completion.sessions)]
OpenSessionId = Annotated[
    str, typer.Argument(help=_SESSION_ID, callback=_text, autocompletion=completion.open_sessions)
]
SessionName = Annotated[
    str | None, typer.Option("--session", help=_SESSION_ID, callback=_text, autocompletion=completion.sessions)
]
SessionOrExperiment = Annotated[
    str,
    typer.Argument(
        help="Session's id, or enough of its beginning or end; or an experiment's name.",
        callback=_text,
        autocompletion=completion.sessions_and_experiments,
    ),
]
