"""One attempt at a cell, up to its checks: workspace, setup, session, launch, checks. Settling it comes after that."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from agentdyno.core.errors import DynoError, HarnessMissing, SandboxFault, SetupFailed, SetupStopped, UserError
from agentdyno.core.judgement import Judgement, failed
from agentdyno.core.records import Attempt, Failure
from agentdyno.runner.bench import Bench, Prepared, Ready
from agentdyno.runner.output import output_at
from agentdyno.sessions.checks import (
    Held,
    RunCommand,
    Subject,
    changes_since,
    longest_s,
    needs_changes,
    none_hold,
    run_checks,
    take_snapshot,
)
from agentdyno.sessions.checks.changes import Changes, Snapshot
from agentdyno.sessions.closing import end_at_deployment
from agentdyno.sessions.environment import render_headless
from agentdyno.sessions.opening import CellPlace, Opened, open_cell
from agentdyno.sessions.removal import remove
from agentdyno.sessions.sandboxes import Confined, Ended
from agentdyno.sessions.workspaces import lay_in, lay_out
from agentdyno.store.runs import Claim

log = logging.getLogger(__name__)
_AFTERWARDS_S = 900.0
"""A cell's key lives so much longer than its timebox and its checks: its last records are not cut off by it."""
_OF_THE_HARNESS = (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP)
"""How a workspace is missing that was there before the harness ran."""
_NEEDS_RECORDS = "tool_used"
"""The check that asks for requests and traces, which are there only when the session is collected."""


class Worked(NamedTuple):
    """An attempt as far as a worker takes it."""

    claim: Claim
    attempt: Attempt
    """With all that is known so far."""
    prepared: Prepared
    judgement: Judgement | None
    """Where it is known already: the attempt never came as far as to be judged."""
    opened: Opened | None
    """None: no session was opened."""
    ended: Ended | None
    launched_at_us: int | None
    held: tuple[Held | None, ...]
    """Its checks, in their order; None for those that ask for its records."""


class Failed(Exception):
    """What ended an attempt before there was anything to judge."""

    def __init__(self, failure: Failure, reason: str) -> None:
        super().__init__(reason)
        self.failure: Failure = failure
        self.reason = reason


def attempt(bench: Bench, claim: Claim) -> Worked:
    """Take a claimed cell through its harness and its checks. Raises nothing: what goes wrong is the attempt's end."""
    work = _Work(bench, claim)
    judgement = None
    try:
        work.do()
    except Failed as early:
        judgement = failed(early.failure, early.reason)
    except Exception as error:  # the cell's edge: what nobody thought of ends this attempt, and not the run
        log.exception("cell %s", claim.cell.cell_id)
        judgement = failed("stand_error", f"{type(error).__name__} in the stand; see its log")
    if bench.stop.is_set:
        judgement = Judgement("interrupted", None, "the runner was interrupted")
    return work.worked(judgement)


