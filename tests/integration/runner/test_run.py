"""A run from its plan to its last row, in both sandboxes: what is judged, what is on record, and what is left."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.integration.ledgers import dump
from tests.integration.runner.lab import ASK_AND_WRITE, Lab, Ran, Record, left_running
from tests.integration.runner.provider import INPUT_TOKENS, OUTPUT_TOKENS, Provider
from tests.integration.sessions.git_repository import GitRepository

from agentdyno.core.jsonable import to_jsonable
from agentdyno.core.records import Attempt, Request, Session, Step, TraceMetric
from agentdyno.store.ledger import Ledger
from agentdyno.store.rows import record_of

KEY = "sk-proj-marmalade1234567890"
CARDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "two-requests": {"prompt": f"ask && {ASK_AND_WRITE}"},
    "chatty": {"prompt": f"{ASK_AND_WRITE}; echo 0123456789; echo 'ValueError: of no kind' >&2; exit 3"},
    "liar": {"prompt": "ask; echo all is done; exit 0"},
    "silent": {"prompt": "echo done > done.txt"},
    "refused": {"prompt": "ask another-model; echo done > done.txt; exit 0"},
    "sleeper": {"prompt": f"{ASK_AND_WRITE}; sleep 300", "timebox_s": 1.5},
    "unchecked": {"prompt": ASK_AND_WRITE, "checks": []},
    "measured": {
        "prompt": 'echo \'{"type": "metric", "name": "frame_ms", "unit": "ms", "value": 16.5}\' >> "$DYNO_TRACE"; '
        'echo \'{"type": "step", "kind": "action", "name": "draw", "ok": true}\' >> "$DYNO_TRACE"; '
        'echo "no record" >> "$DYNO_TRACE"'
    },
    "checked": {
        "prompt": "ask; test ! -e judge.sh && test -e given.txt && echo right > answer.txt",
        "files": {"given.txt": "given\n"},
        "check_files": {"judge.sh": 'grep -q right answer.txt && test -z "$OPENAI_API_KEY"\n'},
        "checks": [
            {"kind": "command", "command": ["sh", "judge.sh"]},
            {"kind": "file_matches", "file": "answer.txt", "pattern": "^right$"},
            {"kind": "diff", "max_files": 1},
        ],
    },
    "historic": {
        "prompt": "ask; cp story.txt done.txt",
        "checks": [{"kind": "file_matches", "file": "done.txt", "pattern": "old"}],
    },
}
VERDICTS = {
    "plain": ("passed", None),
    "two-requests": ("passed", None),
    "chatty": ("passed", None),
    "liar": ("failed", "checks_failed"),
    "silent": ("failed", "no_answer"),
    "refused": ("failed", "requests_refused"),
    "sleeper": ("failed", "timed_out"),
    "unchecked": ("unjudged", None),
    "measured": ("failed", "no_answer"),
    "checked": ("passed", None),
    "historic": ("passed", None),
}


class Seen(NamedTuple):
    """A run that has ended, in one of the sandboxes."""

    sandbox: str
    lab: Lab
    ran: Ran
    record: Record

    def attempt(self, card: str) -> Attempt:
        """The one attempt at a task card's cell."""
        cells = {cell.cell_id for cell in self.record.cells if cell.task_card == card}
        [attempt] = [attempt for attempt in self.record.attempts if attempt.cell_id in cells]
        return attempt

    def session(self, card: str) -> Session:
        """Its session."""
        return self.record.sessions[self.attempt(card).session_id]

    def requests(self, card: str) -> list[Request]:
        """Its requests."""
        return self.record.requests_of(self.attempt(card).session_id)


