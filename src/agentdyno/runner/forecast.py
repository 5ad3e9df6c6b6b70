"""What a run would be, without running anything: no process, no network, no row."""

from __future__ import annotations

import heapq
import shutil
from collections.abc import Iterable

from agentdyno.core.arms import Arm
from agentdyno.core.config import missing_secrets
from agentdyno.core.templates import render
from agentdyno.reporting.forecasts import ArmForecast, Forecast
from agentdyno.runner.planning import Asked, Plan, plan
from agentdyno.sessions.environment import program_of
from agentdyno.sessions.opening import Context
from agentdyno.sessions.sandboxes import sandbox_named
from agentdyno.store.run_queries import dearest_sessions

_LEFT_OPEN = ("prompt", "files_dir", "workspace", "session_id", "gateway_url", "setup_dir")
"""What a command is told only when it is launched."""


def forecast(context: Context, asked: Asked, jobs: int) -> Forecast:
    """The forecast of a run. Raises UserError for what does not exist or does not fit."""
    config = context.config
    experiment = config.experiment(asked.experiment)
    sandbox = sandbox_named(experiment.sandbox or config.settings.cells.sandbox)
    made = plan(config, asked, sandbox.name)
    default_s = config.settings.cells.timebox_s
    timeboxes_s = {card.name: default_s if card.timebox_s is None else card.timebox_s for card in made.task_cards}
    cells = tuple(made.cells("run"))
    return Forecast(
        experiment=experiment.name,
        sandbox=sandbox.name,
        unenforced=sandbox.unenforced(experiment.limits),
        seed=made.seed,
        repeats=made.repeats,
        jobs=jobs,
        max_attempts=experiment.max_attempts,
        limits=experiment.limits,
        timeboxes_s=timeboxes_s,
        arms=tuple(_arm_forecast(context, arm) for arm in made.arms),
        cells=cells,
        longest_s=longest_s((timeboxes_s[cell.task_card] for cell in cells), jobs),
        most_usd=_most_usd(context, made),
    )


def _arm_forecast(context: Context, arm: Arm) -> ArmForecast:
    config, variant = context.config, arm.variant
    provider, profile = config.provider(variant.provider), config.harness_profile(variant.harness_profile)
    values = {
        **{name: f"${{{name}}}" for name in _LEFT_OPEN},
        **profile.settings,
        **variant.settings,
        "model": variant.model,
        "small_model": variant.model if variant.small_model is None else variant.small_model,
    }
    program = program_of(profile)
    return ArmForecast(
        arm=arm.name,
        of=arm.of,
        provider=provider.name,
        model=variant.model,
        harness_profile=profile.name,
        command=tuple(render(part, values) for part in profile.command),
        setup=tuple(tuple(render(part, values) for part in step.command) for step in variant.setup),
        program=None if program is None else shutil.which(program, path=context.environ.get("PATH")),
        missing_secrets=tuple(missing_secrets(config, variant, context.environ)),
        price=provider.prices.get(variant.model),
    )


def longest_s(timeboxes_s: Iterable[float], jobs: int) -> float:
    """When the last cell ends if each takes its whole timebox, and is begun in its order by the first job that is free.

    A cell that takes less lets none end later.
    """
    ends_s = [0.0] * jobs
    for timebox_s in timeboxes_s:
        heapq.heapreplace(ends_s, ends_s[0] + timebox_s)
    return max(ends_s)


def _most_usd(context: Context, made: Plan) -> float | None:
    dearest = dearest_sessions(context.ledger, [arm.fingerprint for arm in made.arms])
    each = [dearest.get((arm.fingerprint, card.name)) for arm in made.arms for card in made.task_cards]
    known = [cost_usd for cost_usd in each if cost_usd is not None]
    if len(known) < len(each):
        return None
    return sum(known) * made.repeats * made.experiment.max_attempts
