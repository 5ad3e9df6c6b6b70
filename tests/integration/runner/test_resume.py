"""A run that somebody interrupts, or whose stand dies: what ran is ended and told so, and `--resume` does the rest."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.integration.runner.lab import ASK_AND_WRITE, Lab, Record, left_running, read_record
from tests.integration.runner.life import Life
from tests.integration.runner.provider import Provider
from tests.integration.sessions.git_repository import GitRepository

SLOW = f"ask; test -e {{gate}} || sleep 300; {ASK_AND_WRITE}"
"""It goes on only when a file is there: a cell that is under way for as long as a test needs."""
_TIMEOUT_S = 180.0


@pytest.fixture(scope="module")
def up(lab: Lab) -> Iterator[Lab]:
    """The project, with its stand up."""
    with lab.up():
        yield lab


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """The file that lets slow cells through."""
    return tmp_path / "gate"


def begin(lab: Lab, gate: Path, name: str, cells: int = 5, jobs: int = 2) -> Life:
    """A run whose first cells are under way: each has been answered once, and waits."""
    lab.trial(name, SLOW.format(gate=gate), repeats=cells)
    known = len(lab.provider.log)
    life = Life(lab, name, jobs)
    assert life.hear(1 + jobs), life.end()
    wait_until(lambda: len(lab.provider.log) >= known + jobs)
    return life


def finish(lab: Lab, gate: Path, name: str) -> Record:
    """Let the cells through, and resume the run to its end."""
    gate.touch()
    done = lab.run(name, "--resume", "--jobs", "2")
    assert done.exit_code == 0, done
    record = lab.record(name)
    assert record.counts.reconciled
    assert record.counts.cells.passed == record.counts.cells.total
    assert left_running(record) == []
    assert (lab.cell_folders(), lab.session_folders()) == ([], [])
    for attempt in record.attempts:
        if attempt.session_id in record.sessions:
            session = record.sessions[attempt.session_id]
            assert (session.phase, session.outcome == "completed") == ("finalized", attempt.scored)
    return record


@pytest.mark.parametrize(("signum", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_who_is_asked_to_end_ends_its_cells_and_tells(up: Lab, gate: Path, signum: int, exit_code: int) -> None:
    name = f"asked-{exit_code}"
    life = begin(up, gate, name)
    os.kill(life.process.pid, signum)
    ran = life.end()
    assert ran.exit_code == exit_code, ran
    assert len(ran.told("stopping")) == 1
    record = up.record(name)
    assert record.verdicts == {"interrupted": 2}
    assert record.counts.reconciled
    assert (record.counts.cells.open, record.counts.cells.claimed) == (5, 0)
    assert {session.outcome for session in record.sessions.values()} == {"aborted"}
    assert [len(record.requests_of(attempt.session_id)) for attempt in record.attempts] == [1, 1]
    assert left_running(record) == []
    assert (up.cell_folders(), up.session_folders()) == ([], [])
    # Nobody counts an interruption as the stand's failure.
    assert {cell.failures for cell in record.cells} == {0}
    after = finish(up, gate, name)
    assert after.attempts[:2] == record.attempts
    assert after.verdicts == {"interrupted": 2, "passed": 5}


def test_a_second_wish_to_end_waits_for_nothing_more(up: Lab, gate: Path, provider: Provider) -> None:
    up.trial("hurry", f"trap '' TERM; ask; {ASK_AND_WRITE}", repeats=2)
    provider.pause_s = 25.0  # a request is in flight, which is waited for: at most 30 s
    try:
        known = len(provider.log)
        life = Life(up, "hurry", 1)
        assert life.hear(2)
        wait_until(lambda: len(provider.log) > known)
        began_s = time.monotonic()
        os.kill(life.process.pid, signal.SIGINT)
        assert life.hear(1)  # it is stopping
        os.kill(life.process.pid, signal.SIGINT)
        ran = life.end()
        took_s = time.monotonic() - began_s
    finally:
        provider.pause_s = 0.0
    assert ran.exit_code == 130, ran
    assert took_s < 20.0
    record = up.record("hurry")
    assert record.verdicts == {"interrupted": 1}
    assert left_running(record) == []
    assert finish(up, gate, "hurry").verdicts == {"interrupted": 1, "passed": 2}


def test_a_run_that_cannot_tell_anybody_any_more_leaves_nothing_open(up: Lab, gate: Path) -> None:
    up.card("told", f"ask; until test -e {gate}; do sleep 0.05; done; {ASK_AND_WRITE}")
    up.card("untold", SLOW.format(gate=gate.with_name("other")))
    up.experiment("pipe", "told", "untold")
    known = len(up.provider.log)
    with up.start("run", "pipe", "--json", "--jobs", "2") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for _ in range(3):  # planned, and both begun
            assert process.stdout.readline()
        wait_until(lambda: len(up.provider.log) == known + 2)
        process.stdout.close()
        gate.touch()  # what is settled then cannot be told
        said = process.stderr.read()
    assert process.returncode == 1, said
    assert "Traceback" not in said
    record = up.record("pipe")
    assert record.counts.reconciled
    assert record.verdicts == {"passed": 1, "lost": 1}
    assert sorted(str(session.outcome) for session in record.sessions.values()) == ["aborted", "completed"]
    assert left_running(record) == []
    assert (up.cell_folders(), up.session_folders()) == ([], [])
    gate.with_name("other").touch()
    assert finish(up, gate, "pipe").verdicts == {"passed": 2, "lost": 1}


def test_a_run_is_not_resumed_with_another_configuration(up: Lab, gate: Path) -> None:
    life = begin(up, gate, "changed", cells=3, jobs=1)
    life.kill()
    before = (up.project.folder / "configs/task_cards/changed.yaml").read_text()
    up.card("changed", "ask && echo otherwise > done.txt")
    refused = up.dyno("run", "changed", "--resume")
    assert (refused.exit_code, refused.err.count("\n")) == (2, 1)
    assert "was changed since run" in refused.err
    (up.project.folder / "configs/variants/plain.yaml").rename(gate.with_name("plain.yaml"))
    assert up.dyno("run", "changed", "--resume").exit_code == 2
    gate.with_name("plain.yaml").rename(up.project.folder / "configs/variants/plain.yaml")
    assert up.record("changed").counts.attempts.total == 1
    up.project.write("configs/task_cards/changed.yaml", before)
    assert finish(up, gate, "changed").verdicts == {"lost": 1, "passed": 3}


def test_there_must_be_something_to_resume(up: Lab, gate: Path) -> None:
    up.trial("nothing")
    never = up.dyno("run", "nothing", "--resume")
    assert (never.exit_code, never.err.count("\n")) == (2, 1)
    assert up.run("nothing").exit_code == 0
    assert up.dyno("run", "nothing", "--resume").exit_code == 2
    begin(up, gate, "planned", cells=2, jobs=1).kill()
    for option in (("--repeats", "9"), ("--seed", "1"), ("--variants", "plain"), ("--task-cards", "planned")):
        refused = up.dyno("run", "planned", "--resume", *option)
        assert (refused.exit_code, refused.err.count("\n")) == (2, 1), option
    assert finish(up, gate, "planned").counts.cells.passed == 2


def test_the_newest_run_with_cells_left_is_resumed_and_the_older_one_is_not_left_running(up: Lab, gate: Path) -> None:
    begin(up, gate, "twice", cells=2, jobs=1).kill()
    abandoned = up.record("twice")
    assert left_running(abandoned) != []
    begin(up, gate, "twice", cells=2, jobs=1).kill()
    older, newer = up.runs("twice")
    # Whoever runs anything next ends what the dead left of every run, and scores nothing of it.
    assert left_running(abandoned) == []
    with up.ledger() as ledger:
        assert read_record(ledger, older).verdicts == {"lost": 1}
    assert finish(up, gate, "twice").run == newer
    done = up.run("twice", "--resume")
    assert done.exit_code == 0
    [planned] = done.told("planned")
    assert planned["run"]["run_id"] == older.run_id
    assert up.dyno("run", "twice", "--resume").exit_code == 2


@pytest.mark.timeout(900)
def test_it_goes_on_from_the_commit_that_it_began_with(up: Lab, gate: Path, tmp_path: Path) -> None:
    repository = GitRepository(tmp_path / "repository")
    first = repository.commit(file="first")
    card = {"repository": str(tmp_path / "repository")}
    up.trial("moving", SLOW.format(gate=gate), card=card, repeats=2)
    life = Life(up, "moving", 1)
    assert life.hear(2), life.end()
    os.kill(life.process.pid, signal.SIGINT)
    life.end()
    repository.commit(file="second")
    record = finish(up, gate, "moving")
    assert {session.repository_commit for session in record.sessions.values()} == {first}


def test_a_gateway_that_is_gone_without_a_request_is_no_failure_of_the_harness(
    tmp_path: Path, provider: Provider, gate: Path
) -> None:
    lab = Lab(tmp_path / "lab", provider)
    with lab.up() as state:
        # It ends by itself, and asks once more when there is nobody to ask: no row tells of that.
        lab.trial(
            "unheard", f"test -e {gate} || {{ touch {gate}.there; while ! test -e {gate}; do sleep 0.05; done; }}"
        )
        life = Life(lab, "unheard", 1)
        wait_until(lambda: gate.with_name(f"{gate.name}.there").exists())
        os.kill(state["gateway_pid"], signal.SIGKILL)
        gate.touch()
        ran = life.end()
    assert ran.exit_code == 1, ran
    require_nothing_judged(lab.record("unheard"))


def test_cells_of_a_gateway_that_is_killed_are_not_the_harness_s_failures(
    tmp_path: Path, provider: Provider, gate: Path
) -> None:
    lab = Lab(tmp_path / "lab", provider)
    with lab.up() as state:
        life = begin(lab, gate, "gateway")
        os.kill(state["gateway_pid"], signal.SIGKILL)
        ran = life.end()
    assert ran.exit_code == 1, ran
    assert "the stand that this run began with is gone" in ran.err
    require_nothing_judged(lab.record("gateway"))
    # Again, with a stand of the run's own.
    known = len(provider.log)
    life = Life(lab, "gateway", 2, resume=True)
    wait_until(lambda: len(provider.log) >= known + 2)
    os.kill(json.loads((lab.project.home / "stand.json").read_text())["gateway_pid"], signal.SIGKILL)
    ran = life.end()
    assert ran.exit_code == 1, ran
    assert "the gateway died" in ran.err
    require_nothing_judged(lab.record("gateway"))
    finish(lab, gate, "gateway")


def require_nothing_judged(record: Record) -> None:
    """Every attempt must have an end that scores nothing, and every session be over."""
    assert record.counts.reconciled
    assert (record.counts.cells.scored, record.counts.cells.claimed) == (0, 0)
    assert set(record.verdicts) <= {"interrupted", "stand_failure", "lost"}
    assert {session.phase for session in record.sessions.values()} == {"finalized"}
    assert left_running(record) == []


def wait_until(happened: Callable[[], bool]) -> None:
    """Wait until something has happened."""
    deadline = time.monotonic() + _TIMEOUT_S
    while not happened():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.02)
