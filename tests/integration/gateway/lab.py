"""What the gateway's tests share: variants for every script, keys of sessions, requests, rows."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import httpx
from tests.integration.stand_process import Project, StandProcess

PATHS = {
    "openai_chat": "/v1/chat/completions",
    "openai_responses": "/v1/responses",
    "anthropic_messages": "/v1/messages",
    "gemini": "/v1beta/models/{model}:{operation}",
}
ENDS = {
    "openai_chat": "[DONE]",
    "openai_responses": "response.completed",
    "anthropic_messages": "message_stop",
    "gemini": "finishReason",
}
"""What a stream holds as soon as it is whole."""
_WAIT_S = 60.0

T = TypeVar("T")


class Key(NamedTuple):
    """An open session and its key."""

    session_id: str
    secret: str
    model: str

    @property
    def headers(self) -> dict[str, str]:
        """The key as a bearer token."""
        return {"authorization": f"Bearer {self.secret}"}


def small_project(folder: Path) -> Project:
    """A project whose stand starts no model: nothing here needs one."""
    project = Project(folder)
    for path in (folder / "configs").rglob("*.yaml"):
        if "provider: local" in path.read_text() or "local-" in path.read_text():
            path.unlink()
    return project


def write_variants(project: Project, models: Sequence[str], provider: str = "scripted") -> None:
    """A variant for each model, named `PROVIDER-MODEL`."""
    for model in models:
        text = f"provider: {provider}\nmodel: {model}\nharness_profile: openai-client\n"
        project.write(f"configs/variants/{provider}-{model}.yaml", text)


def open_session(project: Project, model: str, *more: str, provider: str = "scripted") -> Key:
    """A session of that model's variant, made on the command line."""
    options = ("--variant", f"{provider}-{model}", "--task-card", "say-hello", "--repo", str(project.repo))
    return key_of(project.json("session", "create", *options, *more), model)


def open_sessions(project: Project, models: Sequence[str], provider: str = "scripted") -> dict[str, Key]:
    """A session for each model."""
    with ThreadPoolExecutor(3) as pool:
        return dict(
            zip(models, pool.map(lambda model: open_session(project, model, provider=provider), models), strict=True)
        )


def key_of(handed_over: dict[str, Any], model: str) -> Key:
    """The key in what `session create` or `session env` printed."""
    return Key(handed_over["session_id"], handed_over["env"]["OPENAI_API_KEY"], model)


def path_of(surface: str, model: str, *, stream: bool = False) -> str:
    """Where a surface is asked, with the query that its clients send."""
    if surface == "gemini":
        operation = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return PATHS[surface].format(model=model, operation=operation)
    return PATHS[surface]


def body(key: Key, surface: str = "openai_chat", *, stream: bool = False, **more: Any) -> dict[str, Any]:
    """A request's body, that of chats being one that messages take too."""
    text = "say hello"
    if surface == "gemini":
        contents = [{"role": "user", "parts": [{"text": text}]}]
        return {"contents": contents, "generationConfig": {"maxOutputTokens": 200}, **more}
    if surface == "openai_responses":
        return {"model": key.model, "max_output_tokens": 200, "input": text, "stream": stream, **more}
    message = {"role": "user", "content": text}
    return {"model": key.model, "max_tokens": 200, "messages": [message], "stream": stream, **more}


def ask(
    stand: StandProcess,
    key: Key,
    surface: str = "openai_chat",
    *,
    stream: bool = False,
    timeout: float = 60,
    **more: Any,
) -> httpx.Response:
    """One request, answered to its end."""
    url = stand.url + path_of(surface, key.model, stream=stream)
    return httpx.post(url, json=body(key, surface, stream=stream, **more), headers=key.headers, timeout=timeout)


def wait_for(what: str, look: Callable[[], T | None]) -> T:
    """What `look` gives, as soon as it gives something true."""
    deadline = time.monotonic() + _WAIT_S
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.03)
    return found


@contextlib.contextmanager
def ledger(project: Project) -> Iterator[sqlite3.Connection]:
    """The ledger as any other program reads it."""
    connection = sqlite3.connect(f"file:{project.home / 'ledger.sqlite'}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    try:
        yield connection
    finally:
        connection.close()


def rows(project: Project, session_id: str | None, count: int, *, settled: bool = False) -> list[dict[str, Any]]:
    """The rows of a session once there are that many; `settled`: all three witnesses have spoken of each."""
    query = "SELECT * FROM request WHERE session_id IS ? ORDER BY started_at_us, request_key"

    def look() -> list[dict[str, Any]] | None:
        with ledger(project) as connection:
            found = [dict(row) for row in connection.execute(query, (session_id,))]
        complete = not settled or all(_is_settled(row) for row in found)
        return found if len(found) >= count and complete else None

    found = wait_for(f"{count} rows of {session_id}", look)
    assert len(found) == count
    return found


def _is_settled(row: dict[str, Any]) -> bool:
    heard = not row["attempts"] or row["provider_latency_ms"] is not None
    return heard and row["litellm_call_id"] is not None


def spool_records(project: Project) -> list[dict[str, Any]]:
    """Every record of every gateway run, in order."""
    segments = sorted((project.home / "spool").glob("gw_*/*.jsonl"))
    return [json.loads(line) for segment in segments for line in segment.read_text().splitlines()]


def children_of(pid: int) -> list[int]:
    """The processes that this one started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def has_ended(pid: int) -> bool:
    """Whether a process is gone, or only waits to be noticed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
