"""What a shell is offered, asked as shells ask: `dyno` as a process, with the variables of Typer's protocol."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.integration.ledgers import add_session

from agentdyno.store.ledger import Ledger

DYNO = Path(sys.executable).with_name("dyno")
# Typer itself loads pydantic when it parses values.
HEAVY = {"sqlalchemy", "fastapi", "httpx", "litellm", "rich", "alembic", "yaml", "psutil", "psycopg"}


def environ(**extra: str) -> dict[str, str]:
    unset = ("DYNO_HOME", "DYNO_DATABASE_URL")
    return {name: value for name, value in os.environ.items() if name not in unset} | extra


def asked(folder: Path, line: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """What `dyno` says when bash asks what the last word of a line may become."""
    words = line.split(" ")
    variables = {"_DYNO_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    return subprocess.run(
        [DYNO], cwd=folder, env=environ(**variables, **extra), capture_output=True, text=True, check=False
    )


def offered(folder: Path, line: str) -> list[str]:
    done = asked(folder, line)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one experiment, and two sessions of which the older one is over."""
    folder = tmp_path_factory.mktemp("project")
    files = {
        "dyno.yaml": "",
        "configs/variants/plain.yaml": "provider: scripted\n",
        "configs/variants/some-file.yml": 'name: "plainer"  # than plain\nprovider: scripted\n',
        "configs/task_cards/sums.yaml": "goal: right sums\n",
        "configs/harness_profiles/mine.yaml": "surface: openai_chat\n",
        "configs/experiments/trial.yaml": "variants: [plain]\n",
        "configs/experiments/not a name.yaml": "",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / ".dyno").mkdir()
    ledger = Ledger.open(folder / ".dyno/ledger.sqlite")
    add_session(ledger, "ses_1", ended_at_us=3)
    add_session(ledger, "ses_2")
    ledger.close()
    return folder


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("dyno session start --variant ", ["plain", "plainer"]),
        ("dyno session create --variant plaine", ["plainer"]),
        ("dyno session start --variant plain --task-card ", ["sums"]),
        ("dyno session list --experiment ", ["trial"]),
        ("dyno compare t", ["trial"]),
        ("dyno config list v", ["variants"]),
        ("dyno config show ex", ["experiment"]),
        ("dyno config show variant ", ["plain", "plainer"]),
        ("dyno config show task-cards ", ["sums"]),
        ("dyno config show nothing ", []),
        ("dyno session show ", ["ses_2", "ses_1"]),
        ("dyno session watch ses", ["ses_2", "ses_1"]),
        ("dyno session finalize ", ["ses_2"]),
        ("dyno session env ", ["ses_2"]),
        ("dyno sta", ["status"]),
    ],
)
def test_words_are_completed(project: Path, line: str, values: list[str]) -> None:
    assert offered(project, line) == values


def test_profiles_that_come_with_agentdyno_are_offered_too(project: Path) -> None:
    assert {"mine", "claude-code"} <= set(offered(project, "dyno config show harness_profile "))


def test_below_the_project_it_is_the_same(project: Path) -> None:
    folder = project / "src"
    folder.mkdir()

    assert offered(folder, "dyno session show ") == ["ses_2", "ses_1"]


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {"_DYNO_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "dyno compare "},
            """_arguments '*: :(("trial"))'""",
        ),
        (
            {
                "_DYNO_COMPLETE": "complete_fish",
                "_TYPER_COMPLETE_ARGS": "dyno compare ",
                "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            },
            "trial",
        ),
    ],
    ids=["zsh", "fish"],
)
def test_other_shells_ask_in_their_way(project: Path, variables: dict[str, str], said: str) -> None:
    done = subprocess.run([DYNO], cwd=project, env=environ(**variables), capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, said, "")


def test_outside_of_a_project_there_is_nothing_to_offer(tmp_path: Path) -> None:
    for line in ("dyno session start --variant ", "dyno session show ", "dyno config show variant "):
        assert offered(tmp_path, line) == []
    assert list(tmp_path.iterdir()) == []


LINES = ("dyno session start --variant ", "dyno session show ")


@pytest.mark.parametrize("line", LINES)
def test_of_what_is_broken_nothing_is_said(tmp_path: Path, line: str) -> None:
    (tmp_path / "dyno.yaml").write_text("gateway: [\n")
    (tmp_path / "configs/variants").mkdir(parents=True)
    (tmp_path / "configs/variants/latin.yaml").write_bytes("description: süß\n".encode("latin-1"))
    (tmp_path / ".dyno").mkdir()
    (tmp_path / ".dyno/ledger.sqlite").write_text("no database, however long the text goes on\n" * 100)

    assert offered(tmp_path, line) == []


@pytest.mark.parametrize("line", LINES)
def test_of_a_folder_that_is_gone_nothing_is_said(tmp_path: Path, line: str) -> None:
    variables = {"_DYNO_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    gone = ["sh", "-c", 'mkdir gone && cd gone && rmdir ../gone && exec "$@"', "sh", str(DYNO)]
    done = subprocess.run(gone, cwd=tmp_path, env=environ(**variables), capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


@pytest.mark.parametrize("url", ["nonsense", "postgresql://nobody@127.0.0.1:9/none"])
def test_of_a_shared_ledger_that_is_away_nothing_is_said(project: Path, url: str) -> None:
    done = asked(project, "dyno session show ", DYNO_DATABASE_URL=url)

    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


@pytest.mark.parametrize("line", LINES)
def test_completion_loads_nothing_heavy(project: Path, line: str) -> None:
    done = asked(project, line, PYTHONPROFILEIMPORTTIME="1")

    loaded = {row.rpartition("|")[2].strip().partition(".")[0] for row in done.stderr.splitlines()}
    assert "typer" in loaded
    assert loaded & HEAVY == set()


def test_bash_completes_once_it_is_installed(project: Path, tmp_path: Path) -> None:
    """Installed by `dyno` itself from a bash, then asked by a bash that reads its start-up file."""
    home = environ(HOME=str(tmp_path), PATH=f"{DYNO.parent}{os.pathsep}{os.environ['PATH']}")
    install = ["bash", "-c", "dyno --install-completion; exit $?"]
    installed = subprocess.run(install, cwd=project, env=home, capture_output=True, text=True, check=False)
    assert installed.returncode == 0, installed.stderr

    ask = (
        f'source "{tmp_path}/.bashrc"; COMP_WORDS=(dyno session show ""); COMP_CWORD=3; _dyno_completion dyno; '
        'printf "%s\\n" "${COMPREPLY[@]}"; complete -p dyno'
    )
    done = subprocess.run(["bash", "-c", ask], cwd=project, env=home, capture_output=True, text=True, check=False)

    assert done.stdout.splitlines() == ["ses_2", "ses_1", "complete -o default -F _dyno_completion dyno"]


def test_what_is_offered_is_what_is_there(project: Path) -> None:
    listed = subprocess.run(
        [DYNO, "session", "list", "--json"], cwd=project, env=environ(), capture_output=True, text=True, check=True
    )

    newest_first = [session["session_id"] for session in reversed(json.loads(listed.stdout))]
    assert offered(project, "dyno session show ") == newest_first
