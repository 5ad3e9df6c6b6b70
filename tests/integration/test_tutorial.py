"""The tutorial's commands, run as they stand there, in an empty folder and without an account."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.integration.stand_process import DYNO, HARNESSES, REPOSITORY, clean_environ

TIMEOUT_S = 300
ARMS = ("codex-scripted", "mini-scripted")


def commands() -> str:
    """All shell blocks of the tutorial, in order, as one script."""
    return "\n".join(re.findall(r"```sh\n(.*?)```", (REPOSITORY / "docs/tutorial.md").read_text(), re.DOTALL))


def shell(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environ = clean_environ()
    environ["PATH"] = f"{DYNO.parent}:{HARNESSES}:{environ['PATH']}"
    return subprocess.run(
        ["bash", "-euc", script],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The folder of a reader who typed every command, and what was printed."""
    folder = tmp_path_factory.mktemp("reader")
    done = shell(commands(), folder)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return folder / "shop", done


def sessions(shop: Path) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(shell("dyno session list --json", shop).stdout)
    return listed


def test_both_agents_pass_in_every_cell(followed: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    shop, done = followed
    for arm in ARMS:
        assert re.search(rf"^{arm} +2 of 2 +2 of 2 ", done.stdout, re.MULTILINE), done.stdout
    cells = sessions(shop)
    assert sorted(cell["variant"] for cell in cells) == sorted(2 * ARMS)
    assert {(cell["outcome"], cell["checks_passed"], cell["checks_total"]) for cell in cells} == {("completed", 2, 2)}


def test_the_table_of_the_tutorial_is_the_one_that_is_printed(
    followed: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    """Its figures but for times: requests and tokens are the same everywhere, as far as no path is part of a prompt."""
    _, done = followed
    page = (REPOSITORY / "docs/tutorial.md").read_text()
    for arm in ARMS:
        (told,) = re.findall(rf"^{arm} .*$", page, re.MULTILINE)
        printed = next(line for line in done.stdout.splitlines() if re.match(rf"{arm} +2 of 2", line))
        assert told.split()[:8] == printed.split()[:8]
        assert told.split()[-2] == printed.split()[-2]  # requests


def test_nothing_of_the_reader_was_touched(followed: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """Agents work on copies: the repository is as it was, and its test fails as it did."""
    shop, done = followed
    assert shell("git status --porcelain --untracked-files=no", shop).stdout == ""
    assert shell("python3 -m unittest test_prices", shop).returncode == 1
    assert "has no run with cells left" in done.stderr
