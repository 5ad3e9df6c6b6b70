"""The places of the stand's home folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agentdyno.store.address import LedgerAddress


@dataclass(frozen=True)
class Home:
    """`DYNO_HOME`, or `.dyno` beside the nearest dyno.yaml: all that the stand writes, save a shared ledger."""

    folder: Path
    shared_ledger: LedgerAddress | None = None

    @property
    def ledger(self) -> LedgerAddress:
        """The database: the one that it shares with others, else its own."""
        return self.ledger_file if self.shared_ledger is None else self.shared_ledger

    @property
    def ledger_file(self) -> Path:
        """Its own database."""
        return self.folder / "ledger.sqlite"

    @property
    def spool(self) -> Path:
        """The raw archive."""
        return self.folder / "spool"

    def log(self, name: str) -> Path:
        """A log file: of the stand, the sessions, the gateway, a managed provider; `up`, what a detached stand says."""
        return self.logs / f"{name}.log"

    @property
    def logs(self) -> Path:
        """All log files."""
        return self.folder / "logs"

    @property
    def state(self) -> Path:
        """What runs now, while the stand is up."""
        return self.folder / "stand.json"

    @property
    def pid(self) -> Path:
        """The stand's process id, from before it is up until its end."""
        return self.folder / "stand.pid"

    @property
    def lock(self) -> Path:
        """Held while the stand is up."""
        return self.folder / "stand.lock"

    @property
    def litellm_config(self) -> Path:
        """LiteLLM's generated configuration."""
        return self.folder / "litellm.yaml"

    @property
    def price_sources(self) -> Path:
        """Where the price of each route comes from."""
        return self.folder / "price-sources.json"

    @property
    def harness_versions(self) -> Path:
        """What harnesses answered when they were asked for their version."""
        return self.folder / "harness-versions.json"

    def session(self, session_id: str) -> Path:
        """Rendered files of one session, there until it is finalized."""
        return self.folder / "sessions" / session_id
