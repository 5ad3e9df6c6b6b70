"""What runs now: written by the stand when it is up, read by every other command."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import msgspec

from agentdyno.core.errors import GatewayFault, UserError
from agentdyno.stand.home import Home
from agentdyno.stand.processes import is_same_process

_POLL_S = 0.05


class StandState(msgspec.Struct, frozen=True):
    """A stand that is up."""

    pid: int
    pid_started_ticks: int
    """When that process began, in clock ticks after boot: a pid alone may have been given away again."""
    gateway_id: str
    gateway_pid: int
    gateway_url: str
    gateway_socket: str
    """The unix socket on which the gateway listens too: it can be shown in a sandbox that has no network."""
    started_at_us: int
    providers: dict[str, str]
    """Addresses of the managed providers."""
    served: dict[str, str]
    """Providers whose routes the gateway has, each with the digest of what it said when the stand came up."""
    missing_secrets: dict[str, str]
    """Providers left out, each with the NAME of the variable that was not set."""


def write_state(home: Home, state: StandState) -> None:
    """Write the state in one step, readable by its owner only."""
    nascent = home.state.with_suffix(".tmp")
    nascent.touch(mode=0o600)
    nascent.write_bytes(msgspec.json.encode(state))
    nascent.rename(home.state)


def running_stand(home: Home) -> StandState | None:
    """The stand that is up in this home, or None."""
    try:
        state = msgspec.json.decode(home.state.read_bytes(), type=StandState)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return state if _is_alive(state) else None


def _is_alive(state: StandState) -> bool:
    """Whether the stand's process runs: the same one, and not only waiting for its parent to notice its end."""
    return is_same_process(state.pid, state.pid_started_ticks)


def require_stand(home: Home) -> StandState:
    """The stand that is up. Raises UserError with what to do when there is none."""
    state = running_stand(home)
    if state is None:
        raise not_up(home)
    return state


def not_up(home: Home) -> UserError:
    """What is said where there is no stand."""
    return UserError(f"the stand is not up in {_shown(home.folder)}", "start it with `dyno up` in another terminal")


def up_already(home: Home) -> UserError:
    """What a second stand is told."""
    state = running_stand(home)
    where = f" at {state.gateway_url}" if state else ""
    return UserError(f"a stand is up already{where}", "use it, or stop it with `dyno down`")


def stop_stand(state: StandState, timeout_s: float = 30.0) -> None:
    """Ask a stand to end, and wait until it has. Raises GatewayFault when it does not."""
    deadline = time.monotonic() + timeout_s
    os.kill(state.pid, signal.SIGTERM)
    while _is_alive(state):
        if time.monotonic() > deadline:
            raise GatewayFault(
                f"the stand (process {state.pid}) did not end within {timeout_s:.0f} s", "end it by `kill -9`"
            )
        time.sleep(_POLL_S)


def _shown(folder: Path) -> str:
    relative = os.path.relpath(folder)
    return str(folder) if relative.startswith("..") else relative
