"""`dyno --help` against a bare Typer program without Rich that has the same commands, options and help texts."""

from __future__ import annotations

import compileall
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ratios import Pair, print_head, print_row
from typer.core import TyperGroup
from typer.main import get_command

import agentdyno
from agentdyno.cli.main import build_app

ROUNDS = 60
TARGET = 1.3
MUST_NOT_LOAD = ("sqlalchemy", "fastapi", "httpx", "numpy", "scipy", "litellm", "rich", "pydantic")
DYNO = Path(sys.executable).with_name("dyno")


class Group(NamedTuple):
    """A command with commands of its own, and the lines of the bare program that declare them."""

    name: str
    lines: list[str]
    commands: int
    parameters: int


def declared(name: str, command: TyperGroup) -> Group:
    """A Typer application with as many commands and parameters as `command` has, which do nothing."""
    lines = [f'{name} = typer.Typer(help="{command.help}", **PLAIN)']
    commands = parameters = 0
    for child_name, child in command.commands.items():
        if isinstance(child, TyperGroup):
            inner = declared(f"{name}_{child_name}", child)
            lines += [*inner.lines, f'{name}.add_typer({inner.name}, name="{child_name}")']
            commands, parameters = commands + inner.commands, parameters + inner.parameters
        else:
            options = [option for option in child.params if option.name != "help"]
            lines += _command(name, child_name, child.help or "", len(options))
            commands, parameters = commands + 1, parameters + len(options)
    return Group(name, lines, commands, parameters)


def _command(app: str, name: str, text: str, options: int) -> Iterator[str]:
    yield f'@{app}.command("{name}")'
    yield f"def {app}_{name}("
    for number in range(options):
        yield f'    option_{number}: Annotated[str | None, typer.Option("--option-{number}", help="One.")] = None,'
    yield ") -> None:"
    yield f"    {text!r}"


def write_bare(folder: Path) -> Group:
    """The bare program: one module, and a script that calls it as `dyno`'s does."""
    group = get_command(build_app())
    assert isinstance(group, TyperGroup)
    root = declared("app", group)
    head = [
        "from typing import Annotated",
        "import typer",
        "PLAIN = dict(no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)",
    ]
    (folder / "bare.py").write_text("\n".join([*head, *root.lines, ""]))
    script = folder / "bare"
    script.write_text(DYNO.read_text().replace("agentdyno.cli.main", "bare").replace("import run", "import app as run"))
    script.chmod(0o755)
    return root


def start_ms(program: Path) -> float:
    """Wall-clock milliseconds of `program --help`."""
    started = time.perf_counter()
    subprocess.run([program, "--help"], stdout=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - started) * 1e3


def loaded() -> list[str]:
    """Which of the packages that help has no use for were loaded by `dyno --help`."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", str(DYNO), "--help"], capture_output=True, text=True, check=True
    )
    modules = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    return [name for name in MUST_NOT_LOAD if name in modules]


def main() -> None:
    """Compile both programs, let them take turns, and print the ratio."""
    with tempfile.TemporaryDirectory() as folder:
        bare = write_bare(Path(folder))
        for source in (folder, *agentdyno.__path__):
            compileall.compile_dir(source, quiet=1)
        script = Path(folder) / "bare"
        for program in (DYNO, script):
            start_ms(program)
        rounds = []
        for number in range(ROUNDS):
            if number % 2:
                rounds.append(Pair(start_ms(DYNO), start_ms(script)))
            else:
                baseline = start_ms(script)
                rounds.append(Pair(start_ms(DYNO), baseline))
    print(f"{bare.commands} commands, {bare.parameters} parameters, {ROUNDS} rounds, {os.cpu_count()} cores")
    print_head("bare Typer")
    print_row("--help, ms", [rounds], at_most=TARGET)
    print(f"needlessly loaded: {', '.join(loaded()) or 'none'}")


if __name__ == "__main__":
    main()
