from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from agentdyno.cli.config_commands import config_app, init
from agentdyno.core.errors import ConfigFaults, UserError


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scaffolded project, which is the current folder."""
    monkeypatch.chdir(tmp_path)
    assert dyno("init").exit_code == 0
    return tmp_path


def dyno(*arguments: str) -> Result:
    app = typer.Typer()
    app.add_typer(config_app, name="config")
    app.command()(init)
    return CliRunner().invoke(app, arguments)


def test_a_scaffolded_project_is_valid(project: Path) -> None:
    shown = dyno("config", "validate")

    assert shown.exit_code == 0
    assert shown.output.startswith("valid: 10 providers, 13 harness profiles, ")
    assert json.loads(dyno("config", "validate", "--json").output)["valid"] is True


def test_init_again_says_what_it_kept(project: Path) -> None:
    (project / "configs" / "variants" / "scripted-llm.yaml").unlink()

    shown = dyno("init", str(project))

    assert f"kept {project / 'dyno.yaml'}" in shown.output
    assert shown.output.splitlines()[-1].startswith("1 files written, ")


def test_faults_leave_as_one_exception_for_the_edge(project: Path) -> None:
    (project / "dyno.yaml").write_text("gatway: {}\nsession: 1\n")

    shown = dyno("config", "validate")

    assert isinstance(shown.exception, ConfigFaults)
    assert len(shown.exception.faults) == 2


def test_faults_as_json(project: Path) -> None:
    (project / "dyno.yaml").write_text("gatway: {}\n")

    shown = dyno("config", "validate", "--json")

    assert shown.exit_code == 2
    assert json.loads(shown.output) == {
        "valid": False,
        "faults": [
            {
                "file": "dyno.yaml",
                "line": 1,
                "field": "gatway",
                "message": 'is not a field here; did you mean "gateway"?',
            }
        ],
    }


def test_list_names_everything_or_one_kind(project: Path) -> None:
    everything = json.loads(dyno("config", "list", "--json").output)

    assert list(everything) == ["providers", "harness_profiles", "variants", "task_cards", "experiments"]
    assert json.loads(dyno("config", "list", "task-card", "--json").output) == {
        "task_cards": ["capital", "count-lines", "name-and-age", "read-note", "say-hello", "sum", "write-hello"]
    }
    assert "say-hello" in dyno("config", "list").output


def test_show_prints_an_entity_and_its_digests(project: Path) -> None:
    shown = json.loads(dyno("config", "show", "variant", "anthropic-claude-code", "--json").output)

    assert (shown["provider"], shown["model"]) == ("anthropic", "claude-sonnet-5")
    assert shown["fingerprint"].startswith("sha256:")
    assert "name: anthropic-claude-code\n" in dyno("config", "show", "variant", "anthropic-claude-code").output


def test_show_names_the_secrets_that_are_missing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    shown = json.loads(dyno("config", "show", "variant", "anthropic-claude-code", "--json").output)

    assert shown["missing_secrets"] == ["ANTHROPIC_API_KEY"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "provider", "vertx"), 'provider "vertx" is not defined; did you mean "vertex"?'),
        (("show", "vairant", "x"), 'kind "vairant" is not defined; did you mean "variants"?'),
        (("list", "vairants"), 'kind "vairants" is not defined; did you mean "variants"?'),
    ],
)
def test_a_wrong_name_is_the_users_mistake(project: Path, arguments: tuple[str, ...], message: str) -> None:
    shown = dyno("config", *arguments)

    assert isinstance(shown.exception, UserError)
    assert str(shown.exception) == message


def test_outside_a_project_init_is_the_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    shown = dyno("config", "validate")

    assert isinstance(shown.exception, UserError)
    assert "dyno init" in str(shown.exception)


def test_importing_the_commands_loads_nothing_heavy() -> None:
    program = "import sys, agentdyno.cli.config_commands; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()

    assert {"yaml", "pydantic", "agentdyno.core.config", "sqlalchemy"} & set(loaded) == set()
