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
    def socket_folder(self) -> Path:
        """A link to the folder of the gateway's unix socket, which lies where paths are short."""
        return self.folder / "gateway-socket"

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

    def cell(self, session_id: str) -> Path:
        """Where a headless cell works; there until it is settled."""
        return self.folder / "cells" / session_id

    def output(self, session_id: str) -> Path:
        """What a headless harness printed, redacted, where its experiment keeps it."""
        return self.folder / "outputs" / f"{session_id}.txt"

    @property
    def cache(self) -> Path:
        """What headless cells share: repositories, and what variants had built."""
        return self.folder / "cache"

    def session(self, session_id: str) -> Path:
        """Rendered files of one session, there until it is finalized."""
        return self.folder / "sessions" / session_id

    def snapshot(self, session_id: str) -> Path:
        """What the working folder of one session held before the work, there until its checks are done."""
        return self.folder / "snapshots" / session_id
