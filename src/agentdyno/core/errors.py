"""The one exception family.

    DynoError                 ours: exit code 1
    ├── UserError             theirs: exit code 2, one line, no traceback
    │   ├── ConfigFaults      every fault of a configuration at once
    │   ├── LedgerNewer       the ledger was written by a newer agentdyno
    │   └── HarnessMissing    a harness's program is not installed
    ├── LedgerUnavailable     the database cannot be reached or is locked
    ├── SpoolFull             the disk under the spool takes no more
    ├── GatewayFault          the gateway did not start, stop or answer as it must
    ├── SandboxFault          a sandbox could not start the command that it was given
    ├── SetupFailed           what a variant needs before its harness can work could not be built
    ├── SetupStopped          its building was given up, because the end was asked for
    └── DeploymentFault       a LiteLLM deployment refused, or answered what it must not
        └── DeploymentUnreachable  it did not answer at all, or not now

Each is raised near its cause with a message that says what happened, and a hint that says what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class DynoError(Exception):
    """What happened, in one line; `hint` says what to do about it."""

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class UserError(DynoError):
    """A mistake that the person at the keyboard can mend."""

    exit_code = 2


@dataclass(frozen=True, order=True)
class Fault:
    """One thing wrong in a configuration: where, what, and what instead."""

    file: str
    line: int
    field: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: " if self.line else f"{self.file}: "
        return f"{where}{self.field} {self.message}" if self.field else f"{where}{self.message}"


class ConfigFaults(UserError):
    """Every fault of a configuration, shown together."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(sorted(faults))
        super().__init__("\n".join(str(fault) for fault in self.faults))


class LedgerNewer(UserError):
    """The ledger's schema is one this version of agentdyno does not know."""


class HarnessMissing(UserError):
    """The program of a harness is not installed, or not where programs are looked for."""


class LedgerUnavailable(DynoError):
    """The ledger cannot be reached, or another process holds it for too long."""


class SpoolFull(DynoError):
    """The disk under the spool takes no more records."""


class GatewayFault(DynoError):
    """The gateway did not start, stop or answer as it must."""


class SandboxFault(DynoError):
    """A sandbox could not start what it was given: it is the stand's fault, not the command's."""


class SetupFailed(DynoError):
    """A setup step of a variant did not succeed. What it printed is in a file, and nowhere else."""

    def __init__(self, variant: str, step: int, how: str, log: Path) -> None:
        self.variant = variant
        self.step = step
        """Counted from 1."""
        self.how = how
        """Such as `ended with exit code 1`."""
        super().__init__(f"setup step {step} of variant {variant} {how}", f"what it printed is in {log}")


class SetupStopped(DynoError):
    """The setup of a variant was given up, because the end was asked for: it says nothing about the variant."""


class DeploymentFault(DynoError):
    """A LiteLLM deployment refused what a session needs of it, or answered what it must not."""


class DeploymentUnreachable(DeploymentFault):
    """A LiteLLM deployment did not answer, or not now: the same may work later."""
