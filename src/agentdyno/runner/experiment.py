"""A headless experiment from beginning to end: plan or plan again, stand, cells, and how far it is then."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol

from agentdyno.core.errors import GatewayFault, UserError
from agentdyno.core.ids import time_ordered_id
from agentdyno.core.records import Run
from agentdyno.runner.bench import Bench
from agentdyno.runner.planning import Asked, Plan, new_run, plan, plan_again
from agentdyno.runner.recovery import recover_the_dead
from agentdyno.runner.run import Observer, host_id, require_fit, work
from agentdyno.sessions.opening import Context
from agentdyno.sessions.sandboxes import Stop, sandbox_named
from agentdyno.sessions.workspaces import Source, prepare_source
from agentdyno.stand.state import StandState, running_stand
from agentdyno.stand.supervisor import Stand
from agentdyno.store import run_queries
from agentdyno.store.runs import add_run, reopen


class Wishes(NamedTuple):
    """What a person wants of a run."""

    asked: Asked
    jobs: int = 1
    resume: bool = False


class RunObserver(Observer, Protocol):
    """Is told of the run as a whole too."""

    def said(self, line: str) -> None:
        """What is being waited for."""

    def planned(self, run: Run, counts: run_queries.RunCounts) -> None:
        """The run, before its first cell or where it goes on."""


def run_experiment(context: Context, project: Path, wishes: Wishes, observer: RunObserver) -> Run:
    """Run an experiment, or go on with it, until no cell of it is open. The stand is started where none is up.

    Raises UserError for what does not exist or does not fit, before anything is run; GatewayFault when the gateway
    dies; Interrupted when somebody asked for the end. Whatever is not scored then is what `resume` goes on with.
    """
    config = context.config
    experiment = config.experiment(wishes.asked.experiment)
    begun = _unfinished(context, wishes) if wishes.resume else None
    wanted = (experiment.sandbox or config.settings.cells.sandbox) if begun is None else begun.sandbox
    sandbox = sandbox_named(wanted)
    made = plan(config, wishes.asked, sandbox.name) if begun is None else plan_again(config, begun)
    context = context._replace(config=made.config(config))
    require_fit(made.experiment.limits, wishes.jobs)
    pinned = {} if begun is None else dict(zip(begun.task_cards, begun.commits, strict=True))
    with context.interruptions.released():
        sources = {
            card.name: prepare_source(card, project, context.home.cache, pinned.get(card.name))
            for card in made.task_cards
        }
    with Stop() as stop, _standing(context, made, observer) as (state, require_gateway):
        context = context._replace(stand=state)
        bench = Bench(context, made.experiment, sandbox, stop)
        bench.prepare(made.arms, made.task_cards, sources)
        for missing in bench.missing():
            if begun is not None:
                raise UserError(f"{missing}, and run {begun.run_id} began with it", "name its folder: --harnesses")
            observer.said(f"its cells will fail: {missing}")
        run = _new(context, bench, made, sources) if begun is None else _taken_up(context, bench, begun, observer)
        observer.planned(run, run_queries.counts(context.ledger, run.run_id))
        work(bench, run, wishes.jobs, observer, require_gateway)
    return run


def _unfinished(context: Context, wishes: Wishes) -> Run:
    """The run to go on with. Raises UserError where there is none, and for wishes that only a new one can fulfil."""
    asked = wishes.asked
    found = run_queries.unfinished_run(context.ledger, asked.experiment)
    if found is None:
        raise UserError(f"experiment {asked.experiment} has no run with cells left", "leave out --resume")
    if asked != Asked(asked.experiment):
        raise UserError(f"run {found.run_id} has its plan", "leave out what changes it, or leave out --resume")
    return found


def _new(context: Context, bench: Bench, made: Plan, sources: Mapping[str, Source]) -> Run:
    now_us = context.clock_us()
    run = new_run(made, time_ordered_id("run", now_us, context.random(10)), bench.sandbox.name, now_us)
    run = replace(run, commits=tuple(sources[name].commit for name in run.task_cards))
    bench.remember()
    add_run(context.ledger, run, made.cells(run.run_id))
    return run


def _taken_up(context: Context, bench: Bench, run: Run, observer: Observer) -> Run:
    lost = recover_the_dead(context, run.run_id, host_id())
    if lost:
        observer.lost(len(lost))
    bench.remember()  # a description may have changed, which is no change of the plan
    reopen(context.ledger, run.run_id)
    return run


@contextlib.contextmanager
def _standing(context: Context, made: Plan, observer: RunObserver) -> Iterator[tuple[StandState, Callable[[], object]]]:
    """The stand that is up, or one for this run alone; and what raises GatewayFault once it is no more."""
    if context.stand is not None:
        began = context.stand

        def require_same() -> None:
            now = running_stand(context.home)
            if now is None or now.gateway_id != began.gateway_id:
                raise GatewayFault("the stand that this run began with is gone", "start it, then: dyno run … --resume")

        yield began, require_same
        return
    settings = context.config.settings.gateway
    # Of the providers that the stand starts itself, only those of this run are worth their time and memory.
    config = replace(context.config, variants={arm.variant.name: arm.variant for arm in made.arms}, experiments={})
    with Stand(
        context.home,
        config,
        settings.host,
        0,
        context.environ,
        observer.said,
        context.interruptions,
    ) as stand:
        yield stand.state, stand.require_alive
