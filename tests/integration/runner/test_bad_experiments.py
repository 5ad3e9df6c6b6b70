"""Experiments that cannot be run as they are written: one line that says why, before any cell; or its cells say it."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.runner.lab import DONE, Lab, Ran, Record
from tests.integration.runner.provider import Provider
from tests.integration.stand_process import DYNO

ROUTES = {"openai_chat": {"litellm_provider": "openai", "path": "/v1"}}


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Lab]:
    """A project with experiments of each kind, and its stand."""
    lab = Lab(tmp_path_factory.mktemp("trials"), provider)
    lab.trial("well")
    lab.trial("greedy", limits={"guaranteed_memory_bytes": 10**12})
    lab.trial("elsewhere", sandbox="bubblewarp")
    lab.trial("no-repository", card={"repository": "nowhere"})
    lab.trial("no-commit", card={"repository": str(lab.project.repo), "commit": "nothing"})
    lab.write(
        "providers", "unpaid", base_url="http://127.0.0.1:9", api_key_env="UNPAID_KEY", routes=ROUTES, models=["m"]
    )
    lab.variant("unpaid", provider="unpaid")
    lab.trial("half-paid", variants=["plain", "unpaid"])
    lab.write(
        "providers",
        "deployed",
        base_url="http://127.0.0.1:9",
        deployment_key_env="DEPLOYMENT_KEY",
        routes=ROUTES,
        models=["m"],
    )
    lab.variant("deployed", provider="deployed")
    lab.trial("deployed", variants=["deployed"], sandbox="bubblewrap")
    alone = lab.project.folder / "alone"
    alone.write_text("#!/bin/sh\n")
    alone.chmod(0o755)
    lab.write("harness_profiles", "alone", surface="openai_chat", env={}, command=[str(alone)])
    lab.variant("alone", harness_profile="alone")
    lab.trial("alone", variants=["alone"], sandbox="bubblewrap")
    with lab.up():
        yield lab


REFUSED = [
    (("wel",), 'experiment "wel" is not defined; did you mean "well"?'),
    (("well", "--variants", "plan"), 'did you mean "plain"?'),
    (("well", "--task-cards", "wel"), 'did you mean "well"?'),
    (("well", "--repeats", "0"), "Invalid value for '--repeats': Input should be greater than or equal to 1"),
    (("well", "--resume"), "experiment well has no run with cells left; leave out --resume"),
    (("greedy", "--jobs", "4"), "4 cells at once need 4,000,000,000,000 bytes of memory, and this machine has "),
    (("elsewhere",), 'sandbox "bubblewarp" is not there; did you mean "bubblewrap"?'),
    (("no-repository",), "nowhere"),
    (("no-commit",), "nothing"),
    (("half-paid",), "provider unpaid is not served: UNPAID_KEY was not set; set it in the environment of `dyno up`"),
    (("deployed",), "provider deployed is a LiteLLM deployment, which nothing in bubblewrap can reach; let the"),
    (("alone",), "alone would not be seen in a cell with all that belongs to it; name the folder"),
]


@pytest.mark.parametrize(("arguments", "line"), REFUSED, ids=[" ".join(arguments) for arguments, _ in REFUSED])
def test_what_cannot_be_run_is_refused_in_one_line(trials: Lab, arguments: tuple[str, ...], line: str) -> None:
    ran = trials.run(*arguments)

    assert (ran.exit_code, ran.out) == (2, "")
    assert line in ran.err.splitlines()[-1]
    assert "Traceback" not in ran.err
    assert "well" not in arguments or trials.runs("well") == ()
    assert trials.cell_folders() == []


def test_variants_that_are_not_there_are_a_fault_of_the_configuration(trials: Lab) -> None:
    trials.trial("broken", variants=["plain", "plian"])
    try:
        ran = trials.run("broken")
    finally:
        (trials.project.folder / "configs/experiments/broken.yaml").unlink()

    assert (ran.exit_code, ran.out) == (2, "")
    assert ran.err.startswith("configs/experiments/broken.yaml:")
    assert 'variants[1] "plian" is not defined' in ran.err


def test_outside_of_a_project(tmp_path: Path) -> None:
    done = subprocess.run([str(DYNO), "run", "well"], cwd=tmp_path, capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("no dyno.yaml in ")
    assert len(done.stderr.splitlines()) == 1


# ── what only a cell can find out ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def mixed(trials: Lab, tmp_path_factory: pytest.TempPathFactory) -> Record:
    """One run of task cards and variants that cannot work, beside some that can."""
    repository = tmp_path_factory.mktemp("repository")
    git = ["git", "-C", str(repository), "-c", "user.name=test", "-c", "user.email=test@localhost"]
    outside = tmp_path_factory.mktemp("outside")
    (repository / "out").symlink_to(outside)
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "a link"]):
        subprocess.run([*git, *command], check=True)
    trials.variant("led-out", workspace_files={"out/AGENTS.md": "be good"})
    cards = [
        trials.card("linked", repository=str(repository)),
        trials.card("long", f"ask && echo done > done.txt # {'x' * 300_000}"),
        trials.card("hasty", timebox_s=0.001),
    ]
    trials.experiment("mixed", *cards, variants=["plain", "led-out"], max_attempts=2)
    ran: Ran = trials.run("mixed", "--jobs", "4")
    assert ran.exit_code == 1, ran.err
    assert "Traceback" not in ran.err
    assert list(outside.iterdir()) == []
    return trials.record("mixed")


@pytest.mark.parametrize(
    ("variant", "card", "state", "failure"),
    [
        ("plain", "linked", "scored", None),
        ("led-out", "linked", "given_up", "workspace_failed"),
        ("plain", "long", "given_up", "sandbox_failed"),
        ("plain", "hasty", "scored", "timed_out"),
        ("led-out", "hasty", "scored", "timed_out"),
    ],
)
def test_what_cannot_work_is_told_by_its_cell(
    mixed: Record, variant: str, card: str, state: str, failure: str | None
) -> None:
    (cell,) = [cell for cell in mixed.cells if (cell.variant, cell.task_card) == (variant, card)]
    tried = [attempt for attempt in mixed.attempts if attempt.cell_id == cell.cell_id]

    assert (cell.state, tried[-1].failure) == (state, failure), tried[-1]
    assert len(tried) == (2 if state == "given_up" else 1)
    assert all(len(attempt.reason or "") < 300 for attempt in tried), "no prompt is in it"


def test_nothing_is_left_of_them(mixed: Record, trials: Lab) -> None:
    assert mixed.counts.reconciled
    assert trials.cell_folders() == []
    assert trials.session_folders() == []


def test_a_prompt_with_a_nul_is_never_given_to_a_harness(trials: Lab) -> None:
    experiment = trials.trial("cut-off", "ask\0ask", {"checks": [DONE]}, max_attempts=1)

    ran = trials.run(experiment)

    assert ran.exit_code in (1, 2)
    assert "Traceback" not in ran.err
    assert {attempt.failure for run in trials.runs(experiment) for attempt in trials.record(experiment).attempts} <= {
        "sandbox_failed"
    }
    (trials.project.folder / "configs/experiments/cut-off.yaml").unlink()
    (trials.project.folder / "configs/task_cards/cut-off.yaml").unlink()


# ── ledgers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def idle(tmp_path: Path, provider: Provider) -> Lab:
    """A project without a stand."""
    lab = Lab(tmp_path / "idle", provider)
    lab.trial("well")
    lab.must("session", "list")
    return lab


def test_a_ledger_that_is_newer(idle: Lab) -> None:
    with sqlite3.connect(idle.project.home / "ledger.sqlite") as connection:
        connection.execute("UPDATE agentdyno_schema SET version_num = '9999'")
    connection.close()

    ran = idle.run("well")

    assert (ran.exit_code, ran.out, len(ran.err.splitlines())) == (2, "", 1)
    assert "newer" in ran.err


def test_a_ledger_that_is_locked(idle: Lab) -> None:
    connection = sqlite3.connect(idle.project.home / "ledger.sqlite", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        ran = idle.run("well")
    finally:
        connection.close()

    assert (ran.exit_code, ran.out) == (1, "")
    assert "Traceback" not in ran.err
    assert "locked" in ran.err.splitlines()[-1]


def test_a_ledger_that_is_none(idle: Lab) -> None:
    (idle.project.home / "ledger.sqlite").write_bytes(b"not a database" * 100)

    ran = idle.run("well")

    assert (ran.exit_code in (1, 2), ran.out, len(ran.err.splitlines())) == (True, "", 1)
