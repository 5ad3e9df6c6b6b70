"""The command line as a whole: what it loads, that it explains itself, what its JSON holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from agentdyno.cli.main import build_app

DYNO = Path(sys.executable).with_name("dyno")
HEAVY = {"sqlalchemy", "fastapi", "httpx", "numpy", "scipy", "litellm", "rich", "pydantic", "alembic", "yaml", "psutil"}


def dyno(*arguments: str, folder: Path, **extra: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name != "DYNO_HOME"} | extra
    return subprocess.run([DYNO, *arguments], capture_output=True, text=True, cwd=folder, env=environ, check=False)


def loaded_by(*arguments: str, folder: Path) -> set[str]:
    """Top-level modules that a command loads, by the interpreter's own account."""
    environ = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}
    environ.pop("DYNO_HOME", None)
    done = subprocess.run([DYNO, *arguments], capture_output=True, text=True, cwd=folder, env=environ, check=False)
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    assert len(lines) > 50
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


@pytest.mark.parametrize("arguments", [("--help",), ("--version",)])
def test_help_loads_nothing_heavy(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    loaded = loaded_by(*arguments, folder=tmp_path)

    assert "typer" in loaded
    assert loaded & HEAVY == set()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    assert dyno("init", folder=folder).returncode == 0
    return folder


@pytest.mark.parametrize(
    "arguments",
    [
        ("config", "validate"),
        ("session", "list"),
        ("session", "create", "--variant", "scripted-llm", "--task-card", "say-hello"),
        ("compare",),
        ("usage", "--by", "day"),
        ("normalize",),
        ("status",),
        ("doctor",),
    ],
    ids=" ".join,
)
def test_only_what_starts_the_gateway_loads_litellm(project: Path, arguments: tuple[str, ...]) -> None:
    assert loaded_by(*arguments, folder=project) & {"litellm", "fastapi", "scipy"} == set()


def _commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    yield name, command
    for child, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, f"{name} {child}")


COMMANDS = dict(_commands(typer.main.get_command(build_app()), "dyno"))


def test_the_commands() -> None:
    assert [name for name, command in COMMANDS.items() if not hasattr(command, "commands")] == [
        "dyno init",
        "dyno doctor",
        "dyno up",
        "dyno status",
        "dyno down",
        "dyno run",
        "dyno compare",
        "dyno anatomy",
        "dyno reconcile",
        "dyno usage",
        "dyno normalize",
        "dyno demo",
        "dyno config validate",
        "dyno config list",
        "dyno config show",
        "dyno session create",
        "dyno session start",
        "dyno session env",
        "dyno session list",
        "dyno session show",
        "dyno session watch",
        "dyno session finalize",
        "dyno harness list",
        "dyno harness show",
        "dyno harness check",
        "dyno db upgrade",
        "dyno db check",
        "dyno db copy",
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_explains_itself(name: str) -> None:
    command = COMMANDS[name]

    assert command.help
    assert [parameter.name for parameter in command.params if not getattr(parameter, "help", None)] == []


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if hasattr(command, "commands")])
def test_lists_of_commands_cut_no_sentence(tmp_path: Path, name: str) -> None:
    done = dyno(*name.split()[1:], "--help", folder=tmp_path, COLUMNS="80")

    listed = done.stdout.partition("Commands:\n")[2]
    assert len(listed.splitlines()) >= 3
    assert "..." not in listed


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, command in COMMANDS.items()
        if not hasattr(command, "commands") and name not in ("dyno init", "dyno up", "dyno down", "dyno harness show")
    ],
)
def test_every_command_that_tells_something_tells_it_in_json(name: str) -> None:
    assert "--json" in {option for parameter in COMMANDS[name].params for option in parameter.opts}


TABLE_KEYS = ["experiment", "variants", "open_sessions", "invalid_sessions", "differing"]


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        (("status",), ["up"]),
        (("normalize",), ["records", "written", "unreadable", "spend_logs"]),
        (("compare",), TABLE_KEYS),
        (("doctor",), ["faults", "warnings", "findings"]),
        (
            ("config", "validate"),
            ["valid", "faults", "providers", "harness_profiles", "variants", "task_cards", "experiments"],
        ),
        (
            ("config", "show", "variant", "scripted-llm"),
            [
                *("name", "provider", "model", "harness_profile", "description", "small_model", "settings", "env"),
                *("setup", "workspace_files", "home_files"),
                *("digest", "fingerprint", "missing_secrets"),
            ],
        ),
    ],
    ids=lambda value: " ".join(value),
)
def test_the_keys_of_json_documents(project: Path, arguments: tuple[str, ...], keys: list[str]) -> None:
    assert list(json.loads(dyno(*arguments, "--json", folder=project).stdout)) == keys


LISTS = [("config", "list"), ("config", "list", "--json"), ("--help",)]


@pytest.mark.parametrize("arguments", LISTS, ids=" ".join)
def test_an_output_that_is_full_is_one_line(project: Path, arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([DYNO, *arguments], stdout=full, stderr=subprocess.PIPE, cwd=project, check=False)

    assert done.returncode == 1
    assert done.stderr == b"the output cannot be written: No space left on device; make room, or write elsewhere\n"


@pytest.mark.parametrize("arguments", LISTS, ids=" ".join)
def test_an_output_that_nobody_reads_is_no_matter(project: Path, arguments: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run([DYNO, *arguments], stdout=closed, stderr=subprocess.PIPE, cwd=project, check=False)

    assert (done.returncode, done.stderr) == (1, b"")


def test_what_is_piped_is_neither_wrapped_nor_padded(project: Path) -> None:
    (project / "configs/variants" / f"{'long-' * 40}name.yaml").write_text(
        f"provider: scripted\nmodel: hello\nharness_profile: llm\ndescription: {'word ' * 40}\n"
    )

    shown = dyno("config", "list", "variants", folder=project, COLUMNS="40").stdout.splitlines()

    (row,) = (line for line in shown if line.startswith("long-"))
    assert row.split() == [f"{'long-' * 40}name", *["word"] * 40]
    assert [line for line in shown if line != line.rstrip()] == []


def test_an_experiment_that_nobody_defined(project: Path) -> None:
    for command in (("compare",), ("session", "list", "--experiment")):
        done = dyno(*command, "smok", folder=project)
        assert (done.returncode, done.stderr) == (2, 'experiment "smok" is not defined; did you mean "smoke"?\n')


def test_an_experiment_without_sessions(project: Path) -> None:
    compared = dyno("compare", "smoke", folder=project)
    listed = dyno("session", "list", "--experiment", "smoke", folder=project)

    assert (compared.returncode, compared.stderr) == (2, 'experiment "smoke" has no finalized session yet\n')
    assert (listed.returncode, listed.stdout) == (0, 'experiment "smoke" has no session yet\n')


def test_an_error_beside_json_is_one_line(project: Path) -> None:
    done = dyno("session", "show", "nothing", "--json", folder=project)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == 'there is no session "nothing"; `dyno session list` shows all\n'


def test_a_fault_of_ours_is_one_line_without_a_trace(project: Path) -> None:
    program = (
        "from agentdyno.cli import stand_commands, main\n"
        "def broken(): raise RuntimeError('sk-dyno-' + 'a' * 43)\n"
        "stand_commands.current_home = broken\n"
        "main.run()\n"
    )
    done = subprocess.run([sys.executable, "-c", program, "down"], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    first, second = done.stderr.splitlines()
    assert first.startswith("internal error: RuntimeError: ")
    assert "aaaa" not in first
    assert second == "please report it; DYNO_DEBUG=1 shows where it came from"
