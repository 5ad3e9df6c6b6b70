"""A stand that cannot collect its last records still leaves nothing behind."""

from __future__ import annotations

import contextlib
import sqlite3

import psutil
from tests.integration.stand_process import Project, StandProcess


def test_a_stop_cleans_up_though_the_last_pass_fails(project: Project) -> None:
    with StandProcess(project) as stand:
        children = psutil.Process(stand.state["pid"]).children()
        # Where it is noted that the run of the gateway is closed.
        with contextlib.closing(sqlite3.connect(project.home / "ledger.sqlite")) as ledger:
            ledger.execute("ALTER TABLE spool_cursor RENAME COLUMN closed TO shut")
    logs = "".join(path.read_text() for path in project.home.glob("logs/*.log"))
    assert "the last records were not collected: the ledger" in logs
    assert "Traceback" not in stand.out + stand.err
    assert stand.process.returncode == 0
    assert not (project.home / "stand.json").exists()
    assert list(project.home.rglob("*.port")) == []
    assert not any(child.is_running() for child in children)
    with contextlib.closing(sqlite3.connect(project.home / "ledger.sqlite")) as ledger:
        ledger.execute("ALTER TABLE spool_cursor RENAME COLUMN shut TO closed")
    with StandProcess(project):  # nobody holds the lock
        project.dyno("normalize")
