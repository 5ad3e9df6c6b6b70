"""The plainest client: one request over OpenAI chat, with the variables that a session hands over."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from tests.integration.stand_process import Project

BODY = {"messages": [{"role": "user", "content": "say hello"}]}


def ask(env: Mapping[str, str]) -> httpx.Response:
    """One request."""
    return httpx.post(
        f"{env['OPENAI_BASE_URL']}/chat/completions",
        headers={"authorization": f"Bearer {env['OPENAI_API_KEY']}"},
        json={**BODY, "model": env["OPENAI_MODEL"]},
        timeout=60,
    )


def create(project: Project, variant: str = "plain", *more: str) -> dict[str, Any]:
    """A session opened by `dyno session create`, as its JSON tells it."""
    options = ("--variant", variant, "--task-card", "say-hello", "--repo", str(project.repo))
    document: dict[str, Any] = project.json("session", "create", *options, *more)
    return document


def show(project: Project, session_id: str) -> dict[str, Any]:
    """What is recorded of a session, requests included."""
    document: dict[str, Any] = project.json("session", "show", session_id, "--requests")
    return document


def rows(ledger: Path, query: str, *values: Any) -> list[dict[str, Any]]:
    """Rows of the ledger itself, read past `dyno`: looking must not change anything."""
    connection = sqlite3.connect(f"file:{ledger}?mode=ro", uri=True, timeout=20)
    connection.row_factory = sqlite3.Row
    try:
        return [dict(row) for row in connection.execute(query, values)]
    finally:
        connection.close()


def dump(ledger: Path) -> list[str]:
    """Every row of every table, but for how far the spool was read."""
    tables = [row["name"] for row in rows(ledger, "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    return [repr(row) for table in tables if table != "spool_cursor" for row in rows(ledger, f"SELECT * FROM {table}")]
