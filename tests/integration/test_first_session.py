"""The main job: a harness that is not ours, one session, one true row per request."""

from __future__ import annotations

import pytest
from tests.integration.stand_process import Project, StandProcess

TOOL_VARIANTS = ("scripted-mini-swe-agent", "scripted-llm-tools", "scripted-llm-anthropic-tools")


@pytest.mark.parametrize("variant", TOOL_VARIANTS)
def test_rows_equal_what_the_provider_counted(project: Project, stand: StandProcess, variant: str) -> None:
    stand.forget_served()
    folder = project.folder / variant
    folder.mkdir()
    options = ("--variant", variant, "--task-card", "write-hello", "--repo", str(project.repo))
    shown = project.run("session", "start", *options, "--json", folder=folder)
    assert shown.returncode == 0, shown.stderr

    (session,) = [s for s in project.json("session", "list") if s["variant"] == variant]
    rows = project.json("session", "show", session["session_id"], "--requests")["requests"]
    served = stand.served()["requests"]
    assert [row["status"] for row in rows] == ["ok"] * len(served)
    for name in ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens"):
        assert [row[name] for row in rows] == [request[name] for request in served]
    assert [row["provider_request_id"] for row in rows] == [request["request_id"] for request in served]
    assert (folder / "hello.txt").read_text() == "Hello from the stand.\n"
    assert (session["outcome"], session["checks_passed"], session["checks_total"]) == ("completed", 1, 1)
