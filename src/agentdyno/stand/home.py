"""The places of the stand's home folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Home:
    """`DYNO_HOME`, or `.dyno` beside the nearest dyno.yaml: everything that the stand writes lies below it."""

    folder: Path

    @property
    def ledger(self) -> Path:
        """The database."""
        return self.folder / "ledger.sqlite"

    @property
    def spool(self) -> Path:
        """The raw archive."""
        return self.folder / "spool"

    def log(self, name: str) -> Path:
        """A log file: of the stand, the sessions, the gateway, a managed provider."""
        return self.folder / "logs" / f"{name}.log"

    @property
    def state(self) -> Path:
        """What runs now, while the stand is up."""
        return self.folder / "stand.json"

    @property
    def lock(self) -> Path:
        """Held while the stand is up."""
        return self.folder / "stand.lock"

    @property
    def litellm_config(self) -> Path:
        """LiteLLM's generated configuration."""
        return self.folder / "litellm.yaml"

    @property
    def harness_versions(self) -> Path:
        """What harnesses answered when they were asked for their version."""
        return self.folder / "harness-versions.json"

    def session(self, session_id: str) -> Path:
        """Rendered files of one session, there until it is finalized."""
        return self.folder / "sessions" / session_id
