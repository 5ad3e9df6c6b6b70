"""What commands print: JSON for machines, tables and lines for people."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_UNBOUNDED = 10_000


def print_json(value: Any, indent: int | None = 2) -> None:
    """One JSON document on standard output; without an indent, on one line."""
    import json

    text = json.dumps(value, indent=indent, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding if sys.stdout else "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=indent)
    typer.echo(text)


def require_output() -> None:
    """Raise UserError when standard output is closed: what is shown only once must not go unseen."""
    from agentdyno.core.errors import UserError

    if sys.stdout is None:
        raise UserError("standard output is closed, and a key is shown only once", "use --env-file, or open it")


def print_page(*parts: RenderableType) -> None:
    """Tables and texts on standard output, a blank line between them.

    On a terminal texts are wrapped at its width; elsewhere nothing is, and no line ends in spaces. Tables keep the
    width of their content: what does not fit a terminal's line goes on in the next one, and can be copied whole.
    """
    console = people_console()
    for number, part in enumerate(parts):
        if number:
            typer.echo()
        if console.is_terminal:
            console.print(part, crop=False)
            continue
        with console.capture() as captured:
            console.print(part)
        typer.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def people_console(*, stderr: bool = False) -> Console:
    """As wide as the terminal; without one, as wide as anything may get."""
    from rich.console import Console

    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=_UNBOUNDED)


@contextlib.contextmanager
def passing_line(text: str) -> Iterator[None]:
    """A line on standard error while something takes its time; on a terminal only, and gone afterwards."""
    if not sys.stderr.isatty():
        yield
        return
    typer.echo(f"{text} …", err=True, nl=False)
    try:
        yield
    finally:
        with_echo_of_ctrl_c = len(f"{text} …^C")
        typer.echo(f"\r{' ' * with_echo_of_ctrl_c}\r", err=True, nl=False)
