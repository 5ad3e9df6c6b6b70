"""Entities that the stand writes of a headless experiment: its plan, who works on it, and every attempt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from agentdyno.core.fields import Field

CellState = Literal["open", "scored", "given_up"]
"""Scored: an attempt was judged. Given up: every attempt failed by the stand's own fault; a resumed run tries again."""
Verdict = Literal["passed", "failed", "unjudged", "stand_failure", "interrupted", "lost"]
"""How an attempt ended. The first three score its cell. Unjudged: there are no checks. Lost: its runner died."""
Failure = Literal[
    "checks_failed",
    "timed_out",
    "memory_limit",
    "process_limit",
    "disk_limit",
    "output_limit",
    "no_answer",
    "requests_refused",
    "harness_missing",
    "setup_failed",
    "provider_outage",
    "sandbox_killed",
    "sandbox_failed",
    "missing_telemetry",
    "workspace_failed",
    "gateway_down",
    "stand_error",
]
"""Why an attempt did not pass. From `provider_outage` on, it is the stand that failed."""


@dataclass(frozen=True)
class Run:
    """One plan of an experiment: its arms, task cards and repeats, in one order."""

    run_id: Annotated[str, Field("time-ordered id", key=True)]
    experiment: Annotated[str, Field("experiment's name", index=True)]
    experiment_digest: Annotated[str, Field("digest of the experiment", ref="experiment.digest")]
    created_at_us: Annotated[int, Field("when it was planned", unit="us")]
    seed: Annotated[int, Field("what its order was drawn from")]
    repeats: Annotated[int, Field("sessions for each arm and task card")]
    arms: Annotated[tuple[str, ...], Field("names of its arms")]
    task_cards: Annotated[tuple[str, ...], Field("names of its task cards")]
    commits: Annotated[tuple[str, ...], Field("commit that each task card starts from, in their order")]
    cells: Annotated[int, Field("how many cells it has")]
    plan_digest: Annotated[str, Field("digest of all that a cell's result may depend on in the configuration")]
    sandbox: Annotated[str, Field("where its cells run")]
    max_attempts: Annotated[int, Field("attempts at a cell when it is the stand that fails")]


@dataclass(frozen=True)
class Runner:
    """One process that works on a run."""

    runner_id: Annotated[str, Field("time-ordered id", key=True)]
    run_id: Annotated[str, Field("run", index=True, ref="run.run_id")]
    host: Annotated[str, Field("machine, by an id that no other has")]
    pid: Annotated[int, Field("process id there")]
    pid_started_ticks: Annotated[int, Field("when that process began, in clock ticks after boot")]
    started_at_us: Annotated[int, Field("when it took up the run", unit="us")]
    seen_at_us: Annotated[int, Field("when it last said that it lives", unit="us")]
    ended_at_us: Annotated[int | None, Field("when it ended, or was found dead", unit="us")] = None


@dataclass(frozen=True)
class Cell:
    """One planned session of a run: arm, task card, repeat."""

    cell_id: Annotated[str, Field("run's id and the cell's position", key=True)]
    run_id: Annotated[str, Field("run", ref="run.run_id")]
    position: Annotated[int, Field("place in the run's order")]
    arm: Annotated[str, Field("arm: the variant's name, or what was made of it")]
    variant: Annotated[str, Field("variant's name")]
    variant_fingerprint: Annotated[str, Field("digest of variant, provider and harness profile together")]
    task_card: Annotated[str, Field("task card's name")]
    task_card_digest: Annotated[str, Field("digest of the task card", ref="task_card.digest")]
    repeat: Annotated[int, Field("which of the repeats, from 0")]
    state: Annotated[CellState, Field("whether it has its score")] = "open"
    runner_id: Annotated[str | None, Field("who works on it now", ref="runner.runner_id")] = None
    attempts: Annotated[int, Field("attempts at it so far")] = 0
    failures: Annotated[int, Field("those of them that the stand failed, since it was last given up")] = 0
    session_id: Annotated[str | None, Field("session of the attempt that scored it")] = None
    verdict: Annotated[Verdict | None, Field("that attempt's verdict")] = None


@dataclass(frozen=True)
class Attempt:
    """One attempt at a cell, whatever came of it. None of them is ever removed."""

    attempt_id: Annotated[str, Field("cell's id and the attempt's number", key=True)]
    cell_id: Annotated[str, Field("cell", index=True, ref="cell.cell_id")]
    run_id: Annotated[str, Field("run", index=True, ref="run.run_id")]
    runner_id: Annotated[str, Field("who made it", ref="runner.runner_id")]
    number: Annotated[int, Field("which attempt at its cell, from 1")]
    session_id: Annotated[str, Field("session; it may have ended before there was one", index=True)]
    started_at_us: Annotated[int, Field("when the cell was claimed", unit="us")]
    ended_at_us: Annotated[int | None, Field("when it was settled", unit="us")] = None
    verdict: Annotated[Verdict | None, Field("how it ended; none while it is under way")] = None
    failure: Annotated[Failure | None, Field("why it did not pass")] = None
    reason: Annotated[str | None, Field("the same in words")] = None
    scored: Annotated[bool, Field("whether it is the one that scored its cell")] = False
    sandbox: Annotated[str | None, Field("where it ran")] = None
    unenforced: Annotated[tuple[str, ...], Field("what the sandbox could not enforce")] = ()
    limits: Annotated[str | None, Field("what it might use and what was set aside for it, JSON object")] = None
    timebox_s: Annotated[float | None, Field("time that the harness had", unit="s")] = None
    setup_digest: Annotated[str | None, Field("digest of the variant's setup steps; none when it has none")] = None
    setup_ms: Annotated[float | None, Field("time they took when they were run", unit="ms")] = None
    setup_cached: Annotated[bool | None, Field("whether they had been run before")] = None
    workspace_ms: Annotated[float | None, Field("time to lay out the workspace", unit="ms")] = None
    command_ms: Annotated[float | None, Field("time from the harness's start to its end", unit="ms")] = None
    checks_ms: Annotated[float | None, Field("time that the checks took", unit="ms")] = None
    exit_code: Annotated[int | None, Field("the harness's exit code, negative for a signal; no evidence")] = None
    output_bytes: Annotated[int | None, Field("size of what it printed", unit="bytes")] = None
    output_digest: Annotated[str | None, Field("digest of what it printed")] = None
    error_class: Annotated[str | None, Field("what kind of error it printed last, if it named one")] = None
    checks: Annotated[str | None, Field("each check and whether it held, JSON array")] = None
    trace_faults: Annotated[int | None, Field("lines of its trace that could not be read")] = None