class _Work:
    """One attempt, step by step. What is found out on the way is kept, wherever it ends."""

    def __init__(self, bench: Bench, claim: Claim) -> None:
        self._bench = bench
        self._claim = claim
        self._prepared = bench.prepared(claim.cell.arm, claim.cell.task_card)
        self._cell = bench.context.home.cell(claim.attempt.session_id)
        self._workspace = self._cell / "workspace"
        self._facts: dict[str, Any] = {}
        self._opened: Opened | None = None
        self._ended: Ended | None = None
        self._launched_at_us: int | None = None
        self._held: tuple[Held | None, ...] = ()

    def worked(self, judgement: Judgement | None) -> Worked:
        """All that is known of it now."""
        facts = replace(self._claim.attempt, **self._facts)
        known = (self._opened, self._ended, self._launched_at_us, self._held)
        return Worked(self._claim, facts, self._prepared, judgement, *known)

    def do(self) -> None:
        """Everything, in order. Raises Failed for what ends it before its time."""
        self._facts |= {**self._bench.confinement, "timebox_s": self._prepared.timebox_s}
        ready = self._prepared.ready
        if isinstance(ready, HarnessMissing):
            raise Failed("harness_missing", ready.message)
        self._lay_out()
        setup_dir = self._set_up()
        opened = self._open(ready, setup_dir)
        with contextlib.ExitStack() as failing:
            failing.callback(self._end_at_deployment, opened, forced=True)
            snapshot = self._before(opened)
            confined = self._confined(opened, setup_dir)
            self._launch(opened, confined)
            if not self._bench.stop.is_set:
                self._check(confined, snapshot)
            failing.pop_all()
        self._end_at_deployment(opened, forced=self._bench.stop.is_set)

    def _lay_out(self) -> None:
        began_s = time.monotonic()
        try:
            self._cell.mkdir(parents=True, mode=0o700)
            lay_out(self._prepared.source, self._workspace, self._prepared.task_card.files)
            for name in ("home", "tmp"):
                (self._cell / name).mkdir()
        except (OSError, DynoError) as error:
            raise Failed("workspace_failed", _told(error)) from error
        self._facts["workspace_ms"] = (time.monotonic() - began_s) * 1000

    def _set_up(self) -> Path:
        """The folder with what the variant had built; one that is not there when it needs nothing."""
        try:
            setup = self._bench.setup_of(self._prepared.arm.variant)
        except (SetupFailed, SetupStopped) as error:
            raise Failed("setup_failed", error.message) from error
        except SandboxFault as fault:
            raise Failed("sandbox_failed", fault.message) from fault
        if setup is None:
            return self._cell / "setup"
        self._facts |= {"setup_digest": setup.digest, "setup_ms": setup.setup_ms, "setup_cached": setup.cached}
        return setup.folder

    def _open(self, ready: Ready, setup_dir: Path) -> Opened:
        bench = self._bench
        place = CellPlace(
            self._claim.attempt.session_id,
            self._workspace,
            setup_dir,
            self._prepared.timebox_s + longest_s(self._prepared.task_card.checks) + _AFTERWARDS_S,
        )
        self._opened = open_cell(bench.context, ready.choice, ready.session, place)
        return self._opened

    def _before(self, opened: Opened) -> Snapshot | None:
        """Lay in the variant's own files, and take the picture that changes are told against."""
        try:
            lay_in(self._workspace, opened.workspace_files)
            if opened.home_files:
                lay_in(self._home_of(opened), opened.home_files)
        except (OSError, DynoError) as error:
            raise Failed("workspace_failed", _told(error)) from error
        if not needs_changes(self._prepared.task_card.checks):
            return None
        snapshot = take_snapshot(self._workspace, self._cell / "snapshot")
        if snapshot.fault is not None:
            raise Failed("workspace_failed", snapshot.fault)
        return snapshot

    def _home_of(self, opened: Opened) -> Path:
        """The HOME that its harness will have. Raises UserError for one that other sessions have too, or a person."""
        home = Path(opened.env.get("HOME", self._cell / "home"))
        own = (self._cell, self._bench.context.home.session(opened.session.session_id))
        if not any(home.resolve().is_relative_to(folder.resolve()) for folder in own):
            raise UserError("files for HOME have no place: the profile's HOME is not below the session's own folders")
        return home

    def _confined(self, opened: Opened, setup_dir: Path) -> Confined:
        """What the harness, and later its checks, may have."""
        home, temporary, bench = self._cell / "home", self._cell / "tmp", self._bench
        base = {**bench.environ, "HOME": str(home), "TMPDIR": str(temporary)}
        if setup_dir.is_dir():
            base["PATH"] = f"{setup_dir / 'bin'}{os.pathsep}{base.get('PATH', os.defpath)}"
        return Confined(
            arguments=render_headless(opened.profile, opened.values, self._prepared.task_card.prompt),
            environ={**base, **opened.env},
            folder=self._workspace,
            output=self._cell / "output",
            timebox_s=self._prepared.timebox_s,
            writable=(home, temporary, bench.context.home.session(opened.session.session_id)),
            readable=(*self._prepared.readable, *([setup_dir] if setup_dir.is_dir() else [])),
            limits=bench.experiment.limits,
            gateway=bench.gateway,
            mark=opened.session.session_id,
        )

    def _launch(self, opened: Opened, confined: Confined) -> None:
        self._launched_at_us = self._bench.context.clock_us()
        try:
            with output_at(confined.output, confined.limits.output_bytes) as output:
                ended = self._ended = self._bench.sandbox.run(confined, self._bench.stop)
                self._facts |= {"command_ms": ended.command_ms, "exit_code": ended.exit_code, **output.facts()}
                if self._bench.experiment.keep_output:
                    output.keep(self._bench.context.home.output(self._claim.attempt.session_id))
        except SandboxFault as fault:
            raise Failed("sandbox_failed", fault.message) from fault

    def _check(self, confined: Confined, snapshot: Snapshot | None) -> None:
        """The checks that ask for no records. What changed is measured before anything is laid in for them."""
        began_s = time.monotonic()
        checks = self._prepared.task_card.checks
        try:
            self._require_workspace()
            changes = Changes(fault="what was changed is not known") if snapshot is None else changes_since(snapshot)
            subject = Subject(self._workspace, self._run_check(confined), changes)
            lay_in(self._workspace, self._prepared.task_card.check_files)
            self._held = tuple(
                None if check.kind == _NEEDS_RECORDS else run_checks([check], subject)[0] for check in checks
            )
        except SandboxFault as fault:
            raise Failed("sandbox_failed", fault.message) from fault
        except UserError:
            # Without them other tests than the task card's would be run: those that the harness left there.
            self._held = none_hold(checks)
        except (OSError, DynoError) as error:
            raise Failed("workspace_failed", _told(error)) from error
        self._facts["checks_ms"] = (time.monotonic() - began_s) * 1000

    def _end_at_deployment(self, opened: Opened, *, forced: bool) -> None:
        """Close the session at the LiteLLM deployment that it went to, if it did: only there its requests are known.

        Raises Failed when that does not do its part; `forced`, that is logged, and no more.
        """
        context = self._bench.context
        provider = context.config.provider(opened.session.provider)
        if provider.deployment_key_env is None:
            return
        try:
            end_at_deployment(
                context.ledger,
                opened.session,
                context.deployment_access(),
                context.clock_us,
                lambda: self._bench.stop.is_set,
                forced=forced,
            )
        except DynoError as error:
            if forced:  # what the attempt failed of already is to be told, and not this
                log.warning("session %s was not ended at its deployment: %s", opened.session.session_id, error)
                return
            raise Failed("missing_telemetry", error.message) from error

    def _run_check(self, confined: Confined) -> RunCommand:
        """Runs a check's command where the harness ran, without its keys and without any address."""
        environ = {name: value for name, value in confined.environ.items() if name not in self._own_variables()}

        def run(command: tuple[str, ...], limit_s: float) -> int | None:
            self._require_workspace()
            remove(self._cell / "check-output")  # whatever the last one made of it
            ended = self._bench.sandbox.run(
                confined._replace(
                    arguments=command,
                    environ=environ,
                    output=self._cell / "check-output",
                    timebox_s=limit_s,
                    gateway=None,
                ),
                self._bench.stop,
            )
            if ended.ended_by == "killed":
                raise SandboxFault("a check's command was killed, and not by the stand")
            return None if ended.ended_by == "timebox" else ended.exit_code

        return run

    def _require_workspace(self) -> None:
        """Raise UserError unless the workspace is the folder that it was: what ran in it may have put a link there."""
        try:
            mode = self._workspace.lstat().st_mode
        except OSError as error:
            if error.errno not in _OF_THE_HARNESS:
                raise
            raise UserError("the workspace is gone") from error
        if not stat.S_ISDIR(mode) or mode & stat.S_IRWXU != stat.S_IRWXU:
            raise UserError("the workspace is no folder any more, or a closed one")

    def _own_variables(self) -> frozenset[str]:
        """What the session gave its harness: a check is no harness."""
        given: Mapping[str, str] = {} if self._opened is None else self._opened.env
        return frozenset(given) - {"PATH", "HOME", "TMPDIR"}


def _told(error: OSError | DynoError) -> str:
    """An error in words without anything that a harness wrote."""
    return error.message if isinstance(error, DynoError) else f"{error.strerror or type(error).__name__}"
