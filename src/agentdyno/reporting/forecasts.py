"""What a run would be: its cells in their order, what each would launch, and what it may take and cost at most."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields

from rich.console import Group, RenderableType
from rich.text import Text

from agentdyno.core.records import Cell, Limits, ModelPrice
from agentdyno.reporting.tables import Column, plain_table
from agentdyno.reporting.wording import UNKNOWN, harmless, number, plural, usd


@dataclass(frozen=True)
class ArmForecast:
    """What the cells of one arm would launch."""

    arm: str
    of: str
    provider: str
    model: str
    harness_profile: str
    command: tuple[str, ...]
    """With `${name}` for what is known only at the launch."""
    setup: tuple[tuple[str, ...], ...]
    program: str | None
    """Where it is; None where it is not installed."""
    missing_secrets: tuple[str, ...]
    price: ModelPrice | None
    """As the provider's file declares it; None leaves it to LiteLLM's table."""


@dataclass(frozen=True)
class Forecast:
    """A plan, and what it may cost."""

    experiment: str
    sandbox: str
    unenforced: tuple[str, ...]
    seed: int
    repeats: int
    jobs: int
    max_attempts: int
    limits: Limits
    timeboxes_s: Mapping[str, float]
    """By task card."""
    arms: tuple[ArmForecast, ...]
    cells: tuple[Cell, ...]
    longest_s: float
    """If every harness took its whole timebox, once."""
    most_usd: float | None
    """If every attempt cost as much as the dearest session so far of its arm and task card, and every cell needed all
    of its attempts; None where some arm has no such session yet, or one of unknown cost."""


_CELLS = (Column("cell", "right"), Column("arm"), Column("task card"), Column("repeat", "right"))
_ARMS = (
    Column("arm"),
    Column("what it is"),
    Column("provider"),
    Column("model"),
    Column("program"),
    Column("usd a million\nin/out", "right", optional=True),
)


def render_forecast(told: Forecast) -> RenderableType:
    """The forecast, for a terminal."""
    cells = [(number(cell.position + 1), cell.arm, cell.task_card, number(cell.repeat + 1)) for cell in told.cells]
    title = f"experiment {told.experiment}: {plural(len(cells), 'cell')} in {told.sandbox}, seed {told.seed}"
    return Group(
        plain_table(_ARMS, [_arm_row(arm) for arm in told.arms], title),
        Text(),
        *(Text(line) for arm in told.arms for line in _launches(arm)),
        Text(),
        *(Text(line) for line in _bounds(told)),
        Text(),
        plain_table(_CELLS, cells),
    )


def _arm_row(arm: ArmForecast) -> tuple[str | None, ...]:
    price = arm.price
    return (
        arm.arm,
        arm.of,
        arm.provider,
        arm.model,
        arm.program or "not installed",
        None if price is None else f"{usd(price.input_usd_per_million)}/{usd(price.output_usd_per_million)}",
    )


def _launches(arm: ArmForecast) -> list[str]:
    lines = [f"{arm.arm} is set up by: {harmless(shlex.join(command))}" for command in arm.setup]
    lines.append(f"{arm.arm} launches: {harmless(shlex.join(arm.command))}")
    if arm.missing_secrets:
        lines.append(f"{arm.arm} cannot be run: {', '.join(arm.missing_secrets)} not set")
    return lines


def _bounds(told: Forecast) -> list[str]:
    limits = ", ".join(
        f"{spec.name} {number(value)}"
        for spec in fields(told.limits)
        if (value := getattr(told.limits, spec.name)) is not None
    )
    timeboxes = ", ".join(f"{card} {timebox_s:g} s" for card, timebox_s in told.timeboxes_s.items())
    lines = [
        f"limits of a cell: {limits}",
        f"timeboxes: {timeboxes}; all together at most {number(told.longest_s)} s with {plural(told.jobs, 'job')}",
        f"attempts at a cell when it is the stand that fails: at most {told.max_attempts}",
    ]
    if told.unenforced:
        lines.append(f"not enforced by {told.sandbox}: {'; '.join(told.unenforced)}")
    if told.most_usd is None:
        lines.append(f"cost: {UNKNOWN}, for not every arm has a session of known cost on each of its task cards yet")
    else:
        lines.append(f"cost: at most {usd(told.most_usd)} USD, if no session costs more than the dearest one so far")
    return lines
