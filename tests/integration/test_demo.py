"""`dyno demo`, as `make demo` runs it: from an empty folder to a table, and nothing left running."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import Counter
from pathlib import Path

import psutil
import pytest
from tests.integration.stand_process import DYNO, HARNESSES


def demo(*arguments: str, folder: Path, **extra: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name != "DYNO_HOME"} | extra
    command = [str(DYNO), "demo", "--folder", "demo", *arguments]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=280, check=False)


def test_the_demo(tmp_path: Path) -> None:
    # What an earlier demo left is removed.
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo/.dyno-demo").touch()
    (tmp_path / "demo/left").touch()

    done = demo("--smoke", "--json", "--harnesses", str(HARNESSES), folder=tmp_path)

    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert list(shown) == ["table", "tool_session", "tool_requests", "project", "ledger"]
    told = [line for line in done.stderr.splitlines() if " of 7 after " in line]
    assert [line.partition(" ")[0] for line in told] == [*"1234567"]
    assert re.fullmatch(r"7 of 7 after \d+ s: scripted-mini-swe-agent on write-hello", told[-1])
    variants = {row["variant"]: row for row in shown["table"]["variants"]}
    assert list(variants) == ["local-free-text", "local-json-schema"]
    for row in variants.values():
        # One session on each of three task cards, every request answered by the real model.
        assert (row["sessions"], row["aborted"], row["failed_requests"], row["judged"]) == (3, 0, 0, 3)
        assert row["requests"] >= 3
        assert row["metrics"]["output_tokens"]["n"] == row["metrics"]["latency_ms"]["n"] == row["requests"]
        assert 0 < row["metrics"]["ttft_ms"]["median"] < row["metrics"]["latency_ms"]["maximum"]
    assert shown["table"]["differing"] == []
    assert (shown["table"]["open_sessions"], shown["table"]["invalid_sessions"]) == (0, 0)

    assert shown["tool_session"]["checks_passed"] == shown["tool_session"]["checks_total"] == 1
    assert Counter(request["status"] for request in shown["tool_requests"]) == {"ok": 2}

    assert not (tmp_path / "demo/left").exists()
    home = tmp_path / "demo" / ".dyno"
    assert Path(shown["ledger"]) == home / "ledger.sqlite"
    assert not (home / "stand.json").exists()
    assert list((home / "sessions").iterdir()) == []
    assert [process for process in psutil.process_iter() if _belongs(process, tmp_path)] == []


def _belongs(process: psutil.Process, folder: Path) -> bool:
    try:
        return any(str(folder) in argument for argument in process.cmdline()) or process.cwd().startswith(str(folder))
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_no_demo_made_stays(tmp_path: Path, kind: str) -> None:
    if kind == "file":
        (tmp_path / "demo").write_text("mine")
    else:
        (tmp_path / "demo").mkdir()
        (tmp_path / "demo/mine").touch()

    done = demo(folder=tmp_path)

    assert done.returncode == 2
    assert done.stderr == (
        f"{tmp_path}/demo is there already, and no demo made it; name another folder: `dyno demo --folder DIR`\n"
    )
    assert (tmp_path / "demo").is_file() or (tmp_path / "demo/mine").exists()


def test_a_missing_harness_is_said_before_anything_starts(tmp_path: Path) -> None:
    done = demo("--harnesses", "nowhere", "--json", folder=tmp_path, PATH="/usr/bin:/bin")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "not installed: llm, mini; `make clients` installs them; or name their folder: --harnesses DIR\n"
    )
