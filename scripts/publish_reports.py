"""Runs the bundled experiments on this machine, and writes what came out into their pages below docs/reports/.

A page is written by hand but for what stands between two marks, which is made from the ledger of the run. With a folder
of one's own the project stays there: `--render-only` then writes the pages again without running anything.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
from pathlib import Path

from agentdyno.core.errors import DynoError, UserError
from agentdyno.core.layout import HOME_FOLDER
from agentdyno.reporting.markdown import rewritten
from agentdyno.reporting.run_page import BEGIN, END, run_page
from agentdyno.stand.home import Home
from agentdyno.store import run_queries
from agentdyno.store.ledger import Ledger

ROOT = Path(__file__).resolve().parent.parent
DYNO = Path(sys.executable).with_name("dyno")
EXPERIMENTS = ("harness-overhead", "config-arms")


def run(folder: Path, experiment: str, jobs: int) -> None:
    """Run an experiment in a project in that folder, which is made there if there is none."""
    subprocess.run([str(DYNO), "init"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    harnesses = ROOT / ".harnesses" / "bin"
    command = [str(DYNO), "run", experiment, "--jobs", str(jobs), "--harnesses", str(harnesses)]
    subprocess.run(command, cwd=folder, check=True)


def publish(folder: Path, experiment: str) -> Path:
    """Write the newest run of an experiment into its page. Raises UserError where there is no run, or no place."""
    page = ROOT / "docs" / "reports" / f"{experiment}.md"
    with contextlib.closing(Ledger.open(Home(folder / HOME_FOLDER).ledger)) as ledger:
        runs = run_queries.runs(ledger, experiment)
        if not runs:
            raise UserError(f"{folder} has no run of {experiment}", "leave out --render-only")
        written = rewritten(page.read_text("utf-8"), BEGIN, END, run_page(ledger, runs[-1]))
    if written is None:
        raise UserError(f"{page} has no place for the run", f"write `{BEGIN}` and `{END}` around it")
    page.write_text(written, "utf-8")
    return page


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=EXPERIMENTS, help="only this experiment")
    parser.add_argument("--folder", type=Path, help="folder of the project; kept")
    parser.add_argument("--render-only", action="store_true", help="run nothing: the folder has the runs already")
    parser.add_argument("--jobs", type=int, default=1, help="cells at the same time; more than 1 disturb each other")
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dyno-reports-")))
        folder.mkdir(parents=True, exist_ok=True)
        for experiment in EXPERIMENTS if given.only is None else (given.only,):
            try:
                if not given.render_only:
                    run(folder, experiment, given.jobs)
                print(f"written: {publish(folder, experiment).relative_to(ROOT)}")
            except DynoError as error:
                print(error, file=sys.stderr)
                return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