@pytest.fixture(scope="module")
def up(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The project, with its task cards and its stand up."""
    repository = GitRepository(tmp_path_factory.mktemp("story") / "repo")
    commit = repository.commit(**{"story.txt": "an old story\n"})
    repository.commit(**{"story.txt": "a new story\n"})
    for name, values in CARDS.items():
        more = {"repository": str(repository.folder), "commit": commit} if name == "historic" else {}
        lab.card(name, **{**more, **values})
    for sandbox in ("process", "bubblewrap"):
        lab.experiment(f"all-{sandbox}", *CARDS, sandbox=sandbox)
    with lab.up():
        yield lab


@pytest.fixture(scope="module", params=["process", "bubblewrap"])
def seen(request: pytest.FixtureRequest, up: Lab) -> Seen:
    """One run of every task card."""
    experiment = f"all-{request.param}"
    ran = up.run(experiment, "--jobs", "3")
    assert ran.exit_code == 0, ran
    return Seen(request.param, up, ran, up.record(experiment))


@pytest.mark.parametrize("card", CARDS)
def test_each_is_judged_once_by_what_it_did(seen: Seen, card: str) -> None:
    attempt = seen.attempt(card)
    assert (attempt.verdict, attempt.failure) == VERDICTS[card], attempt
    assert (attempt.number, attempt.scored) == (1, True)  # the harness's own failures are not tried again
    # An exit code is no evidence: `liar` and `refused` end with 0.
    assert (attempt.exit_code == 0) == (card not in ("chatty", "sleeper"))


# ── what is on record ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_counts_reconcile_and_sessions_end_with_their_cells(seen: Seen) -> None:
    record = seen.record
    assert record.counts.reconciled
    assert record.counts.cells.scored == record.counts.attempts.scored == len(CARDS)
    for attempt in record.attempts:
        session = record.sessions[attempt.session_id]
        assert (session.phase, session.outcome) == ("finalized", "completed")
        assert (session.experiment, session.command_exit_code) == (record.run.experiment, attempt.exit_code)
        held = [] if attempt.checks is None else [each["passed"] for each in json.loads(attempt.checks)]
        assert (session.checks_total or 0, session.checks_passed or 0) == (len(held), sum(held))
        assert attempt.sandbox == record.run.sandbox == seen.sandbox
        assert ("network" in attempt.unenforced) == (seen.sandbox == "process")
        assert attempt.limits is not None
        assert json.loads(attempt.limits)["processes"] == 1000
    assert [runner.ended_at_us is not None for runner in record.runners] == [True]


def test_rows_are_what_the_provider_counted(seen: Seen) -> None:
    counted = {line.call: line for line in seen.lab.provider.log if line.call.split("/")[0] in seen.record.sessions}
    rows = {json.loads(row.harness_ids)["x-call"]: row for row in seen.record.requests if row.status == "ok"}
    assert set(rows) == set(counted)
    assert len(rows) == len(CARDS) - 3 + 1  # `silent`, `refused` and `measured` get none, `two-requests` gets two
    for call, row in rows.items():
        assert row.session_id == call.split("/")[0]
        assert (row.provider_request_id, row.input_tokens, row.output_tokens) == (
            counted[call].request_id,
            INPUT_TOKENS,
            OUTPUT_TOKENS,
        )
    assert [row.status for row in seen.requests("refused")] == ["rejected"]


def test_what_was_printed_is_kept_as_facts_alone(seen: Seen) -> None:
    chatty = seen.attempt("chatty")
    # "0123456789\nValueError: of no kind\n"
    assert (chatty.output_bytes, chatty.error_class) == (11 + 23, "ValueError")
    assert (chatty.output_digest or "").startswith("sha256:")
    assert seen.attempt("plain").output_bytes == 0
    assert chatty.output_digest != seen.attempt("plain").output_digest
    assert not (seen.lab.project.home / "outputs").exists()


def test_times_are_taken_apart(seen: Seen) -> None:
    for attempt in seen.record.attempts:
        assert attempt.workspace_ms is not None
        assert attempt.checks_ms is not None
        assert attempt.command_ms is not None
        assert attempt.command_ms > 0
        assert (attempt.setup_ms, attempt.setup_digest) == (None, None)
    sleeper = seen.attempt("sleeper")
    assert sleeper.timebox_s == 1.5
    assert sleeper.command_ms is not None
    assert 1_500 <= sleeper.command_ms < 20_000


def test_a_trace_is_recorded_of_a_cell_that_calls_no_model(seen: Seen) -> None:
    attempt = seen.attempt("measured")
    assert attempt.trace_faults == 1
    with seen.lab.ledger() as ledger:
        found = {name: rows_of(ledger, name, attempt.session_id) for name in ("trace_metric", "step")}
    [metric], [step] = found["trace_metric"], found["step"]
    assert (metric.name, metric.unit, metric.value) == ("frame_ms", "ms", 16.5)
    assert (step.kind, step.name, step.ok) == ("action", "draw", True)


def rows_of(ledger: Ledger, table: str, session_id: str) -> list[Any]:
    """A session's records of a trace."""
    query = ledger.tables[table].select().where(ledger.tables[table].c.session_id == session_id)
    record: type[Any] = {"trace_metric": TraceMetric, "step": Step}[table]
    with ledger.read() as connection:
        return [record_of(record, row) for row in connection.execute(query).mappings()]


def test_a_workspace_is_the_repository_at_its_commit(seen: Seen) -> None:
    session = seen.session("historic")
    assert session.repository_commit is not None
    assert len(session.repository_commit) == 40
    assert session.repository_dirty is False


def test_nothing_is_left_behind(seen: Seen) -> None:
    assert left_running(seen.record) == []
    assert (seen.lab.cell_folders(), seen.lab.session_folders()) == ([], [])


def test_events_tell_machines_of_every_attempt(seen: Seen) -> None:
    events = [event["event"] for event in seen.ran.events]
    assert (events[0], events[-1]) == ("planned", "ended")
    [planned] = seen.ran.told("planned")
    assert planned["run"]["run_id"] == seen.record.run.run_id
    assert planned["counts"]["cells"]["total"] == len(CARDS)
    begun, settled = seen.ran.told("begun"), seen.ran.told("settled")
    assert {each["cell_id"] for each in begun} == {cell.cell_id for cell in seen.record.cells}
    assert len(begun) == len(settled) == len(CARDS)
    assert set(begun[0]) == {"event", "cell_id", "arm", "task_card", "repeat", "attempt", "session_id"}
    attempts = {attempt.attempt_id: attempt for attempt in seen.record.attempts}
    assert {each["attempt"]["attempt_id"] for each in settled} == set(attempts)
    for each in settled:
        assert set(each) == {"event", "cell_id", "arm", "task_card", "repeat", "attempt"}
        assert each["attempt"] == to_jsonable(attempts[each["attempt"]["attempt_id"]])
    [ended] = seen.ran.told("ended")
    assert ended["report"]["counts"] == to_jsonable(seen.record.counts)


# ── plans ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_people_see_a_table_of_the_arms(up: Lab) -> None:
    up.variant("guided", workspace_files={"AGENTS.md": "Be brief.\n", "more.md": "More.\n"})
    up.trial(
        "arms",
        "ask && { test -e AGENTS.md || true; } && echo done > done.txt",
        variants=["plain", "guided"],
        baseline="plain",
        aa_arm=True,
        ablate="guided",
        ablate_parts=["workspace_files/AGENTS.md"],
    )
    done = up.dyno("run", "arms", "--repeats", "2", "--jobs", "3")
    assert done.exit_code == 0, done
    record = up.record("arms")
    assert record.run.arms == ("plain", "guided", "plain-aa", "guided-without-workspace_files-agents.md")
    for arm in record.run.arms:
        assert arm in done.out
        assert [cell.verdict for cell in record.cells if cell.arm == arm] == ["passed"] * 2
    assert done.out.count("2 of 2") == 2 * 4  # scored and passed
    # Each block of the order has every arm once: interleaved.
    assert {cell.arm for cell in record.cells[:4]} == set(record.run.arms)


def test_a_pilot_is_a_part_of_the_plan(up: Lab) -> None:
    up.experiment("pilot", "plain", "liar", variants=["plain"], repeats=3)
    assert up.run("pilot", "--variants", "plain", "--task-cards", "liar", "--repeats", "1").exit_code == 0
    [cell] = up.record("pilot").cells
    assert (cell.arm, cell.task_card) == ("plain", "liar")
    for option in ("--variants", "--task-cards"):
        unknown = up.dyno("run", "pilot", option, "marmalade")
        assert (unknown.exit_code, unknown.err.count("\n")) == (2, 1)


def test_a_seed_makes_the_same_order_each_time_and_a_dry_run_touches_nothing(up: Lab, provider: Provider) -> None:
    up.experiment("order", "plain", "liar", "silent", repeats=3)
    with up.ledger() as ledger:
        before = (dump(ledger), len(provider.log))
    told = [json.loads(up.must("run", "order", "--dry-run", "--json", "--seed", seed)) for seed in ("7", "7", "8")]
    orders = [[(cell["arm"], cell["task_card"], cell["repeat"]) for cell in each["cells"]] for each in told]
    assert orders[0] == orders[1] != orders[2]
    with up.ledger() as ledger:
        assert (dump(ledger), len(provider.log)) == before
    assert up.run("order", "--seed", "7").exit_code == 0
    assert [(cell.arm, cell.task_card, cell.repeat) for cell in up.record("order").cells] == orders[0]


def test_a_dry_run_starts_no_stand(tmp_path: Path, provider: Provider) -> None:
    lab = Lab(tmp_path / "down", provider)
    lab.trial("dry", variants=["plain"])
    shown = lab.must("run", "dry", "--dry-run")
    assert "shell-harness" in shown
    assert not (lab.project.home / "stand.pid").exists()
    assert not (lab.project.home / "logs" / "gateway.log").exists()
    assert lab.runs("dry") == ()


def test_an_outage_is_tried_again_given_up_and_made_good_when_it_is_over(up: Lab, provider: Provider) -> None:
    up.trial("outage", "ask && echo done > done.txt", max_attempts=2)
    provider.ill = 529
    try:
        ill = up.run("outage")
    finally:
        provider.ill = None
    assert ill.exit_code == 1, ill
    record = up.record("outage")
    assert [(each.verdict, each.failure, each.scored) for each in record.attempts] == [
        ("stand_failure", "provider_outage", False)
    ] * 2
    assert [cell.state for cell in record.cells] == ["given_up"]
    assert {session.outcome for session in record.sessions.values()} == {"invalid"}
    well = up.run("outage", "--resume")
    assert well.exit_code == 0, well
    after = up.record("outage")
    assert after.attempts[:2] == record.attempts
    assert [(each.verdict, each.number) for each in after.attempts[2:]] == [("passed", 3)]
    assert after.counts.reconciled
    assert up.dyno("run", "outage", "--resume").exit_code == 2


def test_an_outage_that_is_over_in_time_costs_an_attempt(up: Lab, provider: Provider) -> None:
    up.trial("once")
    provider.ill_turns.append(429)
    assert up.run("once").exit_code == 0
    record = up.record("once")
    assert [each.verdict for each in record.attempts] == ["stand_failure", "passed"]
    assert record.counts.cells.passed == 1


def test_a_harness_that_is_missing_is_its_arm_s_failure(up: Lab) -> None:
    up.write("harness_profiles", "absent", surface="openai_chat", env={"K": "${session_key}"}, command=["no-such-one"])
    up.variant("absent", harness_profile="absent")
    up.trial("absent", variants=["absent", "plain"])
    assert up.run("absent").exit_code == 0
    record = up.record("absent")
    by_arm = {cell.arm: cell.cell_id for cell in record.cells}
    found = {attempt.cell_id: (attempt.verdict, attempt.failure) for attempt in record.attempts}
    assert found == {by_arm["absent"]: ("failed", "harness_missing"), by_arm["plain"]: ("passed", None)}


@pytest.mark.parametrize(
    ("cores", "jobs", "hint"), [(10_000, "1", "set less aside for each"), (0.5, "10000", "--jobs ")]
)
def test_what_is_set_aside_must_be_there(up: Lab, cores: float, jobs: str, hint: str) -> None:
    up.trial("greedy", limits={"guaranteed_cpu_cores": cores})
    refused = up.dyno("run", "greedy", "--jobs", jobs)
    assert (refused.exit_code, refused.err.count("\n")) == (2, 1)
    assert hint in refused.err
    assert up.runs("greedy") == ()


# ── output and setup ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_output_is_kept_where_it_is_asked_for_and_without_keys(up: Lab) -> None:
    in_two = KEY.replace("-", '-""', 1)  # no configuration may hold it
    up.trial(
        "kept",
        f'{ASK_AND_WRITE}; echo "it is {in_two} and $OPENAI_API_KEY, says the $(printf har%s ness)"',
        keep_output=True,
    )
    assert up.run("kept").exit_code == 0
    [attempt] = up.record("kept").attempts
    kept = up.project.home / "outputs" / f"{attempt.session_id}.txt"
    text = kept.read_text()
    assert "says the harness" in text
    assert KEY not in text
    assert "sk-dyno-" not in text
    assert kept.stat().st_mode & 0o777 == 0o600
    with up.ledger() as ledger:
        assert not any("says the harness" in row for rows in dump(ledger).values() for row in rows)


def test_what_a_variant_needs_is_built_once_and_timed_apart(up: Lab) -> None:
    build = "printf '#!/bin/sh\\necho built > built.txt\\n' > bin/tool && chmod +x bin/tool; echo ${model} > model"
    up.variant("built", setup=[{"command": ["sh", "-c", build]}])
    up.trial("built", "ask && tool && echo done > done.txt", variants=["built"], repeats=2)
    for cached in (False, True):
        ran = up.run("built")
        assert ran.exit_code == 0, ran
        attempts = up.record("built").attempts
        assert [each.verdict for each in attempts] == ["passed"] * 2
        assert [each.setup_cached for each in attempts] == [cached, True]  # the first builds it, once
        assert attempts[0].setup_ms is not None
        assert (attempts[0].setup_digest or "").startswith("sha256:")


def test_a_setup_that_fails_is_told_and_the_run_goes_on(up: Lab) -> None:
    up.variant("broken", setup=[{"command": ["sh", "-c", "echo marmalade; exit 7"]}])
    up.trial("broken", variants=["broken", "plain"])
    assert up.run("broken").exit_code == 0
    record = up.record("broken")
    arms = {cell.cell_id: cell.arm for cell in record.cells}
    found = {arms[each.cell_id]: each for each in record.attempts}
    assert (found["broken"].verdict, found["broken"].failure) == ("failed", "setup_failed")
    assert "exit code 7" in (found["broken"].reason or "")
    assert "marmalade" not in (found["broken"].reason or "")
    assert found["plain"].verdict == "passed"


def test_a_run_starts_a_stand_of_its_own_where_none_is_up(tmp_path: Path, provider: Provider) -> None:
    lab = Lab(tmp_path / "alone", provider)
    lab.trial("alone")
    ran = lab.run("alone")
    assert ran.exit_code == 0, ran
    assert [each.verdict for each in lab.record("alone").attempts] == ["passed"]
    assert not (lab.project.home / "stand.json").exists()
