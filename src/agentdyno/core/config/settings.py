"""The stand's own settings: what `dyno.yaml` may say. Everything has a default, so that an empty file is valid."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated

from agentdyno.core.config.documents import Document
from agentdyno.core.config.sound import Sound
from agentdyno.core.errors import Fault
from agentdyno.core.fields import Field

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class GatewaySettings:
    """Where the gateway listens."""

    host: Annotated[str, Field("address that the gateway binds; loopback unless told otherwise")] = "127.0.0.1"
    port: Annotated[int, Field("port that the gateway binds; 0 takes any free one")] = 4141


@dataclass(frozen=True)
class SessionSettings:
    """What holds for every session."""

    time_to_live_s: Annotated[float, Field("time after which a session's credential expires", unit="s")] = 14400


@dataclass(frozen=True)
class DeploymentSettings:
    """How long the spend logs of a LiteLLM deployment are waited for, which it writes in batches."""

    logs_quiet_s: Annotated[float, Field("they are whole when none has come for so long", unit="s")] = 20
    logs_limit_s: Annotated[float, Field("they are waited for no longer than this", unit="s")] = 120


@dataclass(frozen=True)
class CellSettings:
    """What holds for every cell of a headless experiment."""

    timebox_s: Annotated[float, Field("time that a harness has where its task card gives none", unit="s")] = 1800
    sandbox: Annotated[
        str | None, Field("where cells run unless their experiment says it; the best there is when absent")
    ] = None
    readable: Annotated[tuple[str, ...], Field("folders and files that every cell may read, such as toolchains")] = ()
    environ: Annotated[tuple[str, ...], Field("NAMES of variables that every cell gets from the stand's own")] = ()


@dataclass(frozen=True)
class StandSettings:
    """The stand's settings, from `dyno.yaml`."""

    gateway: Annotated[GatewaySettings, Field("the gateway")] = GatewaySettings()
    session: Annotated[SessionSettings, Field("sessions")] = SessionSettings()
    deployment: Annotated[DeploymentSettings, Field("LiteLLM deployments")] = DeploymentSettings()
    cells: Annotated[CellSettings, Field("cells of headless experiments")] = CellSettings()


def settings_faults(document: Document, sound: Sound) -> Iterator[Fault]:
    """A port that is none, a session that would be over before it begins, a time that is none."""
    port, time_to_live_s = sound.get("gateway", "port"), sound.get("session", "time_to_live_s")
    if port is not None and not 0 <= port <= 65535:
        yield document.fault(("gateway", "port"), f"is {port}; expected 0 to 65535")
    if time_to_live_s is not None and time_to_live_s <= 0:
        yield document.fault(("session", "time_to_live_s"), f"is {time_to_live_s:g}; expected more than 0 seconds")
    for name in ("logs_quiet_s", "logs_limit_s"):
        wait_s = sound.get("deployment", name)
        if wait_s is not None and wait_s < 0:
            yield document.fault(("deployment", name), f"is {wait_s:g}; expected 0 seconds or more")
    timebox_s = sound.get("cells", "timebox_s")
    if timebox_s is not None and not 0 < timebox_s < math.inf:
        yield document.fault(("cells", "timebox_s"), f"is {timebox_s:g}; expected more than 0 seconds")
    for position in sound.keys("cells", "readable"):
        path = sound.get("cells", "readable", position)
        if path is not None and not PurePosixPath(path).is_absolute():
            yield document.fault(("cells", "readable", position), "is not an absolute path")
    for position in sound.keys("cells", "environ"):
        name = sound.get("cells", "environ", position)
        if name is not None and not _ENV_NAME.fullmatch(name):
            yield document.fault(("cells", "environ", position), "is not the NAME of an environment variable")
