"""A runner of one cell, to be killed: `SANDBOX FOLDER MARK SECONDS`."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.integration.sandboxes.cell import Cell

from agentdyno.sessions.sandboxes import adopt_orphans, sandbox_named


def main() -> None:
    """Run a command with a daemon and a process in the background."""
    name, folder, mark, seconds = sys.argv[1:]
    with adopt_orphans():
        cell = Cell(Path(folder) / "cell", sandbox_named(name), mark)
        cell.run("sh", "-c", f"(setsid sleep {seconds} &); sleep {seconds} & exec sleep {seconds}")


if __name__ == "__main__":
    main()
