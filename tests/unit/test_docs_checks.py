"""The checks of `make docs-check` find what they are for."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from check_docs import command_faults, link_faults, make_faults, quotes, words_of_commands
from generate_schema_doc import type_in_words

from agentdyno.core.records import RECORDED

app = typer.Typer()
session_app = typer.Typer()
app.add_typer(session_app, name="session")


@app.command()
def up(port: int = 0) -> None:
    """A command with an option."""


@session_app.command()
def show(session: str, requests: bool = False) -> None:
    """A command of a group."""


@session_app.command()
def finalize(session: str) -> None:
    """Its sibling."""


def faults_of(code: str) -> list[str]:
    root = typer.main.get_command(app)
    return [fault for words in words_of_commands(code) for fault in command_faults(root, words)]


@pytest.mark.parametrize(
    "code",
    [
        "dyno up --port 4141 &",
        "dyno session show ID [--requests] | less",
        "dyno session show|finalize ID",
        'eval "$(dyno session show ID)" && dyno up',
        "dyno up -- curl --silent",
        "dyno session --help",
        "the dynodb up",
    ],
)
def test_a_command_line_that_would_run_has_no_fault(code: str) -> None:
    assert faults_of(code) == []


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ("dyno down", "dyno down"),
        ("dyno up --prot 1", "dyno up --prot"),
        ("dyno session list", "dyno session list"),
        ("dyno session show|lost ID", "dyno session lost"),
        ("dyno up && dyno session show ID --json", "dyno session show --json"),
    ],
)
def test_a_command_line_that_would_not_run_is_named(code: str, wrong: str) -> None:
    assert faults_of(code) == [f"quotes `{wrong}`, which does not exist"]


def test_code_is_quoted_from_blocks_and_lines(tmp_path: Path) -> None:
    written = tmp_path / "page.md"
    written.write_text("Say `dyno up`.\n\n```sh\n$ dyno session \\\n    show ID\n```\n")
    assert [(quote.line, " ".join(quote.code.split())) for quote in quotes(written)] == [
        (1, "dyno up"),
        (5, "dyno session show ID"),
    ]


def test_a_dead_link_and_an_unknown_target_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("check_docs.ROOT", tmp_path)
    (tmp_path / "Makefile").write_text("test:\n")
    written = tmp_path / "page.md"
    written.write_text("[here](page.md) [there](gone.md#part) [out](https://example.org)\n`make test` `make tset`\n")
    assert list(link_faults(written)) == ["page.md:1: links to gone.md, which does not exist"]
    assert list(make_faults(quotes(written))) == ["page.md:2: quotes `make tset`, which does not exist"]


def test_a_type_without_words_is_an_error() -> None:
    assert type_in_words(tuple[str, ...]) == "list of text"
    with pytest.raises(TypeError, match="no words"):
        type_in_words(RECORDED["session"])
